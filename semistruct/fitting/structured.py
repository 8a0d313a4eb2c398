"""The structured fit: coefficients, smoothing parameters and dispersion of the table model."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from semistruct.exceptions import ConvergenceWarning, DataWarning, SpecificationError
from semistruct.fitting.criteria import CRITERIA, SmoothingMethod
from semistruct.fitting.engine import DispersionRule, Engine, Settled, StructuredProblem
from semistruct.fitting.newton import solve_dispersion
from semistruct.fitting.other_optima import better_elsewhere
from semistruct.fitting.selection import approach, df_targets, meet_df, refine
from semistruct.fitting.shapes import inequalities, keep_shapes
from semistruct.fitting.smoothing import smoothing_bounds, start_smoothing

__all__ = ["StructuredFit", "StructuredProblem", "fit_structured"]

# A last Newton step that still moves a predictor by this much at no gain in likelihood means that
# the maximum lies at infinity.
_DIVERGING = 0.05
_ROUNDING = 1e-3
# Another optimum of the criterion has to be better by this much, in log-likelihood.
_GAIN = 1e-3
# Degrees of freedom that were asked for are met to this accuracy, in at most this many rounds.
_DF_GAP = 1e-6
_ROUNDS = 50


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
        Minus the second derivative of the log-likelihood, not penalised; its expectation where
        one predictor is modelled beside a profiled dispersion, as in R's glm and mgcv.
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

    The criterion can have several maxima. From the one that is found every smoothing parameter is
    moved over its whole range with the others held, and where that promises more the search is
    begun again from there; see :mod:`semistruct.fitting.other_optima`.

    A dispersion ``t`` with a constant predictor is estimated by REML: its score gets
    ``power / 2`` times the effective degrees of freedom of the other coefficients, so that the
    normal has ``sigma^2 = RSS / (n - edf)``. It is kept above the null model's times 1e-12 (in
    units of variance), because the likelihood has no maximum once a model interpolates the
    response.

    Curves with given degrees of freedom (``s(x, df=4)``) have the smoothing parameter with which
    the trace of ``V H`` over their coefficients is that number; the others are chosen given it.

    Curves with a shape (``s(x, constraint="increasing")``) make an active-set search around all of
    this, see :func:`~semistruct.fitting.shapes.keep_shapes`: what is reported is conditional on the
    constraints that hold with equality.
    """
    if method not in CRITERIA:
        raise SpecificationError(
            f"method must be one of {', '.join(map(repr, CRITERIA))}, got {method!r}."
        )
    fit = _fit(problem, method, max_iter, tol, start, smoothing)
    if not len(inequalities(problem)):
        return fit

    def solve(reduced: StructuredProblem, held: np.ndarray | None) -> StructuredFit:
        return _fit(reduced, method, max_iter, tol, None, held)

    return keep_shapes(problem, fit, solve, smoothing)


def _fit(
    problem: StructuredProblem,
    method: SmoothingMethod,
    max_iter: int,
    tol: float,
    start: StructuredFit | None,
    smoothing: np.ndarray | None,
) -> StructuredFit:
    """The fit without the shapes of curves."""
    engine = Engine.of(problem)
    sp, free = engine.first_smoothing(None if start is None else start.smoothing, smoothing)
    beta = engine.start if start is None else start.beta.copy()
    if start is None and smoothing is None and free.any():
        point = engine.quick.at(beta, sp)
        first = start_smoothing(engine.penalties, point.H, engine.likelihood.n)
        sp = np.where(free, first * engine.variance(beta), sp)
    targets = df_targets(problem) if smoothing is None else ()
    n_iter, converged = 0, True
    for _ in range(_ROUNDS):
        if free.any():
            sp, beta, steps, converged = approach(engine.quick, sp, beta, free, max_iter, tol)
            sp, beta, extra, better = refine(engine.quick, sp, beta, free, method, max_iter)
            n_iter, converged = n_iter + steps + extra, (converged or extra > 0) and better
        settled = engine.settle(sp, beta, "edf", polish=True)
        if not targets:
            break
        met, gap = meet_df(engine, settled, sp, targets)
        if gap <= _DF_GAP:
            break
        sp, beta = met, settled.point.beta
    else:
        converged = False
    if free.any() and not targets:
        settled, extra, better = _best(engine, settled, free, method, max_iter, tol)
        n_iter, converged = n_iter + extra, converged and better
    n_iter += settled.newton.n_steps if not n_iter else 0
    converged = (converged and settled.newton.converged) or engine.interpolates(settled.point.beta)
    fit = _report(engine, problem, settled, method, n_iter, converged)
    _warn(engine, problem, settled, fit)
    return fit


def _best(
    engine: Engine,
    settled: Settled,
    free: np.ndarray,
    method: SmoothingMethod,
    max_iter: int,
    tol: float,
) -> tuple[Settled, int, bool]:
    """The best optimum of the smoothing parameters that is in sight of the one found."""
    n_iter, converged, quick = 0, True, engine.quick
    at = engine.likelihood.dispersion
    rule: DispersionRule = "edf" if method == "gcv" else method
    for _ in free:
        bounds = smoothing_bounds(engine.penalties, settled.point.H)
        apart = None if at is None else at.column
        lam = better_elsewhere(engine.penalties, settled, free, bounds, apart)
        if lam is None:
            break
        beta = settled.point.beta
        here, start = (own * engine.variance(beta) for own in (settled.lam, lam))
        sp, moved, steps, good = approach(quick, start, beta, free, max_iter, tol)
        sp, moved, extra, better = refine(quick, sp, moved, free, method, max_iter)
        n_iter += steps + extra
        values = [
            quick.criterion(quick.settle(own, b, rule), method, free).value
            for own, b in ((here, beta), (sp, moved))
        ]
        if not values[1] > values[0] + _GAIN:
            break
        converged = (good or extra > 0) and better
        settled = engine.settle(sp, moved, "edf", polish=True)
    return settled, n_iter, converged


def _report(
    engine: Engine,
    problem: StructuredProblem,
    settled: Settled,
    method: SmoothingMethod,
    n_iter: int,
    converged: bool,
) -> StructuredFit:
    likelihood, point, at = engine.likelihood, settled.point, engine.likelihood.dispersion
    H, V = engine.reported(settled)
    F = V @ H
    edf = np.diag(F).copy()
    edf1 = 2 * edf - np.einsum("ij,ji->i", F, F)
    loglik = point.loglik
    if at is not None:
        floor = engine.floor - point.beta[at.column]
        quick = engine.quick.likelihood
        eta = quick.eta(point.beta)
        eta[:, at.parameter] += solve_dispersion(quick, eta, degrees=0.0, floor=floor)
        loglik = quick.loglik(eta)
    eta = point.eta
    if len(eta) < len(problem.y):  # rows of weight zero have predictors, too
        eta = np.array(problem.offset, dtype=float)
        for k, (block, columns) in enumerate(zip(problem.blocks, likelihood.slices, strict=True)):
            eta[:, k] += block.matvec(point.beta[columns])
    variance = engine.variance(point.beta)
    sp = settled.lam * variance
    none_free = np.zeros(len(engine.penalties), dtype=bool)
    rule: DispersionRule = "edf" if method == "gcv" else method
    quickest = engine.quick
    scored = quickest.settle(sp, point.beta, rule) if at is not None else settled
    score = quickest.criterion(scored, method, none_free).score
    return StructuredFit(
        beta=point.beta,
        slices=likelihood.slices,
        lam=settled.lam,
        smoothing=sp,
        S_lam=point.S_lam,
        H=H,
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


def _warn(engine: Engine, problem: StructuredProblem, settled: Settled, fit: StructuredFit) -> None:
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
            stacklevel=5,
        )
        return
    k = _diverging(engine, problem, settled, fit)
    if k is not None:
        columns = engine.likelihood.slices[k]
        z = np.abs(point.step()[columns]) / np.sqrt(np.diag(settled.V)[columns])
        worst = names[columns.start + int(z.argmax())]
        warnings.warn(
            f"the predictor of {problem.family.param_names[k]!r} diverges: the likelihood has no "
            f"maximum at finite coefficients (separation), most visibly in {worst}. Its "
            "coefficient and standard error mean nothing; penalise the column, merge levels or "
            "leave it out.",
            ConvergenceWarning,
            stacklevel=5,
        )
    elif not fit.converged:
        warnings.warn(
            f"the structured fit did not converge in {fit.n_iter} iterations (Newton decrement "
            f"{settled.newton.decrement:.1e}); raise max_iter, or simplify the model.",
            ConvergenceWarning,
            stacklevel=5,
        )
    if fit.df_resid is not None and fit.df_resid < 1e-3 < engine.likelihood.n - fit.edf_total:
        warnings.warn(
            f"the case weights sum to {fit.n_effective:.4g} observations, which leaves nothing to "
            f"estimate a dispersion from beside {fit.edf_total:.4g} degrees of freedom. Weights "
            "that are precisions, not counts, should be scaled to mean one.",
            DataWarning,
            stacklevel=5,
        )


def _diverging(
    engine: Engine, problem: StructuredProblem, settled: Settled, fit: StructuredFit
) -> int | None:
    """The parameter whose predictor still moves at no gain in likelihood, if there is one."""
    if engine.quick is not engine:  # least squares have their minimum at finite coefficients
        return None
    point = settled.point
    moves = np.abs(engine.likelihood.direction(point.step())).max(axis=0, initial=0.0)
    # In large units rounding moves a predictor by a small share of its range, which means nothing.
    moves = moves / np.maximum(1.0, _ROUNDING * np.ptp(fit.eta, axis=0))
    if not moves.max(initial=0.0) > _DIVERGING:
        return None
    endless = settled.newton.decrement < 1e-4 or problem.family.separates(
        point.eta, engine.likelihood.y
    )
    return int(moves.argmax()) if endless else None
