"""Columns of a table whose rows are tensors or images."""

from __future__ import annotations

from semistruct.columns.conversion import as_image_array
from semistruct.columns.image_array import ImageArray, ImageDtype
from semistruct.columns.tensor_array import PaddedBatch, TensorArray
from semistruct.columns.tensor_dtype import TensorDtype

__all__ = [
    "ImageArray",
    "ImageDtype",
    "PaddedBatch",
    "TensorArray",
    "TensorDtype",
    "as_image_array",
]
