"""Torch modules for people who write their own networks: encoders, decoders, fusions, projection.

Examples
--------
>>> import torch
>>> from semistruct import nn as ssnn
>>> encoder = ssnn.CNNEncoder((1, 8, 8), latent_dim=4, random_state=0)
>>> cell = ssnn.OrthogonalizationCell(p=2, d=4)
>>> X, images = torch.randn(50, 2), torch.rand(50, 1, 8, 8)
>>> with torch.no_grad():
...     cell.refresh(X, encoder.eval()(images))
>>> cell(X[:3], encoder(images[:3])).shape
torch.Size([3, 4])
"""

from __future__ import annotations

from semistruct.encoders import (
    DECODERS,
    ENCODERS,
    Augmentation,
    BagEncoder,
    CNN3dEncoder,
    CNNEncoder,
    Conv1dEncoder,
    Decoder,
    Encoder,
    GridDecoder,
    InputStandardization,
    MapEncoder,
    MLPEncoder,
    ModuleEncoder,
    RecurrentEncoder,
    SequenceDecoder,
    VectorDecoder,
    build_decoder,
    build_encoder,
)
from semistruct.fusion import (
    CONDITIONED_FUSIONS,
    FUSIONS,
    AttentionFusion,
    ConcatFusion,
    ConditionedFusion,
    DAFTFusion,
    FiLMFusion,
    GatedFusion,
    LatentFusion,
    LowRankFusion,
    MaxFusion,
    MeanFusion,
    ProductFusion,
    SumFusion,
)
from semistruct.orthogonalization import OrthogonalizationCell

__all__ = [
    "CONDITIONED_FUSIONS",
    "DECODERS",
    "ENCODERS",
    "FUSIONS",
    "AttentionFusion",
    "Augmentation",
    "BagEncoder",
    "CNN3dEncoder",
    "CNNEncoder",
    "ConcatFusion",
    "ConditionedFusion",
    "Conv1dEncoder",
    "DAFTFusion",
    "Decoder",
    "Encoder",
    "FiLMFusion",
    "GatedFusion",
    "GridDecoder",
    "InputStandardization",
    "LatentFusion",
    "LowRankFusion",
    "MLPEncoder",
    "MapEncoder",
    "MaxFusion",
    "MeanFusion",
    "ModuleEncoder",
    "OrthogonalizationCell",
    "ProductFusion",
    "RecurrentEncoder",
    "SequenceDecoder",
    "SumFusion",
    "VectorDecoder",
    "build_decoder",
    "build_encoder",
]
