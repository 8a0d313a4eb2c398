"""What a column measures: numbers, groups, or pictures."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError

__all__ = [
    "Measurement",
    "check_columns",
    "column_floats",
    "is_tensor",
    "measurement",
    "tabular_columns",
]

Measurement = Literal["numeric", "factor"]

_OBJECT_KINDS: dict[str, Measurement] = {
    "string": "factor",
    "boolean": "factor",
    "integer": "numeric",
    "floating": "numeric",
    "mixed-integer-float": "numeric",
    "decimal": "numeric",
}
_SHOWN = 8


def is_tensor(column: pd.Series) -> bool:
    """Whether the column holds one tensor per row (images, volumes, sequences)."""
    dtype = column.dtype
    named = str(getattr(dtype, "name", "")).lower().startswith(("tensor", "image"))
    return named and isinstance(dtype, pd.api.extensions.ExtensionDtype)


def tabular_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """Names of the columns that hold one value per row."""
    return tuple(
        name
        for position, name in enumerate(frame.columns)
        if not is_tensor(frame.iloc[:, position])
    )


def measurement(column: pd.Series, name: str, label: str) -> Measurement:
    """Whether a tabular column is used as numbers or as a factor.

    Strings, categoricals and bools are factors; integers and floats are numbers, also in a column
    of dtype object when all its values are.

    Raises
    ------
    DataError
        If the column is neither: dates, mixtures, complex numbers, nested values.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return "factor"
    if pd.api.types.is_object_dtype(dtype):
        kind = pd.api.types.infer_dtype(column, skipna=True)
        if kind in _OBJECT_KINDS:
            return _OBJECT_KINDS[kind]
        types = sorted({type(value).__name__ for value in column.dropna()})
        what = f"values of type {', '.join(types[:4])}" if types else "only missing values"
        raise DataError(
            f"the column {name!r} of {label} has dtype object with {what}; convert it to numbers "
            "(pandas.to_numeric), to strings or to a categorical, or, if it holds arrays, to a "
            "TensorArray."
        )
    if isinstance(dtype, pd.StringDtype):
        return "factor"
    if pd.api.types.is_complex_dtype(dtype) or not pd.api.types.is_numeric_dtype(dtype):
        hint = "convert it to numbers, strings or a categorical"
        if pd.api.types.is_datetime64_any_dtype(dtype):
            hint = (
                f"turn the dates into numbers, for example (df[{name!r}] - start).dt.days or "
                f"df[{name!r}].dt.year"
            )
        elif pd.api.types.is_timedelta64_dtype(dtype):
            hint = f"turn the durations into numbers, for example df[{name!r}].dt.total_seconds()"
        raise DataError(
            f"the column {name!r} of {label} has dtype {dtype}, which is neither numbers nor "
            f"groups; {hint}."
        )
    return "numeric"


def check_columns(frame: pd.DataFrame, names: Iterable[str], label: str) -> None:
    """Check that the columns exist once each and have no missing value.

    Raises
    ------
    DataError
        Naming every column with missing values and how many rows lack it.
    """
    counts = frame.columns.value_counts()
    missing = []
    for name in names:
        if name not in counts.index:
            raise DataError(_unknown_column(frame, name, label))
        if counts[name] > 1:
            raise DataError(
                f"{label} needs one column {name!r} but the table has {counts[name]} of that "
                "name; rename them."
            )
        absent = int(frame[name].isna().sum())
        if absent:
            missing.append(f"{name!r} ({absent} of {len(frame)} rows)")
    if missing:
        raise DataError(
            f"missing values in {', '.join(missing)}, used in {label}; drop or impute those rows, "
            "or fit with missing='drop'."
        )


def _unknown_column(frame: pd.DataFrame, name: str, label: str) -> str:
    known = [str(column) for column in frame.columns]
    close = difflib.get_close_matches(name, known, n=2)
    if close:
        hint = f"did you mean {' or '.join(map(repr, close))}?"
    elif known:
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        hint = f"the columns are {', '.join(map(repr, known[:_SHOWN]))}{more}."
    else:
        hint = "the table has no columns."
    return f"{label} needs the column {name!r}, which the table does not have; {hint}"


def column_floats(column: pd.Series, name: str, label: str) -> np.ndarray:
    """A numeric or bool column as finite float64 values ``(n,)``.

    Raises
    ------
    DataError
        If the column holds text or groups, or has an infinite value.
    """
    is_bool = pd.api.types.is_bool_dtype(column.dtype)
    if not is_bool and measurement(column, name, label) != "numeric":
        raise DataError(
            f"{label} needs numbers in the column {name!r}, which holds groups (dtype "
            f"{column.dtype}); convert it with pandas.to_numeric, or use {name} as a factor."
        )
    plain = column.dtype == np.dtype(float)
    values = column.to_numpy() if plain else column.astype(float).to_numpy(dtype=float)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(
            f"the column {name!r} of {label} has {bad.size} infinite values, the first in row "
            f"{bad[0]}; replace them or drop those rows."
        )
    return values
