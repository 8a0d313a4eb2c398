"""Reading the columns that a term needs from a frame, with errors that name column and row."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError

__all__ = [
    "group_codes",
    "group_levels",
    "is_numeric",
    "is_ordered",
    "numeric_column",
    "numeric_columns",
]


def _column(frame: pd.DataFrame, name: str, label: str) -> pd.Series:
    """The one column called ``name``, or an error that suggests close names."""
    if name not in frame.columns:
        known = [str(column) for column in frame.columns]
        close = difflib.get_close_matches(name, known, n=3)
        hint = (
            f"did you mean {' or '.join(map(repr, close))}?"
            if close
            else f"the columns are {', '.join(map(repr, known[:8]))}{', ...' * (len(known) > 8)}."
        )
        raise DataError(f"{label} needs the column {name!r}, which the table does not have; {hint}")
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise DataError(
            f"{label} needs one column {name!r} but the table has {column.shape[1]} of that name; "
            "rename them."
        )
    return column


def is_numeric(frame: pd.DataFrame, name: str, label: str) -> bool:
    """Whether the column holds numbers (or bools) rather than groups."""
    dtype = _column(frame, name, label).dtype
    return not isinstance(dtype, pd.CategoricalDtype) and pd.api.types.is_numeric_dtype(dtype)


def is_ordered(frame: pd.DataFrame, name: str, label: str) -> bool:
    """Whether the column is an ordered categorical."""
    dtype = _column(frame, name, label).dtype
    return isinstance(dtype, pd.CategoricalDtype) and bool(dtype.ordered)


def numeric_column(frame: pd.DataFrame, name: str, label: str) -> np.ndarray:
    """The column as finite float64 values ``(n,)``.

    Raises
    ------
    DataError
        If the column is missing, not numeric, or has a missing or infinite value.
    """
    column = _column(frame, name, label)
    dtype = column.dtype
    if (
        isinstance(dtype, pd.CategoricalDtype)
        or not pd.api.types.is_numeric_dtype(dtype)
        or pd.api.types.is_complex_dtype(dtype)
    ):
        raise DataError(
            f"{label} needs numbers in the column {name!r}, which has dtype {dtype}; convert it "
            "with pandas.to_numeric, or use it as a factor."
        )
    values = column.to_numpy(dtype=float, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(
            f"the column {name!r} of {label} has {bad.size} missing or infinite values, the first "
            f"in row {bad[0]}; drop or impute those rows."
        )
    return values


def numeric_columns(frame: pd.DataFrame, names: Sequence[str], label: str) -> np.ndarray:
    """Several numeric columns side by side, ``(n, d)``."""
    x = np.empty((len(frame), len(names)))
    for j, name in enumerate(names):
        x[:, j] = numeric_column(frame, name, label)
    return x


def _check_groups(column: pd.Series, name: str, label: str) -> None:
    dtype = column.dtype
    if not (
        isinstance(dtype, pd.CategoricalDtype)
        or pd.api.types.is_object_dtype(dtype)
        or pd.api.types.is_string_dtype(dtype)
        or pd.api.types.is_bool_dtype(dtype)
        or pd.api.types.is_numeric_dtype(dtype)
    ):
        raise DataError(
            f"{label} needs groups in the column {name!r}, which has dtype {dtype}; use strings, a "
            "categorical, bools or numbers."
        )
    missing = np.flatnonzero(column.isna().to_numpy())
    if missing.size:
        raise DataError(
            f"the column {name!r} of {label} has {missing.size} rows without a group, the first in "
            f"row {missing[0]}; drop them or give them a group of their own."
        )


def group_levels(frame: pd.DataFrame, name: str, label: str) -> tuple[Any, ...]:
    """The levels present in a grouping column: in the order of the categories, else sorted.

    Raises
    ------
    DataError
        If the column is missing, is not a grouping, or has rows without a group.
    """
    column = _column(frame, name, label)
    _check_groups(column, name, label)
    if isinstance(column.dtype, pd.CategoricalDtype):
        present = np.zeros(len(column.cat.categories), dtype=bool)
        present[column.cat.codes.to_numpy()] = True
        return tuple(column.cat.categories[present].tolist())
    levels = pd.unique(column).tolist()
    try:
        return tuple(sorted(levels))
    except TypeError as error:
        kinds = ", ".join(sorted({type(level).__name__ for level in levels}))
        raise DataError(
            f"the groups in the column {name!r} of {label} are of mixed types ({kinds}); convert "
            "them to strings."
        ) from error


def group_codes(frame: pd.DataFrame, name: str, label: str, levels: Sequence[Any]) -> np.ndarray:
    """Position of each row's group in ``levels``, ``(n,)``; -1 where it is none of them.

    Raises
    ------
    DataError
        If the column is missing, is not a grouping, or has rows without a group.
    """
    column = _column(frame, name, label)
    _check_groups(column, name, label)
    return pd.Index(levels).get_indexer(pd.Index(column)).astype(np.intp)
