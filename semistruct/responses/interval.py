"""Responses known to lie between two bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from semistruct.exceptions import DataError
from semistruct.responses.base import RowIndexed, number_column, plain

__all__ = ["Interval"]

_SHOWN = 6


class Interval(RowIndexed):
    """A quantity known to lie in an interval. Immutable.

    Parameters
    ----------
    lower, upper : (n,) array-like
        ``lower == upper`` is an exact value, ``upper = inf`` is right-censored, ``lower = -inf``
        left-censored (for positive quantities ``lower = 0`` says the same). A missing bound is
        open, as in R's ``Surv(lower, upper, type="interval2")``.
    entry : (n,) array-like, optional
        The row is in the data only because the quantity exceeds ``entry`` (left truncation);
        ``-inf`` where it would have been in any case. For a positive quantity zero says the same.

    Raises
    ------
    DataError
        If the bounds are in the wrong order, a row has none, or an entry is missing or not before
        its upper bound.

    Examples
    --------
    >>> Interval([1, 2, 3], [1, 4, float("inf")])
    Interval([1, (2, 4], (3, inf]])
    """

    lower: np.ndarray
    """``(n,)`` float64, ``-inf`` where open."""
    upper: np.ndarray
    """``(n,)`` float64, ``inf`` where open."""
    entry: np.ndarray | None
    """``(n,)`` float64, or None when no row is truncated."""

    __slots__ = ("entry", "lower", "upper")

    def __init__(self, lower: Any, upper: Any, entry: Any = None) -> None:
        lower = _bound(lower, "lower", None, -np.inf)
        upper = _bound(upper, "upper", lower.size, np.inf)
        wrong = np.flatnonzero((lower > upper) | (lower == np.inf) | (upper == -np.inf))
        if wrong.size:
            row = wrong[0]
            raise DataError(
                f"lower must not be above upper; row {row} has lower {lower[row]:g} and upper "
                f"{upper[row]:g}."
            )
        empty = np.flatnonzero(np.isinf(lower) & np.isinf(upper))
        if empty.size:
            raise DataError(f"row {empty[0]} has no finite bound and says nothing; drop it.")
        if entry is not None:
            entry = number_column(entry, "entry", lower.size)
            late = np.flatnonzero(entry >= upper)
            if late.size:
                row = late[0]
                raise DataError(
                    f"entry must be before upper; {late.size} row(s) are not, first row {row} with "
                    f"entry {entry[row]:g} and upper {upper[row]:g}. Such a row could not have "
                    "been observed."
                )
        self._set(lower, upper, entry)

    def _set(self, lower: np.ndarray, upper: np.ndarray, entry: np.ndarray | None) -> None:
        for name, values in {"lower": lower, "upper": upper, "entry": entry}.items():
            if values is not None:
                values.flags.writeable = False
            object.__setattr__(self, name, values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Interval is immutable; make a new one instead of setting {name!r}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return Interval, (self.lower, self.upper, self.entry)

    def _take(self, rows: Any) -> Interval:
        y = object.__new__(Interval)
        y._set(self.lower[rows], self.upper[rows], None if self.entry is None else self.entry[rows])
        return y

    def __len__(self) -> int:
        return self.lower.size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        columns = {"lower": self.lower, "upper": self.upper}
        if self.entry is not None:
            columns["entry"] = self.entry
        records = np.empty(len(self), dtype=[(name, np.float64) for name in columns])
        for name, values in columns.items():
            records[name] = values
        return records if dtype is None else records.astype(dtype)

    def __repr__(self) -> str:
        shown = [
            f"{a:g}" if a == b else f"({a:g}, {b:g}]"
            for a, b in zip(self.lower[:_SHOWN], self.upper[:_SHOWN], strict=True)
        ]
        if len(self) > _SHOWN:
            shown.append("...")
        rows = f", {len(self)} rows" if len(self) > _SHOWN else ""
        late = ", delayed entry" if self.entry is not None else ""
        return f"Interval([{', '.join(shown)}]{rows}{late})"


def _bound(values: Any, name: str, n: int | None, missing: float) -> np.ndarray:
    array = plain(values, name)
    try:
        array = np.array(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be numbers, got {array.dtype}: {error}.") from error
    return number_column(np.where(np.isnan(array), missing, array), name, n)
