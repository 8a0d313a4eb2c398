"""From what scikit-learn users pass to a table, a response and weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import _check_feature_names, validate_data

from semistruct._validation import check_length
from semistruct.exceptions import DataError, DataWarning, SpecificationError

__all__ = [
    "as_table",
    "central_levels",
    "complete_rows",
    "quantile_levels",
    "resolve_device",
    "response_columns",
    "response_values",
]


def as_table(
    estimator: BaseEstimator, X: Any, *, reset: bool, every_column: bool = True
) -> pd.DataFrame:
    """The rows as a DataFrame; numpy input gets columns ``x0, x1, ...``.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets or checks ``n_features_in_`` and ``feature_names_in_``.
    X : DataFrame or array-like of shape (n, p)
    reset : bool
        True when fitting.
    every_column : bool
        Whether the model reads every column, so that new rows must have exactly the same ones.

    Raises
    ------
    DataError, ValueError
        If the table is empty, has duplicated column names, or does not match the fitted one.
    """
    if isinstance(X, pd.DataFrame):
        if X.columns.has_duplicates:
            twice = X.columns[X.columns.duplicated()][0]
            raise DataError(f"the table has two columns called {twice!r}; rename one.")
        if reset and not len(X):
            raise DataError("the table has no rows; a model needs at least one.")
        if reset or every_column:
            _check_feature_names(estimator, X, reset=reset)
        if reset:
            estimator.n_features_in_ = X.shape[1]
        return X if all(isinstance(c, str) for c in X.columns) else X.rename(columns=str)
    values = validate_data(estimator, X, reset=reset, dtype="numeric")
    return pd.DataFrame(values, columns=[f"x{j}" for j in range(values.shape[1])])


def response_values(y: Any, n: int) -> np.ndarray:
    """The response as a one-dimensional array of length ``n``.

    Raises
    ------
    DataError
        If it is missing, has more than one column, or another number of rows.
    """
    if y is None:
        raise DataError(
            "no response: requires y to be passed, but the target y is None. Give it as the second "
            "argument of fit, or in the formula as in 'price ~ area'."
        )
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        y = y.iloc[:, 0]
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected; it is flattened.",
            DataConversionWarning,
            stacklevel=3,
        )
        values = values.ravel()
    if values.ndim != 1:
        raise DataError(f"y must have one column, got shape {values.shape}.")
    if np.iscomplexobj(values):
        raise DataError("y holds complex numbers; a response is real.")
    check_length(n, values, "y")
    return np.require(values, requirements="W")  # torch warns of memory it may not write to


def response_columns(y: Any, n: int) -> np.ndarray:
    """A response of several columns as an array ``(n, D)``."""
    if y is None:
        return response_values(y, n)
    values = np.asarray(y)
    check_length(n, values, "y")
    return np.require(values, requirements="W")


def quantile_levels(q: float | list[float]) -> np.ndarray:
    """Levels ``(m,)`` strictly between 0 and 1; refuse others."""
    levels = np.atleast_1d(np.asarray(q, dtype=float))
    if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
        raise SpecificationError(f"quantile levels must lie between 0 and 1, got {q!r}.")
    return levels


def central_levels(level: float) -> list[float]:
    """The levels of the ends of a central interval."""
    if not 0 < level < 1:
        raise SpecificationError(f"level must lie between 0 and 1, got {level!r}.")
    return [(1 - level) / 2, (1 + level) / 2]


def complete_rows(frame: pd.DataFrame, columns: Sequence[str], y: np.ndarray | None) -> np.ndarray:
    """Positions of the rows with no missing value in ``columns`` or ``y``; warns of the others.

    Raises
    ------
    DataError
        If no row is complete.
    """
    incomplete = np.zeros(len(frame), bool)
    if y is not None:
        incomplete |= np.asarray(pd.isna(y), dtype=bool).reshape(len(frame), -1).any(axis=1)
    for name in columns:
        if name in frame.columns:
            incomplete |= frame[name].isna().to_numpy()
    if incomplete.all():
        raise DataError(
            f"each of the {len(frame)} rows has a missing value in y or in one of the columns "
            f"{', '.join(map(repr, columns))}; none is left with missing='drop'."
        )
    if incomplete.any():
        warnings.warn(
            f"{int(incomplete.sum())} of {len(frame)} rows have missing values and are dropped.",
            DataWarning,
            stacklevel=4,
        )
    return np.flatnonzero(~incomplete)


def resolve_device(device: str) -> str:
    """The device that is meant: ``"auto"`` is CUDA where there is one.

    Raises
    ------
    SpecificationError
        If torch knows no such device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SpecificationError(
            f"device must be 'auto' or a device of torch such as 'cpu' or 'cuda:0', got {device!r}."
        ) from error
    return device
