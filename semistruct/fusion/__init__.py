"""Latent fusion: torch modules that join the features of several modalities."""

from __future__ import annotations

from semistruct.fusion.base import LatentFusion
from semistruct.fusion.build import FUSIONS, build_fusion
from semistruct.fusion.concat import ConcatFusion
from semistruct.fusion.gated import GatedFusion
from semistruct.fusion.pooling import MaxFusion, MeanFusion, ProductFusion, SumFusion

__all__ = [
    "FUSIONS",
    "build_fusion",
    "ConcatFusion",
    "GatedFusion",
    "LatentFusion",
    "MaxFusion",
    "MeanFusion",
    "ProductFusion",
    "SumFusion",
]
