"""What the estimation of smoothing parameters adds to covariances and degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from semistruct.exceptions import UnsupportedCombinationError
from semistruct.fitting.engine import Engine
from semistruct.fitting.penalties import PenaltySystem
from semistruct.fitting.shapes import inequalities
from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.linalg import penalised_cholesky

__all__ = ["SmoothingUncertainty", "has_smoothing_uncertainty", "smoothing_uncertainty"]

# Of the differences in the logs of smoothing parameters; truncation and rounding both stay below
# 1e-4 of the Hessian.
_STEP = 0.01
# Curvature in log(lam) below which the criterion is flat, its coefficients those of lam = infinity.
_FLAT = 1e-6
# Precision of a vague normal prior on log(lam) in the term of the roots, which does not fade where
# lam runs to infinity: of likelihoods of one predictor and of others, as in mgcv.
_PRIOR = {"one": 0.1, "several": 0.02}


@dataclass(frozen=True, eq=False)
class SmoothingUncertainty:
    """Covariance and degrees of freedom that count the smoothing parameters as estimated.

    Attributes
    ----------
    V_rho : (J, J) array
        Covariance of the logs of the smoothing parameters; zero for those that are not estimated.
    V : (P, P) array
        Covariance of the coefficients.
    V_moved : (P, P) array
        The part ``J V_rho J'`` of it, which does not depend on a dispersion.
    edf2 : (P,) array
        Effective degrees of freedom per coefficient; their sum is at most that of ``edf1``.
    """

    V_rho: np.ndarray
    V: np.ndarray
    V_moved: np.ndarray
    edf2: np.ndarray


@dataclass(frozen=True)
class _At:
    """What is differentiated: at one value of the smoothing parameters."""

    gradient: np.ndarray
    beta: np.ndarray


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
    With ``rho = log(lam)`` and ``V_rho`` the inverse of the Hessian of minus the restricted
    log-likelihood,
    ``V_c = V + J V_rho J' + sum_kl (dL/drho_k) V_rho,kl (dL/drho_l)'`` with
    ``J = d beta / d rho`` and ``V = L L'``; the degrees of freedom are the diagonal of ``V_c H``,
    replaced by ``edf1`` where their sum would exceed it. A dispersion counts as one throughout.
    Directions in which the criterion is flat are left out of ``J V_rho J'``, where ``J`` vanishes
    faster; in the last term a vague normal prior keeps ``V_rho`` finite: of precision 1/10 for rows
    with one predictor beside a dispersion, of 1/50 for several predictors and for Cox models.

    The last term depends on which root ``L`` is taken and on how much of ``H`` moves. Here, as in
    mgcv, ``L = R^-1`` with the upper Cholesky factor ``R`` of ``H + S_lam`` in the order of the
    coefficients, and ``H`` is constant. Standard errors and ``edf2`` mostly agree with mgcv's to
    four digits; in Cox models whose smoothing parameters run to infinity errors of predictions
    differ by up to 4 %.

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
        return SmoothingUncertainty(V_rho, fit.V.copy(), np.zeros((P, P)), fit.edf.copy())
    engine = Engine.of(problem)
    hessian, moves = np.zeros((free.size, free.size)), np.zeros((free.size, P))
    for i, j in enumerate(free):
        up, down = (_at(engine, fit, free, int(j), side * _STEP) for side in (1, -1))
        hessian[i] = -(up.gradient - down.gradient)[free] / (2 * _STEP)
        moves[i] = (up.beta - down.beta) / (2 * _STEP)
    if fit.dispersion_column is not None:
        moves[:, fit.dispersion_column] = 0.0
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    steep = values > _FLAT
    V_rho[np.ix_(free, free)] = (vectors[:, steep] / values[steep]) @ vectors[:, steep].T
    V_moved = moves.T @ V_rho[np.ix_(free, free)] @ moves
    one = engine.likelihood.glm_like and problem.family.separable
    prior = _PRIOR["one" if one else "several"]
    vague = (vectors / (np.maximum(values, 0.0) + prior)) @ vectors.T
    roots = _root_moves(fit, engine.penalties, free)
    V = fit.V + V_moved + np.einsum("kpa,kl,lqa->pq", roots, vague, roots, optimize=True)
    edf2 = np.einsum("ij,ji->i", V, fit.H)
    if edf2.sum() > fit.edf1.sum():
        edf2 = fit.edf1.copy()
    return SmoothingUncertainty(V_rho, (V + V.T) / 2, V_moved, edf2)


def _at(engine: Engine, fit: StructuredFit, free: np.ndarray, j: int, shift: float) -> _At:
    sp = fit.smoothing.copy()
    sp[j] *= np.exp(shift)
    chosen = np.zeros(sp.size, dtype=bool)
    chosen[free] = True
    rule = "ml" if fit.method == "ml" else "reml"
    settled = engine.settle(sp, fit.beta, rule, polish=True)  # type: ignore[arg-type]
    return _At(engine.criterion(settled, fit.method, chosen).gradient, settled.point.beta)


def _root_moves(fit: StructuredFit, penalties: PenaltySystem, free: np.ndarray) -> np.ndarray:
    """Derivatives ``(len(free), P, P)`` of ``R^-1`` in the logs of smoothing parameters.

    From ``R'R = H + S_lam``: ``dR R^-1`` is the upper half of ``M = R^-T (lam_j S_j) R^-1``, its
    diagonal halved.
    """
    factor = penalised_cholesky(fit.H + fit.S_lam)
    root = solve_triangular(factor.L, np.diag(1 / factor.root), lower=True).T
    moves = np.zeros((free.size, *root.shape))
    for move, j in zip(moves, free, strict=True):
        placed = penalties.placed[j]
        rows = root[placed.columns]
        M = rows.T @ (fit.lam[j] * placed.S) @ rows
        move[:] = -root @ (np.triu(M) - np.diag(np.diag(M)) / 2)
    return moves
