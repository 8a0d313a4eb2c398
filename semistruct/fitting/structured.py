"""The structured fit: coefficients, smoothing parameters and dispersion of the table model."""

from __future__ import annotations

import numpy as np

from semistruct.exceptions import SpecificationError
from semistruct.fitting.criteria import CRITERIA, SmoothingMethod
from semistruct.fitting.engine import DispersionRule, Engine, Settled, StructuredProblem
from semistruct.fitting.newton import solve_dispersion
from semistruct.fitting.other_optima import better_elsewhere
from semistruct.fitting.selection import approach, df_targets, meet_df, refine
from semistruct.fitting.shapes import inequalities, keep_shapes
from semistruct.fitting.smoothing import smoothing_bounds, start_smoothing
from semistruct.fitting.structured_fit import StructuredFit
from semistruct.fitting.structured_warnings import warn_of

__all__ = ["StructuredFit", "StructuredProblem", "fit_structured"]

# Another optimum of the criterion has to be better by this much, in log-likelihood.
_GAIN = 1e-3
# Degrees of freedom that were asked for are met to this accuracy, in at most this many rounds.
_DF_GAP = 1e-6
_ROUNDS = 50


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
    # Steps may be too long by orders of magnitude, and are taken back for what comes of it.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
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
    warn_of(engine, problem, settled, fit)
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
