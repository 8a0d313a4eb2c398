"""Latent fusion: torch modules that join the features of several modalities."""

from __future__ import annotations

from semistruct.fusion.attention import AttentionFusion
from semistruct.fusion.base import LatentFusion
from semistruct.fusion.build import CONDITIONED_FUSIONS, FUSIONS, build_fusion, fusion_options
from semistruct.fusion.concat import ConcatFusion
from semistruct.fusion.conditioned import ConditionedFusion, DAFTFusion, FiLMFusion
from semistruct.fusion.gated import GatedFusion
from semistruct.fusion.head import MLPHead
from semistruct.fusion.low_rank import LowRankFusion
from semistruct.fusion.pooling import MaxFusion, MeanFusion, ProductFusion, SumFusion

__all__ = [
    "CONDITIONED_FUSIONS",
    "FUSIONS",
    "build_fusion",
    "fusion_options",
    "AttentionFusion",
    "ConditionedFusion",
    "DAFTFusion",
    "FiLMFusion",
    "LowRankFusion",
    "MLPHead",
    "ConcatFusion",
    "GatedFusion",
    "LatentFusion",
    "MaxFusion",
    "MeanFusion",
    "ProductFusion",
    "SumFusion",
]
