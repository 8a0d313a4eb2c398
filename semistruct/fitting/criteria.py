"""What smoothing parameters maximise: restricted or marginal likelihood, GCV or UBRE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from semistruct.exceptions import UnsupportedCombinationError
from semistruct.fitting._likelihood import Likelihood
from semistruct.fitting.newton import Point
from semistruct.fitting.penalties import PenaltySystem
from semistruct.linalg import penalised_cholesky

__all__ = [
    "CRITERIA",
    "CriterionValue",
    "SmoothingMethod",
    "coefficient_moves",
    "laplace_value",
    "saturated_loglik",
]

SmoothingMethod = Literal["reml", "ml", "gcv"]


@dataclass(frozen=True)
class CriterionValue:
    """A criterion at converged coefficients, and its derivative.

    Attributes
    ----------
    value : float
        To be maximised, in units of log-likelihood.
    gradient : (J,) array
        Derivative in the logs of the smoothing parameters, through the coefficients as well.
    score : float
        The criterion as mgcv reports it, to be minimised: minus the (restricted) log-likelihood,
        the GCV score or the UBRE.
    """

    value: float
    gradient: np.ndarray
    score: float


def coefficient_moves(
    penalties: PenaltySystem, beta: np.ndarray, V: np.ndarray, lam: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """``d beta / d log(lam_j) = -lam_j V S_j beta``, ``(J, P)`` (implicit function theorem)."""
    moves = np.zeros((len(penalties), beta.size))
    for j in np.flatnonzero(free).tolist():
        moves[j] = -lam[j] * (V @ penalties.apply(j, beta))
    return moves


def laplace_value(
    penalties: PenaltySystem, point: Point, lam: np.ndarray, apart: int | None
) -> float:
    """Laplace approximate restricted log-likelihood, up to no constant.

    ``l - b'S_lam b / 2 + (log|S_lam|_+ - log|H + S_lam| + M log 2 pi) / 2`` where ``M`` is the
    number of unpenalised dimensions; the column ``apart`` of a profiled dispersion takes no part.

    References
    ----------
    Wood, Pya and Saefken (2016), Smoothing parameter and model selection for general smooth
    models, JASA 111, 1548-1563.
    """
    determinant = penalties.determinant(lam)
    logdet, dimension = point.factor.logdet, point.beta.size
    if apart is not None:
        logdet -= float(np.log(max((point.H + point.S_lam)[apart, apart], 1e-300)))
        dimension -= 1
    nullity = dimension - determinant.rank
    constant = nullity * np.log(2 * np.pi)
    return point.penalised + 0.5 * (determinant.logdet - logdet + constant)


def _reml(
    likelihood: Likelihood,
    penalties: PenaltySystem,
    point: Point,
    V: np.ndarray,
    lam: np.ndarray,
    free: np.ndarray,
) -> CriterionValue:
    apart = None if likelihood.dispersion is None else likelihood.dispersion.column
    value = laplace_value(penalties, point, lam, apart)
    gradient = _laplace_gradient(likelihood, penalties, point, V, V, lam, free)
    return CriterionValue(value, gradient, -value)


def _ml(
    likelihood: Likelihood,
    penalties: PenaltySystem,
    point: Point,
    V: np.ndarray,
    lam: np.ndarray,
    free: np.ndarray,
) -> CriterionValue:
    apart = None if likelihood.dispersion is None else likelihood.dispersion.column
    U = penalties.null_basis()
    if apart is not None:
        U = U[:, U[apart] == 0.0]
    inner = penalised_cholesky(U.T @ V @ U)
    value = laplace_value(penalties, point, lam, apart) - 0.5 * inner.logdet
    value -= 0.5 * U.shape[1] * np.log(2 * np.pi)
    VU = V @ U
    within = V - VU @ inner.solve(VU.T)
    gradient = _laplace_gradient(likelihood, penalties, point, V, within, lam, free)
    return CriterionValue(value, gradient, -value)


def _laplace_gradient(
    likelihood: Likelihood,
    penalties: PenaltySystem,
    point: Point,
    V: np.ndarray,
    within: np.ndarray,
    lam: np.ndarray,
    free: np.ndarray,
) -> np.ndarray:
    moves = coefficient_moves(penalties, point.beta, V, lam, free)
    if likelihood.dispersion is not None:
        within = within.copy()
        within[likelihood.dispersion.column, :] = within[:, likelihood.dispersion.column] = 0.0
    gradient = penalties.determinant(lam).traces
    gradient -= lam * (penalties.quadratic(point.beta) + penalties.traces(within))
    gradient -= likelihood.information_traces(point.eta, within, moves, point.kind)
    return np.where(free, 0.5 * gradient, 0.0)


def _gcv(
    likelihood: Likelihood,
    penalties: PenaltySystem,
    point: Point,
    V: np.ndarray,
    lam: np.ndarray,
    free: np.ndarray,
) -> CriterionValue:
    at = likelihood.dispersion
    others = np.ones(point.beta.size, dtype=bool)
    scale = 1.0
    if at is not None:
        others[at.column] = False
        scale = float(np.exp(at.power * point.beta[at.column]))
    elif point.eta.shape[1] > 1:
        raise UnsupportedCombinationError(
            "method='gcv' needs a likelihood of one predictor, beside which a dispersion may be "
            f"constant; {likelihood.family!r} has {point.eta.shape[1]} predictors here. Use "
            "method='reml'."
        )
    moves = coefficient_moves(penalties, point.beta, V, lam, free)
    mask = np.outer(others, others)
    H = likelihood.information(point.eta, "expected") * mask
    V = penalised_cholesky(H + point.S_lam + np.diag(~others)).inverse() * mask
    W = V @ H @ V
    tau = float(np.vdot(V, H))
    deviance = 2 * scale * (saturated_loglik(likelihood, point.eta) - point.loglik)
    d_deviance = -2 * scale * (moves @ point.gradient)
    d_tau = -lam * penalties.traces(W)
    d_tau += likelihood.information_traces(point.eta, V - W, moves, "expected")
    n = float(likelihood.weight.sum())
    if at is None:
        score = deviance / n + 2 * tau / n - 1
        value = -0.5 * deviance - tau
        gradient = -0.5 * d_deviance - d_tau
    else:
        left = max(n - tau, 1e-6 * n)
        score = n * deviance / left**2
        value = -0.5 * n * np.log(max(score, 1e-300))
        gradient = -0.5 * n * (d_deviance / max(deviance, 1e-300) + 2 * d_tau / left)
    return CriterionValue(value, np.where(free, gradient, 0.0), score)


def saturated_loglik(likelihood: Likelihood, eta: np.ndarray) -> float:
    """The log-likelihood with a predictor of its own for each row, the others as in ``eta``.

    Found by Newton's method row by row in the first predictor; where it diverges (a count of
    zero) the likelihood has reached its limit long before the iterations end.
    """
    if not likelihood.family.has_intercept:
        raise UnsupportedCombinationError(
            f"{likelihood.family} has no saturated model, which deviances and method='gcv' compare "
            "with; choose 'reml' or 'ml'."
        )
    eta = eta.copy()
    start = likelihood.family.initial_eta(torch.from_numpy(likelihood.y)).numpy()
    eta[:, 0] = start[0] + 0.5 * (eta[:, 0] - start[0])
    for _ in range(60):
        score = likelihood.score(eta)[:, 0]
        w = _first_curvature(likelihood, eta)
        # A row whose optimum is at infinity stays where its curvature has underflowed.
        step = np.nan_to_num(np.clip(score / np.maximum(w, 1e-300), -1e6, 1e6))
        if not (np.abs(step * score) > 1e-13 * likelihood.weight).any():
            break
        eta[:, 0] += _improving(likelihood, eta, step)
    return likelihood.loglik(eta)


def _first_curvature(likelihood: Likelihood, eta: np.ndarray) -> np.ndarray:
    """Curvature of each row in the first predictor; an expected one can be a long sum."""
    observed = likelihood.curvature(eta, "observed").w[:, 0, 0]  # type: ignore[attr-defined]
    if (observed > 0).all():
        return observed
    expected = likelihood.curvature(eta, "expected").w[:, 0, 0]  # type: ignore[attr-defined]
    return np.where(observed > 0, observed, expected)


def _improving(likelihood: Likelihood, eta: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Halve each row's step until its own log-likelihood does not fall."""
    before = likelihood.rows.contributions(eta)
    trial = eta.copy()
    step = step.copy()
    for _ in range(40):
        trial[:, 0] = eta[:, 0] + step
        after = likelihood.rows.contributions(trial)
        worse = ~(after >= before - 1e-12 * (1 + np.abs(before)))
        if not worse.any():
            break
        step[worse] *= 0.5
    return step


_Criterion = Callable[
    [Likelihood, PenaltySystem, Point, np.ndarray, np.ndarray, np.ndarray], CriterionValue
]

CRITERIA: dict[str, _Criterion] = {"reml": _reml, "ml": _ml, "gcv": _gcv}
