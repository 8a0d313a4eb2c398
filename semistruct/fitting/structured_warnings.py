"""What a structured fit warns of: coefficients that are not identified, maxima at infinity."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from semistruct.exceptions import ConvergenceWarning, DataWarning
from semistruct.fitting.engine import Engine, Settled, StructuredProblem
from semistruct.fitting.newton import Point
from semistruct.fitting.structured_fit import StructuredFit
from semistruct.links import Log

__all__ = ["unreported", "warn_of"]

# A last Newton step that still moves a predictor by this much at no gain in likelihood means that
# the maximum lies at infinity.
_DIVERGING = 0.05
_ROUNDING = 1e-3
# Nor does a parameter that is constant differ from its moments by this factor, in logs.
_ENDLESS = 12.0


@contextmanager
def unreported() -> Iterator[None]:
    """For fits that are only compared with others; the one that is kept warns for itself."""
    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, DataWarning):
            warnings.simplefilter("ignore", kind)
        yield


def warn_of(
    engine: Engine, problem: StructuredProblem, settled: Settled, fit: StructuredFit
) -> None:
    """Say what went wrong, naming parameter and columns."""
    point = settled.point
    names = [
        f"{name} ({parameter})"
        for parameter, design in zip(problem.family.param_names, problem.designs, strict=True)
        for name in design.names
    ]
    lost = _without_limit(engine, point)
    if lost is not None:
        parameter = problem.family.param_names[lost]
        warnings.warn(
            f"the likelihood rises without end as {parameter!r} goes to its limit: the response "
            "does not vary enough to estimate it (equal responses, or hardly any that are not "
            "censored). What the model says about it means nothing; choose a family without it.",
            ConvergenceWarning,
            stacklevel=5,
        )
        return
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


def _without_limit(engine: Engine, point: Point) -> int | None:
    """A constant parameter beside the first that ran off from its start, if there is one."""
    at = engine.likelihood.dispersion
    for k, (block, columns) in enumerate(
        zip(engine.likelihood.blocks, engine.likelihood.slices, strict=True)
    ):
        if k == 0 or block.shape[1] != 1 or (at is not None and at.parameter == k):
            continue
        if not isinstance(engine.likelihood.family.links[k], Log):
            continue
        moved = point.beta[columns.start] - engine.start[columns.start]
        if not abs(moved) < _ENDLESS:
            return k
    return None


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
