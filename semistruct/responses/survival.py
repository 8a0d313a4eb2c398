"""Survival responses: follow-up with censoring, delayed entry, recurrence, competing causes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError
from semistruct.responses.base import RowIndexed, number_column, plain

__all__ = ["Surv", "as_surv"]

_EVENT_NAMES = frozenset({"event", "status", "delta", "observed", "e", "cens", "death", "dead"})
_ENTRY_NAMES = frozenset({"entry", "start", "tstart", "begin"})
_SHOWN = 6


class Surv(RowIndexed):
    """Follow-up of every row until an event or censoring. Immutable.

    Parameters
    ----------
    time : (n,) array-like
        End of follow-up, finite and not negative. Zero is allowed, as in R's ``coxph``; models
        of the hazard over time, which need time under observation, say so when they refuse it.
    event : (n,) array-like
        Whether follow-up ended with the event: bool or 0 / 1. With ``n_causes`` above one, 0 for
        censored and ``1, ..., n_causes`` for the cause.
    entry : (n,) array-like, optional
        Start of follow-up (left truncation), not negative and before ``time``. Several rows of
        one subject describe time-varying covariates or recurrent events.
    id : (n,) array-like, optional
        The subject of each row. Rows of one subject belong in the same fold.
    n_causes : int
        Number of competing causes.

    Raises
    ------
    DataError
        If a value is missing, infinite, negative or miscoded, an entry is not before its time, or
        lengths differ. The message quotes the first such row.

    Examples
    --------
    >>> y = Surv([5, 3, 8], [1, 0, 1])
    >>> y
    Surv([5, 3+, 8], 2 events)
    >>> y[y.event]
    Surv([5, 8], 2 events)
    >>> Surv([5, 3], [1, 0], entry=[2, 0])
    Surv([(2, 5], (0, 3+]], 1 event)
    """

    time: np.ndarray
    """``(n,)`` float64."""
    cause: np.ndarray
    """``(n,)`` int64: 0 for censored rows, else the number of the cause."""
    event: np.ndarray
    """``(n,)`` bool: whether follow-up ended with an event of any cause."""
    entry: np.ndarray | None
    """``(n,)`` float64, or None when everybody is followed from the start."""
    id: np.ndarray | None
    """``(n,)``, or None when every row is a subject."""
    n_causes: int

    __slots__ = ("cause", "entry", "event", "id", "n_causes", "time")

    def __init__(
        self, time: Any, event: Any, entry: Any = None, id: Any = None, *, n_causes: int = 1
    ) -> None:
        time = number_column(time, "time")
        n = time.size
        _refuse(time, ~np.isfinite(time), "time must be finite", "drop or repair it")
        _refuse(time, time < 0, "time must not be negative", "measure it from the start")
        if not isinstance(n_causes, (int, np.integer)) or n_causes < 1:
            raise DataError(f"n_causes must be a positive whole number, got {n_causes!r}.")
        cause = _check_cause(event, n, int(n_causes))
        if entry is not None:
            entry = number_column(entry, "entry", n)
            _refuse(entry, ~np.isfinite(entry), "entry must be finite", "zero is from the start")
            _refuse(entry, entry < 0, "entry must not be negative", "zero is from the start")
            late = np.flatnonzero(entry >= time)
            if late.size:
                row = late[0]
                raise DataError(
                    f"entry must be before time; {late.size} row(s) are not, first row {row} with "
                    f"entry {entry[row]:g} and time {time[row]:g}."
                )
        if id is not None:
            id = plain(id, "id")
            if id.size != n:
                raise DataError(f"id has {id.size} rows but time has {n}; give one per row.")
            missing = np.flatnonzero(pd.isna(id))
            if missing.size:
                raise DataError(f"id is missing in row {missing[0]}; every row has a subject.")
        self._set(time, cause, entry, id, int(n_causes))

    def _set(
        self,
        time: np.ndarray,
        cause: np.ndarray,
        entry: np.ndarray | None,
        id: np.ndarray | None,
        n_causes: int,
    ) -> None:
        event = cause > 0
        for array in (time, cause, event, entry):
            if array is not None:
                array.flags.writeable = False
        values = {
            "time": time,
            "cause": cause,
            "event": event,
            "entry": entry,
            "id": id,
            "n_causes": n_causes,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Surv is immutable; make a new one instead of setting {name!r}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.time, self.cause, self.entry, self.id, self.n_causes)

    def _take(self, rows: Any) -> Surv:
        return _restore(
            self.time[rows],
            self.cause[rows],
            None if self.entry is None else self.entry[rows],
            None if self.id is None else self.id[rows],
            self.n_causes,
        )

    def of_cause(self, cause: int) -> Surv:
        """Follow-up until one cause, the others being censoring (cause-specific hazards)."""
        if not 1 <= cause <= self.n_causes:
            raise DataError(f"cause must be between 1 and {self.n_causes}, got {cause!r}.")
        flags = (self.cause == cause).astype(np.int64)
        return _restore(self.time, flags, self.entry, self.id, 1)

    def __len__(self) -> int:
        return self.time.size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        columns: dict[str, np.ndarray] = {"event": self.event, "time": self.time}
        if self.n_causes > 1:
            columns["event"] = self.cause
        if self.entry is not None:
            columns["entry"] = self.entry
        records = np.empty(len(self), dtype=[(k, v.dtype) for k, v in columns.items()])
        for name, values in columns.items():
            records[name] = values
        return records if dtype is None else records.astype(dtype)

    def __repr__(self) -> str:
        shown = []
        for row in range(min(len(self), _SHOWN)):
            cause = self.cause[row]
            mark = "+" if cause == 0 else f":{cause}" if self.n_causes > 1 else ""
            end = f"{self.time[row]:g}{mark}"
            shown.append(end if self.entry is None else f"({self.entry[row]:g}, {end}]")
        if len(self) > _SHOWN:
            shown.append("...")
        n_events = int(self.event.sum())
        rows = f"{len(self)} rows, " if len(self) > _SHOWN else ""
        return f"Surv([{', '.join(shown)}], {rows}{n_events} event{'s' * (n_events != 1)})"


def _restore(
    time: np.ndarray,
    cause: np.ndarray,
    entry: np.ndarray | None,
    id: np.ndarray | None,
    n_causes: int,
) -> Surv:
    """A response from columns that were checked before."""
    y = object.__new__(Surv)
    y._set(time, cause, entry, id, n_causes)
    return y


def _refuse(values: np.ndarray, bad: np.ndarray, rule: str, repair: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        raise DataError(
            f"{rule}; {rows.size} row(s) break this, first row {rows[0]} with "
            f"{values[rows[0]]:g}: {repair}."
        )


def _check_cause(event: Any, n: int, n_causes: int) -> np.ndarray:
    codes = number_column(event, "event", n)
    allowed = np.isin(codes, np.arange(n_causes + 1))
    if not allowed.all():
        row = int(np.flatnonzero(~allowed)[0])
        whole = bool((codes == np.floor(codes)).all())
        if n_causes == 1 and whole and set(codes) <= {1.0, 2.0}:
            repair = "events coded 1 / 2, as in some of R's data, become 0 / 1 by subtracting 1"
        elif n_causes == 1 and whole and codes.min() >= 0:
            repair = f"for competing causes say n_causes={int(codes.max())}"
        else:
            repair = "recode it"
        rule = "0, 1 or bool" if n_causes == 1 else f"0 (censored) or 1 to {n_causes}"
        raise DataError(f"event must be {rule}; row {row} has {codes[row]:g}: {repair}.")
    return codes.astype(np.int64)


def as_surv(y: Any) -> Surv:
    """A survival response from any of the forms in use.

    Parameters
    ----------
    y : Surv, structured array or DataFrame
        A structured array as in scikit-survival has one boolean field, the event, and one number
        field, the time. A DataFrame has a column of event flags, recognised by being boolean, by
        its name (event, status, ...) or by being the only one with values 0 and 1; a column of
        times; and, if there are three, one named entry, start or tstart.

    Raises
    ------
    DataError
        If it is none of these, or it does not say which column is which.

    Examples
    --------
    >>> as_surv(np.array([(True, 5.0), (False, 3.0)], dtype=[("cens", "?"), ("time", "f8")]))
    Surv([5, 3+], 1 event)
    >>> as_surv(pd.DataFrame({"weeks": [5, 3], "status": [1, 0]}))
    Surv([5, 3+], 1 event)
    """
    if isinstance(y, Surv):
        return y
    if isinstance(y, np.ndarray) and y.dtype.names is not None:
        columns = {name: y[name] for name in y.dtype.names}
    elif isinstance(y, pd.DataFrame):
        columns = {str(name): y[name].to_numpy() for name in y.columns}
    else:
        got = f"an array of shape {y.shape}" if hasattr(y, "shape") else type(y).__name__
        raise DataError(
            f"a survival response is needed, got {got}; use Surv(time, event), a structured array "
            "as in scikit-survival, or a DataFrame with a time and an event column."
        )
    event = _event_column(columns)
    rest = [name for name in columns if name != event]
    entry = next((name for name in rest if name.lower() in _ENTRY_NAMES), None)
    if len(rest) == 1:
        entry = None
    elif len(rest) == 2 and entry is not None:
        rest.remove(entry)
    else:
        raise DataError(
            f"columns {list(columns)} do not say which is the time; keep a time and an event "
            "column (and one named 'entry'), or use Surv(time, event)."
        )
    return Surv(columns[rest[0]], columns[event], None if entry is None else columns[entry])


def _event_column(columns: dict[str, np.ndarray]) -> str:
    tests = [
        lambda name, values: values.dtype == np.bool_,
        lambda name, values: name.lower() in _EVENT_NAMES,
        lambda name, values: values.dtype.kind in "iuf" and bool(np.isin(values, [0, 1]).all()),
    ]
    for test in tests:
        found = [name for name, values in columns.items() if test(name, values)]
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise DataError(
        f"columns {list(columns)} do not say which is the event; make it boolean, call it 'event', "
        "or use Surv(time, event)."
    )
