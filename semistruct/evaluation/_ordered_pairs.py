"""Total weights of pairs by whether their risks are in the order of their events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semistruct.evaluation._inversions import weighted_inversions

__all__ = ["OrderedPairs", "ordered_pairs", "uncensored_before"]


@dataclass(frozen=True)
class OrderedPairs:
    """Sums of the weights of first rows over pairs of rows.

    Attributes
    ----------
    comparable : float
        All pairs of an event and a row that outlasts it.
    concordant : float
        Those of which the event has the higher risk.
    tied : float
        Those of equal risk.
    """

    comparable: float
    concordant: float
    tied: float


def ordered_pairs(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, weight: np.ndarray
) -> OrderedPairs:
    """Pairs of rows that are sorted by time.

    Parameters
    ----------
    time : (n,) array
        Not decreasing.
    event : (n,) bool array
        At one time events come before censored rows, which outlast them.
    risk : (n,) array
    weight : (n,) array
        Of a row as the first of a pair, the event.

    Notes
    -----
    The rows are numbered in the order of events and, within one moment, of increasing risk; and
    ranked by risk and, within one risk, by that number. Then a row of higher number and lower rank
    is one that outlasts the other and has a smaller risk: a concordant pair is an inversion. Where
    there are no ties both orders are those of one sort.
    """
    n = time.size
    number = np.arange(n, dtype=np.int32 if n < 1 << 31 else np.int64)
    by_risk = np.argsort(risk)
    ordered = risk[by_risk]
    rank = np.empty_like(number)
    rank[by_risk] = number
    moment = 2 * _codes(time) + ~event if (time[1:] == time[:-1]).any() else None
    if moment is None:
        outlasting = np.arange(n - 1, -1, -1.0)
    else:
        # Rows move within one time only; of one moment the smallest risk comes first.
        order = np.argsort(moment * n + rank)
        moment, weight, rank = moment[order], weight[order], rank[order]
        outlasting = n - np.searchsorted(moment, moment, side="right").astype(float)
    comparable = float(np.vdot(weight, outlasting))
    tied = 0.0
    if (ordered[1:] == ordered[:-1]).any():
        level = _codes(ordered)[rank]
        # Radix sort of short codes, which keeps the order of the numbers within one level.
        short = np.uint16 if level.max() < 1 << 16 else np.int64
        order = np.argsort(level.astype(short), kind="stable")
        tied = _tied(
            level[order], number[order] if moment is None else moment[order], weight[order]
        )
        rank[order] = number
    return OrderedPairs(comparable, weighted_inversions(rank, weight), tied)


def uncensored_before(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Kaplan-Meier probability of not being censored before the time of each row, ``(n,)``.

    Of rows that are sorted by time, from these rows; as ``before`` of
    :func:`~semistruct.evaluation.kaplan_meier.censoring_kaplan_meier`.
    """
    # One array holds every step: fresh memory costs more than the arithmetic.
    before = np.arange(time.size + 1, 0, -1.0)
    at_risk, censored = before[1:], ~event
    new = time[1:] != time[:-1]
    begins = None if new.all() else np.concatenate([[0], np.flatnonzero(new) + 1])
    if begins is not None:
        # Events of a time are over before anybody is censored then; nobody is at risk of nothing.
        at_risk = at_risk[begins] - np.add.reduceat(event.astype(float), begins)
        before = np.concatenate([[1.0], np.maximum(at_risk, 1.0)])
        at_risk, censored = before[1:], np.add.reduceat(censored.astype(float), begins)
    before[0] = 1.0
    np.divide(censored, at_risk, out=at_risk)
    np.subtract(1.0, at_risk, out=at_risk)
    np.cumprod(at_risk, out=at_risk)
    if begins is None:
        return before[:-1]
    return np.repeat(before[:-1], np.diff(np.concatenate([begins, [time.size]])))


def _codes(values: np.ndarray) -> np.ndarray:
    """Number of the run of equal neighbours that each value is in."""
    return np.concatenate([[0], np.cumsum(values[1:] != values[:-1])])


def _tied(level: np.ndarray, moment: np.ndarray, weight: np.ndarray) -> float:
    """Weighted pairs of one level and different moments, of rows sorted by both."""
    ends = _ends(level[1:] != level[:-1])
    same = _ends((level[1:] != level[:-1]) | (moment[1:] != moment[:-1]))
    return float(np.vdot(weight, (ends - same).astype(float)))


def _ends(new: np.ndarray) -> np.ndarray:
    """One after the last row of the run that each row is in."""
    last = np.concatenate([np.flatnonzero(new), [new.size]])
    sizes = np.diff(np.concatenate([[-1], last]))
    return np.repeat(last + 1, sizes)
