"""Intervals of follow-up time and exact integrals of hazards that are constant in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses.base import plain

__all__ = ["TimeIntervals"]


@dataclass(frozen=True, eq=False, repr=False)
class TimeIntervals:
    """Time from zero in intervals that are open at the left and closed at the right.

    Parameters
    ----------
    cuts : (J + 1,) array-like
        Strictly increasing cut points, in the unit of time. Zero is put in front where it is
        missing, so ``J`` or ``J + 1`` of them may be given. Interval ``j`` is
        ``(cuts[j], cuts[j + 1]]``.

    Raises
    ------
    SpecificationError
        If a cut point is missing, infinite, negative, repeated or out of order, or none is
        positive.

    Notes
    -----
    A hazard is an array whose last axis is the interval; everything here is row-wise, so a subject
    alone and among others gets the same numbers.

    Examples
    --------
    >>> intervals = TimeIntervals([2, 5, 10])
    >>> intervals
    TimeIntervals(3 intervals of (0, 10])
    >>> intervals.at([0, 2, 2.5, 10])
    array([0, 0, 1, 2])
    >>> intervals.cumulative_hazard([[0.1, 0.2, 0.0]], [2, 4, 10])
    array([[0.2, 0.6, 0.8]])
    """

    cuts: np.ndarray
    """``(J + 1,)`` float64, read-only; the first is zero."""

    def __post_init__(self) -> None:
        cuts = _check_cuts(self.cuts)
        cuts.flags.writeable = False
        object.__setattr__(self, "cuts", cuts)

    @classmethod
    def from_events(cls, times: np.ndarray, n_intervals: int | None = None) -> TimeIntervals:
        """Intervals that end at event times.

        Parameters
        ----------
        times : (m,) array of positive floats
            Event times, in any order, with repetitions.
        n_intervals : int, optional
            Most intervals. The cut points are then the ``1 / n_intervals, 2 / n_intervals, ...``
            quantiles of the event times, each itself an event time, so that the intervals have
            about the same number of events. By default every distinct event time is one.
        """
        distinct = np.unique(times)
        if n_intervals is not None and n_intervals < distinct.size:
            levels = np.arange(1, n_intervals + 1) / n_intervals
            distinct = np.unique(np.quantile(times, levels, method="inverted_cdf"))
        return cls(distinct)

    @property
    def starts(self) -> np.ndarray:
        """``(J,)`` left ends, which do not belong to their intervals."""
        return self.cuts[:-1]

    @property
    def ends(self) -> np.ndarray:
        """``(J,)`` right ends, which belong to their intervals."""
        return self.cuts[1:]

    @property
    def lengths(self) -> np.ndarray:
        """``(J,)`` lengths, in the unit of time."""
        return np.diff(self.cuts)

    def __len__(self) -> int:
        return self.cuts.size - 1

    def __repr__(self) -> str:
        plural = "s" * (len(self) != 1)
        return f"TimeIntervals({len(self)} interval{plural} of (0, {self.cuts[-1]:g}])"

    def at(self, times: Any) -> np.ndarray:
        """Number of the interval of every time.

        Parameters
        ----------
        times : array-like
            In any order. Zero counts with the first interval.

        Returns
        -------
        int64 array of the same shape
            From 0 to ``J - 1``. A cut point is in the interval that it ends.

        Raises
        ------
        DataError
            If a time is missing, negative or after the last cut point.
        """
        times = np.asarray(times, dtype=np.float64)
        last = self.cuts[-1]
        bad = np.flatnonzero(~((times >= 0) & (times <= last)).ravel())
        if bad.size:
            raise DataError(
                f"times must lie between 0 and the last cut point, {last:g}, after which no hazard "
                f"is known; {bad.size} do not, the first is {times.ravel()[bad[0]]:g}. Leave them "
                "out, or choose cut points that reach further."
            )
        return np.maximum(np.searchsorted(self.cuts, times, side="left") - 1, 0).astype(np.int64)

    def cumulative_hazard(self, hazard: Any, times: Any) -> np.ndarray:
        """Integral of the hazard from zero to every time.

        Parameters
        ----------
        hazard : (n, J) array-like
            Events per unit of time, constant in each interval.
        times : (T,) array-like
            In any order, from zero to the last cut point.

        Returns
        -------
        (n, T) array
            ``H(t) = sum_j hazard_j |(a_j, b_j] ∩ (0, t]|``, exact up to rounding. ``exp(-H)`` is
            the survival function of a single cause.

        Raises
        ------
        DataError
            If the shape is wrong, a hazard is negative or not finite, or a time is out of range.
        """
        hazard = self._check_hazard(hazard, "hazard", ("n",))
        interval, elapsed = self._locate(times)
        before = _running_sums(hazard * self.lengths)
        return before[:, interval] + hazard[:, interval] * elapsed

    def cumulative_incidence(self, hazards: Any, times: Any) -> np.ndarray:
        """Probability of an event of each cause up to every time, with competing causes.

        Parameters
        ----------
        hazards : (K, n, J) array-like
            Cause-specific hazards, constant in each interval.
        times : (T,) array-like
            In any order, from zero to the last cut point.

        Returns
        -------
        (K, n, T) array
            They and the probability of no event, ``exp(-H(t))`` with the sum of the hazards, add
            up to one.

        Raises
        ------
        DataError
            If the shape is wrong, a hazard is negative or not finite, or a time is out of range.

        Notes
        -----
        With ``h = sum_k h_k`` and survival ``S``, an interval ``(a, a + d]`` adds

            ``S(a) (h_k / h) (1 - exp(-h d))``

        to the incidence of cause ``k``, in the limit ``S(a) h_k d`` where ``h`` is zero. No
        numerical integration is involved.

        References
        ----------
        Kalbfleisch & Prentice (2002), The Statistical Analysis of Failure Time Data, section 8.2.
        """
        hazards = self._check_hazard(hazards, "hazards", ("K", "n"))
        interval, elapsed = self._locate(times)
        total = hazards.sum(axis=0)
        step = total * self.lengths
        survival = np.exp(-_running_sums(step)[:, :-1])
        whole = survival * self.lengths * _mean_decay(step)
        partly = survival[:, interval] * elapsed * _mean_decay(total[:, interval] * elapsed)
        before = _running_sums(hazards * whole)
        return before[..., interval] + hazards[..., interval] * partly

    def _locate(self, times: Any) -> tuple[np.ndarray, np.ndarray]:
        """Interval of every time, and how long the interval has lasted by then."""
        times = plain(times, "times").astype(np.float64)
        interval = self.at(times)
        return interval, times - self.cuts[interval]

    def _check_hazard(self, hazard: Any, name: str, axes: tuple[str, ...]) -> np.ndarray:
        hazard = np.asarray(hazard, dtype=np.float64)
        if hazard.ndim != len(axes) + 1 or hazard.shape[-1] != len(self):
            raise DataError(
                f"{name} must have shape ({', '.join(axes)}, {len(self)}), the last axis being the "
                f"intervals, got {hazard.shape}."
            )
        bad = np.argwhere(~(np.isfinite(hazard) & (hazard >= 0)))
        if bad.size:
            first = tuple(int(k) for k in bad[0])
            raise DataError(
                f"{name} must be finite and not negative; {len(bad)} value(s) are not, the first "
                f"is {hazard[first]} at {first}. Hazards are exponentials of a linear predictor."
            )
        return hazard


def _running_sums(values: np.ndarray) -> np.ndarray:
    """Sums of everything before each entry of the last axis, and at the end of everything."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    return sums


def _mean_decay(x: np.ndarray) -> np.ndarray:
    """``(1 - exp(-x)) / x``, one at zero, without cancellation for small ``x``."""
    decay = np.ones_like(x)
    np.divide(-np.expm1(-x), x, out=decay, where=x > 0)
    return decay


def _check_cuts(cuts: Any) -> np.ndarray:
    try:
        cuts = plain(cuts, "cuts").astype(np.float64)
    except (TypeError, ValueError) as error:
        raise SpecificationError(f"cuts must be increasing numbers: {error}") from error
    for rule, bad in (
        ("be finite; end them at the longest follow-up of interest", ~np.isfinite(cuts)),
        ("not be negative; time is measured from zero", cuts < 0),
    ):
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            raise SpecificationError(f"cut points must {rule}. Cut point {k} is {cuts[k]:g}.")
    wrong = np.flatnonzero(np.diff(cuts) <= 0)
    if wrong.size:
        k = int(wrong[0])
        repair = "is repeated" if cuts[k] == cuts[k + 1] else f"is followed by {cuts[k + 1]:g}"
        raise SpecificationError(
            f"cut points must be strictly increasing; {cuts[k]:g} {repair}. numpy.unique sorts "
            "them and drops repetitions."
        )
    if not cuts.size or cuts[-1] <= 0:
        raise SpecificationError(f"cuts must hold a positive cut point, got {cuts.tolist()}.")
    return np.concatenate(([0.0], cuts)) if cuts[0] > 0 else cuts.copy()
