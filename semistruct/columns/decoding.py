"""From one image file to one array ``(C, H, W)``: pure functions over pillow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from semistruct.exceptions import DataError

__all__ = ["DecodeOptions", "ImageHeader", "decode_image", "pixels_of", "read_header"]

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = 0x0112
_SWAPPING = frozenset({5, 6, 7, 8})
_DEEP_MAX = 65535.0


@dataclass(frozen=True)
class DecodeOptions:
    """What a decoded image looks like.

    Attributes
    ----------
    size : (H, W)
        Height and width; every image is stretched to it (the aspect ratio is not kept).
    mode : {"L", "RGB"}
        One channel or three.
    dtype : {"uint8", "float32"}
        ``uint8`` in 0..255, or ``float32`` in 0..1, which keeps the depth of 16-bit files.
    """

    size: tuple[int, int]
    mode: Literal["L", "RGB"]
    dtype: Literal["uint8", "float32"] = "uint8"

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return (1 if self.mode == "L" else 3, *self.size)


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about itself without decoding: upright ``size`` (H, W), and colour."""

    size: tuple[int, int]
    is_grey: bool


def read_header(path: str) -> ImageHeader:
    """Read size and colour of an image file, after EXIF rotation, without decoding its pixels.

    Raises
    ------
    Exception
        Whatever the operating system or pillow raises for an unreadable file.
    """
    with Image.open(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _SWAPPING:
            width, height = height, width
        return ImageHeader(size=(height, width), is_grey=image.mode in _GREY_MODES)


def decode_image(path: str, options: DecodeOptions) -> np.ndarray:
    """Decode, orient, convert and resize one file.

    Parameters
    ----------
    path : str
    options : DecodeOptions

    Returns
    -------
    (C, H, W) array of ``options.dtype``

    Raises
    ------
    Exception
        Whatever the operating system or pillow raises for an unreadable file.

    Notes
    -----
    The EXIF orientation is applied; alpha is dropped, not blended; of several frames the first
    is read. 16-bit grey is scaled by its full range (65535), never by the image's own range,
    which would make images incomparable. Large JPEG files are decoded at a reduced scale that is
    still at least twice the wanted size, then resized with an anti-aliasing filter.
    """
    with Image.open(path) as image:
        height, width = options.size
        longest = 2 * max(height, width)  # before EXIF rotation either side may be the long one
        image.draft(None, (longest, longest))
        return pixels_of(image, options)


def pixels_of(image: Image.Image, options: DecodeOptions) -> np.ndarray:
    """Orient, convert and resize an open pillow image: ``(C, H, W)`` of ``options.dtype``."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise DataError(
            "a floating-point image has no known range of intensities; load it yourself, scale "
            "it and build ImageArray from the array"
        )
    height, width = options.size
    if upright.mode in _DEEP_MODES:
        unit = _deep_grey(upright, (width, height))
    else:
        flat = _eight_bit(upright, options.mode)
        if flat.size != (width, height):
            flat = flat.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(flat)
        if options.dtype == "uint8":
            return _channels_first(pixels, options).copy()
        unit = pixels.astype(np.float32) / np.float32(255.0)
    if options.dtype == "uint8":
        unit = np.rint(unit * np.float32(255.0)).astype(np.uint8)
    return np.ascontiguousarray(_channels_first(unit, options))


def _deep_grey(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    intensity = Image.fromarray(np.asarray(image).astype(np.float32))
    if intensity.size != size:
        intensity = intensity.resize(size, Image.Resampling.BILINEAR)
    return np.clip(np.asarray(intensity) / np.float32(_DEEP_MAX), 0.0, 1.0)


def _eight_bit(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # pillow warns when it leaves such a palette directly
    return image if image.mode == mode else image.convert(mode)


def _channels_first(pixels: np.ndarray, options: DecodeOptions) -> np.ndarray:
    if pixels.ndim == 2:
        return np.broadcast_to(pixels, options.shape)
    return np.moveaxis(pixels, -1, 0)
