"""Cross-fitting: every training row gets a deep score from a network that never saw it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from semistruct.exceptions import DataError
from semistruct.fitting.choice import ChosenEpochs, choose_epochs
from semistruct.fitting.folds import make_folds, split_groups, stratified_folds
from semistruct.fitting.members import Course, DeepProblem, Member, MemberSolver
from semistruct.fitting.mirroring import mirrored_inputs
from semistruct.fitting.score_curve import ScoreCurve
from semistruct.network import predict_scores

__all__ = ["CrossFit", "cross_fit"]

_HELD_OUT_SHARE = 0.2
_PARTS = 5  # of the held-out rows of a single fold


@dataclass(frozen=True)
class CrossFit:
    """The members and the scores they give to the training rows.

    Attributes
    ----------
    members : tuple of Member
    scores : (n, T) array
        From the members that did not train on the row, at the epoch that other rows chose; with a
        single fold, from all members, so that only the rows in ``honest`` were unseen by them.
        Where there is a curve, its values.
    honest : (n,) bool array
        Rows whose score comes from a network that did not see them.
    fold : (n,) int array
        Fold of each row, with a single fold the part of the held-out rows; ``-1`` for rows that
        are not honest or have weight zero.
    history : DataFrame
        The members' histories with a column ``member``.
    mirrored : tuple of str
        Inputs that were found to say the same when mirrored, and were in training; see
        :func:`~semistruct.fitting.mirroring.mirrored_inputs`.
    pretraining : DataFrame
        What the objectives of pre-training were for every member, with a column ``member``; empty
        without.
    unit_scores : (u, T) array
        Scores of the units that were held out, before rows multiply them; NaN of others.
    masked : mapping from sets of columns to (u, T) arrays
        The same as if every unit lacked these columns.
    curves : tuple of T (ScoreCurve or None)
        What stands in the place of the mean score of the members, see
        :func:`~semistruct.fitting.recalibration.recalibrate`; empty where there is none.
    """

    members: tuple[Member, ...]
    scores: np.ndarray = field(repr=False)
    honest: np.ndarray = field(repr=False)
    fold: np.ndarray = field(repr=False)
    history: pd.DataFrame = field(repr=False)
    mirrored: tuple[str, ...] = ()
    pretraining: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    unit_scores: np.ndarray | None = field(default=None, repr=False)
    masked: Mapping[tuple[str, ...], np.ndarray] = field(default_factory=dict, repr=False)
    curves: tuple[ScoreCurve | None, ...] = ()

    def effects(self, scores: np.ndarray) -> np.ndarray:
        """Mean scores ``(n, T)`` of the members as they enter the predictors."""
        found = scores.copy()
        for t, curve in enumerate(self.curves):
            if curve is not None:
                found[:, t] = curve(scores[:, t])
        return found


def cross_fit(
    problem: DeepProblem,
    solver: MemberSolver,
    groups: np.ndarray,
    *,
    n_folds: int,
    n_repeats: int = 1,
    random_state: np.random.SeedSequence,
    n_jobs: int | None = None,
    progress: bool = False,
    fold: np.ndarray | None = None,
    patterns: Sequence[tuple[str, ...]] = (),
) -> CrossFit:
    """Train members for every fold on the other folds.

    Parameters
    ----------
    problem : DeepProblem
        n rows.
    solver : MemberSolver
    groups : (n,) int array
        Rows of one group stay together, see :func:`~semistruct.fitting.folds.row_groups`.
    n_folds : int
        With 1, a single fifth of the rows is held out.
    n_repeats : int
        Members per fold, with seeds of their own; their scores are averaged, which takes out what
        is luck in a single one.
    random_state : SeedSequence
        Every member has a seed of its own, so that ``n_jobs`` does not change the result.
    n_jobs : int, optional
        Members trained at the same time, as in joblib.
    progress : bool
        Whether to draw a progress bar.
    fold : (n,) int array, optional
        Folds of another cross-fit, ``-1`` for rows that are not used, in place of ``n_folds`` new
        ones.
    patterns : sequence of sets of columns
        Of which unseen units are also scored as if they lacked them.

    Raises
    ------
    DataError
        If there are fewer than three groups of rows with positive weight, the least for training,
        choosing an epoch and scoring.
    """
    used = np.flatnonzero(problem.structured.sample_weight > 0)
    n_groups = len(np.unique(groups[used]))
    if n_groups < 3:
        raise DataError(
            f"a deep term needs at least 3 independent groups of rows to train, choose and score; "
            f"there are {n_groups} (rows that share a subject or a picture are one group)."
        )
    fold_seed, member_seed = random_state.spawn(2)
    rng = np.random.default_rng(fold_seed)
    if fold is None and n_folds == 1:
        fold = np.full(len(problem.structured.y), -1)
        train, held_out = split_groups(used, groups, _HELD_OUT_SHARE, rng)
        fold[held_out] = _split(groups[held_out], _PARTS, rng)
        splits = [(train, held_out)]
    else:
        if fold is None:
            fold = np.full(len(problem.structured.y), -1)
            strata = problem.structured.family.fold_strata(problem.structured.y[used])
            fold[used] = _split(groups[used], n_folds, rng, strata)
        splits = [
            (used[fold[used] != number], used[fold[used] == number])
            for number in range(fold.max() + 1)
        ]
    seeds = iter(member_seed.spawn(len(splits) * n_repeats))
    tasks = [[(*split, next(seeds)) for _ in range(n_repeats)] for split in splits]
    courses, mirrored = _train(problem, solver, tasks, fold, n_jobs, progress)
    chosen = choose_epochs(problem, courses, [rows for _, rows in splits], fold)
    members = tuple(course.member(chosen.final) for own in courses for course in own)
    unit_scores, masked = _unseen_scores(problem, courses, splits, fold, chosen, patterns)
    scores = np.zeros((len(fold), len(problem.blueprint.slots)))
    for _, rows in splits:
        units = problem.units(rows)
        scores[rows] = problem.spread(unit_scores[units], units, rows)
    if len(splits) == 1:
        seen = np.flatnonzero(fold < 0)
        scores[seen] = np.mean([problem.scores(member.net, seen) for member in members], axis=0)
    history = pd.concat(
        [member.history.assign(member=number) for number, member in enumerate(members)],
        ignore_index=True,
    )
    every = [course for own in courses for course in own]
    before = pd.concat(
        [course.pretraining.assign(member=number) for number, course in enumerate(every)],
        ignore_index=True,
    )
    return CrossFit(
        members, scores, fold >= 0, fold, history, mirrored, before, unit_scores, masked
    )


_Task = tuple[np.ndarray, np.ndarray, np.random.SeedSequence]


def _split(
    groups: np.ndarray,
    n_parts: int,
    rng: np.random.Generator,
    strata: np.ndarray | None = None,
) -> np.ndarray:
    """Part of every row, at most as many as there are groups."""
    _, codes = np.unique(groups, return_inverse=True)
    n_parts = min(n_parts, int(codes.max()) + 1)
    if strata is None:
        return make_folds(codes, n_parts, rng)
    return stratified_folds(codes, strata, n_parts, rng)


def _unseen_scores(
    problem: DeepProblem,
    courses: Sequence[Sequence[Course]],
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    fold: np.ndarray,
    chosen: ChosenEpochs,
    patterns: Sequence[tuple[str, ...]],
) -> tuple[np.ndarray, dict[tuple[str, ...], np.ndarray]]:
    """Mean scores ``(u, T)`` of held-out units, each part at the epoch the others chose.

    The second: the same without the columns of every pattern. NaN of units in training only.
    """
    n_units = len(next(iter(problem.modalities.values())))
    scores = np.full((n_units, len(problem.blueprint.slots)), np.nan)
    masked = {pattern: scores.copy() for pattern in patterns}
    lacking = {
        pattern: problem.blueprint.without(problem.modalities, pattern) for pattern in patterns
    }
    for own, (_, rows) in zip(courses, splits, strict=True):
        held_out = problem.units(rows)
        for number in np.unique(fold[rows]):
            units = problem.units(rows[fold[rows] == number])
            epoch = chosen.of_part[number]
            place = np.searchsorted(held_out, units)
            at = [course.centred(course.round_of(epoch))[place] for course in own]
            scores[units] = np.mean(at, axis=0, dtype=float)
            if patterns:
                nets = [course.member(epoch).net for course in own]
            for pattern, without in lacking.items():
                each = [predict_scores(net, without, units) for net in nets]
                masked[pattern][units] = np.mean(each, axis=0)
    return scores, masked


def _train(
    problem: DeepProblem,
    solver: MemberSolver,
    tasks: Sequence[Sequence[_Task]],
    fold: np.ndarray,
    n_jobs: int | None,
    progress: bool,
) -> tuple[list[list[Course]], tuple[str, ...]]:
    """Courses of all tasks of every split, and the inputs that were mirrored.

    Where that is open the first network of every split is trained without; if these find that
    mirror images say the same, all are trained with them, else the others join the first ones.
    """
    n_repeats = len(tasks[0])
    every = [task for own in tasks for task in own]
    with tqdm(
        # Shares of a network may sum to more than all of it by rounding, of which tqdm warns.
        total=len(every) * (1 + 1e-9),
        desc="deep terms",
        unit="network",
        disable=not progress,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
    ) as bar:
        if not problem.blueprint.undecided():
            courses = _train_all(problem, solver, every, n_jobs, bar)
            return [[next(courses) for _ in own] for own in tasks], ()
        pilots = list(_train_all(problem, solver, every[::n_repeats], n_jobs, bar))
        held_out = [own[0][1] for own in tasks]
        chosen = choose_epochs(problem, [[pilot] for pilot in pilots], held_out, fold)
        mirrored = mirrored_inputs(
            problem, [pilot.member(chosen.trained) for pilot in pilots], held_out
        )
        if mirrored:
            bar.total += len(pilots)
            decided = replace(problem.blueprint, mirrored=frozenset(mirrored))
            again = replace(problem, blueprint=decided)
            courses = _train_all(again, solver, every, n_jobs, bar)
            return [[next(courses) for _ in own] for own in tasks], mirrored
        others = [task for own in tasks for task in own[1:]]
        rest = _train_all(problem, solver, others, n_jobs, bar)
        return [[pilot, *(next(rest) for _ in range(n_repeats - 1))] for pilot in pilots], ()


def _train_all(
    problem: DeepProblem,
    solver: MemberSolver,
    tasks: Sequence[_Task],
    n_jobs: int | None,
    bar: tqdm,
) -> Iterator[Course]:
    if n_jobs in (None, 1):
        for train, held_out, seed in tasks:
            yield solver.fit(problem, train, held_out, seed, bar.update)
        return
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    jobs = (delayed(solver.fit)(problem, *task, _silent) for task in tasks)
    for course in parallel(jobs):
        bar.update(1)
        yield course


def _silent(share: float) -> None:
    """Report nothing: a worker has no progress bar."""
