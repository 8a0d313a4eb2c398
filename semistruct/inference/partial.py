"""Coefficients with the picture held fixed: a cross-fitted orthogonal score."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from semistruct.exceptions import DataWarning, SpecificationError, UnsupportedCombinationError
from semistruct.fitting.augmented import fix_smoothing, with_columns
from semistruct.fitting.gradient import GradientSolver
from semistruct.fitting.members import DeepProblem, MemberSolver, TrainingOptions
from semistruct.fitting.model import ModelFit
from semistruct.fitting.nuisance import (
    columns_and_weights,
    deep_problem_of,
    learn_columns,
    repeat_scores,
)
from semistruct.fitting.ridge import RidgeSolver
from semistruct.fitting.shared_pictures import is_shared, means_of_others
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured
from semistruct.inference.covariance import CovarianceKind, covariance
from semistruct.inference.wald import wald_table
from semistruct.terms import s

__all__ = ["PartialFit", "orthogonal_fit", "partial_effects", "partial_fit"]

_UNSTABLE = 0.5  # standard errors between two seeds
_LEAST_DISTINCT = 100  # scores, for a curve of them


@dataclass(frozen=True, eq=False)
class PartialFit:
    """Coefficients with the deep scores held fixed.

    Attributes
    ----------
    beta : (p,) Series
        Indexed by (parameter, coefficient). Intercepts of predictors with a deep term have none:
        where the score is zero is a convention.
    cov : (p, p) array
        Sandwich covariance of the score.
    r2 : (p,) array
        Out-of-fold share of the variance of each column, about the curves, that the pictures
        explain; NaN for coefficients of predictors without a deep term.
    change : (p,) array
        Largest difference of the coefficient between two seeds of the nuisance networks, in
        standard errors.
    """

    beta: pd.Series
    cov: np.ndarray
    r2: np.ndarray
    change: np.ndarray

    @property
    def unstable(self) -> list[str]:
        """Coefficients that change by more than half a standard error."""
        return [f"{name[1]}" for name in self.beta.index[self.change > _UNSTABLE]]

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Coefficients ``coef, se, z, p, lower, upper`` and their ``r2`` and ``change``."""
        names = [str(name) for name in self.beta.index]
        found = wald_table(self.beta.to_numpy(), self.cov, names, level=level)
        return found.set_axis(self.beta.index, axis=0).assign(r2=self.r2, change=self.change)


def partial_effects(
    fit: ModelFit,
    training: TrainingOptions,
    *,
    n_repeats: int,
    random_state: np.random.SeedSequence,
    n_jobs: int | None = None,
    progress: bool = False,
) -> PartialFit:
    """Coefficients of a fitted model with its deep terms held fixed.

    Parameters
    ----------
    fit : ModelFit
        With deep terms that were cross-fitted, and its training rows.
    training : TrainingOptions
        Of the networks that learn what the pictures say about the columns.
    n_repeats : int
        Such networks per fold; two or more are trained, but one of what is solved exactly.
    random_state, n_jobs, progress
        As in :func:`~semistruct.fitting.crossfit.cross_fit`.

    Raises
    ------
    UnsupportedCombinationError
        If there is no deep term, or a single fold.

    Warns
    -----
    DataWarning
        If a coefficient changes by more than half a standard error between two seeds.

    See Also
    --------
    partial_fit : What is computed.
    """
    if fit.deep is None or fit.blueprint is None:
        raise UnsupportedCombinationError(
            "estimand='partial' holds deep terms fixed, and the model has none; use "
            "estimand='marginal', which is the same then."
        )
    crossfit = fit.deep.crossfit
    used = fit.problem.sample_weight > 0
    if not crossfit.honest[used].all():
        raise UnsupportedCombinationError(
            "estimand='partial' needs a score for every row from networks that did not see it; the "
            "model was fitted with n_folds=1. Fit it with n_folds=5."
        )
    problem = deep_problem_of(fit)
    per_fold = len(crossfit.members) // (int(crossfit.fold.max()) + 1)
    repeats = [repeat_scores(problem, crossfit, repeat) for repeat in range(per_fold)]
    blueprint = replace(fit.blueprint, mirrored=frozenset(crossfit.mirrored))
    found = partial_fit(
        replace(problem, blueprint=blueprint),
        np.stack(repeats),
        crossfit.fold,
        RidgeSolver()
        if blueprint.is_linear
        else GradientSolver(replace(training, full_cohort=False, sampler=None)),
        cluster=fit.unit if fit.cluster is None else fit.cluster,
        n_repeats=1 if blueprint.is_linear else max(2, n_repeats),
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
    )
    if found.unstable:
        warnings.warn(
            f"the partial coefficient of {', '.join(found.unstable)} changes by more than half a "
            "standard error between two seeds of the networks, so that its standard error is too "
            "small; raise n_repeats, or train the networks longer.",
            DataWarning,
            stacklevel=3,
        )
    return found


def partial_fit(
    problem: DeepProblem,
    scores: np.ndarray,
    fold: np.ndarray,
    solver: MemberSolver,
    *,
    cluster: np.ndarray | None,
    n_repeats: int,
    random_state: np.random.SeedSequence,
    n_jobs: int | None = None,
    progress: bool = False,
) -> PartialFit:
    """Coefficients of a partially linear model from out-of-fold scores.

    Parameters
    ----------
    problem : DeepProblem
        n rows.
    scores : (R, n, T) array
        Out-of-fold deep scores of every repeat.
    fold : (n,) int array
    solver : MemberSolver
        Trains the networks that predict the columns.
    cluster : (n,) array or None
        Rows that are not independent.
    n_repeats, random_state, n_jobs, progress
        As in :func:`~semistruct.fitting.crossfit.cross_fit`.

    Notes
    -----
    The predictor is ``X b + curves + g(picture)``. Networks on the same folds learn ``m = E_w[X |
    picture, curves]`` with the information ``w`` of every row as its weight. Both nuisances then
    stand beside ``X``: the likelihood is maximised over ``b``, the curves, the weights of all
    scores and a curve of their best combination (see :func:`orthogonal_fit`). At its maximum
    ``sum (X - m) dl/d eta = 0`` where ``m`` is the best combination of what all these say about
    ``X``: errors in ``g`` are multiplied by errors in ``m``. In a Cox model the risk-set means are
    the part of the least favourable direction that depends on time, and the networks learn ``X``
    minus its mean among those at risk, weighted by the expected number of events.

    Where several subjects have the same picture, the networks must not have seen it, but the row's
    own errors are independent of those of the *other* subjects: shrunken means of what the fit and
    the networks leave of them stand beside the scores, and correct pictures that were misread.

    Nominal coverage is not promised: the score is orthogonal, but the networks may not have found
    what confounds.

    References
    ----------
    Chernozhukov et al. (2018), Double/debiased machine learning for treatment and structural
    parameters, Econometrics Journal 21, C1-C68. Sasieni (1992), Information bounds for the
    conditional hazard ratio in a nested family of regression models, JRSS B 54, 617-635.
    """
    structured = problem.structured
    slots = problem.blueprint.slots
    params = sorted({slot.param for slot in slots})
    R = max(len(scores), n_repeats)
    nuisance = [
        [_columns_of(problem, scores[[r % len(scores)]], k) for k in range(len(structured.designs))]
        for r in range(R)
    ]
    whole = [_columns_of(problem, scores, k) for k in range(len(structured.designs))]
    base = orthogonal_fit(structured, problem.start, whole)[0]
    r2 = [np.full(design.p, np.nan) for design in structured.designs]
    residuals: list[tuple[int, np.ndarray, np.ndarray]] = []
    for k, seed in zip(params, random_state.spawn(len(params)), strict=True):
        columns = _targets(structured, k)
        if not len(columns):
            continue
        response, weight = columns_and_weights(structured, base, k, columns)
        learned = learn_columns(
            problem,
            k,
            columns,
            response,
            weight,
            base,
            solver,
            fold=fold,
            cluster=cluster,
            n_repeats=n_repeats,
            random_state=seed,
            n_jobs=n_jobs,
            progress=progress,
        )
        r2[k][columns] = learned.r2
        residuals.append((k, learned.residuals, weight))
        whole[k] = np.hstack([whole[k], learned.scores.mean(axis=0)])
        for r in range(R):
            nuisance[r][k] = np.hstack([nuisance[r][k], learned.scores[r % n_repeats]])
    if problem.unit is not None and is_shared(problem.unit, cluster):
        eta = orthogonal_fit(structured, problem.start, whole)[0].eta
        score = structured.bind().score(eta)
        for k, left, weight in residuals:
            weighted = np.column_stack([score[:, k], weight[:, None] * left])
            others = means_of_others(problem.unit, cluster, weighted, weight)
            whole[k] = np.hstack([whole[k], others])
            for own in nuisance:
                own[k] = np.hstack([own[k], others])
    fitted, extended = orthogonal_fit(structured, problem.start, whole)
    at, index = _reported(structured, fitted, params)
    if not len(at):
        raise SpecificationError(
            "estimand='partial' needs a parametric coefficient; the predictors have none but "
            "intercepts."
        )
    kind: CovarianceKind = "sandwich" if cluster is None else "cluster"
    cov = covariance(fitted, extended, kind, cluster=cluster)[np.ix_(at, at)]
    each = []
    for own in nuisance:
        other = orthogonal_fit(structured, problem.start, own)[0]
        each.append(other.beta[_reported(structured, other, params)[0]])
    change = np.ptp(each, axis=0) / np.sqrt(np.diag(cov))
    explained = [
        r2[k][j]
        for k in range(len(structured.designs))
        for j in _reported_columns(structured, k, params)
    ]
    return PartialFit(pd.Series(fitted.beta[at], index), cov, np.array(explained), change)


def orthogonal_fit(
    problem: StructuredProblem, start: StructuredFit, nuisance: Sequence[np.ndarray]
) -> tuple[StructuredFit, StructuredProblem]:
    """The structured model with out-of-fold nuisances beside its own columns.

    Parameters
    ----------
    problem : StructuredProblem
    start : StructuredFit
        Whose smoothing parameters are kept.
    nuisance : sequence of K (n, m_k) arrays
        Columns for every predictor; those that are constant are left out.

    Returns
    -------
    StructuredFit, StructuredProblem
        The own columns of every predictor come first.

    Notes
    -----
    Nuisances that were learned from few rows scatter about what they estimate, so that a multiple
    of them is not the best guess at it (see :mod:`semistruct.fitting.recalibration`). Beside the
    columns themselves stands a penalised curve of their best combination, its bends shrunk as the
    restricted likelihood says: to none where the combination is all.

    For the normal with identity link and no bends this is least squares on all columns, whose
    coefficients of ``X`` are those of the regression of the response on ``X`` minus its regression
    on the nuisances (Frisch and Waugh 1933, Econometrica 1; Lovell 1963, JASA 58).
    """
    columns = []
    for own in nuisance:
        spread = own.std(axis=0)
        kept = spread > 1e-10 * (1e-300 + np.abs(own).max(axis=0, initial=0.0))
        columns.append((own[:, kept] - own[:, kept].mean(axis=0)) / spread[kept])
    fixed = fix_smoothing(problem, start.smoothing)
    labels = [[f"nuisance {j + 1}" for j in range(own.shape[1])] for own in columns]
    straight = with_columns(fixed, columns, labels)
    fit = fit_structured(straight)
    curved: list[np.ndarray] = []
    groups: list[list[slice]] = []
    for design, own, at in zip(problem.designs, columns, fit.slices, strict=True):
        bends = _bends(own @ fit.beta[at][design.p :])
        curved.append(np.hstack([own, bends]))
        groups.append([slice(own.shape[1], curved[-1].shape[1])] if bends.shape[1] else [])
    if not any(groups):
        return fit, straight
    labels = [[f"nuisance {j + 1}" for j in range(own.shape[1])] for own in curved]
    extended = with_columns(fixed, curved, labels, groups)
    return fit_structured(extended), extended


def _bends(index: np.ndarray) -> np.ndarray:
    """Columns ``(n, m)`` of a P-spline without its straight line, for an identity penalty."""
    distinct, place = np.unique(index, return_inverse=True)
    if len(distinct) < _LEAST_DISTINCT:
        return np.zeros((len(index), 0))
    # Few far-away scores must not decide where the knots are.
    lowest, highest = np.quantile(index, [0.005, 0.995])
    clipped = pd.DataFrame({"index": np.clip(distinct, lowest, highest)})
    basis = s("index", k=8).build(clipped)
    values, vectors = np.linalg.eigh(basis.penalties[0])
    bent = values > 1e-8 * values[-1]
    once = basis.design(clipped).dense() @ (vectors[:, bent] / np.sqrt(values[bent]))
    found = once[place]
    return found / np.sqrt((found**2).mean())


def _columns_of(problem: DeepProblem, scores: np.ndarray, k: int) -> np.ndarray:
    """Mean scores that enter a predictor, and which of their pictures are there, ``(n, m)``."""
    found: list[np.ndarray] = []
    absences: dict[tuple[str, ...], np.ndarray] = {}
    for t, slot in enumerate(problem.blueprint.slots):
        if slot.param != k:
            continue
        found.append(scores[:, :, t].mean(axis=0))
        names = tuple(part.name for part in problem.blueprint.plans[slot.network].inputs)
        present = np.any([problem.modalities[name].present for name in names], axis=0)
        absences[names] = problem.gather(present).astype(float)
    columns = [*found, *(present for present in absences.values() if not present.all())]
    return np.column_stack([np.zeros((len(problem.structured.y), 0)), *columns])


def _targets(problem: StructuredProblem, k: int) -> np.ndarray:
    """Positions of the parametric columns of a predictor, without its intercept."""
    design = problem.designs[k]
    named = np.array([name != "Intercept" for name in design.names], dtype=bool)
    return np.flatnonzero((design.kinds == "parametric") & named)


def _reported_columns(problem: StructuredProblem, k: int, params: Sequence[int]) -> np.ndarray:
    if k in params:
        return _targets(problem, k)
    return np.flatnonzero(problem.designs[k].kinds == "parametric")


def _reported(
    problem: StructuredProblem, fit: StructuredFit, params: Sequence[int]
) -> tuple[np.ndarray, pd.MultiIndex]:
    """Positions of the coefficients with a meaning among those of an extended fit."""
    found, names = [], []
    for k, (param, at) in enumerate(zip(problem.family.param_names, fit.slices, strict=True)):
        for j in _reported_columns(problem, k, params):
            found.append(at.start + int(j))
            names.append((param, problem.designs[k].names[j]))
    index = pd.MultiIndex.from_tuples(names, names=["parameter", "coefficient"])
    return np.array(found, dtype=int), index
