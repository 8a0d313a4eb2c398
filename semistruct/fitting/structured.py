"""The structured fit: coefficients, smoothing parameters and dispersion of the table model."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from semistruct.design import Design
from semistruct.exceptions import ConvergenceWarning, DataWarning, SpecificationError
from semistruct.families.base import Family
from semistruct.fitting._likelihood import Dispersion, Likelihood
from semistruct.fitting.criteria import CRITERIA, CriterionValue, SmoothingMethod, laplace_value
from semistruct.fitting.newton import (
    NewtonResult,
    Point,
    evaluate,
    penalised_newton,
    solve_dispersion,
)
from semistruct.fitting.penalties import PenaltySystem, PlacedPenalty
from semistruct.fitting.smoothing import (
    FellnerSchall,
    fellner_schall_update,
    smoothing_bounds,
    start_smoothing,
)
from semistruct.terms import DenseBlock, DesignBlock

__all__ = ["StructuredFit", "StructuredProblem", "fit_structured"]

# A dispersion stays above this multiple of the null model's, on the scale of a standard deviation.
_SCALE_FLOOR = 1e-6
# Gradient of the criterion, in log-likelihood per unit of log(lam), at which a smoothing
# parameter counts as optimal: about 1e-3 in log(lam), far below its standard error.
_GRADIENT_TOL = 5e-4
# A last Newton step that still moves a predictor by this much at no gain in likelihood means that
# the maximum lies at infinity.
_DIVERGING = 0.05


@dataclass(frozen=True, eq=False)
class StructuredProblem:
    """A likelihood, its response and the designs of its ``K`` parameters.

    Attributes
    ----------
    family : Family
    y : (n,) array
        Validated response.
    designs : tuple of K Design
        Names, penalties and fixed smoothing parameters are read from them.
    blocks : tuple of K DesignBlock
        The designs at the training rows.
    offset : (n, K) array
    sample_weight : (n,) array
        Case weights; a row of weight zero is absent.
    """

    family: Family
    y: np.ndarray
    designs: tuple[Design, ...]
    blocks: tuple[DesignBlock, ...]
    offset: np.ndarray
    sample_weight: np.ndarray


@dataclass(frozen=True, eq=False)
class StructuredFit:
    """A fitted table model.

    Attributes
    ----------
    beta : (P,) array
        Coefficients of all parameters, stacked.
    slices : tuple of K slices
        Each parameter's coefficients within ``beta``.
    lam : (J,) array
        Smoothing parameters on the likelihood's scale: the penalty is ``lam_j beta' S_j beta / 2``.
    smoothing : (J,) array
        As reported: ``lam`` times ``dispersion`` (the scale of mgcv).
    S_lam : (P, P) array
        ``sum_j lam_j S_j``.
    H : (P, P) array
        Minus the second derivative of the log-likelihood, not penalised.
    V : (P, P) array
        ``(H + S_lam)^-1``, the Bayesian covariance.
    edf, edf1 : (P,) array
        Effective degrees of freedom per coefficient: the diagonals of ``F = V H`` and
        ``2 F - F F``.
    eta : (n, K) array
        Predictors of all rows, those of weight zero included.
    loglik, loglik_null : float
        Of the fit and of the model of constants (and offsets). A profiled dispersion is put at its
        maximum likelihood value in both, as R and statsmodels do.
    reml : float
        The criterion as mgcv reports it, to be minimised: minus the (restricted) log-likelihood
        for "reml" and "ml", the score for "gcv" (UBRE where there is no dispersion).
    n_iter : int
        Outer iterations over the smoothing parameters, or Newton steps where none are estimated.
    converged : bool
    dispersion : float
        ``t ** power`` (variance of the normal, dispersion of the gamma) where it is profiled,
        else 1.
    dispersion_column : int or None
        Position of ``log t`` in ``beta`` where the dispersion is profiled.
    n_effective : float
        Sum of the case weights.
    method : {"reml", "ml", "gcv"}
    """

    beta: np.ndarray
    slices: tuple[slice, ...]
    lam: np.ndarray
    smoothing: np.ndarray
    S_lam: np.ndarray
    H: np.ndarray
    V: np.ndarray
    edf: np.ndarray
    edf1: np.ndarray
    eta: np.ndarray
    loglik: float
    loglik_null: float
    reml: float
    n_iter: int
    converged: bool
    dispersion: float
    dispersion_column: int | None
    n_effective: float
    method: SmoothingMethod

    @property
    def edf_total(self) -> float:
        """Effective number of parameters, a profiled dispersion not counted."""
        return float(self.edf.sum()) - (self.dispersion_column is not None)

    @property
    def df_resid(self) -> float | None:
        """Residual degrees of freedom where a dispersion is estimated, else None."""
        if self.dispersion_column is None:
            return None
        return max(self.n_effective - self.edf_total, 0.0)

    @property
    def aic(self) -> float:
        """``-2 loglik + 2 (effective number of parameters, dispersion included)``."""
        return -2 * self.loglik + 2 * float(self.edf.sum())


def fit_structured(
    problem: StructuredProblem,
    *,
    method: SmoothingMethod = "reml",
    max_iter: int = 100,
    tol: float = 1e-7,
    start: StructuredFit | None = None,
    smoothing: np.ndarray | None = None,
) -> StructuredFit:
    """Fit coefficients by penalised Newton with automatic smoothing.

    Parameters
    ----------
    problem : StructuredProblem
    method : {"reml", "ml", "gcv"}
        How smoothing parameters are chosen: restricted likelihood, marginal likelihood, or
        generalised cross-validation (UBRE where the likelihood has no dispersion).
    max_iter : int
        Most outer iterations.
    tol : float
        Relative change of the criterion at which the Fellner-Schall iterations stop.
    start : StructuredFit, optional
        Begin from this fit of the same designs.
    smoothing : (J,) array, optional
        Hold all smoothing parameters at these values, in the units of
        :attr:`StructuredFit.smoothing`.

    Returns
    -------
    StructuredFit

    Warns
    -----
    ConvergenceWarning
        If the iterations end early or the maximum lies at infinity (separation).
    DataWarning
        If the coefficients are not identified by the data.

    Notes
    -----
    Fellner-Schall updates of ``lam``, one Newton step each, bring the smoothing parameters near
    the optimum of the Laplace approximate restricted likelihood. They ignore that the curvature
    depends on ``lam`` through the coefficients; the exact gradient is computed once at the end, and
    quasi-Newton steps follow where it matters (never for the normal with identity link).

    A dispersion ``t`` with a constant predictor is estimated by REML: its score gets
    ``power / 2`` times the effective degrees of freedom of the other coefficients, so that the
    normal has ``sigma^2 = RSS / (n - edf)``. It is kept above the null model's times 1e-12 (in
    units of variance), because the likelihood has no maximum once a model interpolates the
    response.
    """
    if method not in CRITERIA:
        raise SpecificationError(
            f"method must be one of {', '.join(map(repr, CRITERIA))}, got {method!r}."
        )
    rows = np.flatnonzero(problem.sample_weight > 0)
    engine = _Engine.of(problem, None if rows.size == problem.y.size else rows)
    sp, free = engine.start_smoothing(start, smoothing)
    beta = engine.start if start is None else start.beta.copy()
    point = engine.at(beta, sp)
    if start is None and smoothing is None and free.any():
        sp = np.where(free, start_smoothing(engine.penalties, point.H) * engine.variance(beta), sp)
    n_iter, converged = 0, True
    if free.any():
        sp, beta, n_iter, converged = _fellner_schall(engine, sp, beta, free, max_iter, tol)
        sp, beta, extra, better = _polish(engine, sp, beta, free, method, max_iter)
        n_iter, converged = n_iter + extra, (converged or extra > 0) and better
    settled = engine.settle(sp, beta, "edf", polish=True)
    n_iter += settled.newton.n_steps if not n_iter else 0
    _warn(engine, problem, settled, converged and settled.newton.converged, n_iter)
    return _report(engine, problem, settled, method, n_iter, converged and settled.newton.converged)


@dataclass(frozen=True)
class _Settled:
    """Converged coefficients and dispersion at given smoothing parameters."""

    point: Point
    lam: np.ndarray
    newton: NewtonResult
    V: np.ndarray


@dataclass(frozen=True, eq=False)
class _Engine:
    """The problem without absent rows, and what all its fits share."""

    likelihood: Likelihood
    penalties: PenaltySystem
    fixed: tuple[float | None, ...]
    start: np.ndarray
    floor: float
    loglik_null: float

    @classmethod
    def of(cls, problem: StructuredProblem, rows: np.ndarray | None) -> _Engine:
        y, weight, offset = problem.y, problem.sample_weight, problem.offset
        blocks = tuple(problem.blocks)
        if rows is not None:
            y, weight, offset = y[rows], weight[rows], offset[rows]
            blocks = tuple(block.take(rows) for block in blocks)
        data = (np.ascontiguousarray(y), np.ascontiguousarray(weight, dtype=float))
        offset = np.ascontiguousarray(offset, dtype=float)
        family = problem.family
        plain = Likelihood(family, *data, blocks, offset)
        likelihood = Likelihood(
            family, *data, blocks, offset, _profiled(family, problem.designs, plain)
        )
        placed, fixed = [], []
        for design, columns in zip(problem.designs, likelihood.slices, strict=True):
            for penalty in design.penalties:
                at = slice(
                    columns.start + penalty.columns.start, columns.start + penalty.columns.stop
                )
                placed.append(PlacedPenalty(penalty.label, at, penalty.S))
                fixed.append(penalty.lam)
        constants, floor, loglik_null = _null_model(family, *data, offset)
        start = np.zeros(likelihood.size)
        for k, (design, columns) in enumerate(zip(problem.designs, likelihood.slices, strict=True)):
            start[columns] = _constant_start(design, blocks[k], data[1], constants[k])
        return cls(
            likelihood,
            PenaltySystem.build(likelihood.size, placed),
            tuple(fixed),
            start,
            floor,
            loglik_null,
        )

    def variance(self, beta: np.ndarray) -> float:
        """``t ** power`` at ``beta``; one where no dispersion is profiled."""
        at = self.likelihood.dispersion
        return 1.0 if at is None else float(np.exp(at.power * beta[at.column]))

    def start_smoothing(
        self, start: StructuredFit | None, given: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """First smoothing parameters (reported scale) and which of them are free."""
        if given is not None:
            given = np.asarray(given, dtype=float)
            if given.shape != (len(self.fixed),):
                raise SpecificationError(
                    f"smoothing must have one value for each of the {len(self.fixed)} penalties, "
                    f"got shape {given.shape}."
                )
            return given.copy(), np.zeros(len(self.fixed), dtype=bool)
        sp = np.ones(len(self.fixed)) if start is None else start.smoothing.copy()
        free = np.array([value is None for value in self.fixed], dtype=bool)
        for j, value in enumerate(self.fixed):
            if value is not None:
                sp[j] = value
        return sp, free

    def at(self, beta: np.ndarray, sp: np.ndarray) -> Point:
        """Evaluate at ``beta`` under reported smoothing parameters."""
        return evaluate(self.likelihood, beta, self.penalties.matrix(sp / self.variance(beta)))

    def shifted(
        self, point: Point, sp: np.ndarray, V: np.ndarray, rule: SmoothingMethod | str
    ) -> Point:
        """The point after ``log t`` has moved to the root of its equation."""
        at = self.likelihood.dispersion
        if at is None:
            return point
        lam = sp / self.variance(point.beta)
        quadratic = float(lam @ self.penalties.quadratic(point.beta)) if rule != "edf" else 0.0
        degrees = 0.0
        if rule == "edf":
            degrees = float(np.vdot(V, point.H)) - V[at.column, at.column] * float(
                point.H[at.column, at.column]
            )
        elif rule == "reml":
            degrees = point.beta.size - 1 - self.penalties.determinant(lam).rank
        shift = solve_dispersion(
            self.likelihood,
            point.eta,
            degrees=degrees,
            quadratic=quadratic,
            floor=self.floor - point.beta[at.column],
        )
        if shift == 0.0:
            return point
        beta = point.beta.copy()
        beta[at.column] += shift
        return self.at(beta, sp)

    def settle(self, sp: np.ndarray, beta: np.ndarray, rule: str, polish: bool = False) -> _Settled:
        """Converge coefficients and dispersion; the reported smoothing parameters stay put."""
        point = self.at(beta, sp)
        for _ in range(20):
            newton = penalised_newton(self.likelihood, point, polish=polish)
            point = newton.point
            V = point.factor.inverse()
            moved = self.shifted(point, sp, V, rule)
            if moved is point:
                break
            shift = np.abs(moved.beta - point.beta).max()
            point, V = moved, moved.factor.inverse()
            if shift < 1e-9:
                break
        return _Settled(point, sp / self.variance(point.beta), newton, V)

    def criterion(
        self, settled: _Settled, method: SmoothingMethod, free: np.ndarray
    ) -> CriterionValue:
        """The criterion and its gradient at settled coefficients."""
        return CRITERIA[method](
            self.likelihood, self.penalties, settled.point, settled.V, settled.lam, free
        )


def _profiled(
    family: Family, designs: tuple[Design, ...], likelihood: Likelihood
) -> Dispersion | None:
    """The family's dispersion, when its predictor is one unpenalised intercept (and offsets)."""
    if family.dispersion is None or len(likelihood.blocks) < 2:
        return None
    name, power = family.dispersion
    k = family.param_names.index(name)
    block = likelihood.blocks[k]
    if block.shape[1] != 1 or designs[k].penalties:
        return None
    if not np.array_equal(block.matvec(np.ones(1)), np.ones(likelihood.n)):
        return None
    return Dispersion(k, likelihood.slices[k].start, power)


def _null_model(
    family: Family, y: np.ndarray, weight: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Constants ``(K,)`` of the model of intercepts, the floor of ``log t``, its likelihood."""
    K = offset.shape[1]
    ones = tuple(DenseBlock(np.ones((y.size, 1))) for _ in range(K))
    at = None
    if family.dispersion is not None:
        k = family.param_names.index(family.dispersion[0])
        at = Dispersion(k, k, family.dispersion[1])
    likelihood = Likelihood(family, y, weight, ones, offset, at)
    first = family.initial_eta(torch.from_numpy(y), torch.from_numpy(weight)).numpy()
    centre = offset.T @ weight / weight.sum()
    beta = np.array(first, dtype=float) - centre
    floor = -np.inf
    if at is not None:
        floor = beta[at.column] + 2 / at.power * np.log(_SCALE_FLOOR)
    nothing = np.zeros((K, K))
    point = evaluate(likelihood, beta, nothing)
    for _ in range(20):
        point = penalised_newton(likelihood, point, polish=True).point
        if at is None:
            break
        lowest = floor - point.beta[at.column]
        shift = solve_dispersion(likelihood, point.eta, degrees=0.0, floor=lowest)
        beta = point.beta.copy()
        beta[at.column] += shift
        point = evaluate(likelihood, beta, nothing)
        if abs(shift) < 1e-9:
            break
    return point.beta, floor, point.loglik


def _constant_start(
    design: Design, block: DesignBlock, weight: np.ndarray, constant: float
) -> np.ndarray:
    """Coefficients whose predictor is nearest to a constant."""
    beta = np.zeros(block.shape[1])
    if "Intercept" in design.names:
        beta[design.names.index("Intercept")] = constant
    elif beta.size:
        from_rows = block.rmatvec(weight * constant)
        gram = block.gram(weight)
        scale = np.trace(gram) / beta.size
        beta = np.linalg.solve(gram + 1e-6 * max(scale, 1e-300) * np.eye(beta.size), from_rows)
    return beta


def _fellner_schall(
    engine: _Engine,
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


def _polish(
    engine: _Engine,
    sp: np.ndarray,
    beta: np.ndarray,
    free: np.ndarray,
    method: SmoothingMethod,
    max_iter: int,
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """Maximise the criterion itself by quasi-Newton steps with its exact gradient."""
    rule = "edf" if method == "gcv" else method
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

    rho = np.log(sp[free])
    value, gradient = negative(rho)
    if not np.isfinite(value) or np.abs(gradient).max() <= _GRADIENT_TOL:
        return sp, current[1], 0, bool(np.isfinite(value))
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


def _report(
    engine: _Engine,
    problem: StructuredProblem,
    settled: _Settled,
    method: SmoothingMethod,
    n_iter: int,
    converged: bool,
) -> StructuredFit:
    likelihood, point, V = engine.likelihood, settled.point, settled.V
    at = likelihood.dispersion
    F = V @ point.H
    edf = np.diag(F).copy()
    edf1 = 2 * edf - np.einsum("ij,ji->i", F, F)
    loglik = point.loglik
    if at is not None:
        floor = engine.floor - point.beta[at.column]
        eta = point.eta.copy()
        eta[:, at.parameter] += solve_dispersion(likelihood, eta, degrees=0.0, floor=floor)
        loglik = likelihood.loglik(eta)
    eta = np.array(problem.offset, dtype=float)
    for k, (block, columns) in enumerate(zip(problem.blocks, likelihood.slices, strict=True)):
        eta[:, k] += block.matvec(point.beta[columns])
    variance = engine.variance(point.beta)
    sp = settled.lam * variance
    none_free = np.zeros(len(engine.penalties), dtype=bool)
    rule = "edf" if method == "gcv" else method
    scored = engine.settle(sp, point.beta, rule) if at is not None else settled
    score = engine.criterion(scored, method, none_free).score
    return StructuredFit(
        beta=point.beta,
        slices=likelihood.slices,
        lam=settled.lam,
        smoothing=sp,
        S_lam=point.S_lam,
        H=point.H,
        V=V,
        edf=edf,
        edf1=edf1,
        eta=eta,
        loglik=loglik,
        loglik_null=engine.loglik_null,
        reml=score,
        n_iter=n_iter,
        converged=converged,
        dispersion=variance,
        dispersion_column=None if at is None else at.column,
        n_effective=float(likelihood.weight.sum()),
        method=method,
    )


def _warn(
    engine: _Engine, problem: StructuredProblem, settled: _Settled, converged: bool, n_iter: int
) -> None:
    """Say what went wrong, naming parameter and columns."""
    point = settled.point
    names = [
        f"{name} ({parameter})"
        for parameter, design in zip(problem.family.param_names, problem.designs, strict=True)
        for name in design.names
    ]
    if not point.factor.positive_definite:
        warnings.warn(
            "the data do not identify all coefficients: a ridge of "
            f"{point.factor.ridge:g} (relative) was added to the information matrix. Remove "
            "columns that repeat each other, or penalise them.",
            DataWarning,
            stacklevel=4,
        )
        return
    step = point.step()
    moves = np.abs(engine.likelihood.direction(step)).max(axis=0, initial=0.0)
    if moves.max(initial=0.0) > _DIVERGING and settled.newton.decrement < 1e-4:
        k = int(moves.argmax())
        columns = engine.likelihood.slices[k]
        z = np.abs(step[columns]) / np.sqrt(np.diag(settled.V)[columns])
        worst = names[columns.start + int(z.argmax())]
        warnings.warn(
            f"the predictor of {problem.family.param_names[k]!r} diverges: the likelihood has no "
            f"maximum at finite coefficients (separation), most visibly in {worst}. Its "
            "coefficient and standard error mean nothing; penalise the column, merge levels or "
            "leave it out.",
            ConvergenceWarning,
            stacklevel=4,
        )
    elif not converged:
        warnings.warn(
            f"the structured fit did not converge in {n_iter} iterations (Newton decrement "
            f"{settled.newton.decrement:.1e}); raise max_iter, or simplify the model.",
            ConvergenceWarning,
            stacklevel=4,
        )
