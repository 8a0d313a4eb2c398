"""What pictures say about columns of the table: the second nuisance of a partial coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from semistruct.blueprint import row_weights
from semistruct.design import Design
from semistruct.families import Objective
from semistruct.families.base import BoundObjective, Curvature, CurvatureKind, RowCurvature
from semistruct.fitting.augmented import with_columns
from semistruct.fitting.crossfit import CrossFit, cross_fit
from semistruct.fitting.members import DeepProblem, MemberSolver
from semistruct.fitting.model import ModelFit
from semistruct.fitting.shared_pictures import share_pictures
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured
from semistruct.links import LINKS, Link
from semistruct.terms import DenseBlock, DesignBlock, IndexedBlock, StackedBlock
from semistruct.terms.blocks import FactoredBlock

__all__ = ["LearnedColumns", "SquaredErrors", "deep_problem_of", "learn_columns", "repeat_scores"]


@dataclass(frozen=True)
class SquaredErrors(Objective):
    """Minus half the squared errors of ``q`` predictors of as many columns.

    What networks maximise that are to learn conditional means.

    Parameters
    ----------
    q : int
    """

    q: int = 1

    separable = True

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """``("column_1", ..., "column_q")``."""
        return tuple(f"column_{j + 1}" for j in range(self.q))

    @property
    def links(self) -> tuple[Link, ...]:
        return (LINKS["identity"],) * self.q

    def bind(self, y: np.ndarray, weight: np.ndarray) -> BoundObjective:
        return _BoundSquares(y, weight)

    def batch_loss(self, eta: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        rows = 0.5 * (y.to(eta) - eta).square().sum(dim=1)
        return (weight * rows).sum() / weight.sum().clamp_min(1e-12)


@dataclass(frozen=True, eq=False)
class _BoundSquares(BoundObjective):
    y: np.ndarray
    weight: np.ndarray

    def contributions(self, eta: np.ndarray) -> np.ndarray:
        return -0.5 * self.weight * ((self.y - eta) ** 2).sum(axis=1)

    def score(self, eta: np.ndarray) -> np.ndarray:
        return self.weight[:, None] * (self.y - eta)

    def curvature(self, eta: np.ndarray, kind: CurvatureKind = "observed") -> Curvature:
        return RowCurvature(self.weight[:, None, None] * np.eye(eta.shape[1]))

    def score_residuals(self, eta: np.ndarray, blocks: Sequence[FactoredBlock]) -> np.ndarray:
        score = self.score(eta)
        return np.hstack([block.dense() * score[:, [k]] for k, block in enumerate(blocks)])


@dataclass(frozen=True, eq=False)
class LearnedColumns:
    """Out-of-fold predictions of columns of one design from pictures.

    Attributes
    ----------
    scores : (R, n, m) array
        Those of every repeat.
    r2 : (q,) array
        Share of each column's variance about the other nuisances that the mean out-of-fold score
        explains.
    """

    scores: np.ndarray = field(repr=False)
    r2: np.ndarray


def deep_problem_of(fit: ModelFit) -> DeepProblem:
    """Rows and pictures of the deep terms of a model, as they were when it was fitted."""
    if fit.blueprint is None:
        raise ValueError("the model has no deep terms.")
    n = len(fit.problem.y)
    frame = fit.inputs if fit.inputs is not None else fit.input_rows(np.arange(n))
    modalities = {name: read.in_memory() for name, read in fit.blueprint.read(frame).items()}
    rows = frame if fit.frame is None else fit.frame
    slots = fit.blueprint.slots
    problem = DeepProblem(
        fit.problem,
        fit.marginal,
        fit.blueprint,
        modalities,
        np.ones(len(slots)),
        fit.unit,
        row_weights(slots, rows),
    )
    return share_pictures(problem, [read.keys(frame) for read in fit.blueprint.readers.values()])


def repeat_scores(problem: DeepProblem, crossfit: CrossFit, repeat: int) -> np.ndarray:
    """Scores ``(n, T)`` of the rows from one network per fold, which did not see them."""
    n_folds = int(crossfit.fold.max()) + 1
    per_fold = len(crossfit.members) // n_folds
    scores = np.zeros((len(crossfit.fold), len(problem.blueprint.slots)))
    for number in range(n_folds):
        rows = np.flatnonzero(crossfit.fold == number)
        scores[rows] = problem.scores(crossfit.members[number * per_fold + repeat].net, rows)
    return scores


def learn_columns(
    problem: DeepProblem,
    k: int,
    columns: np.ndarray,
    response: np.ndarray,
    weight: np.ndarray,
    base: StructuredFit,
    solver: MemberSolver,
    *,
    fold: np.ndarray,
    n_repeats: int,
    random_state: np.random.SeedSequence,
    n_jobs: int | None = None,
    progress: bool = False,
) -> LearnedColumns:
    """Cross-fitted networks for ``E_w[x | picture, curves]`` of parametric columns.

    One network per fold and repeat predicts all columns, beside the constant, smooths and random
    effects of their predictor, which are penalised as they are in the model.

    Parameters
    ----------
    problem : DeepProblem
        Of the model.
    k : int
        The predictor.
    columns : (q,) int array
        Positions of the columns in its design.
    response : (n, q) array
        What is to be predicted: the columns, or what is left of them once other parts of the model
        (the risk sets of a Cox model) are taken off.
    weight : (n,) array
        Information of every row about the predictor.
    base : StructuredFit
        The model at whose smoothing parameters the curves are penalised.
    solver, n_repeats, random_state, n_jobs, progress
        As in :func:`~semistruct.fitting.crossfit.cross_fit`.
    fold : (n,) int array
        The folds of the model.
    """
    used = np.flatnonzero(weight > 0)
    level = weight * (len(used) / weight.sum())
    squares = _squares_problem(
        problem.structured, k, response, level, base, len(used) / weight.sum()
    )
    start = fit_structured(squares)
    blueprint = problem.blueprint
    slots = [slot for slot in blueprint.slots if slot.param == k]
    networks = sorted({slot.network for slot in slots})
    copies = tuple(
        replace(slot, param=j, network=networks.index(slot.network))
        for j in range(len(columns))
        for slot in slots
    )
    own = [t for t, slot in enumerate(blueprint.slots) if slot.param == k]
    weights = problem.row_weights
    nuisance = DeepProblem(
        squares,
        start,
        replace(blueprint, plans=tuple(blueprint.plans[i] for i in networks), slots=copies),
        problem.modalities,
        np.ones(len(copies)),
        problem.unit,
        None if weights is None else np.tile(weights[:, own], len(columns)),
    )
    crossfit = cross_fit(
        nuisance,
        solver,
        fold,
        n_folds=int(fold.max()) + 1,
        n_repeats=n_repeats,
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
        fold=np.where(weight > 0, fold, -1),
    )
    repeats = [repeat_scores(nuisance, crossfit, repeat) for repeat in range(n_repeats)]
    return LearnedColumns(np.stack(repeats), _explained(squares, start, np.mean(repeats, axis=0)))


def _squares_problem(
    problem: StructuredProblem,
    k: int,
    response: np.ndarray,
    weight: np.ndarray,
    base: StructuredFit,
    ratio: float,
) -> StructuredProblem:
    """Standardised columns on the constant and the curves of predictor ``k``."""
    design = problem.designs[k]
    kept = np.flatnonzero(design.kinds != "parametric")
    place = 1 + np.cumsum(design.kinds != "parametric") - 1
    first = sum(len(other.penalties) for other in problem.designs[:k])
    penalties = tuple(
        replace(
            penalty,
            columns=slice(
                int(place[penalty.columns.start]), int(place[penalty.columns.stop - 1]) + 1
            ),
            lam=float(base.lam[first + j] * ratio),
        )
        for j, penalty in enumerate(design.penalties)
    )
    q = response.shape[1]
    mean = np.average(response, axis=0, weights=weight)
    sd = np.sqrt(np.average((response - mean) ** 2, axis=0, weights=weight))
    own = Design(
        bases=(),
        slices={"Intercept": slice(0, 1)},
        names=("Intercept", *(design.names[j] for j in kept)),
        kinds=np.array(["parametric", *design.kinds[kept]], dtype=object),
        penalties=penalties,
    )
    n = len(response)
    constant = IndexedBlock(DenseBlock(np.ones((1, 1))), np.zeros(n, dtype=int))
    block = StackedBlock((constant, *_pieces(problem.blocks[k], kept)))
    return StructuredProblem(
        family=SquaredErrors(q),
        y=(response - mean) / np.where(sd > 0, sd, 1.0),
        designs=(own,) * q,
        blocks=(block,) * q,
        offset=np.zeros((n, q)),
        sample_weight=weight,
    )


def _pieces(block: DesignBlock, kept: np.ndarray) -> list[FactoredBlock]:
    """Some columns of a block, piece by piece, in their order."""
    if not isinstance(block, FactoredBlock):
        return [DenseBlock(block.dense()[:, kept])]
    found = []
    for part, at in zip(block.parts, block.slices, strict=True):
        own = kept[(kept >= at.start) & (kept < at.stop)] - at.start
        if len(own):
            whole = len(own) == part.p
            found.append(
                FactoredBlock((part if whole else part.transform(np.eye(part.p)[:, own]),))
            )
    return found


def _explained(problem: StructuredProblem, start: StructuredFit, scores: np.ndarray) -> np.ndarray:
    """Weighted share ``(q,)`` of the residual variance that the scores explain out of fold."""
    q = problem.y.shape[1]
    per_column = scores.shape[1] // q
    varying = [
        [j * per_column + t for t in range(per_column) if np.ptp(scores[:, j * per_column + t]) > 0]
        for j in range(q)
    ]
    columns = [scores[:, own] for own in varying]
    labels = [[f"score {t}" for t in own] for own in varying]
    fit = fit_structured(with_columns(problem, columns, labels))
    w = problem.sample_weight[:, None]
    before = (w * (problem.y - start.eta) ** 2).sum(axis=0)
    after = (w * (problem.y - fit.eta) ** 2).sum(axis=0)
    return 1 - after / np.where(before > 0, before, 1.0)
