"""The steps of an expansion: time at risk, causes, cut points, and cutting at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from semistruct._validation import is_positive_whole
from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses._intervals import TimeIntervals
from semistruct.responses.base import plain
from semistruct.responses.survival import Surv

__all__ = [
    "Pieces",
    "check_causes",
    "check_codes",
    "choose_intervals",
    "cut_follow_up",
    "follow_up",
    "require_events",
    "runs",
]


def follow_up(y: Surv, gap_time: bool) -> tuple[np.ndarray, np.ndarray]:
    """Start and end ``(n,)`` of each row on the time scale of the hazard, start before end.

    Raises
    ------
    DataError
        If a row has no time under observation, or rows of one id overlap.
    """
    if not isinstance(gap_time, (bool, np.bool_)):
        raise SpecificationError(f"gap_time must be True or False, got {gap_time!r}.")
    instant = np.flatnonzero(y.time == 0)
    if instant.size:
        raise DataError(
            f"time is zero in {instant.size} row(s), first row {instant[0]}: the hazard cannot be "
            "estimated from rows without time under observation. Drop them, or give them a small "
            "positive time."
        )
    start = np.zeros(len(y)) if y.entry is None else y.entry
    order, first = _by_subject(y, start)
    if not gap_time:
        return start, y.time
    restarts = first | np.concatenate(([True], y.event[order][:-1]))[: len(y)]
    spell = np.maximum.accumulate(np.where(restarts, np.arange(len(y)), 0))
    origin = np.empty(len(y))
    origin[order] = start[order][spell]
    start, stop = start - origin, y.time - origin
    # Subtraction may round two neighbouring times to the same number.
    return start, np.maximum(stop, np.nextafter(start, np.inf))


def _by_subject(y: Surv, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order by subject and time, and which rows are then the first of a subject."""
    if y.id is None:
        return np.arange(len(y)), np.ones(len(y), dtype=bool)
    subject, _ = pd.factorize(y.id)
    order = np.lexsort((start, subject))
    first = np.ones(len(y), dtype=bool)
    first[1:] = np.diff(subject[order]) != 0
    early = np.flatnonzero(~first[1:] & (start[order][1:] < y.time[order][:-1]))
    if early.size:
        row, following = (int(k) for k in order[early[0] : early[0] + 2])
        raise DataError(
            f"rows of one id overlap in time; {early.size} pair(s) do, first id {y.id[row]!s}: row "
            f"{row} ends at {float(y.time[row])} and row {following} begins at "
            f"{float(start[following])}. Give each row its entry; if the rows are different units, "
            "such as the eyes of a patient, give these their own id."
        )
    return order, first


@dataclass(frozen=True)
class Pieces:
    """Time at risk in pieces, those of one row side by side.

    Attributes
    ----------
    counts : (n,) int array
        Pieces of each row.
    interval : (N,) int array
        Interval that each piece lies in.
    exposure : (N,) array
        Its length, positive.
    last : (n,) int array
        Where the piece stands at whose end the row ends; -1 if it ends after the last cut point.
    """

    counts: np.ndarray
    interval: np.ndarray
    exposure: np.ndarray
    last: np.ndarray


def cut_follow_up(start: np.ndarray, stop: np.ndarray, intervals: TimeIntervals) -> Pieces:
    """Cut ``(start, stop]`` of every row, ``start < stop``, at the cut points.

    Examples
    --------
    >>> cut_follow_up(np.array([0.0, 3.0]), np.array([5.0, 9.0]), TimeIntervals([4, 8]))
    Pieces(counts=array([2, 2]), interval=array([0, 1, 0, 1]),
           exposure=array([4., 1., 1., 4.]), last=array([ 1, -1]))
    """
    cuts = intervals.cuts
    first = np.searchsorted(cuts, start, side="right") - 1
    after = np.minimum(np.searchsorted(cuts, stop, side="left"), len(intervals))
    counts = np.maximum(after - first, 0)
    interval = runs(first, counts)
    exposure = intervals.lengths[interval]

    # Only the first and the last piece of a row may be shorter than their intervals.
    kept = np.flatnonzero(counts)
    ends = np.cumsum(counts)
    begin, end, tail = ends[kept] - counts[kept], ends[kept] - 1, after[kept]
    exposure[begin] = cuts[first[kept] + 1] - start[kept]
    exposure[end] = np.minimum(stop[kept], cuts[tail]) - np.maximum(start[kept], cuts[tail - 1])
    return Pieces(counts, interval, exposure, np.where(stop <= cuts[-1], ends - 1, -1))


def runs(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``starts[0], starts[0] + 1, ...``, ``counts[0]`` of them, then those of the next.

    Examples
    --------
    >>> runs(np.array([5, 0]), np.array([2, 3]))
    array([5, 6, 0, 1, 2])
    """
    ends = np.cumsum(counts)
    numbers = np.arange(ends[-1] if ends.size else 0)
    numbers += np.repeat(starts - (ends - counts), counts)
    return numbers


def check_causes(y: Surv, cause: int | None) -> tuple[int, ...]:
    """The causes to expand: one, or all."""
    if len(y) == 0:
        raise DataError("the response has no rows; nothing can be expanded.")
    if cause is None:
        return tuple(range(1, y.n_causes + 1))
    if isinstance(cause, bool) or not is_positive_whole(cause) or cause > y.n_causes:
        raise DataError(f"cause must be a whole number from 1 to {y.n_causes}, got {cause!r}.")
    return (int(cause),)


def require_events(
    counts: np.ndarray, causes: tuple[int, ...], intervals: TimeIntervals | None = None
) -> None:
    """Refuse a cause whose count ``(K,)`` is zero, in all data or up to the last cut point."""
    for k, count in zip(causes, counts, strict=True):
        if count:
            continue
        if intervals is None:
            found, repair = "in the data", "Check how events are coded, or leave the cause out"
        else:
            found = f"up to the last cut point, {intervals.cuts[-1]:g}"
            repair = "Choose cut points that reach further"
        raise DataError(
            f"cause {k} never occurs {found} (events per cause: "
            f"{dict(zip(causes, counts.tolist(), strict=True))}); its hazard cannot be estimated. "
            f"{repair}."
        )


def choose_intervals(
    cuts: Any,
    max_intervals: int | None,
    start: np.ndarray,
    stop: np.ndarray,
    event: np.ndarray,
) -> TimeIntervals:
    """The intervals that ``cuts`` and ``max_intervals`` ask for.

    Parameters
    ----------
    cuts, max_intervals
        As in ``PiecewiseExpansion.from_surv``.
    start, stop : (n,) arrays
        Time at risk.
    event : (n,) bool array
        Whether an event that counts ended it.
    """
    if cuts is None:
        cuts = "events"
    if isinstance(cuts, str) and cuts != "events":
        raise SpecificationError(
            f"cuts must be cut points, a number of intervals or 'events', got {cuts!r}."
        )
    if max_intervals is not None:
        if not isinstance(cuts, str):
            raise SpecificationError(
                "max_intervals bounds the number of event times used with cuts='events'; with "
                "cuts given it says nothing. Leave one of them out."
            )
        _require_count(max_intervals, "max_intervals")
        max_intervals = int(max_intervals)
    if isinstance(cuts, str):
        return TimeIntervals.from_events(stop[event], max_intervals)
    if not isinstance(cuts, TimeIntervals) and np.ndim(cuts) == 0:
        _require_count(cuts, "cuts")
        return TimeIntervals.from_events(stop[event], int(cuts))
    intervals = cuts if isinstance(cuts, TimeIntervals) else TimeIntervals(cuts)
    _require_overlap(intervals, float(start.min()), float(stop.max()))
    return intervals


def _require_count(value: Any, name: str) -> None:
    if isinstance(value, (bool, np.bool_)) or not is_positive_whole(value):
        raise SpecificationError(f"{name} must be a whole number of 1 or more, got {value!r}.")


def _require_overlap(intervals: TimeIntervals, lower: float, upper: float) -> None:
    """Refuse cut points in another unit or origin than the times.

    A single empty interval is no error: a fold of a cross-validation need not reach the last one.
    """
    cuts = intervals.cuts
    inside = bool(((cuts > lower) & (cuts <= upper)).any())
    if cuts[-1] <= lower or (len(intervals) > 1 and not inside):
        raise DataError(
            f"all cut points, from {cuts[1]:g} to {cuts[-1]:g}, lie outside follow-up, which is "
            f"from {lower:g} to {upper:g}. Are they in the same unit?"
        )


def check_codes(codes: Any, n: int) -> np.ndarray:
    """Covariate patterns of ``n`` rows as int64, from 0 to ``n - 1``."""
    codes = plain(codes, "codes")
    if codes.size != n:
        raise DataError(f"codes has {codes.size} entries but {n} rows were expanded; one per row.")
    if codes.dtype.kind not in "iu":
        raise DataError(f"codes must be integers, got {codes.dtype}; pandas.factorize makes them.")
    bad = np.flatnonzero((codes < 0) | (codes >= n))
    if bad.size:
        raise DataError(
            f"codes must be from 0 to {n - 1}; row {bad[0]} has {codes[bad[0]]}. Negative codes "
            "stand for missing values; pandas.factorize(..., use_na_sentinel=False) gives them "
            "a code of their own."
        )
    return codes.astype(np.int64)
