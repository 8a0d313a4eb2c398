"""One column of pictures or other tensors, read at the shape it had in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from semistruct.columns import ImageArray, TensorArray, as_image_array
from semistruct.columns.resizing import resize_image
from semistruct.exceptions import DataError, SpecificationError

__all__ = ["PictureReader", "distinct_rows", "tensor_column"]


def tensor_column(X: Any) -> tuple[TensorArray, str | None, pd.Index | None]:
    """The column, its name and its index, from whatever holds exactly one.

    Raises
    ------
    DataError
        If ``X`` has several columns, or its rows are no tensors.
    """
    if isinstance(X, pd.DataFrame):
        if X.shape[1] != 1:
            raise DataError(
                f"features are made of one column of pictures, got {X.shape[1]}: "
                f"{', '.join(map(repr, X.columns[:8]))}. Use one transformer for each, for example "
                "in a ColumnTransformer or EarlyFusion."
            )
        X = X.iloc[:, 0]
    if isinstance(X, pd.Series):
        name = None if X.name is None else str(X.name)
        values = X.array if isinstance(X.array, TensorArray) else as_image_array(X)
        return values, name, X.index
    return (X if isinstance(X, TensorArray) else as_image_array(X)), None, None


def distinct_rows(column: TensorArray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the content of rows, and which of the distinct ones each is: ``(d,)``, ``(b,)``."""
    keys = column[rows].content_keys() if len(rows) else np.empty(0, dtype=object)
    codes, levels = pd.factorize(keys)
    return np.asarray(levels, dtype=object), codes


@dataclass(frozen=True)
class PictureReader:
    """What was learned of a column: the shape of a row and the type of its numbers.

    Attributes
    ----------
    name : str
        Of the column, for messages.
    shape : tuple of int
        ``(C, H, W)`` of pictures; they are resized to it, and turned from grey to colour or back.
    unsigned : bool
        Whether pixels were 0 to 255; numbers on another scale are refused later.
    low, high : float
        Smallest and largest number in training, where they were asked for.
    """

    name: str
    shape: tuple[int, ...]
    unsigned: bool
    low: float = 0.0
    high: float = 255.0

    @classmethod
    def of(
        cls,
        column: TensorArray,
        name: str,
        size: int | tuple[int, int] | None = None,
        *,
        scale: bool = False,
    ) -> PictureReader:
        """Learn the shape from training rows: the common one, else the middle of their sizes.

        With ``scale`` also the range of their numbers, for which every row is read.

        Raises
        ------
        DataError
            If every row is missing, or rows that are no pictures differ in shape.
        SpecificationError
            If ``size`` is asked of rows that are no pictures.
        """
        present = np.flatnonzero(~column.isna())
        if not len(present):
            raise DataError(f"every row of {name!r} is missing; features need pictures to learn.")
        shape = column.dtype.shape
        if shape is None or None in shape:
            shapes = [np.shape(column[int(row)]) for row in present]
            if any(len(one) != 3 for one in shapes):
                raise DataError(
                    f"the rows of {name!r} differ in shape and are no pictures (C, H, W); bring "
                    "them to one shape first."
                )
            middle = np.median([one[1:] for one in shapes], axis=0).astype(int)
            shape = (max(one[0] for one in shapes), *map(int, middle))
        if size is not None:
            if len(shape) != 3:
                raise SpecificationError(
                    f"size={size!r} resizes pictures (C, H, W), but the rows of {name!r} have "
                    f"shape {shape}."
                )
            shape = (shape[0], *((size, size) if isinstance(size, int) else size))
        sizes = tuple(int(length) for length in shape if length is not None)
        reader = cls(name, sizes, column.element_dtype == np.uint8)
        if reader.unsigned or not scale:
            return reader
        # One picture at a time: all of them might not fit.
        ends = [(float(x.min()), float(x.max())) for x in (column[int(r)] for r in present)]
        low, high = min(a for a, _ in ends), max(b for _, b in ends)
        return cls(name, reader.shape, False, low, high)

    def read(self, column: TensorArray, rows: np.ndarray) -> np.ndarray:
        """Present rows ``(b, *shape)``, at the shape of training.

        Raises
        ------
        DataError
            If they cannot be brought to that shape, or are on another scale.
        """
        if (column.element_dtype == np.uint8) != self.unsigned:
            then, now = ("uint8", "not") if self.unsigned else ("not uint8", "uint8")
            raise DataError(
                f"the pictures of {self.name!r} were {then} when the features were learned and are "
                f"{now} now ({column.element_dtype}); bring them to the same scale."
            )
        some = column[rows]
        if tuple(some.dtype.shape or ()) == self.shape:
            return some.batch()
        if len(self.shape) == 3 and isinstance(some, ImageArray):
            channels, height, width = self.shape
            return some.conform((channels, height, width)).batch()
        tensors = [np.asarray(row) for row in some]
        other = next((x.shape for x in tensors if x.ndim != 3 or len(self.shape) != 3), None)
        if other is not None and any(x.shape != self.shape for x in tensors):
            raise DataError(
                f"the rows of {self.name!r} had shape {self.shape} when the features were learned; "
                f"now one has {other}."
            )
        if other is not None:
            return np.stack(tensors)
        channels, height, width = self.shape
        return np.stack([resize_image(x, (channels, height, width)) for x in tensors])
