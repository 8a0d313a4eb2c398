"""Whatever a user has in an image column, as an :class:`ImageArray`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from semistruct.columns.decoding import DecodeOptions, pixels_of
from semistruct.columns.image_array import ImageArray
from semistruct.columns.rows import is_missing
from semistruct.columns.tensor_array import TensorArray
from semistruct.exceptions import DataError

__all__ = ["as_image_array"]


def as_image_array(
    column: Any, *, shape: tuple[int, int, int] | None = None, name: str | None = None
) -> ImageArray:
    """Images from an image column, a column of paths, or a column of arrays.

    Parameters
    ----------
    column : ImageArray, Series, array or sequence of n
        An :class:`ImageArray` (possibly inside a Series), a :class:`TensorArray` of fixed shape,
        an array ``(n, C, H, W)`` or ``(n, H, W)``, or a sequence of paths, of equal arrays, or
        of pillow images; missing values are allowed.
    shape : (C, H, W), optional
        Bring the images to this shape, for example that of the training images.
    name : str, optional
        Name of the column, for messages; that of the Series by default.

    Returns
    -------
    ImageArray

    Raises
    ------
    DataError
        When the column holds something else.
    """
    name = name if name is not None else getattr(column, "name", None)
    try:
        images = _as_images(column, shape)
        return images if shape is None else images.conform(shape)
    except DataError as error:
        if name is None:
            raise
        raise DataError(f"column {name!r}: {error}") from error


def _as_images(column: Any, shape: tuple[int, int, int] | None) -> ImageArray:
    values = column.array if isinstance(column, pd.Series | pd.Index) else column
    if isinstance(values, ImageArray):
        return values
    if isinstance(values, TensorArray):
        return ImageArray(values)
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return ImageArray(values)
    rows = list(values)
    present = [row for row in rows if not is_missing(row)]
    if not present:
        return ImageArray(rows)
    for k, row in enumerate(rows):
        if is_missing(row):
            continue
        if not isinstance(row, type_family(present[0])):
            raise DataError(
                f"an image column holds arrays, paths or pillow images, all of one kind; row {k} "
                f"is {type(row).__name__} {row!r:.60}."
            )
    if isinstance(present[0], str | os.PathLike):
        if shape is not None and shape[0] in (1, 3):
            return ImageArray.from_files(rows, size=shape[1:], mode="L" if shape[0] == 1 else "RGB")
        return ImageArray.from_files(rows)
    if isinstance(present[0], Image.Image):
        return ImageArray(_pillow_rows(rows, present))
    return ImageArray(rows)


def type_family(row: Any) -> tuple[type, ...]:
    """Types that may share a column with ``row``; empty when it is no image."""
    for family in ((str, os.PathLike), (Image.Image,), (np.ndarray,)):
        if isinstance(row, family):
            return family
    return ()


def _pillow_rows(rows: list[Any], present: list[Image.Image]) -> list[Any]:
    grey = all(image.mode in {"1", "L", "LA", "I;16", "I"} for image in present)
    options = DecodeOptions((present[0].height, present[0].width), "L" if grey else "RGB")
    return [None if is_missing(row) else pixels_of(row, options) for row in rows]
