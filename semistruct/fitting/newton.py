"""Penalised Newton iterations for stacked coefficients, and the one-dimensional dispersion."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from semistruct.exceptions import UnsupportedCombinationError
from semistruct.families.base import CurvatureKind
from semistruct.fitting._likelihood import Likelihood
from semistruct.linalg import Factor, penalised_cholesky

__all__ = ["NewtonResult", "Point", "evaluate", "penalised_newton", "solve_dispersion"]

_HALVINGS = 30
# A step must bring this share of what the slope promises (a quadratic brings half): merely not
# falling would accept a step in a log-scale that flies past the maximum.
_SHARE = 0.1
# The penalised likelihood may fall by this much of itself: rounding of a sum over rows.
_ROUNDING = 1e-12
_ROUNDING_DECREMENT = 1e-6
# At a corner the slope does not vanish: there the end is that a step brings no more than this.
_CORNER = 1e-5


@dataclass(frozen=True)
class Point:
    """Everything the engine knows at one value of the coefficients.

    Attributes
    ----------
    beta : (P,) array
    eta : (n, K) array
    loglik : float
        Not penalised.
    gradient : (P,) array
        Of the log-likelihood, not penalised; zero in a profiled dispersion.
    H : (P, P) array
        Minus the second derivative of the log-likelihood (its expectation, if ``kind`` says so).
    S_lam : (P, P) array
    factor : Factor
        Of ``H + S_lam``.
    kind : {"observed", "expected"}
        "expected" where the observed ``H + S_lam`` was not positive definite.
    """

    beta: np.ndarray
    eta: np.ndarray
    loglik: float
    gradient: np.ndarray
    H: np.ndarray
    S_lam: np.ndarray
    factor: Factor
    kind: CurvatureKind

    @property
    def penalised(self) -> float:
        """Penalised log-likelihood."""
        return self.loglik - 0.5 * float(self.beta @ self.S_lam @ self.beta)

    @property
    def penalised_gradient(self) -> np.ndarray:
        """Gradient of the penalised log-likelihood, ``(P,)``."""
        return self.gradient - self.S_lam @ self.beta

    def step(self) -> np.ndarray:
        """The Newton step, ``(P,)``."""
        return self.factor.solve(self.penalised_gradient)

    def with_penalty(self, likelihood: Likelihood, S_lam: np.ndarray) -> Point:
        """The same coefficients under another penalty; no pass over the rows unless needed."""
        factor = penalised_cholesky(self.H + S_lam)
        moved = replace(self, S_lam=S_lam, factor=factor)
        if self.kind == "observed" and not factor.positive_definite:
            return _expected(likelihood, moved)
        return moved


@dataclass(frozen=True)
class NewtonResult:
    """Where Newton's method arrived.

    Attributes
    ----------
    point : Point
    n_steps : int
    decrement : float
        ``g' (H + S_lam)^-1 g`` of the penalised gradient at ``point``.
    converged : bool
    """

    point: Point
    n_steps: int
    decrement: float
    converged: bool


def evaluate(
    likelihood: Likelihood,
    beta: np.ndarray,
    S_lam: np.ndarray,
    eta: np.ndarray | None = None,
    loglik: float | None = None,
) -> Point:
    """Likelihood, gradient, curvature and its factor at ``beta``; some may be known already."""
    eta = likelihood.eta(beta) if eta is None else eta
    gradient = likelihood.gradient(likelihood.score(eta))
    if likelihood.dispersion is not None:
        gradient[likelihood.dispersion.column] = 0.0
    H = likelihood.information(eta, "observed")
    loglik = likelihood.loglik(eta) if loglik is None else loglik
    factor = Factor(np.eye(beta.size), np.ones(beta.size), np.inf)
    if np.isfinite(H).all():
        # Far from the maximum a curvature may be so negative that no ridge helps.
        with suppress(np.linalg.LinAlgError):
            factor = penalised_cholesky(H + S_lam)
    point = Point(beta, eta, loglik, gradient, H, S_lam, factor, "observed")
    return point if factor.positive_definite else _expected(likelihood, point)


def _expected(likelihood: Likelihood, point: Point) -> Point:
    """The point with expected curvature, where that is of more use than the observed one."""
    H = likelihood.information(point.eta, "expected")
    if not np.isfinite(H).all():
        H = np.where(np.isfinite(H), H, 0.0)
    factor = penalised_cholesky(H + point.S_lam)
    if factor.ridge >= point.factor.ridge:
        return point
    return replace(point, H=H, factor=factor, kind="expected")


def penalised_newton(
    likelihood: Likelihood,
    start: Point,
    *,
    max_steps: int = 50,
    tol: float = 1e-8,
    polish: bool = False,
) -> NewtonResult:
    """Maximise the penalised log-likelihood at fixed smoothing parameters and dispersion.

    Parameters
    ----------
    likelihood : Likelihood
    start : Point
        Carries the penalty.
    max_steps : int
        One step is what the smoothing iterations take.
    tol : float
        Newton decrement, in units of log-likelihood, at which to stop.
    polish : bool
        Take one more step after that, which leaves rounding error only.

    Notes
    -----
    The observed curvature gives the step; the expected one where the former is not positive
    definite or its step fails. A step is halved until the penalised likelihood rises by a tenth of
    what its slope promises.
    """
    point, decrement = start, np.inf
    for n_steps in range(max_steps + 1):
        direction = point.step()
        last, decrement = decrement, max(float(point.penalised_gradient @ direction), 0.0)
        # Near the maximum a decrement falls to its square; one that does not is rounding error,
        # which a very large smoothing parameter magnifies.
        if decrement <= tol or (decrement < _ROUNDING_DECREMENT and decrement > 0.25 * last):
            finer = _halved_step(likelihood, point, direction) if polish else None
            return NewtonResult(finer or point, n_steps, decrement, True)
        if n_steps == max_steps:
            break
        moved = _halved_step(likelihood, point, direction)
        if moved is None and point.kind == "observed":
            retry = _expected(
                likelihood, replace(point, factor=replace(point.factor, ridge=np.inf))
            )
            if np.isfinite(retry.factor.ridge):
                moved = _halved_step(likelihood, retry, retry.step())
        if moved is None:
            # No direction improves: either rounding level, or a likelihood with a corner.
            return NewtonResult(point, n_steps, decrement, decrement < _ROUNDING_DECREMENT)
        gain = moved.penalised - point.penalised
        point = moved
        if not likelihood.family.smooth and gain < _CORNER:
            return NewtonResult(point, n_steps + 1, decrement, True)
    return NewtonResult(point, max_steps, decrement, False)


def _halved_step(likelihood: Likelihood, point: Point, direction: np.ndarray) -> Point | None:
    """The first of ``direction``, ``direction / 2``, ... that brings a share of its promise."""
    if not np.isfinite(direction).all():
        return None
    before = point.penalised
    promise = float(point.penalised_gradient @ direction)
    # A large smoothing parameter magnifies what is rounded in the quadratic form.
    size_of_form = float(np.abs(point.beta) @ np.abs(point.S_lam) @ np.abs(point.beta))
    slack = _ROUNDING * (1.0 + abs(before)) + np.finfo(float).eps * size_of_form
    size = 1.0
    for _ in range(_HALVINGS):
        beta = point.beta + size * direction
        eta = likelihood.eta(beta)
        loglik = likelihood.loglik(eta)
        after = loglik - 0.5 * float(beta @ point.S_lam @ beta)
        enough = before + _SHARE * size * promise - slack if np.isfinite(before) else -np.inf
        if np.isfinite(after) and after >= enough:
            return evaluate(likelihood, beta, point.S_lam, eta, loglik)
        size *= 0.5
    return None


def solve_dispersion(
    likelihood: Likelihood,
    eta: np.ndarray,
    *,
    degrees: float,
    quadratic: float = 0.0,
    floor: float = -np.inf,
    max_iter: int = 60,
) -> float:
    """The shift of ``log t`` that solves its restricted likelihood equation.

    Parameters
    ----------
    likelihood : Likelihood
        With a ``dispersion``.
    eta : (n, K) array
        Predictors at the current ``log t``.
    degrees : float
        Degrees of freedom ``c`` to correct for: the effective ones of the other coefficients give
        ``RSS / (n - edf)`` for the normal, zero gives maximum likelihood.
    quadratic : float
        ``q = beta' S_lam beta`` at the current ``t`` where the penalty belongs to the equation.
    floor : float
        Lowest shift allowed. A model that interpolates its response has no dispersion, and the
        equation no root; the floor then is the answer.

    Returns
    -------
    float
        ``a`` such that ``sum_i w_i dl_i/d(log t) + (power/2) (q e^{-power a} + c) = 0`` at
        ``log t + a``.
    """
    at = likelihood.dispersion
    if at is None:
        raise UnsupportedCombinationError(
            f"{likelihood.family!r} has no profiled dispersion to solve for here."
        )
    half = 0.5 * at.power
    available = float(likelihood.weight.sum())
    degrees = min(degrees, available * (1 - 1e-6))
    known = likelihood.dispersion_shift(eta, degrees, quadratic)
    if known is not None:
        return max(known, floor)
    shifted = eta.copy()
    low, high, shift = -np.inf, np.inf, 0.0
    for _ in range(max_iter):
        shifted[:, at.parameter] = eta[:, at.parameter] + shift
        q = quadratic * np.exp(-at.power * shift)
        slope = float(likelihood.score(shifted)[:, at.parameter].sum()) + half * (q + degrees)
        if not np.isfinite(slope):
            return max(shift, floor)
        low, high = (shift, high) if slope > 0 else (low, shift)
        w = likelihood.curvature(shifted, "observed").w[:, at.parameter, at.parameter]  # type: ignore[attr-defined]
        bend = float(w.sum()) + half * at.power * q
        step = slope / bend if bend > 0 else np.sign(slope)
        step = float(np.clip(step, -1.0, 1.0))
        trial = shift + step
        if not low <= trial <= high:
            trial = 0.5 * (low + high)
        if trial <= floor and shift <= floor:
            return floor
        trial = max(trial, floor)
        # Quadratic convergence: after a step of this size only rounding error is left.
        if abs(trial - shift) <= 1e-8:
            return trial
        shift = trial
    return shift
