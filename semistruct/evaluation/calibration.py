"""Calibration of predicted distributions: probability integral transform, D-calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from semistruct._validation import is_positive_whole
from semistruct.evaluation._checks import check_probabilities, right_censored
from semistruct.exceptions import DataError, SpecificationError

__all__ = ["DCalibration", "d_calibration", "pit_values"]


@dataclass(frozen=True, eq=False, repr=False)
class DCalibration:
    """A test of whether predicted survival at the time of the event is uniform.

    Attributes
    ----------
    statistic : float
        Pearson's chi-squared.
    p_value : float
        With ``n_bins - 1`` degrees of freedom; small means badly calibrated.
    observed : (n_bins,) array
        Rows in each bin, from the lowest predicted survival up; censored rows in parts.
    expected : float
        Rows in each bin of a calibrated prediction.
    """

    statistic: float
    p_value: float
    observed: np.ndarray
    expected: float

    def __repr__(self) -> str:
        df = self.observed.size - 1
        return f"DCalibration(chi2({df}) = {self.statistic:.3f}, p = {self.p_value:.3g})"


def d_calibration(y: Any, survival_at_time: Any, *, n_bins: int = 10) -> DCalibration:
    """Distributional calibration of survival predictions.

    Parameters
    ----------
    y : Surv, structured array or DataFrame
        ``n`` rows of right-censored follow-up.
    survival_at_time : (n,) array-like
        Each row's predicted survival at its own observed time.
    n_bins : int
        Bins of equal width from 0 to 1, two or more.

    Returns
    -------
    DCalibration

    Raises
    ------
    DataError
        If the lengths differ, a probability is missing or outside of 0 to 1, or there is delayed
        entry or more than one cause.
    SpecificationError
        If ``n_bins`` is not a whole number of two or more.

    Notes
    -----
    Under a calibrated model ``S(T)`` is uniform. A row censored at survival ``s`` is spread over
    ``(0, s)``: a bin of width ``w`` below ``s`` gets ``w / s``, the bin of ``s`` the rest.
    Spreading makes the statistic smaller than chi-squared, so with much censoring the test is
    conservative. Judge predictions on rows that were not used in the fit.

    References
    ----------
    Haider, Hoehn, Davis & Greiner (2020), Journal of Machine Learning Research 21,
    article 85, section 3.5.

    Examples
    --------
    >>> from semistruct import Surv
    >>> d_calibration(Surv([1, 2, 3, 4], [1, 1, 0, 1]), [0.9, 0.6, 0.5, 0.2], n_bins=2)
    DCalibration(chi2(1) = 0.000, p = 1)
    """
    follow_up = right_censored(y, "y")
    if not is_positive_whole(n_bins) or n_bins < 2:
        raise SpecificationError(f"n_bins must be a whole number of 2 or more, got {n_bins!r}.")
    n_bins = int(n_bins)
    survival = check_probabilities(survival_at_time, "survival_at_time", len(follow_up))
    edges = np.arange(n_bins + 1) / n_bins
    own = np.clip(np.searchsorted(edges, survival, side="right") - 1, 0, n_bins - 1)
    observed = np.bincount(own[follow_up.event], minlength=n_bins).astype(np.float64)
    censored = survival[~follow_up.event]
    known = censored > 0
    observed[0] += np.sum(~known)  # survival of zero leaves only the lowest bin
    # Overlap of (0, s) with each bin, as a fraction of s, summed over rows.
    levels = censored[known]
    for k in range(n_bins):
        observed[k] += np.sum(np.clip(levels - edges[k], 0, edges[k + 1] - edges[k]) / levels)
    expected = len(follow_up) / n_bins
    statistic = float(np.sum((observed - expected) ** 2 / expected))
    p_value = float(stats.chi2.sf(statistic, n_bins - 1))
    return DCalibration(statistic, p_value, observed, expected)


def pit_values(cdf: Any, cdf_before: Any = None, *, random_state: Any = None) -> np.ndarray:
    """Probability integral transform: uniform if the predicted distributions are right.

    Parameters
    ----------
    cdf : (n,) array-like
        ``F_i(y_i)``, each row's predicted distribution function at its response.
    cdf_before : (n,) array-like, optional
        ``F_i(y_i-)``, the probability of less than the response. For responses with atoms, such as
        counts, values are drawn between the two.
    random_state : int or numpy.random.Generator, optional
        For the draws.

    Returns
    -------
    (n,) array
        Between 0 and 1.

    Raises
    ------
    DataError
        If lengths differ, a probability is missing or outside of 0 to 1, or ``cdf_before`` is above
        ``cdf``.
    SpecificationError
        If ``random_state`` is given without ``cdf_before``: nothing is drawn then.

    References
    ----------
    Dawid (1984), Journal of the Royal Statistical Society A 147, 278-292.
    Czado, Gneiting & Held (2009), Biometrics 65, 1254-1261 (counts).

    Examples
    --------
    >>> pit_values([0.2, 0.9])
    array([0.2, 0.9])
    >>> drawn = pit_values([0.2, 0.9], [0.0, 0.9], random_state=0)
    >>> 0 < drawn[0] < 0.2, drawn[1] == 0.9
    (np.True_, np.True_)
    """
    upper = check_probabilities(cdf, "cdf")
    if cdf_before is None:
        if random_state is not None:
            raise SpecificationError(
                "random_state does nothing without cdf_before; leave it out, or give F(y-) for "
                "responses with atoms."
            )
        return upper.copy()
    lower = check_probabilities(cdf_before, "cdf_before", upper.size)
    above = np.flatnonzero(lower > upper)
    if above.size:
        raise DataError(
            f"cdf_before must not be above cdf; row {above[0]} has {lower[above[0]]:g} and "
            f"{upper[above[0]]:g}."
        )
    draws = np.random.default_rng(random_state).random(upper.size)
    return lower + draws * (upper - lower)
