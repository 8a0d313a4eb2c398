"""Resizing images that are in memory."""

from __future__ import annotations

import numpy as np
from PIL import Image

from semistruct.columns.sources import BlockSource, TensorSource
from semistruct.exceptions import DataError

__all__ = ["resize_image", "resized"]

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as pillow's conversion to grey


def resized(store: TensorSource, shape: tuple[int, int, int]) -> BlockSource:
    """All images of a store at ``shape`` (C, H, W)."""
    images = [store.read(i, i) for i in range(len(store))]
    rows = [resize_image(image, shape) for image in images if image is not None]
    return BlockSource(np.stack(rows) if rows else np.zeros((0, *shape), np.uint8))


def resize_image(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """One image ``(C, H, W)`` at another size and number of channels, of the same type.

    Raises
    ------
    DataError
        When channels are neither kept, nor turned from grey to colour or back.
    """
    channels, height, width = shape
    if image.shape[0] != channels:
        image = _convert_channels(image, channels)
    if image.shape == shape:
        return image
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        for plane in image
    ]
    values = np.stack([np.asarray(plane) for plane in planes])
    return (np.rint(values) if image.dtype.kind == "u" else values).astype(image.dtype)


def _convert_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[0] == 1:
        return np.repeat(image, channels, axis=0)
    if image.shape[0] == 3 and channels == 1:
        grey = np.tensordot(_LUMA, image, axes=1)[None]
        return (np.rint(grey) if image.dtype.kind == "u" else grey).astype(image.dtype)
    raise DataError(
        f"images of {image.shape[0]} channels cannot become images of {channels}; select or "
        "combine channels yourself."
    )
