"""Survival data as rows of intervals, on which a piecewise-exponential model is a Poisson model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses._follow_up import (
    check_causes,
    check_codes,
    choose_intervals,
    cut_follow_up,
    follow_up,
    require_events,
    runs,
)
from semistruct.responses._intervals import TimeIntervals
from semistruct.responses.survival import Surv, as_surv

__all__ = ["PiecewiseExpansion"]


@dataclass(frozen=True, eq=False, repr=False)
class PiecewiseExpansion:
    """One row for every interval in which a row of the data was under observation.

    With hazards that are constant in each interval, the likelihood of censored and truncated
    follow-up is that of Poisson counts ``event`` with means ``hazard * exposure``: a regression of
    ``event`` with logarithmic link and ``offset`` fits log-hazards. Made by :meth:`from_surv`.

    Attributes
    ----------
    intervals : TimeIntervals
        The ``J`` intervals; ``intervals.cuts`` are the cut points.
    n_original : int
        Rows of the data. Rows that are never observed before the last cut point have no expanded
        rows and still count.
    row : (N,) int64 array
        Position of the row of the data, increasing within a cause. What belongs to a subject, such
        as the features of an image, is computed once per row and gathered by ``row``.
    interval : (N,) int64 array
        Number of the interval, from 0.
    exposure : (N,) float64 array
        Time under observation in the interval, always positive.
    event : (N,) int64 array
        1 if observation ended in this interval with the event, else 0; after :meth:`aggregate_by`
        the number of events.
    cause : (N,) int64 array or None
        The cause that ``event`` counts; None if there is only one. With competing causes all
        expanded rows stand here once per cause, first those of the first cause.
    causes : tuple of int
        The ``K`` causes, in the order of the blocks.
    gap_time : bool
        Whether time runs from the previous event instead of from zero.

    Notes
    -----
    *Intervals* are ``(a, b]``: an event at a cut point belongs to the interval that ends there.
    ``tstart`` and ``tend`` are the ends of the interval also for rows observed only in a part of
    it, so that the baseline is a function of the interval; ``exposure`` is the part.

    *After the last cut point* everybody is administratively censored: later events and exposure are
    left out, and with the default cut points that is the exposure after the last event, which says
    nothing about an interval-wise baseline.

    *Conservation*: exposures sum to the time at risk up to the last cut point and events to the
    events up to it, for each row of the data.

    References
    ----------
    Holford (1980), Biometrics 36, 299-305; Laird & Olivier (1981), JASA 76, 231-240; Friedman
    (1982), Annals of Statistics 10, 101-113 (the Poisson likelihood). Bender, Groll & Scheipl
    (2018), Statistical Modelling 18, 299-321 (additive models on expanded data).

    Examples
    --------
    >>> y = Surv([5, 3], [1, 0], entry=[2, 0])
    >>> expansion = PiecewiseExpansion.from_surv(y, cuts=[2, 4, 6])
    >>> expansion
    PiecewiseExpansion(4 rows from 2, 3 intervals of (0, 6], 1 event)
    >>> expansion.frame(pd.DataFrame({"x": ["a", "b"]}))
       x  tstart  tend  interval    offset  event
    0  a     2.0   4.0         1  0.693147      0
    1  a     4.0   6.0         2  0.000000      1
    2  b     0.0   2.0         0  0.693147      0
    3  b     2.0   4.0         1  0.000000      0
    """

    intervals: TimeIntervals
    n_original: int
    row: np.ndarray
    interval: np.ndarray
    exposure: np.ndarray
    event: np.ndarray
    cause: np.ndarray | None
    causes: tuple[int, ...]
    gap_time: bool

    def __post_init__(self) -> None:
        for array in (self.row, self.interval, self.exposure, self.event, self.cause):
            if array is not None:
                array.flags.writeable = False

    @classmethod
    def from_surv(
        cls,
        y: Any,
        cuts: Any = None,
        cause: int | None = None,
        max_intervals: int | None = None,
        gap_time: bool = False,
    ) -> PiecewiseExpansion:
        """Expand follow-up.

        Parameters
        ----------
        y : Surv, or what :func:`~semistruct.responses.as_surv` reads
            ``n`` rows. Several rows of one ``id``, for time-varying covariates or recurrent events,
            must not overlap in time.
        cuts : array-like, int, TimeIntervals, None or "events"
            Increasing cut points, with or without a leading zero; how many intervals, to be cut at
            quantiles of the event times (fewer where ties make quantiles coincide); or None or
            "events": every distinct event time. A model with a free baseline then has the
            coefficients of Cox's with Breslow's ties, but for the time under observation of those
            censored between two events, which Cox's does not count.
        cause : int, optional
            With competing causes, the only cause whose events count, the others being censoring,
            also for the default cut points. By default all causes, stacked.
        max_intervals : int, optional
            With "events": where there are more distinct event times, cut at so many quantiles.
        gap_time : bool
            Time runs from the start of the row instead of from zero. With ``id`` it starts anew
            only at the first row of a subject and after each event, of any cause, so that rows
            split for time-varying covariates stay in the spell they belong to.

        Returns
        -------
        PiecewiseExpansion

        Raises
        ------
        SpecificationError
            If cut points are missing, infinite, negative, repeated or out of order; or an option
            does not exist or says nothing beside the others.
        DataError
            If a row has no time under observation, rows of one ``id`` overlap, a cause has no
            event up to the last cut point, or follow-up lies outside the cut points. Cut points
            after the longest follow-up are allowed as long as one lies within follow-up.

        Notes
        -----
        Time and memory are proportional to the number of expanded rows.
        """
        y = as_surv(y)
        causes = check_causes(y, cause)
        if gap_time and y.entry is None:
            raise SpecificationError(
                "gap_time=True needs a response with entry: without it every row starts at zero "
                "and gap time is time."
            )
        start, stop = follow_up(y, gap_time)
        of_interest = y.event if cause is None else y.cause == cause
        require_events(np.bincount(y.cause, minlength=y.n_causes + 1)[list(causes)], causes)
        intervals = choose_intervals(cuts, max_intervals, start, stop, of_interest)
        expansion = _expand(y, start, stop, intervals, causes, gap_time)
        require_events(expansion.event.reshape(len(causes), -1).sum(axis=1), causes, intervals)
        return expansion

    def expand(self, y: Any) -> PiecewiseExpansion:
        """Other follow-up, cut at the same points.

        For the likelihood of data that were not fitted: other than in :meth:`from_surv`, a cause
        need not occur and follow-up need not reach a cut point.

        Raises
        ------
        DataError
            If ``y`` lacks a cause, a row has no time under observation, or rows of one id overlap.
        """
        y = as_surv(y)
        stacked = len(self.causes) > 1
        least = 1 if self.cause is None else max(2, self.causes[-1])
        if y.n_causes < least or (y.n_causes > least and (stacked or least == 1)):
            raise DataError(
                f"the response has {y.n_causes} cause(s) but this expansion was made from one with "
                f"{least}{' or more' if least > 1 and not stacked else ''}; give Surv the same "
                "n_causes."
            )
        start, stop = follow_up(y, self.gap_time)
        return _expand(y, start, stop, self.intervals, self.causes, self.gap_time)

    @property
    def cuts(self) -> np.ndarray:
        """``(J + 1,)`` cut points, the first zero."""
        return self.intervals.cuts

    @property
    def tstart(self) -> np.ndarray:
        """``(N,)`` left end of the interval of each expanded row."""
        return self.intervals.starts[self.interval]

    @property
    def tend(self) -> np.ndarray:
        """``(N,)`` right end of the interval of each expanded row."""
        return self.intervals.ends[self.interval]

    @property
    def offset(self) -> np.ndarray:
        """``(N,)`` logarithm of the exposure."""
        return np.log(self.exposure)

    def __len__(self) -> int:
        return self.row.size

    def __repr__(self) -> str:
        n_events = int(self.event.sum())
        return (
            f"PiecewiseExpansion({len(self)} rows from {self.n_original}, {len(self.intervals)} "
            f"interval{'s' * (len(self.intervals) != 1)} of (0, {self.cuts[-1]:g}], "
            f"{n_events} event{'s' * (n_events != 1)})"
        )

    def frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """The expanded data as one table.

        Parameters
        ----------
        X : DataFrame
            ``n_original`` rows. Leave columns of images out: here each is repeated for every
            interval; gather what was computed from them by ``row``.

        Returns
        -------
        DataFrame
            ``N`` rows, numbered from 0: the columns of ``X``, then ``tstart``, ``tend``,
            ``interval``, ``offset``, ``event`` and, with competing causes, ``cause``.

        Raises
        ------
        DataError
            If ``X`` has another number of rows, or already has such a column.
        """
        if not isinstance(X, pd.DataFrame):
            raise DataError(f"X must be a DataFrame, got {type(X).__name__}.")
        if len(X) != self.n_original:
            raise DataError(
                f"X has {len(X)} rows but {self.n_original} were expanded; give the rows that the "
                "response came with."
            )
        added = {
            "tstart": self.tstart,
            "tend": self.tend,
            "interval": self.interval.copy(),
            "offset": self.offset,
            "event": self.event.copy(),
        }
        if self.cause is not None:
            added["cause"] = self.cause.copy()
        taken = [name for name in added if name in X.columns]
        if taken:
            raise DataError(
                f"X already has column(s) {taken}, which the expansion adds; rename them, or leave "
                "them out if they are the response."
            )
        repeated = X.take(self.row)
        repeated.index = pd.RangeIndex(len(self))
        return pd.concat([repeated, pd.DataFrame(added)], axis=1)

    def take(self, rows: Any) -> PiecewiseExpansion:
        """The expansion of some rows of the data, such as a batch or a fold.

        Parameters
        ----------
        rows : slice, (n_original,) bool array or int array
            Rows of the data, in any order; a row may come more than once.

        Returns
        -------
        PiecewiseExpansion
            At the same cut points. Its ``row`` counts the rows that were asked for, so that it
            goes with ``X.iloc[rows]``.
        """
        chosen = np.arange(self.n_original)[rows]
        block = len(self) // len(self.causes)
        of_row = np.bincount(self.row[:block], minlength=self.n_original)
        counts = of_row[chosen]
        source = runs((np.cumsum(of_row) - of_row)[chosen], counts)
        index = (source + block * np.arange(len(self.causes))[:, None]).ravel()
        return replace(
            self,
            n_original=chosen.size,
            row=np.tile(np.repeat(np.arange(chosen.size), counts), len(self.causes)),
            interval=self.interval[index],
            exposure=self.exposure[index],
            event=self.event[index],
            cause=None if self.cause is None else self.cause[index],
        )

    def aggregate_by(self, codes: Any) -> PiecewiseExpansion:
        """Add up rows that share their covariates.

        Parameters
        ----------
        codes : (n_original,) int array
            Number of the covariate pattern of each row of the data, as from ``pandas.factorize`` or
            ``DataFrame.groupby(...).ngroup()``.

        Returns
        -------
        PiecewiseExpansion
            One row per pattern, interval and cause that occur: ``row`` is the pattern, ``exposure``
            and ``event`` are sums. It goes with a table of one row per pattern.

        Raises
        ------
        DataError
            If a code is missing, not whole, or not from 0 to ``n_original - 1``.

        Notes
        -----
        Sums of exposure and events are sufficient: the Poisson log-likelihood of the sums and that
        of the rows differ by a constant, so estimates and standard errors are the same. Deviances
        are not.
        """
        codes = check_codes(codes, self.n_original)
        n_patterns = int(codes.max()) + 1 if codes.size else 0
        J = len(self.intervals)
        key = (_cause_index(self) * n_patterns + codes[self.row]) * J + self.interval
        cell, distinct = pd.factorize(key, sort=True)
        pattern = distinct // J
        cause_index = pattern // n_patterns if n_patterns else pattern
        counts = np.bincount(cell, weights=self.event, minlength=distinct.size)
        return replace(
            self,
            n_original=n_patterns,
            row=pattern - cause_index * n_patterns,
            interval=distinct % J,
            exposure=np.bincount(cell, weights=self.exposure, minlength=distinct.size),
            event=counts.astype(np.int64),
            cause=None if self.cause is None else np.array(self.causes)[cause_index],
        )

    def at(self, times: Any) -> np.ndarray:
        """Number of the interval of every time; see :meth:`TimeIntervals.at`."""
        return self.intervals.at(times)

    def cumulative_hazard(self, hazard: Any, times: Any) -> np.ndarray:
        """Integrals ``(n, T)`` of hazards ``(n, J)``; see :meth:`TimeIntervals.cumulative_hazard`.

        Examples
        --------
        >>> expansion = PiecewiseExpansion.from_surv(Surv([5, 3], [1, 0]), cuts=[2, 6])
        >>> expansion.cumulative_hazard([[0.5, 0.25]], [1, 2, 4])
        array([[0.5, 1. , 1.5]])
        """
        return self.intervals.cumulative_hazard(hazard, times)

    def cumulative_incidence(self, hazards: Any, times: Any) -> np.ndarray:
        """Incidences ``(K, n, T)``; see :meth:`TimeIntervals.cumulative_incidence`."""
        return self.intervals.cumulative_incidence(hazards, times)


def _cause_index(expansion: PiecewiseExpansion) -> np.ndarray:
    """Position of each row's cause in ``causes``."""
    if expansion.cause is None:
        return np.zeros(len(expansion), dtype=np.int64)
    return np.searchsorted(np.array(expansion.causes), expansion.cause)


def _expand(
    y: Surv,
    start: np.ndarray,
    stop: np.ndarray,
    intervals: TimeIntervals,
    causes: tuple[int, ...],
    gap_time: bool,
) -> PiecewiseExpansion:
    """Rows of intervals from time at risk, once per cause."""
    pieces = cut_follow_up(start, stop, intervals)
    n, size = len(y), pieces.interval.size
    event = np.zeros((len(causes), size), dtype=np.int64)
    kept = np.flatnonzero(pieces.last >= 0)
    event[:, pieces.last[kept]] = y.cause[kept] == np.array(causes)[:, None]
    K = len(causes)
    return PiecewiseExpansion(
        intervals=intervals,
        n_original=n,
        row=np.tile(np.repeat(np.arange(n), pieces.counts), K),
        interval=np.tile(pieces.interval, K),
        exposure=np.tile(pieces.exposure, K),
        event=event.ravel(),
        cause=np.repeat(np.array(causes), size) if y.n_causes > 1 else None,
        causes=causes,
        gap_time=gap_time,
    )
