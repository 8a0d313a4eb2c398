"""The deep fit: cross-fit, orthogonalise, calibrate, solve."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from semistruct.blueprint import Slot
from semistruct.design import Design
from semistruct.exceptions import SemistructError
from semistruct.fitting.augmented import fix_smoothing, take_rows, with_offset
from semistruct.fitting.calibration import Calibration, calibrate
from semistruct.fitting.crossfit import CrossFit, cross_fit
from semistruct.fitting.members import DeepProblem, MemberSolver
from semistruct.fitting.recalibration import recalibrate
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured
from semistruct.orthogonalization import Orthogonalizer, Projection
from semistruct.terms import DenseBlock

__all__ = ["DeepFit", "fit_deep", "noise_scale"]

Target = Literal["structured", "parametric", "none"]

_REPARAMETRISATION_TOL = 1e-8


@dataclass(frozen=True)
class DeepFit:
    """The learned deep part of a model.

    Attributes
    ----------
    slots : tuple of T Slot
    crossfit : CrossFit
    projections : tuple of T Projection
        ``G`` of every slot, ``(p_k, 1)``: the score's shadow on the structured columns.
    calibration : Calibration
        ``gamma`` ``(T,)`` and the gate.
    fit : StructuredFit
        Structured coefficients given the calibrated, orthogonalised scores: what predictions use.
    scores : (n, T) array
        Orthogonalised scores of the training rows.
    """

    slots: tuple[Slot, ...]
    crossfit: CrossFit
    projections: tuple[Projection, ...]
    calibration: Calibration
    fit: StructuredFit
    scores: np.ndarray = field(repr=False)


def fit_deep(
    problem: DeepProblem,
    solver: MemberSolver,
    groups: np.ndarray,
    *,
    n_folds: int,
    n_repeats: int = 1,
    target: Target = "structured",
    gate: bool = True,
    random_state: np.random.SeedSequence,
    n_jobs: int | None = None,
    progress: bool = False,
) -> DeepFit:
    """Fit the deep terms of a model whose structured part is fitted already.

    Parameters
    ----------
    problem : DeepProblem
    solver : MemberSolver
    groups : (n,) int array
        Rows that belong together.
    n_folds, n_repeats, random_state, n_jobs, progress
        See :func:`~semistruct.fitting.crossfit.cross_fit`.
    target : {"structured", "parametric", "none"}
        What the deep scores are made orthogonal to.
    gate : bool
        Whether a score that does not help is dropped.
    """
    crossfit = cross_fit(
        problem,
        solver,
        groups,
        n_folds=n_folds,
        n_repeats=n_repeats,
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
    )
    crossfit = recalibrate(problem, crossfit, groups)
    structured, slots = problem.structured, problem.blueprint.slots
    projections, columns = [], []
    for t, slot in enumerate(slots):
        projection, column = _orthogonalise(problem, crossfit.scores[:, t], slot, target)
        projections.append(projection)
        columns.append(column)
    scores = np.column_stack(columns)
    calibration = calibrate(
        structured,
        problem.start,
        scores,
        [slot.param for slot in slots],
        raw=crossfit.scores,
        rows=np.flatnonzero(crossfit.honest),
        fold=crossfit.fold,
        groups=groups,
        gate=gate,
    )
    offset = np.zeros_like(structured.offset)
    for t, slot in enumerate(slots):
        offset[:, slot.param] += calibration.gamma[t] * scores[:, t]
    fit = problem.start
    if calibration.gamma.any():
        fixed = fix_smoothing(with_offset(structured, offset), problem.start.smoothing)
        fit = _solve(fixed, crossfit.honest)
    return DeepFit(slots, crossfit, tuple(projections), calibration, fit, scores)


def noise_scale(
    problem: StructuredProblem,
    start: StructuredFit,
    slots: tuple[Slot, ...],
    unit: np.ndarray | None = None,
) -> np.ndarray:
    """One standard deviation of noise in the predictor of every slot, ``(T,)``.

    The root of the inverse mean curvature: the residual standard deviation for the normal
    location, ``1 / sqrt(mean rate)`` for a log rate. One where a constant means nothing, so that
    there is no information about it: about what it is for a log hazard with many events. Where
    rows share a picture (``unit``) a predictor of theirs has the information of all of them.
    """
    total = problem.sample_weight.sum()
    if unit is not None:
        total *= len(np.unique(unit)) / len(unit)
    if not problem.family.has_intercept:
        return np.ones(len(slots))
    curvature = problem.bind().curvature(start.eta, "expected")
    ones = DenseBlock(np.ones((len(problem.y), 1)))
    information = np.diag(curvature.gram([ones] * len(problem.designs)))[[s.param for s in slots]]
    usable = np.isfinite(information) & (information > 0)
    return np.sqrt(np.divide(total, information, out=np.ones(len(slots)), where=usable))


def _orthogonalise(
    problem: DeepProblem, score: np.ndarray, slot: Slot, target: Target
) -> tuple[Projection, np.ndarray]:
    """Projection of one score on its predictor's columns, and what is left of it.

    Rows without the picture take no part, and keep a score of zero.
    """
    structured, start = problem.structured, problem.start
    design, block = structured.designs[slot.param], structured.blocks[slot.param]
    network = problem.blueprint.plans[slot.network]
    names = [part.name for part in network.inputs]
    present = problem.gather(np.any([problem.modalities[name].present for name in names], axis=0))
    weight = structured.sample_weight * present
    projection = Orthogonalizer(target).fit(
        block,
        score[:, None],
        kinds=design.kinds,
        penalty=_least_squares_penalty(problem, slot.param, weight),
        sample_weight=weight,
    )
    left = projection.residual(block, score[:, None])[:, 0]
    beta = start.beta[start.slices[slot.param]]
    before = block.matvec(beta) + score
    after = block.matvec(projection.absorb(beta, np.ones(1))) + left + projection.shift(np.ones(1))
    if np.abs(before - after).max() > _REPARAMETRISATION_TOL * max(1.0, np.abs(before).max()):
        raise SemistructError(
            f"{slot.label}: moving its shadow into the coefficients changed the predictor by "
            f"{np.abs(before - after).max():.2g}. Please report this with the data."
        )
    return projection, np.where(present, left, 0.0)


def _least_squares_penalty(problem: DeepProblem, k: int, weight: np.ndarray) -> np.ndarray:
    """The penalty of parameter k's columns in units of squared error, ``(p, p)``.

    Each smoothing parameter is scaled by what its columns' cross-product is to their information,
    so that the projection smooths as much as the fit did: exactly as much where the information
    is the cross-product over a variance.
    """
    start, design = problem.start, problem.structured.designs[k]
    block, at = problem.structured.blocks[k], start.slices[k]
    cross, H = block.gram(weight), start.H[at, at]
    first = sum(len(other.penalties) for other in problem.structured.designs[:k])
    penalty = np.zeros((design.p, design.p))
    for j, piece in enumerate(design.penalties):
        c = piece.columns
        information = np.trace(H[c, c])
        ratio = np.trace(cross[c, c]) / information if information > 0 else 1.0
        penalty[c, c] += start.lam[first + j] * ratio * piece.S
    return penalty


def _solve(problem: StructuredProblem, honest: np.ndarray) -> StructuredFit:
    """Coefficients given the scores in the offset, with intercepts set on honest rows.

    Where a single network scored its own training rows, its scores fit them too well. The
    coefficients do not mind, since the scores are orthogonal to them, but the level of the other
    parameters (the scale) would; so intercepts are moved to where unseen rows want them.
    """
    fit = fit_structured(problem)
    if honest[problem.sample_weight > 0].all():
        return fit
    return _recentred(problem, fit, np.flatnonzero(honest))


def _recentred(problem: StructuredProblem, fit: StructuredFit, honest: np.ndarray) -> StructuredFit:
    intercepts = [
        list(design.names).index("Intercept")
        for design in problem.designs
        if "Intercept" in design.names
    ]
    if len(intercepts) < len(problem.designs):
        return fit
    constant = Design(
        bases=(),
        slices={"Intercept": slice(0, 1)},
        names=("Intercept",),
        kinds=np.array(["parametric"], dtype=object),
        penalties=(),
    )
    K = len(problem.designs)
    ones = DenseBlock(np.ones((len(honest), 1)))
    level = replace(
        take_rows(problem, honest),
        designs=(constant,) * K,
        blocks=(ones,) * K,
        offset=fit.eta[honest],
    )
    shift = fit_structured(level).beta
    beta = fit.beta.copy()
    for at, column, move in zip(fit.slices, intercepts, shift, strict=True):
        beta[at.start + column] += move
    return replace(fit, beta=beta, eta=fit.eta + shift)
