"""Proper scores of predicted distributions: the smaller, the better."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from semistruct._validation import check_sample_weight
from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses.base import number_column

__all__ = [
    "crps_normal",
    "crps_sample",
    "dawid_sebastiani",
    "interval_score",
    "log_score",
    "pinball_loss",
]

_ESTIMATORS = ("empirical", "fair")


def log_score(log_density: Any, *, sample_weight: Any = None) -> float:
    """Mean of minus the log density, or log probability, that was predicted for what happened.

    Parameters
    ----------
    log_density : (n,) array-like
        Each row's predicted log density at its response. Minus infinity makes the score infinite.
    sample_weight : (n,) array-like, optional
        Weights of the rows in the mean.

    Returns
    -------
    float

    Raises
    ------
    DataError
        If a value is missing, or plus infinity.

    References
    ----------
    Good (1952), Journal of the Royal Statistical Society B 14, 107-114.

    Examples
    --------
    >>> round(log_score(np.log([0.5, 0.25])), 4)
    1.0397
    """
    values = number_column(log_density, "log_density")
    infinite = np.flatnonzero(values == np.inf)
    if infinite.size:
        raise DataError(f"log_density must not be infinity; row {infinite[0]} is.")
    weights = check_sample_weight(sample_weight, values.size)
    counted = weights > 0
    return _mean(-values[counted], weights[counted])


def crps_sample(
    y: Any, samples: Any, *, estimator: str = "empirical", sample_weight: Any = None
) -> float:
    """Continuous ranked probability score of predicted samples.

    Parameters
    ----------
    y : (n,) array-like
        Responses.
    samples : (n, S) array-like
        Draws from each row's predicted distribution.
    estimator : {"empirical", "fair"}
        The score of the draws as a distribution of their own, or an unbiased estimate of the score
        of the distribution they come from.
    sample_weight : (n,) array-like, optional
        Weights of the rows in the mean.

    Returns
    -------
    float
        In the unit of the response.

    Raises
    ------
    DataError
        If shapes do not match or a value is missing or infinite.
    SpecificationError
        If ``estimator`` is not one of the two, or "fair" has one draw only.

    Notes
    -----
    ``mean_s |x_s - y| - (1/2) mean_{s,r} |x_s - x_r|``; "fair" leaves the pairs ``s = r`` out
    of the second mean. Sorting gives the second mean in ``O(S log S)``.

    References
    ----------
    Gneiting & Raftery (2007), Journal of the American Statistical Association 102, 359-378.
    Ferro (2014), Quarterly Journal of the Royal Meteorological Society 140, 1917-1923.

    Examples
    --------
    >>> crps_sample([1.0], [[0.0, 2.0]])
    0.5
    >>> crps_sample([1.0], [[0.0, 2.0]], estimator="fair")
    0.0
    """
    if estimator not in _ESTIMATORS:
        raise SpecificationError(
            f"estimator must be one of {', '.join(_ESTIMATORS)}, got {estimator!r}."
        )
    response = _finite(y, "y")
    draws = np.asarray(samples, dtype=np.float64)
    if draws.ndim != 2 or draws.shape[0] != response.size or not draws.shape[1]:
        raise DataError(
            f"samples must have shape ({response.size}, S), a row of draws per row of y, got "
            f"{draws.shape}."
        )
    bad = np.flatnonzero(~np.isfinite(draws).all(axis=1))
    if bad.size:
        raise DataError(f"samples must be finite; {bad.size} row(s) are not, first row {bad[0]}.")
    n_draws = draws.shape[1]
    if estimator == "fair" and n_draws < 2:
        raise SpecificationError('estimator="fair" needs two draws per row or more, got one.')
    # Around the response, so that a common location far from zero costs no digits.
    away = np.sort(draws - response[:, None], axis=1)
    ranks = 2 * np.arange(n_draws) - (n_draws - 1)
    pairs = n_draws * (n_draws if estimator == "empirical" else n_draws - 1)
    scores = np.abs(away).mean(axis=1) - away @ ranks / pairs
    return _mean(scores, check_sample_weight(sample_weight, response.size))


def crps_normal(y: Any, mean: Any, sd: Any, *, sample_weight: Any = None) -> float:
    """Continuous ranked probability score of normal distributions.

    Parameters
    ----------
    y : (n,) array-like
        Responses.
    mean, sd : (n,) array-like or float
        Of each row's predicted distribution; ``sd`` positive.
    sample_weight : (n,) array-like, optional
        Weights of the rows in the mean.

    Returns
    -------
    float
        In the unit of the response.

    Raises
    ------
    DataError
        If lengths differ, a value is missing or infinite, or a standard deviation is not positive.

    Notes
    -----
    ``sd { z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi) }`` with ``z = (y - mean) / sd``.

    References
    ----------
    Gneiting & Raftery (2007), Journal of the American Statistical Association 102, equation 22.

    Examples
    --------
    >>> round(crps_normal([0.0], 0.0, 1.0), 4)
    0.2337
    """
    response, mean, sd = _location_scale(y, mean, sd)
    z = (response - mean) / sd
    inner = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    return _mean(sd * inner, check_sample_weight(sample_weight, response.size))


def dawid_sebastiani(y: Any, mean: Any, sd: Any, *, sample_weight: Any = None) -> float:
    """Dawid-Sebastiani score: needs the mean and standard deviation of a prediction only.

    Parameters
    ----------
    y : (n,) array-like
        Responses.
    mean, sd : (n,) array-like or float
        Of each row's predicted distribution; ``sd`` positive.
    sample_weight : (n,) array-like, optional
        Weights of the rows in the mean.

    Returns
    -------
    float
        Mean of ``((y - mean) / sd)^2 + 2 log(sd)``.

    Raises
    ------
    DataError
        As :func:`crps_normal`.

    References
    ----------
    Dawid & Sebastiani (1999), Annals of Statistics 27, 65-81.

    Examples
    --------
    >>> dawid_sebastiani([3.0], 1.0, 1.0)
    4.0
    """
    response, mean, sd = _location_scale(y, mean, sd)
    scores = ((response - mean) / sd) ** 2 + 2 * np.log(sd)
    return _mean(scores, check_sample_weight(sample_weight, response.size))


def interval_score(
    y: Any, lower: Any, upper: Any, *, level: float = 0.95, sample_weight: Any = None
) -> float:
    """Score of central prediction intervals: their width, and a penalty for what is outside.

    Parameters
    ----------
    y : (n,) array-like
        Responses.
    lower, upper : (n,) array-like or float
        Quantiles of each row's predicted distribution at ``(1 - level) / 2`` and
        ``(1 + level) / 2``.
    level : float
        Coverage that was aimed at, between 0 and 1.
    sample_weight : (n,) array-like, optional
        Weights of the rows in the mean.

    Returns
    -------
    float
        In the unit of the response.

    Raises
    ------
    DataError
        If lengths differ, a value is missing or infinite, or a lower limit is above the upper.
    SpecificationError
        If ``level`` is not between 0 and 1.

    Notes
    -----
    ``(upper - lower) + 2 / (1 - level) * distance of y from the interval``.

    References
    ----------
    Gneiting & Raftery (2007), Journal of the American Statistical Association 102, equation 43.

    Examples
    --------
    >>> interval_score([0.0, 3.0], 0.0, 2.0, level=0.5)
    4.0
    """
    if not 0 < level < 1:
        raise SpecificationError(f"level must be between 0 and 1, got {level!r}.")
    response = _finite(y, "y")
    lower = _per_row(lower, "lower", response.size)
    upper = _per_row(upper, "upper", response.size)
    wrong = np.flatnonzero(lower > upper)
    if wrong.size:
        row = wrong[0]
        raise DataError(
            f"lower must not be above upper; row {row} has {lower[row]:g} and {upper[row]:g}."
        )
    outside = np.maximum(lower - response, 0) + np.maximum(response - upper, 0)
    scores = upper - lower + 2 / (1 - level) * outside
    return _mean(scores, check_sample_weight(sample_weight, response.size))


def pinball_loss(y: Any, quantiles: Any, levels: Any, *, sample_weight: Any = None) -> Any:
    """Score of predicted quantiles.

    Parameters
    ----------
    y : (n,) array-like
        Responses.
    quantiles : (n,) or (n, Q) array-like
        Predicted quantiles.
    levels : float or (Q,) array-like
        Their levels, between 0 and 1.
    sample_weight : (n,) array-like, optional
        Weights of the rows in the mean.

    Returns
    -------
    float, or (Q,) array for several levels
        In the unit of the response. Twice the mean over evenly spaced levels approaches the
        continuous ranked probability score.

    Raises
    ------
    DataError
        If shapes do not match or a value is missing or infinite.
    SpecificationError
        If a level is not between 0 and 1.

    References
    ----------
    Koenker & Bassett (1978), Econometrica 46, 33-50.

    Examples
    --------
    >>> pinball_loss([1.0, 2.0], [0.0, 4.0], 0.25)
    0.875
    """
    level = np.asarray(levels, dtype=np.float64)
    if level.ndim > 1 or not level.size or not ((level > 0) & (level < 1)).all():
        raise SpecificationError(f"levels must be between 0 and 1, got {levels!r}.")
    response = _finite(y, "y")
    predicted = np.asarray(quantiles, dtype=np.float64)
    needed = (response.size, *level.shape)
    if predicted.shape != needed:
        raise DataError(
            f"quantiles must have shape {needed}, a row per row of y and a column per level, got "
            f"{predicted.shape}."
        )
    bad = np.argwhere(~np.isfinite(predicted))
    if bad.size:
        raise DataError(f"quantiles must be finite; row {bad[0][0]} has a value that is not.")
    error = response.reshape(-1, *[1] * level.ndim) - predicted
    losses = np.where(error >= 0, level * error, (level - 1) * error)
    means = np.average(losses, axis=0, weights=check_sample_weight(sample_weight, response.size))
    return means if level.ndim else float(means)


def _mean(scores: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(scores, weights=weights))


def _finite(values: Any, name: str, n: int | None = None) -> np.ndarray:
    column = number_column(values, name, n)
    if not column.size:
        raise DataError(f"{name} has no rows; a score needs at least one.")
    bad = np.flatnonzero(~np.isfinite(column))
    if bad.size:
        raise DataError(f"{name} must be finite; row {bad[0]} has {column[bad[0]]}.")
    return column


def _per_row(values: Any, name: str, n: int) -> np.ndarray:
    """A column, or one number for every row."""
    return _finite(np.full(n, values) if np.ndim(values) == 0 else values, name, n)


def _location_scale(y: Any, mean: Any, sd: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    response = _finite(y, "y")
    mean, sd = _per_row(mean, "mean", response.size), _per_row(sd, "sd", response.size)
    wrong = np.flatnonzero(sd <= 0)
    if wrong.size:
        raise DataError(f"sd must be positive; row {wrong[0]} has {sd[wrong[0]]:g}.")
    return response, mean, sd
