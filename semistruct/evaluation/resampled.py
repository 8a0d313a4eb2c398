"""Inference from scores over folds: corrected intervals, mean ranks, the price of choosing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from semistruct.exceptions import DataError, SpecificationError

__all__ = [
    "ResampledMean",
    "honest_choice",
    "holm",
    "mean_ranks",
    "nemenyi_difference",
    "resampled_mean",
]


@dataclass(frozen=True)
class ResampledMean:
    """Mean of a score, or of a paired difference, over the folds of a cross-validation.

    Attributes
    ----------
    mean : float
    std_error : float
        Corrected for the rows that training sets share; NaN with fewer than two folds.
    lower, upper : float
        Confidence limits.
    p_value : float
        Two-sided, of mean zero; NaN where all folds have the same value.
    n_folds : int
        Folds with a value.
    """

    mean: float
    std_error: float
    lower: float
    upper: float
    p_value: float
    n_folds: int


def resampled_mean(values: np.ndarray, test_ratio: float, level: float = 0.95) -> ResampledMean:
    """Corrected resampled t interval.

    Parameters
    ----------
    values : (J,) array
        One value per fold of one or several cross-validations; NaN where there is none.
    test_ratio : float
        Rows held out over rows trained on, ``1 / (k - 1)`` for ``k`` folds.
    level : float
        Coverage of the interval, between 0 and 1.

    Raises
    ------
    SpecificationError
        If ``level`` or ``test_ratio`` is out of range.

    Notes
    -----
    The variance of the mean is ``(1 / J + n_test / n_train) s^2`` with the sample variance ``s^2``
    of the values, and the reference is Student's t with ``J - 1`` degrees of freedom. ``s^2 / J``
    alone takes the folds for independent, which they are not: their training sets overlap. The
    correction is a rule that was derived for random splits and is used for repeated
    cross-validation too; no unbiased estimate of the variance exists.

    References
    ----------
    Nadeau & Bengio (2003), Machine Learning 52, 239-281, section 3.2. Bouckaert & Frank (2004),
    PAKDD, 3-12 (repeated cross-validation).

    Examples
    --------
    >>> found = resampled_mean(np.array([0.1, 0.3, 0.2, 0.2, 0.2]), test_ratio=0.25)
    >>> round(found.mean, 3), round(found.std_error, 4)
    (0.2, 0.0474)
    """
    if not 0 < level < 1:
        raise SpecificationError(f"level must be between 0 and 1, got {level!r}.")
    if not test_ratio > 0:
        raise SpecificationError(f"test_ratio must be positive, got {test_ratio!r}.")
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    J = known.size
    mean = float(known.mean()) if J else np.nan
    if J < 2 or not np.isfinite(known).all():
        return ResampledMean(mean, np.nan, np.nan, np.nan, np.nan, J)
    std_error = float(np.sqrt((1 / J + test_ratio) * known.var(ddof=1)))
    half = std_error * stats.t.ppf((1 + level) / 2, J - 1)
    p_value = float(2 * stats.t.sf(abs(mean) / std_error, J - 1)) if std_error > 0 else np.nan
    return ResampledMean(mean, std_error, mean - half, mean + half, p_value, J)


def mean_ranks(scores: np.ndarray) -> np.ndarray:
    """Mean over folds of the rank of every model, 1 for the largest score; ties share ranks.

    Parameters
    ----------
    scores : (J, M) array
        Larger is better; without missing values.

    Returns
    -------
    (M,) array

    Raises
    ------
    DataError
        If a score is missing.

    References
    ----------
    Demsar (2006), Journal of Machine Learning Research 7, 1-30.

    Examples
    --------
    >>> mean_ranks(np.array([[3.0, 1.0, 2.0], [3.0, 3.0, 1.0]]))
    array([1.25, 2.25, 2.5 ])
    """
    scores = np.asarray(scores, dtype=float)
    if np.isnan(scores).any():
        raise DataError("ranks need a score of every model in every fold; some are missing.")
    return stats.rankdata(-scores, axis=1).mean(axis=0)


def nemenyi_difference(n_models: int, n_folds: int, level: float = 0.95) -> float:
    """Difference of mean ranks that is significant by Nemenyi's test, on independent data sets.

    References
    ----------
    Demsar (2006), Journal of Machine Learning Research 7, 1-30, section 3.2.2.

    Examples
    --------
    >>> round(nemenyi_difference(4, 14), 2)  # table 5 and section 3.2.3 of Demsar: 2.569
    1.25
    """
    quantile = stats.studentized_range.ppf(level, n_models, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(n_models * (n_models + 1) / (6 * n_folds)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values ``(m,)`` adjusted for being several, by Holm's step-down; NaN stays NaN.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).round(2)
    array([0.03, 0.06, 0.06])
    """
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def honest_choice(scores: np.ndarray, repeat: np.ndarray) -> float:
    """Mean score of a model that is chosen on the other folds, over folds.

    Parameters
    ----------
    scores : (J, M) array
        Larger is better.
    repeat : (J,) array
        The cross-validation that each fold belongs to, which has two folds or more.

    Returns
    -------
    float
        At most the best mean but for chance; the difference is what looking for the best of ``M``
        gained by luck.

    Raises
    ------
    DataError
        If a score is missing, or a cross-validation has one fold only.

    Notes
    -----
    For every fold the model with the best mean over the *other* folds of the same cross-validation
    is taken, and scored on this fold. The best mean itself is the score of a winner on the data
    that made it win. Models of the other folds were trained on this fold's rows, so that a little
    of the optimism is left.

    References
    ----------
    Tsamardinos, Greasidou & Borboudakis (2018), Machine Learning 107, 1895-1922 (the bias, and its
    correction by a bootstrap of rows).

    Examples
    --------
    >>> honest_choice(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    0.0
    """
    scores = np.asarray(scores, dtype=float)
    if np.isnan(scores).any():
        raise DataError("a choice needs a score of every model in every fold; some are missing.")
    found = np.empty(len(scores))
    for one in np.unique(repeat):
        at = np.flatnonzero(repeat == one)
        if at.size < 2:
            raise DataError("a choice on the other folds needs two folds or more.")
        others = scores[at].sum(axis=0) - scores[at]
        found[at] = scores[at, others.argmax(axis=1)]
    return float(found.mean())
