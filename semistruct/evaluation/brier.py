"""Brier score of predicted survival probabilities under censoring, at times and integrated."""

from __future__ import annotations

from typing import Any

import numpy as np

from semistruct._validation import check_sample_weight
from semistruct.evaluation._censoring import CensoringWeights
from semistruct.evaluation._checks import check_survival, right_censored, single_cause
from semistruct.exceptions import SpecificationError

__all__ = ["brier_score", "integrated_brier_score", "squared_errors"]

_BLOCK = 1 << 15  # probabilities held at a time
_RULES = ("trapezoid", "step")


def brier_score(
    y_train: Any, y: Any, survival: Any, times: Any = None, *, sample_weight: Any = None
) -> np.ndarray:
    """Mean squared error of predicted survival at given times, weighted for censoring.

    Parameters
    ----------
    y_train : Surv, structured array or DataFrame
        Follow-up from which the distribution of censoring is estimated, by Kaplan-Meier.
    y : Surv, structured array or DataFrame
        ``n`` rows of right-censored follow-up, on which the predictions are judged.
    survival : (n, T) array-like, or DataFrame
        Predicted probabilities of surviving beyond each time, a row per row of ``y``; or the table
        that ``predict_survival_function`` returns, with times as rows.
    times : (T,) array-like, optional
        Strictly increasing, up to the longest follow-up of ``y`` and of ``y_train``. Of a table
        some of its times, by default all: ``survival.loc[:t]`` has those up to ``t``.
    sample_weight : (n,) array-like, optional
        Weights of the rows of ``y`` in the mean.

    Returns
    -------
    (T,) array
        Zero is perfect; 0.25 is what a prediction of 0.5 for everybody gets.

    Raises
    ------
    DataError
        If shapes do not match, a probability is missing or outside of 0 to 1, times are out of
        order or beyond the follow-up, or there is delayed entry or more than one cause.

    Notes
    -----
    ``BS(t) = mean_i { S_i(t)^2 1[T_i <= t, event] / G(T_i-) + (1 - S_i(t))^2 1[T_i > t] / G(t) }``
    with the Kaplan-Meier estimate ``G`` of staying uncensored. Censoring is taken to be
    independent of the covariates. The left limit at ``T_i`` makes the score consistent where
    events and censoring share times.

    References
    ----------
    Graf, Schmoor, Sauerbrei & Schumacher (1999), Statistics in Medicine 18, 2529-2545.
    Gerds & Schumacher (2006), Biometrical Journal 48, 1029-1040.

    Examples
    --------
    >>> from semistruct import Surv
    >>> y = Surv([2, 4, 6, 8], [1, 0, 1, 0])
    >>> brier_score(y, y, [[0.6, 0.1], [0.9, 0.6], [0.8, 0.4], [0.9, 0.8]], times=[3, 7]).round(4)
    array([0.105 , 0.0775])
    """
    follow_up = right_censored(y, "y")
    survival, times = check_survival(survival, len(follow_up), times)
    rows = check_sample_weight(sample_weight, len(follow_up))
    weights = CensoringWeights(y_train, follow_up, times)
    return (
        squared_errors(
            follow_up.time, survival, times, rows * weights.of_event, rows, weights.of_survivor
        )
        / rows.sum()
    )


def squared_errors(
    time: np.ndarray,
    survival: np.ndarray,
    times: np.ndarray,
    past: np.ndarray,
    future: np.ndarray,
    of_survivor: np.ndarray,
) -> np.ndarray:
    """Weighted sums ``(T,)`` of ``S^2`` of rows up to a time and ``(1 - S)^2`` of rows after it.

    Parameters
    ----------
    time : (n,) array
    survival : (n, T) array
    times : (T,) array
    past, future : (n,) array
        Weight of a row at times from its own on, and before.
    of_survivor : (T,) array
        Another factor of ``future``.

    Notes
    -----
    Some rows at a time, so that every step works on what is in the cache.
    """
    before, after = np.zeros(times.size), np.zeros(times.size)
    size = max(1, _BLOCK // times.size)
    for start in range(0, time.size, size):
        rows = slice(start, start + size)
        left = (time[rows, None] > times).astype(float)
        errors = left - survival[rows]
        errors *= errors
        left *= errors
        errors -= left
        before += past[rows] @ errors
        after += future[rows] @ left
    return before + of_survivor * after


def integrated_brier_score(
    y_train: Any,
    y: Any,
    survival: Any,
    times: Any = None,
    *,
    rule: str = "trapezoid",
    sample_weight: Any = None,
) -> float:
    """Mean of the Brier score over the time from ``times[0]`` to ``times[-1]``.

    Parameters
    ----------
    y_train, y, survival, times, sample_weight
        As in :func:`brier_score`, with two times or more. A first time of zero, where every
        survival is one and the score is zero, begins the mean there.
    rule : {"trapezoid", "step"}
        Between times the score is a straight line, or stays as it was at the time before; the
        latter is what R's pec and riskRegression do, with a first time of zero.

    Returns
    -------
    float

    Raises
    ------
    DataError
        As :func:`brier_score`.
    SpecificationError
        If ``rule`` is not one of the two, or there is only one time.

    References
    ----------
    Graf, Schmoor, Sauerbrei & Schumacher (1999), Statistics in Medicine 18, 2529-2545.

    Examples
    --------
    >>> from semistruct import Surv
    >>> y = Surv([2, 4, 6, 8], [1, 0, 1, 0])
    >>> survival = [[0.6, 0.1], [0.9, 0.6], [0.8, 0.4], [0.9, 0.8]]
    >>> round(integrated_brier_score(y, y, survival, times=[3, 7]), 5)
    0.09125
    """
    if rule not in _RULES:
        raise SpecificationError(f"rule must be one of {', '.join(_RULES)}, got {rule!r}.")
    survival, times = check_survival(survival, len(single_cause(y)), times)
    if times.size < 2:
        raise SpecificationError(
            f"a score is integrated over two times or more, got only {times[0]:g}; "
            "brier_score gives the score at one time."
        )
    scores = brier_score(y_train, y, survival, times, sample_weight=sample_weight)
    between = scores[:-1] if rule == "step" else (scores[:-1] + scores[1:]) / 2
    return float(between @ np.diff(times) / (times[-1] - times[0]))
