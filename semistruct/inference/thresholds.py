"""Thresholds between ordered classes with standard errors by the delta method."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.families import Ordinal
from semistruct.fitting.model import ModelFit

__all__ = ["has_thresholds", "threshold_table"]

_INTERCEPT = ("Intercept",)


def has_thresholds(fit: ModelFit) -> bool:
    """Whether all rows have the same thresholds: ordered classes with constant widths."""
    return isinstance(fit.problem.family, Ordinal) and all(
        design.names == _INTERCEPT and not design.offsets for design in fit.problem.designs[1:]
    )


def threshold_table(fit: ModelFit, cov: np.ndarray, level: float = 0.95) -> pd.DataFrame:
    """Thresholds of the table model, on the scale of the predictor without its intercept.

    Parameters
    ----------
    fit : ModelFit
        Of an :class:`~semistruct.families.Ordinal` response with C classes.
    cov : (P, P) array
        Covariance of the coefficients.
    level : float
        Of the confidence intervals.

    Returns
    -------
    DataFrame
        C - 1 rows ``"low|mid"``, ...; columns ``threshold``, ``se``, ``lower``, ``upper``.

    Raises
    ------
    UnsupportedCombinationError
        If the response is not ordered, or widths have predictors.

    Notes
    -----
    With the intercept ``a`` of the location and the logarithms ``g_k`` of the widths, threshold j
    is ``sum_{k < j} exp(g_k) - a``.
    """
    family = fit.problem.family
    if not isinstance(family, Ordinal):
        raise UnsupportedCombinationError(
            f"thresholds are of ordered classes, and the family is {family!r}."
        )
    if not has_thresholds(fit):
        raise UnsupportedCombinationError(
            "a width between thresholds has a predictor, so that there are other thresholds for "
            "every row; use predict_proba."
        )
    if not 0 < level < 1:
        raise SpecificationError(f"level must lie between 0 and 1, got {level!r}.")
    marginal = fit.marginal
    location, *inner = marginal.slices
    C = len(family.labels)
    value, gradient = np.zeros(C - 1), np.zeros((C - 1, marginal.beta.size))
    names = fit.problem.designs[0].names
    if "Intercept" in names:
        at = location.start + names.index("Intercept")
        value -= marginal.beta[at]
        gradient[:, at] = -1.0
    for j, columns in enumerate(inner, start=1):
        width = np.exp(marginal.beta[columns.start])
        value[j:] += width
        gradient[j:, columns.start] = width
    se = np.sqrt(np.einsum("ij,jk,ik->i", gradient, cov, gradient).clip(min=0.0))
    q = float(stats.norm.ppf(0.5 + level / 2))
    index = [f"{low}|{high}" for low, high in zip(family.labels, family.labels[1:], strict=False)]
    return pd.DataFrame(
        {"threshold": value, "se": se, "lower": value - q * se, "upper": value + q * se}, index
    )
