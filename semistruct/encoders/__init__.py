"""Encoders: torch modules from the tensors of one column to latent features, and back."""

from __future__ import annotations

from semistruct.encoders.augmentation import Augmentation
from semistruct.encoders.bag import BagEncoder
from semistruct.encoders.base import Encoder, MapEncoder
from semistruct.encoders.build import ENCODERS, RAGGED_ENCODERS, build_encoder, encoder_options
from semistruct.encoders.cnn import CNNEncoder
from semistruct.encoders.cnn3d import CNN3dEncoder
from semistruct.encoders.conv1d import Conv1dEncoder
from semistruct.encoders.decoders import (
    DECODERS,
    Decoder,
    GridDecoder,
    SequenceDecoder,
    VectorDecoder,
    build_decoder,
)
from semistruct.encoders.features import FeatureEncoder
from semistruct.encoders.mlp import MLPEncoder
from semistruct.encoders.module import ModuleEncoder
from semistruct.encoders.recurrent import RecurrentEncoder
from semistruct.encoders.standardization import InputStandardization

__all__ = [
    "DECODERS",
    "ENCODERS",
    "RAGGED_ENCODERS",
    "Augmentation",
    "BagEncoder",
    "CNN3dEncoder",
    "CNNEncoder",
    "Conv1dEncoder",
    "Decoder",
    "Encoder",
    "FeatureEncoder",
    "GridDecoder",
    "InputStandardization",
    "MLPEncoder",
    "MapEncoder",
    "ModuleEncoder",
    "RecurrentEncoder",
    "SequenceDecoder",
    "VectorDecoder",
    "build_decoder",
    "build_encoder",
    "encoder_options",
]
