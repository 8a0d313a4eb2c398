"""Residuals of a Cox model: martingale, deviance, score (Lin-Wei), Schoenfeld."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semistruct.losses._arithmetic import take
from semistruct.losses._problem import CoxProblem, Ties, cox_problem
from semistruct.losses._risk_sets import CoxRiskSets
from semistruct.losses.cox_information import as_columns, as_vector

__all__ = [
    "SchoenfeldResiduals",
    "cox_deviance_residuals",
    "cox_martingale_residuals",
    "cox_schoenfeld_residuals",
    "cox_score_residuals",
]

_COLUMNS = 4


def cox_martingale_residuals(
    eta: Any,
    risk_sets: CoxRiskSets,
    *,
    weights: Any = None,
    ties: Ties = "efron",
    weighted: bool = False,
) -> Tensor:
    """Observed minus expected events of each row, ``event_i - exp(eta_i) Lambda0(i)``.

    Parameters
    ----------
    eta : (n,) tensor or array
    risk_sets : CoxRiskSets
    weights : (n,) tensor or array, optional
        Case weights.
    ties : {"efron", "breslow"}
        With Efron's method a tied event meets part of the hazard at its own time only.
    weighted : bool
        Multiply by the weights: minus the derivative of the loss in ``eta``, which sums to zero
        in every stratum. As in R, not by default. Rows of weight zero have residual zero.

    Returns
    -------
    (n,) tensor
    """
    eta = as_vector(eta, risk_sets)
    problem = cox_problem(eta, weights, risk_sets, ties)
    moments = problem.evaluate(eta)[1]
    first, extra = problem.coefficients()
    residuals = problem.events() - moments.spread(first, extra, positive=True)
    return residuals if weighted else _unweighted(residuals, problem)


def cox_deviance_residuals(
    eta: Any, risk_sets: CoxRiskSets, *, weights: Any = None, ties: Ties = "efron"
) -> Tensor:
    """Martingale residuals transformed towards symmetry, ``(n,)``.

    ``sign(M) sqrt(-2 [M + event log(event - M)])`` (Therneau, Grambsch & Fleming 1990,
    Biometrika 77). Parameters are those of :func:`cox_martingale_residuals`.
    """
    M = cox_martingale_residuals(eta, risk_sets, weights=weights, ties=ties)
    expected = (risk_sets.event - M).clamp(min=0.0)
    half = M + torch.xlogy(risk_sets.event, expected)
    return M.sign() * (-2.0 * half).clamp(min=0.0).sqrt()


def cox_score_residuals(
    eta: Any,
    X: Any,
    risk_sets: CoxRiskSets,
    *,
    weights: Any = None,
    ties: Ties = "efron",
    weighted: bool = True,
) -> Tensor:
    """Contributions of the rows to the score, ``int (x_i - xbar(t)) dM_i(t)``, ``(n, p)``.

    Parameters
    ----------
    eta : (n,) tensor or array
    X : (n, p) tensor or array
    risk_sets : CoxRiskSets
    weights : (n,) tensor or array, optional
        Case weights.
    ties : {"efron", "breslow"}
    weighted : bool
        Multiply by the weights, so that the sum over rows is the score and the sum of outer
        products (of rows, or of sums over clusters) the middle of the robust covariance. R's
        ``residuals(fit, "score")`` are those with ``weighted=False``.

    Notes
    -----
    They are not ``x_i`` times the derivative in ``eta_i``: that would ignore that a row also
    enters the risk-set means of others.

    References
    ----------
    Lin & Wei (1989), JASA 84, 1074-1078.
    """
    eta = as_vector(eta, risk_sets)
    problem = cox_problem(eta, weights, risk_sets, ties)
    moments = problem.evaluate(eta)[1]
    first, extra = problem.coefficients()
    expected = moments.spread(first, extra, positive=True)
    events = problem.events()
    martingale = events - expected
    times = problem.time_of_rows()
    X = as_columns(X, expected)
    centre = X.mean(0)
    residuals = torch.empty_like(X)
    for start in range(0, X.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        V = (X[:, part] - centre[part]).T.contiguous()
        mean_first, mean_extra = moments.means(V)
        mean_at_event = take(problem.rule.mean(mean_first, mean_extra, risk_sets), times)
        c_extra = None if extra is None or mean_extra is None else extra * mean_extra
        mean_met = moments.spread(first * mean_first, c_extra, positive=False)
        residuals[:, part] = (martingale * V - events * mean_at_event + mean_met).T
    return residuals if weighted else _unweighted(residuals.T, problem).T


@dataclass(frozen=True, eq=False)
class SchoenfeldResiduals:
    """Covariates of the events minus what was expected of them.

    Attributes
    ----------
    rows : (d,) int array
        The rows with events of positive weight, by stratum, time and row.
    time : (d,) float64 array
    stratum : (d,) int array
        Position of each event's stratum in ``risk_sets.strata``.
    residuals : (d, p) float64 array
        ``x_i - xbar(t_i)``; for tied events the mean over Efron's denominators.
    """

    rows: np.ndarray
    time: np.ndarray
    stratum: np.ndarray
    residuals: np.ndarray


def cox_schoenfeld_residuals(
    eta: Any,
    X: Any,
    risk_sets: CoxRiskSets,
    *,
    weights: Any = None,
    ties: Ties = "efron",
) -> SchoenfeldResiduals:
    """Schoenfeld residuals, from which proportionality of hazards is checked.

    Parameters are those of :func:`cox_score_residuals`.

    References
    ----------
    Schoenfeld (1982), Biometrika 69; Grambsch & Therneau (1994), Biometrika 81.
    """
    eta = as_vector(eta, risk_sets)
    problem = cox_problem(eta, weights, risk_sets, ties)
    moments = problem.evaluate(eta)[1]
    X = as_columns(X, moments.hazard)
    rows, times = risk_sets.event_rows, risk_sets.event_time
    if problem.weights is not None:
        present = problem.weights[rows] > 0
        rows, times = rows[present], times[present]
    residuals = X.new_empty((rows.shape[0], X.shape[1]))
    for start in range(0, X.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        mean_first, mean_extra = moments.means(X[:, part].T.contiguous())
        mean = problem.rule.mean(mean_first, mean_extra, risk_sets)
        residuals[:, part] = X[rows, part] - take(mean, times).T
    row, number = rows.cpu().numpy(), times.cpu().numpy()
    order = np.lexsort((row, risk_sets.time[number], risk_sets.stratum[number]))
    number = number[order]
    return SchoenfeldResiduals(
        row[order],
        risk_sets.time[number],
        risk_sets.stratum[number],
        residuals.cpu().numpy()[order],
    )


def _unweighted(of_rows: Tensor, problem: CoxProblem) -> Tensor:
    """Divide ``(..., n)`` by the weights, leaving zeros where they are zero."""
    if problem.weights is None:
        return of_rows
    return of_rows / torch.where(problem.weights > 0, problem.weights, 1.0)
