"""Follow-up, times and groups as they are handed to survival models."""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import pandas as pd

from semistruct.exceptions import (
    DataError,
    DataWarning,
    SpecificationError,
    UnsupportedCombinationError,
)
from semistruct.responses import Interval, Surv
from semistruct.terms import ResponseCall

__all__ = [
    "called_response",
    "checked_times",
    "group_codes",
    "response_of_call",
    "subject_paths",
    "warn_beyond",
]


def response_of_call(call: ResponseCall, frame: pd.DataFrame) -> Surv | Interval:
    """What ``Surv(time, event, entry=start)`` or ``Interval(lower, upper)`` makes of columns."""
    for name in call.variables:
        if name not in frame.columns:
            raise DataError(f"the table has no column {name!r}, which the response names.")
    keywords = {key: frame[name].to_numpy() for key, name in call.keywords}
    columns = [frame[name].to_numpy() for name in call.columns]
    return (Surv if call.name == "Surv" else Interval)(*columns, **keywords)


def called_response(call: ResponseCall, frame: pd.DataFrame) -> Surv:
    """The follow-up that the formula of a survival model names."""
    if call.name != "Surv":
        raise UnsupportedCombinationError(
            f"the response of a survival model must be Surv(...), got {call.name}(...)."
        )
    return cast(Surv, response_of_call(call, frame))


def group_codes(X: Any, by: Any, n: int) -> tuple[pd.Index, np.ndarray]:
    """Labels of groups, sorted or in the order of their categories, and each row's, ``(n,)``."""
    if by is None:
        return pd.Index(["all"]), np.zeros(n, dtype=int)
    if isinstance(by, str):
        if not isinstance(X, pd.DataFrame) or by not in X.columns:
            raise DataError(f"X has no column {by!r} to make groups by.")
        by = X[by]
    values = pd.Categorical(by)
    if len(values) != n:
        raise DataError(f"by has {len(values)} labels and X {n} rows; give one for each row.")
    if (values.codes < 0).any():
        row = int(np.argmax(values.codes < 0))
        raise DataError(f"the group of row {row} is missing; fill it or leave the row out.")
    values = values.remove_unused_categories()
    return pd.Index(values.categories), np.asarray(values.codes, dtype=int)


def checked_times(times: Any, lowest: float = 0.0) -> np.ndarray:
    """Times ``(m,)`` as an array; refuse what is none or below ``lowest``."""
    grid = np.atleast_1d(np.asarray(times, dtype=float))
    if grid.ndim != 1 or not np.isfinite(grid).all() or (grid < lowest).any():
        bound = ", not negative" if lowest == 0 else ""
        raise SpecificationError(f"times must be finite numbers{bound}; got {times!r}.")
    return grid


def subject_paths(y: Surv) -> dict[Any, np.ndarray]:
    """Rows of each subject in the order of time, by subject.

    Raises
    ------
    DataError
        If the intervals of a subject leave gaps or overlap.
    """
    start = np.zeros(len(y)) if y.entry is None else y.entry
    codes, labels = pd.factorize(np.arange(len(y)) if y.id is None else y.id)
    order = np.lexsort((start, codes))
    same = np.diff(codes[order]) == 0
    apart = np.flatnonzero(same & (start[order][1:] != y.time[order][:-1]))
    if apart.size:
        row, following = order[apart[0]], order[apart[0] + 1]
        raise DataError(
            f"the intervals of a subject must follow one another; of {labels[codes[row]]!s} row "
            f"{row} ends at {y.time[row]:g} and row {following} begins at {start[following]:g}."
        )
    parts = np.split(order, np.flatnonzero(~same) + 1)
    return dict(zip(labels, parts, strict=True))


def warn_beyond(time: Any, end: float) -> None:
    """Check the horizon of a restricted mean; warn where it is beyond the follow-up."""
    if not (isinstance(time, (int, float, np.number)) and np.isfinite(time) and float(time) > 0):
        raise SpecificationError(f"time must be a positive number, got {time!r}.")
    if time > end:
        warnings.warn(
            f"the follow-up ends at {end:g}, before time={time:g}; survival is taken as constant "
            "from there on.",
            DataWarning,
            stacklevel=3,
        )
