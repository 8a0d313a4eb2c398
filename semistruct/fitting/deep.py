"""The deep fit: cross-fit, orthogonalise, calibrate, solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from semistruct.blueprint import NetworkBlueprint, Slot
from semistruct.design import Design
from semistruct.exceptions import SemistructError
from semistruct.fitting.absent_pictures import (
    AbsentPictures,
    absence_patterns,
    known_scores,
    learn_absent_pictures,
)
from semistruct.fitting.augmented import fix_smoothing, take_rows, with_offset
from semistruct.fitting.calibration import Calibration, calibrate
from semistruct.fitting.crossfit import CrossFit, cross_fit
from semistruct.fitting.members import DeepProblem, MemberSolver
from semistruct.fitting.mixed_solve import solve_mixture
from semistruct.fitting.recalibration import recalibrate
from semistruct.fitting.score_nodes import Nodes
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured
from semistruct.fitting.structured_warnings import unreported
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
    absent : AbsentPictures or None
        What the scores of rows without pictures may be; None where no picture is used.
    lacking : (n,) bool array or None
        Training rows that lack a picture in use.
    """

    slots: tuple[Slot, ...]
    crossfit: CrossFit
    projections: tuple[Projection, ...]
    calibration: Calibration
    fit: StructuredFit
    scores: np.ndarray = field(repr=False)
    absent: AbsentPictures | None = field(default=None, repr=False)
    lacking: np.ndarray | None = field(default=None, repr=False)


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
    table: pd.DataFrame | None = None,
    columns: Sequence[str] = (),
    table_row: np.ndarray | None = None,
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
    table : DataFrame, optional
        The rows of the data, and ``columns`` of it, on which the scores of rows without pictures
        may depend; by default on nothing.
    columns : sequence of str
    table_row : (n,) int array, optional
        Row of the data that each row belongs to, where these are not the same.
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
        patterns=_partly_absent(problem.blueprint),
    )
    crossfit = recalibrate(problem, crossfit, groups)
    structured, slots = problem.structured, problem.blueprint.slots
    projections, residuals = [], []
    for t, slot in enumerate(slots):
        projection, residual = _orthogonalise(problem, crossfit.scores[:, t], slot, target)
        projections.append(projection)
        residuals.append(residual)
    scores = np.column_stack(residuals)
    with unreported():
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
    gamma, lacking = calibration.gamma, None
    found = _absent(problem, crossfit, projections, gamma, table, columns, table_row)
    if found is not None:
        without = problem.blueprint.lacking(problem.modalities, found.law.columns).any(axis=1)
        lacking = problem.gather(np.asarray(without))
        if lacking.any() and crossfit.honest[structured.sample_weight > 0].all():
            shifts = _shifts(problem, projections, gamma, found.nodes, offset, lacking, table_row)
            fixed = fix_smoothing(structured, problem.start.smoothing)
            fit = solve_mixture(fixed, shifts, table_row)
    absent = None if found is None else found.law
    # What was needed to learn that is not needed any longer.
    crossfit = replace(crossfit, unit_scores=None, masked={})
    return DeepFit(slots, crossfit, tuple(projections), calibration, fit, scores, absent, lacking)


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


def _partly_absent(blueprint: NetworkBlueprint) -> tuple[tuple[str, ...], ...]:
    """Sets of columns without which a network still has something to read."""
    found = []
    for missing in absence_patterns(list(dict.fromkeys(blueprint.columns.values()))):
        for plan in blueprint.plans:
            own = [blueprint.columns.get(part.name) in missing for part in plan.inputs]
            if any(own) and not all(own):
                found.append(missing)
                break
    return tuple(found)


def _absent(
    problem: DeepProblem,
    crossfit: CrossFit,
    projections: Sequence[Projection],
    gamma: np.ndarray,
    table: pd.DataFrame | None,
    columns: Sequence[str],
    table_row: np.ndarray | None,
) -> _Absent | None:
    """The law of the scores of the rows of the data, of which others may share pictures."""
    kept = np.flatnonzero(gamma).tolist()
    if not kept or crossfit.unit_scores is None:
        return None
    structured, blueprint = problem.structured, problem.blueprint
    n = len(structured.y)
    at = np.arange(n) if table_row is None else table_row
    if table is None:
        table = pd.DataFrame(index=pd.RangeIndex(int(at.max()) + 1))
    unit, weight = np.zeros(len(table), dtype=int), np.zeros(len(table))
    unit[at] = np.arange(n) if problem.unit is None else problem.unit
    weight[at] = structured.sample_weight
    shadows = np.zeros((len(table), len(blueprint.slots)))
    if table_row is None:
        for t in kept:
            slot, projection = blueprint.slots[t], projections[t]
            if slot.by is None:
                shadow = structured.blocks[slot.param].matvec(projection.G[:, 0])
                shadows[:, t] = shadow + projection.center[0]
    modalities = {
        name: replace(read, present=read.present[unit]) for name, read in problem.modalities.items()
    }
    law = learn_absent_pictures(
        blueprint,
        modalities,
        crossfit.unit_scores[unit],
        {missing: scores[unit] for missing, scores in crossfit.masked.items()},
        shadows if table_row is None else None,
        kept,
        weight,
        table,
        columns,
    )
    if law is None:
        return None
    scores = known_scores(blueprint, modalities, crossfit.unit_scores[unit])
    return _Absent(law, law.nodes(table, scores, shadows, law.of_rows(blueprint, modalities)))


@dataclass(frozen=True, eq=False)
class _Absent:
    """The law, and the scores that the rows of the data may have."""

    law: AbsentPictures
    nodes: Nodes


def _shifts(
    problem: DeepProblem,
    projections: Sequence[Projection],
    gamma: np.ndarray,
    nodes: Nodes,
    offset: np.ndarray,
    lacking: np.ndarray,
    table_row: np.ndarray | None,
) -> Nodes:
    """What the deep terms may add to the predictors of the rows, ``(N, K)``.

    A row that has its pictures keeps its ``offset``.
    """
    structured = problem.structured
    own = nodes if table_row is None else nodes.take(table_row)
    row = own.row
    values = offset[row]
    mixed = lacking[row]
    values[mixed] = 0.0
    weights = problem.row_weights
    for t, slot in enumerate(problem.blueprint.slots):
        if not gamma[t]:
            continue
        shadow = structured.blocks[slot.param].matvec(projections[t].G[:, 0])
        score = own.values[:, t] if weights is None else own.values[:, t] * weights[row, t]
        left = score - shadow[row] - projections[t].center[0]
        values[mixed, slot.param] += gamma[t] * left[mixed]
    return Nodes(own.n, row, values)


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
