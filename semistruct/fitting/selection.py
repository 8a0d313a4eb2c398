"""Choosing smoothing parameters: Fellner-Schall to the vicinity, exact gradients from there.

Terms whose degrees of freedom are given have theirs found by :func:`meet_df`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize

from semistruct.fitting.criteria import SmoothingMethod, coefficient_moves, laplace_value
from semistruct.fitting.engine import DispersionRule, Engine, Settled, StructuredProblem
from semistruct.fitting.newton import penalised_newton
from semistruct.fitting.smoothing import (
    FellnerSchall,
    fellner_schall_slope,
    fellner_schall_update,
    smoothing_bounds,
)
from semistruct.linalg import penalised_cholesky
from semistruct.terms.smooth_basis import SmoothBasis

__all__ = ["DfTarget", "approach", "df_targets", "meet_df", "refine"]

# Gradient of the criterion, in log-likelihood per unit of log(lam), at which a smoothing
# parameter counts as optimal: about 1e-3 in log(lam), far below its standard error.
_GRADIENT_TOL = 5e-4
# Effective degrees of freedom that a penalty leaves, below which the criterion no longer feels it.
_PLATEAU = 0.1


@dataclass(frozen=True)
class DfTarget:
    """A curve whose degrees of freedom are given.

    Attributes
    ----------
    penalty : int
        Its penalty among all ``J``.
    columns : slice
        Its coefficients among all ``P``.
    df : float
    """

    penalty: int
    columns: slice
    df: float


def df_targets(problem: StructuredProblem) -> tuple[DfTarget, ...]:
    """The curves of all predictors whose degrees of freedom are given."""
    found = []
    penalty = start = 0
    for design in problem.designs:
        for basis in design.bases:
            if isinstance(basis, SmoothBasis) and basis.df is not None:
                at = start + design.slices[basis.label].start
                found += [
                    DfTarget(penalty + i, slice(at + own.start, at + own.stop), basis.df)
                    for i, (_, own) in enumerate(basis.curves)
                ]
            penalty += len(basis.penalties)
        start += design.p
    return tuple(found)


def meet_df(
    engine: Engine, settled: Settled, sp: np.ndarray, targets: tuple[DfTarget, ...]
) -> tuple[np.ndarray, float]:
    """Smoothing parameters with which the targets are met at the present curvature.

    Returns
    -------
    sp : (J,) array
        On the reported scale.
    gap : float
        Largest difference of degrees of freedom from its target, at the smoothing parameters given.

    Notes
    -----
    One curve after the other, so that a few rounds are needed where curves share information or
    where the curvature depends on the coefficients.
    """
    H, V = engine.reported(settled)
    edf = np.einsum("ij,ji->i", V, H)
    gap = max(abs(float(edf[target.columns].sum()) - target.df) for target in targets)
    variance = engine.variance(settled.point.beta)
    lam = sp / variance
    lower, upper = np.log(smoothing_bounds(engine.penalties, H))

    def excess(log_lam: float, target: DfTarget) -> float:
        lam[target.penalty] = np.exp(log_lam)
        inverse = penalised_cholesky(H + engine.penalties.matrix(lam)).inverse()
        own = np.einsum("ij,ji->i", inverse[target.columns], H[:, target.columns])
        return float(own.sum()) - target.df

    for target in targets:
        low, high = lower[target.penalty], upper[target.penalty]
        if excess(low, target) <= 0.0:
            lam[target.penalty] = np.exp(low)
        elif excess(high, target) >= 0.0:
            lam[target.penalty] = np.exp(high)
        else:
            lam[target.penalty] = np.exp(brentq(excess, low, high, args=(target,), xtol=1e-12))
    return lam * variance, gap


def approach(
    engine: Engine,
    sp: np.ndarray,
    beta: np.ndarray,
    free: np.ndarray,
    max_iter: int,
    tol: float,
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """Smoothing parameters and coefficients together; one Newton step per update."""
    at = engine.likelihood.dispersion
    apart = None if at is None else at.column
    point = engine.at(beta, sp)
    state = FellnerSchall.start(sp / engine.variance(beta))
    last, settled = -np.inf, False
    for n_iter in range(1, max_iter + 1):
        newton = penalised_newton(engine.likelihood, point, max_steps=1)
        V = newton.point.factor.inverse()
        point = engine.shifted(newton.point, sp, V, "edf")
        moved = abs(engine.variance(point.beta) / engine.variance(newton.point.beta) - 1)
        lam = sp / engine.variance(point.beta)
        if point is not newton.point:
            V = point.factor.inverse()
        value = laplace_value(engine.penalties, point, lam, apart)
        gap = value - last
        calm = newton.decrement < 1e-6 and moved < 1e-6
        settled = calm and abs(gap) <= tol * (1 + abs(value))
        state = FellnerSchall(lam, state.boost, state.sign)
        if settled:
            # A small share of a large likelihood may still be a large gain: see the slope as well.
            slope = fellner_schall_slope(engine.penalties, lam, point.beta, V, free)
            if np.abs(slope).max() <= _GRADIENT_TOL or abs(gap) <= 1e-3 * _GRADIENT_TOL:
                return sp, point.beta, n_iter, True
        if gap < 0 and calm:
            state = state.slowed()
        last = value
        bounds = smoothing_bounds(engine.penalties, point.H)
        state = fellner_schall_update(state, engine.penalties, point.beta, V, free, bounds)
        sp = np.where(free, state.lam * engine.variance(point.beta), sp)
        point = point.with_penalty(
            engine.likelihood, engine.penalties.matrix(sp / engine.variance(point.beta))
        )
    return sp, point.beta, max_iter, settled


def refine(
    engine: Engine,
    sp: np.ndarray,
    beta: np.ndarray,
    free: np.ndarray,
    method: SmoothingMethod,
    max_iter: int,
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """Maximise the criterion itself by quasi-Newton steps with its exact gradient."""
    rule: DispersionRule = "edf" if method == "gcv" else method
    first = engine.settle(sp, beta, rule)
    found = engine.criterion(first, method, free)
    if not np.isfinite(found.value):
        return sp, beta, 0, False
    sp, drawn = _off_plateau(engine, first, sp, found.gradient)
    if not drawn and np.abs(found.gradient).max() <= _GRADIENT_TOL:
        return sp, first.point.beta, 0, True
    objective = _Objective(engine, method, rule, sp, free, first)
    sides = smoothing_bounds(engine.penalties, first.point.H)
    lower, upper = (np.log(side[free] * engine.variance(first.point.beta)) for side in sides)
    answer = minimize(
        objective,
        np.clip(np.log(sp[free]), lower, upper),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(lower, upper, strict=True)),
        options={"gtol": _GRADIENT_TOL, "ftol": 1e-13, "maxiter": max_iter},
    )
    best = sp.copy()
    best[free] = np.exp(answer.x)
    # Line searches end at rounding level too; what counts is the gradient inside the bounds.
    inside = (answer.x > lower) & (answer.x < upper)
    rest = np.abs(np.where(inside, answer.jac, 0.0)).max()
    good = bool(answer.success or rest < 100 * _GRADIENT_TOL)
    return best, objective.settled.point.beta, int(answer.nit), good


class _Objective:
    """Minus the criterion and its gradient in the logs of the free smoothing parameters.

    Coefficients start from the last ones, moved along their derivative.
    """

    def __init__(
        self,
        engine: Engine,
        method: SmoothingMethod,
        rule: DispersionRule,
        sp: np.ndarray,
        free: np.ndarray,
        settled: Settled,
    ) -> None:
        self.engine, self.method, self.rule = engine, method, rule
        self.free, self.sp, self.settled = free, sp, settled

    def __call__(self, rho: np.ndarray) -> tuple[float, np.ndarray]:
        engine, last = self.engine, self.settled
        sp = self.sp.copy()
        sp[self.free] = np.exp(rho)
        beta = last.point.beta
        change = np.log(sp / (last.lam * engine.variance(beta)))
        moves = coefficient_moves(engine.penalties, beta, last.V, last.lam, self.free)
        # The derivative is a good guide within a factor of e only.
        guess = beta + np.clip(change, -1.0, 1.0) @ moves
        self.settled = engine.settle(sp, guess, self.rule)
        found = engine.criterion(self.settled, self.method, self.free)
        return -found.value, -found.gradient[self.free]


def _off_plateau(
    engine: Engine, settled: Settled, sp: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, bool]:
    """Draw back smoothing parameters that overran an optimum at a finite value.

    Where a term is almost its unpenalised part the criterion is flat: linear in ``1 / lam``, with
    the sign of the gradient saying whether the optimum lies at infinity.
    """
    traces = engine.penalties.determinant(settled.lam).traces
    spent = traces - settled.lam * engine.penalties.traces(settled.V)
    overrun = (spent < 0.5 * _PLATEAU) & (gradient < -1e-2 * np.abs(spent))
    back = sp * np.maximum(spent, 1e-6) / _PLATEAU
    return np.where(overrun, back, sp), bool(overrun.any())
