"""What the bands of predicted curves share."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import stats

from semistruct.exceptions import SpecificationError
from semistruct.inference.survival_curves import SurvivalCurves

__all__ = [
    "average_survival_error",
    "banded",
    "check_level",
    "limits",
    "normal_draws",
    "normal_quantile",
]

_NUMBERS = 2 * 10**6  # times by rows that are held at once


def check_level(level: float) -> None:
    """Refuse a coverage that is none."""
    if not 0 < level < 1:
        raise SpecificationError(f"level must lie between 0 and 1, got {level!r}.")


def banded(
    estimate: np.ndarray, lower: np.ndarray, upper: np.ndarray, index: pd.Index, subjects: pd.Index
) -> pd.DataFrame:
    """Arrays ``(m, n)`` as one table with columns ``(subject, "estimate" | "lower" | "upper")``."""
    parts = np.stack([estimate, lower, upper], axis=2).reshape(len(index), -1)
    columns = pd.MultiIndex.from_product([subjects, ["estimate", "lower", "upper"]])
    return pd.DataFrame(parts, index, columns)


def limits(estimate: pd.Series, lower: Any, upper: Any) -> pd.DataFrame:
    """A number of every row beside its limits, ``(n, 3)``."""
    columns = {"estimate": estimate, "lower": np.asarray(lower), "upper": np.asarray(upper)}
    return pd.DataFrame(columns, index=estimate.index)


def normal_quantile(level: float) -> float:
    """Standard errors from the middle to the ends of an interval of this coverage."""
    return float(stats.norm.ppf(0.5 + level / 2))


def normal_draws(rng: np.random.RandomState, V: np.ndarray, n: int) -> np.ndarray:
    """``n`` draws ``(n, P)`` of a normal vector with mean zero and covariance ``V``."""
    values, vectors = np.linalg.eigh(V)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return rng.standard_normal((n, len(V))) @ root.T


def average_survival_error(
    curves: SurvivalCurves,
    times: np.ndarray,
    X: np.ndarray,
    eta: np.ndarray,
    stratum: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """Standard error of the mean survival of some rows of a Cox model, ``(m,)``.

    Parameters
    ----------
    curves : SurvivalCurves
    times : (m,) array
    X : (n, p) array
        Design of the rows.
    eta, stratum : (n,) arrays
    weight : (n,) array
        Share of every row in the mean.

    Notes
    -----
    With hazard ratios ``r_i`` to the baseline ``H_0`` the mean ``M`` of ``exp(-r_i H_0(t))`` has

    ``dM = -mean_i S_i r_i (dH_0(t) + (x_i H_0(t) - drift(t))' dbeta)``,

    where what the baseline varies with known coefficients is independent of the coefficients, and
    of the baselines of other strata (Tsiatis 1981). The variance of the rows themselves is not in
    it: the mean is that of these rows.

    References
    ----------
    Tsiatis (1981), Annals of Statistics 9. Makuch (1982), Journal of Chronic Diseases 35 (averages
    of predicted curves).
    """
    baseline = curves.baseline
    drift = np.vstack([cast(np.ndarray, baseline.drift), np.zeros(X.shape[1])])
    level = np.append(baseline.cumulative_hazard, 0.0)
    variance = np.append(baseline.variance, 0.0)
    gradient, free = np.zeros((len(times), X.shape[1])), np.zeros(len(times))
    step = max(1, _NUMBERS // max(len(times), 1))
    for s in np.unique(stratum):
        own = np.flatnonzero(stratum == s)
        at = baseline.position(times, int(s))
        H = level[at][:, None]
        total = np.zeros(len(times))
        for start in range(0, len(own), step):
            rows = own[start : start + step]
            ratio = np.exp(eta[rows] - curves.center)
            slope = np.exp(-H * ratio) * ratio * weight[rows]
            gradient += H * (slope @ (X[rows] - curves.means))
            total += slope.sum(axis=1)
        gradient -= total[:, None] * drift[at]
        free += total**2 * variance[at]
    quadratic = np.einsum("tp,pq,tq->t", gradient, curves.covariance, gradient)
    return np.sqrt(free + np.maximum(quadratic, 0.0))
