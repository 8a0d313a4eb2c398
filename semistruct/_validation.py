"""Checks shared by every public entry point."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from semistruct.exceptions import DataError

__all__ = ["check_length", "check_sample_weight", "is_positive_whole"]


def check_length(n: int, values: Any, name: str) -> None:
    """Raise :class:`DataError` unless ``values`` has ``n`` rows."""
    if len(values) != n:
        raise DataError(
            f"{name} has {len(values)} rows but the table has {n}; give one value per row."
        )


def check_sample_weight(sample_weight: Any, n: int) -> np.ndarray:
    """Case weights as a float64 array ``(n,)``; ones when none are given.

    Raises
    ------
    DataError
        If the length is wrong, a weight is negative or not finite, or all weights are zero.
    """
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(sample_weight, dtype=float)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.ndim != 1:
        raise DataError(f"sample_weight must be 1-dimensional, got shape {weights.shape}.")
    check_length(n, weights, "sample_weight")
    bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if bad.size:
        raise DataError(
            f"sample_weight must be finite and not negative; row {bad[0]} has {weights[bad[0]]}."
        )
    if n and not weights.any():
        raise DataError("sample_weight is zero for every row; at least one row must count.")
    return np.require(weights, requirements="W")  # torch warns of memory it may not write to


def is_positive_whole(value: Any) -> bool:
    """Whether ``value`` is a whole number of 1 or more.

    Examples
    --------
    >>> is_positive_whole(3.0), is_positive_whole(2.5), is_positive_whole("3")
    (True, False, False)
    """
    return isinstance(value, Real) and float(value) >= 1 and float(value).is_integer()
