"""Latent fusion: torch modules that join the features of several modalities."""

from __future__ import annotations

from semistruct.fusion.base import LatentFusion
from semistruct.fusion.concat import ConcatFusion
from semistruct.fusion.gated import GatedFusion
from semistruct.fusion.pooling import MaxFusion, MeanFusion, ProductFusion, SumFusion

__all__ = [
    "FUSIONS",
    "ConcatFusion",
    "GatedFusion",
    "LatentFusion",
    "MaxFusion",
    "MeanFusion",
    "ProductFusion",
    "SumFusion",
]

FUSIONS: dict[str, type[LatentFusion]] = {
    "concat": ConcatFusion,
    "gated": GatedFusion,
    "max": MaxFusion,
    "mean": MeanFusion,
    "product": ProductFusion,
    "sum": SumFusion,
}
