"""Checks that the metrics share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError
from semistruct.responses import Surv, as_surv
from semistruct.responses.base import number_column

__all__ = [
    "check_increasing",
    "check_probabilities",
    "check_survival",
    "curves_and_times",
    "right_censored",
    "single_cause",
]

_ROUNDING = 1e-8


def single_cause(y: Any) -> Surv:
    """A survival response with rows and one cause.

    Raises
    ------
    DataError
        If it is no survival response, is empty, or has several causes.
    """
    follow_up = as_surv(y)
    if not len(follow_up):
        raise DataError("the response has no rows; a metric needs at least one.")
    if follow_up.n_causes > 1:
        raise DataError(
            f"the response has {follow_up.n_causes} competing causes, the metric knows one event; "
            "choose a cause with y.of_cause(1)."
        )
    return follow_up


def right_censored(y: Any, name: str) -> Surv:
    """A survival response with one cause and no delayed entry.

    Raises
    ------
    DataError
        As :func:`single_cause`, or if follow-up begins late.
    """
    follow_up = single_cause(y)
    if follow_up.entry is not None and (follow_up.entry > 0).any():
        row = int(np.flatnonzero(follow_up.entry > 0)[0])
        raise DataError(
            f"{name} has delayed entry, first row {row} with entry {follow_up.entry[row]:g}; "
            "inverse-probability-of-censoring weights are for follow-up from time zero. For "
            "delayed entry use concordance_index."
        )
    return follow_up


def check_increasing(times: Any) -> np.ndarray:
    """Evaluation times ``(T,)`` as float64.

    Raises
    ------
    DataError
        If there are none, or they are not finite, not negative and strictly increasing.
    """
    times = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if times.ndim != 1 or not times.size:
        raise DataError(f"times must be a list of one or more times, got shape {times.shape}.")
    if not np.isfinite(times).all() or (times < 0).any():
        bad = times[~(np.isfinite(times) & (times >= 0))][0]
        raise DataError(f"times must be finite and not negative, got {bad:g}.")
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if wrong.size:
        k = wrong[0]
        raise DataError(
            f"times must be strictly increasing; {times[k]:g} is followed by {times[k + 1]:g}. "
            "numpy.unique sorts them and drops repetitions."
        )
    return times


def curves_and_times(
    curves: Any, times: Any, n: int, name: str = "survival"
) -> tuple[np.ndarray, np.ndarray]:
    """Values of every row at times as ``(n, T)``, and the times ``(T,)``.

    Parameters
    ----------
    curves : (n, T) array, or DataFrame with times as rows and the n rows as columns
        As ``predict_survival_function`` returns it. A table whose index are no times, with a row
        per row of the response, is read like an array.
    times : (T,) array-like or None
        None for the times of a DataFrame; else some of them, or those of an array.
    n : int
    name : str
        What the argument is called.

    Raises
    ------
    DataError
        If times are missing or not those of the table, or the table has other columns.
    """
    if not isinstance(curves, pd.DataFrame):
        if times is None:
            raise DataError(
                f"{name} is an array, and which times it is at is not said; give times=, or the "
                "DataFrame that predict_survival_function returns."
            )
        return np.asarray(curves, dtype=np.float64), check_increasing(times)
    given = curves.index
    known = given.to_numpy() if pd.api.types.is_numeric_dtype(given) else np.empty(0)
    grid = check_increasing(known if times is None else times)
    by_columns = np.array_equal(curves.columns, grid) and not np.array_equal(known, grid)
    if np.isin(grid, known).all() and curves.shape[1] == n and not by_columns:
        chosen = curves if times is None else curves.iloc[given.get_indexer(grid)]
        return chosen.to_numpy(dtype=np.float64).T, grid
    if times is None:
        raise DataError(
            f"{name} must have one column per row of y, {n}, and a row per time, as "
            f"predict_survival_function returns it; got shape {curves.shape}."
        )
    return curves.to_numpy(dtype=np.float64), grid


def check_survival(
    survival: Any, n: int, times: Any, name: str = "survival"
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted survival probabilities ``(n, T)`` as float64, and their times ``(T,)``.

    Raises
    ------
    DataError
        As :func:`curves_and_times`, if the shape is wrong, rows are times, or a value is missing
        or outside of 0 to 1.
    """
    survival, times = curves_and_times(survival, times, n, name)
    if survival.ndim == 1 and times.size == 1:
        survival = survival[:, None]
    if survival.shape != (n, times.size):
        turned = survival.shape == (times.size, n)
        repair = f" Its rows are times: pass {name}.T, or a DataFrame." if turned else ""
        raise DataError(
            f"{name} must have one row per row of y and one column per time, ({n}, {times.size}),"
            f" got shape {survival.shape}.{repair}"
        )
    # A missing value makes both extremes missing.
    if not (survival.min() >= -_ROUNDING and survival.max() <= 1 + _ROUNDING):
        bad = np.argwhere(~((survival >= -_ROUNDING) & (survival <= 1 + _ROUNDING)))
        row, column = (int(k) for k in bad[0])
        raise DataError(
            f"{name} must be probabilities between 0 and 1; row {row}, column {column} has "
            f"{survival[row, column]:g}. Cumulative hazards H become survival by exp(-H)."
        )
    return survival, times


def check_probabilities(values: Any, name: str, n: int | None = None) -> np.ndarray:
    """One column of probabilities ``(n,)``, rounding beyond 0 and 1 removed.

    Raises
    ------
    DataError
        If the length is wrong, or a value is missing or outside of 0 to 1.
    """
    column = number_column(values, name, n)
    bad = np.flatnonzero((column < -_ROUNDING) | (column > 1 + _ROUNDING))
    if bad.size:
        raise DataError(
            f"{name} must be probabilities between 0 and 1; row {bad[0]} has {column[bad[0]]:g}."
        )
    return np.clip(column, 0, 1)
