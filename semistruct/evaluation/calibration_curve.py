"""Calibration of predicted probabilities: how often what was predicted happens, smoothly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.families.links import CLogLog
from statsmodels.genmod.generalized_linear_model import GLM

from semistruct._validation import check_sample_weight
from semistruct.evaluation._censoring import CensoringWeights
from semistruct.evaluation._checks import check_probabilities, right_censored
from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses import Surv
from semistruct.responses.base import number_column

__all__ = ["CalibrationCurve", "calibration_curve", "integrated_calibration_index"]

_KNOTS = {3: (0.1, 0.5, 0.9), 4: (0.05, 0.35, 0.65, 0.95), 5: (0.05, 0.275, 0.5, 0.725, 0.95)}
_EXTREME = 1e-7  # probabilities beyond have no finite complementary log-log in practice


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationCurve:
    """Observed beside predicted probabilities.

    Attributes
    ----------
    predicted : (n,) array
    observed : (n,) array
        Estimated probability of the event among rows of which that was predicted.
    ici, e50, e90, e_max : float
        Mean, median, 90th percentile and maximum of the absolute difference.
    """

    predicted: np.ndarray
    observed: np.ndarray
    ici: float
    e50: float
    e90: float
    e_max: float

    def __repr__(self) -> str:
        return f"CalibrationCurve(ici={self.ici:.4f}, e50={self.e50:.4f}, e90={self.e90:.4f})"


def calibration_curve(
    y: Any,
    predicted: Any,
    *,
    time: float | None = None,
    y_train: Any = None,
    n_knots: int = 3,
    sample_weight: Any = None,
) -> CalibrationCurve:
    """Smooth calibration curve of predicted probabilities of an event.

    Parameters
    ----------
    y : (n,) array-like of 0 and 1, or Surv
    predicted : (n,) array-like
        Predicted probability of the event; of a follow-up, of the event up to ``time``: one minus
        the survival.
    time : float, optional
        For a follow-up.
    y_train : Surv, optional
        From which the distribution of censoring is estimated; by default ``y``.
    n_knots : {3, 4, 5}
        Of the natural cubic spline: more follow a curve that is bent more often.
    sample_weight : (n,) array-like, optional

    Returns
    -------
    CalibrationCurve

    Raises
    ------
    DataError
        If lengths differ, a probability is missing or outside of 0 to 1, an outcome is not 0 or 1,
        there is one outcome only, or fewer distinct predictions than knots.
    SpecificationError
        If ``time`` is missing for a follow-up, or given without one.

    Notes
    -----
    A binomial regression with complementary log-log link on a natural cubic spline of
    ``log(-log(1 - p))``, in which perfect calibration is a straight line of slope one. Under
    censoring rows have the weights of the Brier score: ``1 / G(T_i-)`` with the event up to
    ``time``, ``1 / G(time)`` under observation after it, zero when censored before. Austin, Harrell
    and van Klaveren fit a hazard regression to the same spline, which needs proportional hazards
    in its place.

    References
    ----------
    Austin, Harrell & van Klaveren (2020), Statistics in Medicine 39, 2714-2742. Austin & Steyerberg
    (2019), Statistics in Medicine 38, 4051-4065.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(0.1, 0.9, 2000)
    >>> y = rng.random(2000) < p
    >>> bool(calibration_curve(y, p).ici < 0.03), bool(calibration_curve(y, p**2).ici > 0.1)
    (True, True)
    """
    if n_knots not in _KNOTS:
        raise SpecificationError(f"n_knots must be 3, 4 or 5, got {n_knots!r}.")
    if isinstance(y, Surv):
        if time is None:
            raise SpecificationError("of a follow-up, calibration is at one time: give time=.")
        outcome, weight = _known_by(y, y if y_train is None else y_train, float(time))
    else:
        if time is not None or y_train is not None:
            raise SpecificationError("time= and y_train= are for a follow-up; leave them out.")
        outcome = number_column(y, "y")
        weight = np.ones(outcome.size)
        if not np.isin(outcome, (0.0, 1.0)).all():
            row = int(np.argmin(np.isin(outcome, (0.0, 1.0))))
            raise DataError(f"y must be 0 or 1; row {row} has {outcome[row]:g}.")
    probability = check_probabilities(predicted, "predicted", outcome.size)
    rows = check_sample_weight(sample_weight, outcome.size)
    weight = weight * rows
    used = weight > 0
    if len(np.unique(outcome[used])) < 2:
        raise DataError("calibration needs rows with and without the event.")
    clipped = np.clip(probability, _EXTREME, 1 - _EXTREME)
    x = np.log(-np.log1p(-clipped))
    knots = np.quantile(x[used], _KNOTS[n_knots])
    if len(np.unique(knots)) < n_knots:
        raise DataError(f"predicted has too few distinct values for {n_knots} knots.")
    X = _natural_spline(x, knots)
    model = GLM(outcome[used], X[used], Binomial(CLogLog()), freq_weights=weight[used])
    observed = np.asarray(model.fit().predict(X))
    away = np.abs(observed - probability)
    counted = rows > 0
    e50, e90 = np.quantile(away[counted], [0.5, 0.9])
    ici = float(np.average(away, weights=rows))
    return CalibrationCurve(
        probability, observed, ici, float(e50), float(e90), float(away[counted].max())
    )


def integrated_calibration_index(
    y: Any,
    predicted: Any,
    *,
    time: float | None = None,
    y_train: Any = None,
    n_knots: int = 3,
    sample_weight: Any = None,
) -> float:
    """Mean absolute difference of observed and predicted probabilities.

    Parameters
    ----------
    y, predicted, time, y_train, n_knots, sample_weight
        As in :func:`calibration_curve`.

    Returns
    -------
    float
        Zero is perfect calibration. It is not negative, and of a calibrated model positive by
        chance, the more so the fewer rows.

    References
    ----------
    Austin & Steyerberg (2019), Statistics in Medicine 38, 4051-4065.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> time, end = rng.exponential(1, 2000), rng.exponential(2, 2000)
    >>> y = Surv(np.minimum(time, end), time <= end)
    >>> wrong = 1 - np.exp(-0.5 * np.exp(rng.normal(0, 0.1, 2000)))  # twice the survival time
    >>> round(integrated_calibration_index(y, wrong, time=1.0), 1)
    0.2
    """
    return calibration_curve(
        y,
        predicted,
        time=time,
        y_train=y_train,
        n_knots=n_knots,
        sample_weight=sample_weight,
    ).ici


def _known_by(y: Surv, y_train: Any, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether the event has happened by a time, and the weight of knowing."""
    follow_up = right_censored(y, "y")
    weights = CensoringWeights(y_train, follow_up, np.array([time]))
    past = follow_up.time <= time
    return (past & follow_up.event).astype(float), np.where(
        past, weights.of_event, weights.of_survivor[0]
    )


def _natural_spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """One, ``x``, and truncated cubics that are linear beyond the knots, ``(n, k)``."""

    def cubic(knot: float) -> np.ndarray:
        return np.maximum(x - knot, 0) ** 3

    last, previous = knots[-1], knots[-2]
    span = (last - knots[0]) ** 2
    columns = [np.ones_like(x), x]
    for knot in knots[:-2]:
        left = (last - knot) / (last - previous)
        right = (previous - knot) / (last - previous)
        columns.append((cubic(knot) - left * cubic(previous) + right * cubic(last)) / span)
    return np.column_stack(columns)
