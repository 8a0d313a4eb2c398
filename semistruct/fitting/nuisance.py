"""What pictures say about columns of the table: the second nuisance of a partial coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from torch import Tensor

from semistruct.blueprint import row_weights
from semistruct.design import Design
from semistruct.families import Objective
from semistruct.families.base import BoundObjective, Curvature, CurvatureKind, RowCurvature
from semistruct.families.cox import BoundCox
from semistruct.fitting.augmented import with_columns
from semistruct.fitting.crossfit import CrossFit, cross_fit
from semistruct.fitting.members import DeepProblem, MemberSolver
from semistruct.fitting.model import ModelFit
from semistruct.fitting.shared_pictures import share_pictures
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured
from semistruct.links import LINKS, Link
from semistruct.losses import cox_schoenfeld_residuals, cox_score_residuals
from semistruct.terms import DenseBlock, DesignBlock, IndexedBlock, StackedBlock
from semistruct.terms.blocks import FactoredBlock

__all__ = [
    "LearnedColumns",
    "SquaredErrors",
    "columns_and_weights",
    "deep_problem_of",
    "learn_columns",
    "repeat_scores",
]

_LEAST_NOISE = 0.01  # share of a column's variance that pictures leave


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
    residuals : (n, q) array
        What the mean score and the other nuisances leave of each column, in its own units.
    """

    scores: np.ndarray = field(repr=False)
    r2: np.ndarray
    residuals: np.ndarray = field(repr=False)


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
    cluster: np.ndarray | None,
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
    cluster : (n,) array or None
        Rows that are not independent. The weights are scaled to sum to the effective number of
        clusters, so that the interval rows of one subject do not count as so many subjects where
        the data choose a penalty.
    """
    ratio = _effective_number(weight, cluster) / weight.sum()
    mean = np.average(response, axis=0, weights=weight)
    noise = np.sqrt(np.average((response - mean) ** 2, axis=0, weights=weight))
    noise[noise == 0] = 1.0
    # Where the data choose a ridge penalty they must know the errors' variance: once it is at most
    # that of the column, then what the first prediction leaves of it.
    for _ in range(1 + problem.blueprint.is_linear):
        squares = _squares_problem(
            problem.structured, k, (response - mean) / noise, weight * ratio, base, ratio
        )
        nuisance = _nuisance_problem(problem, squares, k)
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
        left, r2 = _unexplained(squares, nuisance.start, np.mean(repeats, axis=0))
        residuals = left * noise
        noise = noise * np.sqrt(np.clip(1 - r2, _LEAST_NOISE, 1.0))
    return LearnedColumns(np.stack(repeats), r2, residuals)


def _nuisance_problem(problem: DeepProblem, squares: StructuredProblem, k: int) -> DeepProblem:
    """Networks of predictor ``k`` once more for each of the columns to learn."""
    blueprint = problem.blueprint
    q = len(squares.designs)
    own = [t for t, slot in enumerate(blueprint.slots) if slot.param == k]
    networks = sorted({blueprint.slots[t].network for t in own})
    copies = tuple(
        replace(slot, param=j, network=networks.index(slot.network))
        for j in range(q)
        for slot in (blueprint.slots[t] for t in own)
    )
    weights = problem.row_weights
    return DeepProblem(
        squares,
        fit_structured(squares),
        replace(blueprint, plans=tuple(blueprint.plans[i] for i in networks), slots=copies),
        problem.modalities,
        np.ones(len(copies)),
        problem.unit,
        None if weights is None else np.tile(weights[:, own], q),
    )


def _effective_number(weight: np.ndarray, cluster: np.ndarray | None) -> float:
    """Number of equally weighted independent rows that say as much about a mean.

    Kish, L. (1965). Survey sampling. Wiley, section 11.7.
    """
    if cluster is not None:
        _, codes = np.unique(cluster, return_inverse=True)
        weight = np.bincount(codes, weights=weight)
    return float(weight.sum() ** 2 / (weight**2).sum())


def _squares_problem(
    problem: StructuredProblem,
    k: int,
    response: np.ndarray,
    weight: np.ndarray,
    base: StructuredFit,
    ratio: float,
) -> StructuredProblem:
    """Columns ``(n, q)`` on the constant and the curves of predictor ``k``."""
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
        y=response,
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


def _unexplained(
    problem: StructuredProblem, start: StructuredFit, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What scores leave of the columns ``(n, q)``; their share ``(q,)`` of what was left before.

    The shares are weighted, of the variance about the start.
    """
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
    return problem.y - fit.eta, 1 - after / np.where(before > 0, before, 1.0)


def columns_and_weights(
    problem: StructuredProblem, base: StructuredFit, k: int, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the networks are to predict ``(n, q)``, and the information of every row ``(n,)``."""
    block = problem.blocks[k]
    selection = np.zeros((block.shape[1], len(columns)))
    selection[columns, np.arange(len(columns))] = 1.0
    X = block.matvec(selection)
    bound = problem.bind()
    if isinstance(bound, BoundCox):
        return _time_averages(bound, base.eta, X)
    curvature = cast(RowCurvature, bound.curvature(base.eta, "expected"))
    return X, np.maximum(curvature.w[:, k, k], 0.0)


def _time_averages(
    bound: BoundCox, eta: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns minus their means among those at risk, averaged over each row's expected events."""
    options: dict[str, Any] = {"weights": bound.weight, "ties": bound.ties}
    residuals = cox_score_residuals(eta[:, 0], X, bound.risk_sets, weighted=False, **options)
    events = cox_schoenfeld_residuals(eta[:, 0], X, bound.risk_sets, **options)
    total = -residuals.numpy()
    total[events.rows] += events.residuals
    information = bound.hessian(eta).diagonal.numpy()
    case = np.ones(len(X)) if bound.weight is None else bound.weight
    expected = np.divide(information, case, out=np.zeros(len(X)), where=case > 0)
    usable = expected > 0
    response = np.divide(total, expected[:, None], out=np.zeros_like(X), where=usable[:, None])
    return response, np.where(usable, information, 0.0)
