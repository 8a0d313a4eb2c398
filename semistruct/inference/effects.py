"""Coefficients of a model for a stated estimand, in one table."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd

from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.families import Normal
from semistruct.fitting.model import ModelFit
from semistruct.inference.covariance import CovarianceKind, covariance
from semistruct.inference.wald import wald_table
from semistruct.links import Identity

__all__ = ["Estimand", "covariance_of_effects", "effects_table"]

Estimand = Literal["marginal", "projection", "partial"]


def effects_table(
    fit: ModelFit,
    estimand: Estimand = "marginal",
    cov_type: CovarianceKind = "model",
    level: float = 0.95,
) -> pd.DataFrame:
    """Parametric coefficients with standard errors, tests and confidence limits.

    Parameters
    ----------
    fit : ModelFit
    estimand : {"marginal", "projection"}
        "marginal": the coefficients of the best model without the deep terms. "projection": the
        least-squares projection of the true predictor on the table. For the normal with identity
        link the two are one: least squares of a predictor and of the response it is the mean of
        have the same expectation. "partial" needs networks of its own: see
        :func:`~semistruct.inference.partial.partial_effects`.
    cov_type : {"model", "sandwich", "cluster"}
        Model-based standard errors of the marginal estimand assume that the model without deep
        terms is right; with a picture that matters it is not.
    level : float

    Returns
    -------
    DataFrame
        Index ``(parameter, coefficient)``; columns ``coef, se, t (or z), p, lower, upper``.

    Raises
    ------
    SpecificationError
        If the estimand is unknown.
    UnsupportedCombinationError
        If the family does not offer it.

    References
    ----------
    White (1980), Using least squares to approximate unknown regression functions, International
    Economic Review 21, for the meaning and the sandwich covariance of the projection.
    """
    if estimand not in get_args(Estimand):
        raise SpecificationError(
            f"estimand must be one of {', '.join(map(repr, get_args(Estimand)))}, got {estimand!r}."
        )
    if estimand == "partial":
        raise UnsupportedCombinationError(
            "estimand='partial' is not a matter of the fit alone; ask partial_effects() for it."
        )
    if estimand == "projection" and not _is_least_squares(fit):
        raise UnsupportedCombinationError(
            "estimand='projection' is available for the normal family with identity link and a "
            f"constant scale, where it is least squares; the model is {fit.problem.family} with "
            f"predictors {', '.join(map(repr, fit.formulas))}. Use estimand='marginal'."
        )
    columns, index = _parametric(fit)
    table = wald_table(
        fit.marginal.beta[columns],
        _covariance(fit, cov_type)[np.ix_(columns, columns)],
        [name for _, name in index],
        df_resid=fit.marginal.df_resid,
        level=level,
    )
    return table.set_axis(index, axis=0)


def covariance_of_effects(fit: ModelFit, cov_type: CovarianceKind) -> pd.DataFrame:
    """Covariance matrix of the parametric coefficients, labelled like :func:`effects_table`."""
    columns, index = _parametric(fit)
    cov = _covariance(fit, cov_type)[np.ix_(columns, columns)]
    return pd.DataFrame(cov, index=index, columns=index)


def _covariance(fit: ModelFit, cov_type: CovarianceKind) -> np.ndarray:
    if cov_type == "cluster" and fit.cluster is None:
        raise SpecificationError(
            "cov_type='cluster' needs clusters; write cluster(column) in the formula or pass "
            "groups= to fit."
        )
    return covariance(fit.marginal, fit.problem, cov_type, cluster=fit.cluster)


def _parametric(fit: ModelFit) -> tuple[np.ndarray, pd.MultiIndex]:
    columns: list[int] = []
    labels: list[tuple[str, str]] = []
    for param, design, at in zip(
        fit.problem.family.param_names, fit.problem.designs, fit.marginal.slices, strict=True
    ):
        for j in np.flatnonzero(design.kinds == "parametric"):
            columns.append(at.start + int(j))
            labels.append((param, design.names[j]))
    index = pd.MultiIndex.from_tuples(labels, names=["parameter", "coefficient"])
    return np.array(columns, dtype=int), index


def _is_least_squares(fit: ModelFit) -> bool:
    family = fit.problem.family
    return (
        isinstance(family, Normal)
        and isinstance(family.links[0], Identity)
        and fit.marginal.dispersion_column is not None
    )
