"""The Kaplan-Meier estimator, of survival and of staying uncensored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from semistruct._validation import check_sample_weight
from semistruct.evaluation._checks import single_cause
from semistruct.exceptions import DataError
from semistruct.responses import Surv

__all__ = ["KaplanMeier", "censoring_kaplan_meier", "kaplan_meier"]


@dataclass(frozen=True, eq=False, repr=False)
class KaplanMeier:
    """A product-limit estimate: a step function that falls at the times of events.

    Attributes
    ----------
    time : (m,) array
        Distinct times at which the curve falls, increasing, in the unit of the response.
    survival : (m,) array
        The curve at, and right after, each time.
    std_error : (m,) array
        Greenwood's standard error of ``survival``; NaN where the curve is zero.
    at_risk, n_events : (m,) array
        Sum of weights under observation just before, and of events at, each time.
    follow_up : float
        Longest time under observation. Unless the curve has reached zero, nothing is known after.
    """

    time: np.ndarray
    survival: np.ndarray
    std_error: np.ndarray
    at_risk: np.ndarray
    n_events: np.ndarray
    follow_up: float

    def __repr__(self) -> str:
        last = self.survival[-1] if self.survival.size else 1.0
        return f"KaplanMeier({self.time.size} steps to {last:.3g}, times to {self.follow_up:g})"

    def at(self, times: Any) -> np.ndarray:
        """``S(t)``, the probability of exceeding each time.

        Parameters
        ----------
        times : array-like
            In any order.

        Returns
        -------
        array of the same shape

        Raises
        ------
        DataError
            If a time is missing, or after the longest follow-up while the curve is above zero.
        """
        return self._evaluate(times, self.survival, 1.0, "right")

    def before(self, times: Any) -> np.ndarray:
        """``S(t-)``, the probability of reaching each time; otherwise as :meth:`at`."""
        return self._evaluate(times, self.survival, 1.0, "left")

    def std_error_at(self, times: Any) -> np.ndarray:
        """Greenwood's standard error of ``S(t)`` at each time; otherwise as :meth:`at`."""
        return self._evaluate(times, self.std_error, 0.0, "right")

    def _evaluate(self, times: Any, values: np.ndarray, start: float, side: Any) -> np.ndarray:
        times = np.asarray(times, dtype=np.float64)
        if np.isnan(times).any():
            raise DataError("times must not be missing; the curve was asked for at NaN.")
        late = times > self.follow_up
        if late.any() and not (self.survival.size and self.survival[-1] == 0):
            raise DataError(
                f"the Kaplan-Meier curve is known up to {self.follow_up:g}, the longest follow-up, "
                f"but was asked for at {times[late].ravel()[0]:g}. Leave out later times, or give "
                "a smaller tau."
            )
        steps = np.concatenate([[start], values])
        return steps[np.searchsorted(self.time, times, side=side)]


def kaplan_meier(y: Any, *, sample_weight: Any = None) -> KaplanMeier:
    """Kaplan-Meier estimate of the survival function.

    Parameters
    ----------
    y : Surv, structured array or DataFrame
        ``n`` rows of follow-up, delayed entry allowed.
    sample_weight : (n,) array-like, optional
        Frequencies: a row of weight 2 is two such rows.

    Returns
    -------
    KaplanMeier

    Raises
    ------
    DataError
        If the response is empty or has several causes, or a weight is negative or missing.

    Notes
    -----
    ``S(t) = prod_{t_k <= t} (1 - d_k / n_k)`` with ``d_k`` events and ``n_k`` rows under
    observation just before ``t_k``. Rows censored at the time of an event are still observed then.
    Variance: ``S(t)^2 sum_{t_k <= t} d_k / (n_k (n_k - d_k))``.

    References
    ----------
    Kaplan & Meier (1958), Journal of the American Statistical Association 53, 457-481.
    Greenwood (1926), Reports on Public Health and Medical Subjects 33.

    Examples
    --------
    >>> curve = kaplan_meier(Surv([5, 3, 8, 9], [1, 0, 1, 0]))
    >>> curve
    KaplanMeier(2 steps to 0.333, times to 9)
    >>> curve.at([4, 5, 8]).round(3)
    array([1.   , 0.667, 0.333])
    >>> curve.before([5])
    array([1.])
    """
    follow_up = single_cause(y)
    weights = check_sample_weight(sample_weight, len(follow_up))
    return _product_limit(follow_up, weights, follow_up.event, late=np.zeros_like(weights))


def censoring_kaplan_meier(y: Any, *, sample_weight: Any = None) -> KaplanMeier:
    """Kaplan-Meier estimate of the probability ``G(t)`` of not yet being censored.

    Parameters
    ----------
    y : Surv, structured array or DataFrame
        ``n`` rows of follow-up, delayed entry allowed.
    sample_weight : (n,) array-like, optional
        Frequencies.

    Returns
    -------
    KaplanMeier
        Its ``n_events`` are the censored rows.

    Raises
    ------
    DataError
        As :func:`kaplan_meier`.

    Notes
    -----
    Where events and censoring share a time, the events come first: a row with its event at ``t``
    is not at risk of being censored at ``t``. So ``S(t-) G(t-)`` is the fraction under observation
    just before ``t``.

    Examples
    --------
    >>> censoring_kaplan_meier(Surv([5, 5, 5, 8], [1, 0, 0, 1])).at([4, 5]).round(3)
    array([1.   , 0.333])
    """
    follow_up = single_cause(y)
    weights = check_sample_weight(sample_weight, len(follow_up))
    return _product_limit(follow_up, weights, ~follow_up.event, late=weights * follow_up.event)


def _product_limit(
    y: Surv, weights: np.ndarray, falls: np.ndarray, late: np.ndarray
) -> KaplanMeier:
    """The estimate for the rows that ``falls`` marks; ``late`` leave right before them."""
    time, weights_of_rows = y.time, weights
    if not (time[1:] >= time[:-1]).all():
        order = np.argsort(time)
        time, weights, falls, late = time[order], weights[order], falls[order], late[order]
    begins = np.flatnonzero(np.concatenate([[True], time[1:] != time[:-1]]))
    n_events, leaving = weights * falls, late
    if begins.size < time.size:
        n_events, leaving = np.add.reduceat(n_events, begins), np.add.reduceat(late, begins)
    at_risk = np.cumsum(weights[::-1])[::-1][begins] - leaving
    steps = np.flatnonzero(n_events > 0)
    time, n_events, at_risk = time[begins][steps], n_events[steps], at_risk[steps]
    if y.entry is not None:
        at_risk = at_risk - _sum_from(y.entry, weights_of_rows, time)
    # Sums of weights in another order may differ in the last digit where everybody has the event.
    stay = np.where(np.abs(n_events - at_risk) <= 1e-12 * at_risk, 0.0, 1 - n_events / at_risk)
    survival = np.cumprod(stay)
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard_variance = np.cumsum((1 - stay) / (at_risk * stay))
        std_error = np.where(survival > 0, survival * np.sqrt(hazard_variance), np.nan)
    return KaplanMeier(time, survival, std_error, at_risk, n_events, float(y.time.max()))


def _sum_from(values: np.ndarray, weights: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Sum of the weights of values at or after each time."""
    order = np.argsort(values)
    tails = np.concatenate([np.cumsum(weights[order][::-1])[::-1], [0.0]])
    return tails[np.searchsorted(values[order], times, side="left")]
