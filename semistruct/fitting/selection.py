"""Choosing smoothing parameters: Fellner-Schall to the vicinity, exact gradients from there."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from semistruct.fitting.criteria import SmoothingMethod, laplace_value
from semistruct.fitting.engine import DispersionRule, Engine
from semistruct.fitting.newton import penalised_newton
from semistruct.fitting.smoothing import (
    FellnerSchall,
    fellner_schall_update,
    smoothing_bounds,
)

__all__ = ["approach", "refine"]

# Gradient of the criterion, in log-likelihood per unit of log(lam), at which a smoothing
# parameter counts as optimal: about 1e-3 in log(lam), far below its standard error.
_GRADIENT_TOL = 5e-4
# Effective degrees of freedom that a penalty leaves, below which the criterion no longer feels it.
_PLATEAU = 0.1


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
    last = -np.inf
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
        if calm and abs(gap) <= tol * (1 + abs(value)):
            return sp, point.beta, n_iter, True
        state = FellnerSchall(lam, state.boost, state.sign)
        if gap < 0 and calm:
            state = state.slowed()
        last = value
        bounds = smoothing_bounds(engine.penalties, point.H)
        state = fellner_schall_update(state, engine.penalties, point.beta, V, free, bounds)
        sp = np.where(free, state.lam * engine.variance(point.beta), sp)
        point = point.with_penalty(
            engine.likelihood, engine.penalties.matrix(sp / engine.variance(point.beta))
        )
    return sp, point.beta, max_iter, False


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
    known: dict[bytes, tuple[float, np.ndarray]] = {}
    current = [sp.copy(), beta]

    def negative(rho: np.ndarray) -> tuple[float, np.ndarray]:
        key = rho.tobytes()
        if key not in known:
            trial = sp.copy()
            trial[free] = np.exp(rho)
            settled = engine.settle(trial, current[1], rule)
            found = engine.criterion(settled, method, free)
            known[key] = (-found.value, -found.gradient[free])
            current[1] = settled.point.beta
        return known[key]

    rho = np.log(_off_plateau(engine, sp, beta)[free])
    value, gradient = negative(rho)
    if not np.isfinite(value):
        return sp, beta, 0, False
    if np.abs(gradient).max() <= _GRADIENT_TOL:
        return sp, current[1], 0, True
    point = engine.at(current[1], sp)
    lower, upper = smoothing_bounds(engine.penalties, point.H)
    lower, upper = (np.log(side[free] * engine.variance(current[1])) for side in (lower, upper))
    found = minimize(
        negative,
        np.clip(rho, lower, upper),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(lower, upper, strict=True)),
        options={"gtol": _GRADIENT_TOL, "ftol": 1e-13, "maxiter": max_iter},
    )
    best = sp.copy()
    best[free] = np.exp(found.x)
    # Line searches end at rounding level too; what counts is the gradient inside the bounds.
    inside = (found.x > lower) & (found.x < upper)
    rest = np.abs(np.where(inside, found.jac, 0.0)).max()
    return best, current[1], int(found.nit), bool(found.success or rest < 100 * _GRADIENT_TOL)


def _off_plateau(engine: Engine, sp: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Draw back smoothing parameters so large that their term is its unpenalised part.

    The criterion is flat there, and an optimum at a finite value may have been overrun.
    """
    lam = sp / engine.variance(beta)
    V = engine.at(beta, sp).factor.inverse()
    spent = engine.penalties.determinant(lam).traces - lam * engine.penalties.traces(V)
    return np.where(spent < 0.5 * _PLATEAU, sp * np.maximum(spent, 1e-8) / _PLATEAU, sp)
