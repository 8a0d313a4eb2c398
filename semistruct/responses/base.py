"""What every response that is more than one array has in common: it is indexed by row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from semistruct.exceptions import DataError

__all__ = ["RowIndexed", "number_column", "plain"]


class RowIndexed(ABC):
    """A frozen bundle of columns of equal length that scikit-learn can split by rows.

    ``y[rows]`` with a slice, a boolean mask, an array of positions or a single position is a
    response of the same kind; so ``train_test_split``, ``KFold`` and ``cross_val_score`` work.
    """

    @abstractmethod
    def _take(self, rows: Any) -> RowIndexed:
        """The response of the given rows, anything numpy can index one dimension with."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The response as a structured array, one record per row."""

    @property
    def shape(self) -> tuple[int]:
        """``(n,)``."""
        return (len(self),)

    @property
    def ndim(self) -> int:
        """Always one."""
        return 1

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, tuple):  # scikit-learn asks for y[rows, ...]
            axes = [axis for axis in rows if axis is not Ellipsis]
            if len(axes) != 1 or len(rows) > 2:
                raise DataError(f"{type(self).__name__} has one dimension; got the index {rows!r}.")
            rows = axes[0]
        if isinstance(rows, (int, np.integer)):
            position = int(rows)
            if not -len(self) <= position < len(self):
                raise IndexError(f"row {position} of a response with {len(self)} rows")
            rows = [position]
        elif not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.size == 0:
                rows = rows.astype(np.int64)
        return self._take(rows)

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))


def plain(values: Any, name: str) -> np.ndarray:
    """One column as a 1-dimensional array; pandas and torch containers are unpacked."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{name} must have one value per row, got shape {array.shape}.")
    return array


def number_column(values: Any, name: str, n: int | None = None) -> np.ndarray:
    """One column of numbers as a read-only float64 array ``(n,)`` without missing values.

    Raises
    ------
    DataError
        If the column is not numeric, has another length than ``n``, or holds NaN; the message
        quotes the first such row.
    """
    array = plain(values, name)
    if array.dtype.kind in "mM":
        what = "dates" if array.dtype.kind == "M" else "durations"
        hint = "(end - start).dt.days" if what == "dates" else "duration.dt.total_seconds()"
        raise DataError(
            f"{name} must be numbers, got {what} ({array.dtype}), whose unit would be lost; turn "
            f"them into numbers of a unit you choose, for example {hint}."
        )
    try:
        array = np.array(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be numbers, got {array.dtype}: {error}.") from error
    if n is not None and array.size != n:
        raise DataError(f"{name} has {array.size} rows but {n} are needed; give one per row.")
    missing = np.isnan(array)
    if missing.any():
        rows = np.flatnonzero(missing)
        raise DataError(
            f"{name} is missing in {rows.size} row(s), first in row {rows[0]}; drop these rows."
        )
    array.flags.writeable = False
    return array
