"""What the estimation of smoothing parameters adds to covariances and degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semistruct.exceptions import UnsupportedCombinationError
from semistruct.fitting.engine import Engine
from semistruct.fitting.shapes import inequalities
from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.linalg import penalised_cholesky

__all__ = ["SmoothingUncertainty", "has_smoothing_uncertainty", "smoothing_uncertainty"]

# Of the differences in the logs of smoothing parameters; truncation and rounding both stay below
# 1e-4 of the Hessian.
_STEP = 0.01
# Precision of a vague normal prior on log(lam): a smoothing parameter that runs to infinity has no
# curvature, and would have an infinite variance.
_PRIOR = 0.02


@dataclass(frozen=True, eq=False)
class SmoothingUncertainty:
    """Covariance and degrees of freedom that count the smoothing parameters as estimated.

    Attributes
    ----------
    V_rho : (J, J) array
        Covariance of the logs of the smoothing parameters; zero for those that are not estimated.
    V : (P, P) array
        Covariance of the coefficients.
    edf2 : (P,) array
        Effective degrees of freedom per coefficient; their sum is at most that of ``edf1``.
    """

    V_rho: np.ndarray
    V: np.ndarray
    edf2: np.ndarray


@dataclass(frozen=True)
class _At:
    """What is differentiated: at one value of the smoothing parameters."""

    gradient: np.ndarray
    beta: np.ndarray
    root: np.ndarray


def has_smoothing_uncertainty(fit: StructuredFit, problem: StructuredProblem) -> bool:
    """Whether :func:`smoothing_uncertainty` is defined: REML or ML, and no curves with shapes."""
    return fit.method != "gcv" and not len(inequalities(problem))


def smoothing_uncertainty(fit: StructuredFit, problem: StructuredProblem) -> SmoothingUncertainty:
    """First-order correction for the uncertainty of the smoothing parameters.

    Parameters
    ----------
    fit : StructuredFit
        By "reml" or "ml".
    problem : StructuredProblem
        The one that was fitted.

    Raises
    ------
    UnsupportedCombinationError
        If the smoothing parameters were chosen by "gcv", which is no likelihood, or curves have
        shapes, of which some constraints hold with equality.

    Notes
    -----
    With ``rho = log(lam)``, ``V_rho`` is the inverse of the Hessian of minus the restricted
    log-likelihood (a vague normal prior of precision 1/50 makes it finite where ``lam`` runs to
    infinity), and
    ``V_c = V + J V_rho J' + sum_kl (dL/drho_k) V_rho,kl (dL/drho_l)'`` with
    ``J = d beta / d rho`` and ``V = L L'``; the degrees of freedom are the diagonal of ``V_c H``,
    replaced by ``edf1`` where their sum would exceed it. Derivatives are central differences of
    exact gradients, over converged coefficients, at constant dispersion.

    The last term depends on which root ``L`` is taken, here the Cholesky factor in the order of the
    coefficients, as published. mgcv 1.8 has another one: sums of ``edf2`` agree to about 0.1,
    standard errors to a few percent.

    References
    ----------
    Wood, Pya and Saefken (2016), Smoothing parameter and model selection for general smooth
    models, JASA 111, 1548-1563, section 4 and equation (7).
    """
    if not has_smoothing_uncertainty(fit, problem):
        reason = (
            "smoothing='gcv' has no likelihood of the smoothing parameters; fit with "
            "smoothing='reml'"
            if fit.method == "gcv"
            else "a curve has a shape (constraint=), whose active constraints it does not know"
        )
        raise UnsupportedCombinationError(
            f"a correction for the uncertainty of smoothing parameters is not defined here: "
            f"{reason}."
        )
    lam = [penalty.lam for design in problem.designs for penalty in design.penalties]
    free = np.flatnonzero([value is None for value in lam])
    P = fit.beta.size
    V_rho = np.zeros((len(lam), len(lam)))
    if not free.size:
        return SmoothingUncertainty(V_rho, fit.V.copy(), fit.edf.copy())
    engine = Engine.of(problem)
    hessian = np.zeros((free.size, free.size))
    moves, roots = np.zeros((free.size, P)), np.zeros((free.size, P, P))
    for i, j in enumerate(free):
        up, down = (_at(engine, fit, free, int(j), side * _STEP) for side in (1, -1))
        hessian[i] = -(up.gradient - down.gradient)[free] / (2 * _STEP)
        moves[i] = (up.beta - down.beta) / (2 * _STEP)
        roots[i] = (up.root - down.root) / (2 * _STEP)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    inner = (vectors / (np.maximum(values, 0.0) + _PRIOR)) @ vectors.T
    V_rho[np.ix_(free, free)] = inner
    V = fit.V + moves.T @ inner @ moves
    V += np.einsum("kpa,kl,lqa->pq", roots, inner, roots, optimize=True)
    edf2 = np.einsum("ij,ji->i", V, fit.H)
    if edf2.sum() > fit.edf1.sum():
        edf2 = fit.edf1.copy()
    return SmoothingUncertainty(V_rho, (V + V.T) / 2, edf2)


def _at(engine: Engine, fit: StructuredFit, free: np.ndarray, j: int, shift: float) -> _At:
    sp = fit.smoothing.copy()
    sp[j] *= np.exp(shift)
    chosen = np.zeros(sp.size, dtype=bool)
    chosen[free] = True
    rule = "ml" if fit.method == "ml" else "reml"
    settled = engine.settle(sp, fit.beta, rule, polish=True)  # type: ignore[arg-type]
    found = engine.criterion(settled, fit.method, chosen)
    _, V = engine.reported(settled)
    factor = penalised_cholesky(V)
    root = factor.L * factor.root[:, None]
    scale = np.sqrt(fit.dispersion / engine.variance(settled.point.beta))
    return _At(found.gradient, settled.point.beta, root * scale)
