"""Cross-fitting: every training row gets a deep score from a network that never saw it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from semistruct.exceptions import DataError
from semistruct.fitting.folds import make_folds, split_groups
from semistruct.fitting.members import DeepProblem, Member, MemberSolver
from semistruct.fitting.mirroring import mirrored_inputs

__all__ = ["CrossFit", "cross_fit"]

_STOP_SHARE = 1 / 6
_HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class CrossFit:
    """The members and the scores they give to the training rows.

    Attributes
    ----------
    members : tuple of Member
    scores : (n, T) array
        From the members that neither trained nor stopped on the row; with a single fold, from all
        members, so that only the rows in ``honest`` were unseen by them.
    honest : (n,) bool array
        Rows whose score comes from a network that did not see them.
    fold : (n,) int array
        Fold of each row; ``-1`` for rows that are not honest or have weight zero.
    history : DataFrame
        The members' histories with a column ``member``.
    mirrored : tuple of str
        Inputs that were found to say the same when mirrored, and were in training; see
        :func:`~semistruct.fitting.mirroring.mirrored_inputs`.
    """

    members: tuple[Member, ...]
    scores: np.ndarray = field(repr=False)
    honest: np.ndarray = field(repr=False)
    fold: np.ndarray = field(repr=False)
    history: pd.DataFrame = field(repr=False)
    mirrored: tuple[str, ...] = ()


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
        Members per fold, with stopping rows and seeds of their own; their scores are averaged,
        which takes out what is luck in a single one.
    random_state : SeedSequence
        Every member has a seed of its own, so that ``n_jobs`` does not change the result.
    n_jobs : int, optional
        Members trained at the same time, as in joblib.
    progress : bool
        Whether to draw a progress bar.

    Raises
    ------
    DataError
        If there are fewer than three groups of rows with positive weight, the least for training,
        stopping and scoring.
    """
    n = len(problem.structured.y)
    used = np.flatnonzero(problem.structured.sample_weight > 0)
    n_groups = len(np.unique(groups[used]))
    if n_groups < 3:
        raise DataError(
            f"a deep term needs at least 3 independent groups of rows to train, stop and score; "
            f"there are {n_groups} (rows that share a subject or a picture are one group)."
        )
    fold_seed, member_seed = random_state.spawn(2)
    rng = np.random.default_rng(fold_seed)
    fold = np.full(n, -1)
    if n_folds == 1:
        _, held_out = split_groups(used, groups, _HELD_OUT_SHARE, rng)
        fold[held_out] = 0
    else:
        _, codes = np.unique(groups[used], return_inverse=True)
        fold[used] = make_folds(codes, min(n_folds, n_groups), rng)
    n_used = int(fold.max()) + 1
    scored = [number for number in range(n_used) for _ in range(n_repeats)]
    tasks = []
    for number, seed in zip(scored, member_seed.spawn(len(scored)), strict=True):
        train, stop = split_groups(used[fold[used] != number], groups, _STOP_SHARE, rng)
        tasks.append((train, stop, seed))
    unseen = [np.arange(n) if n_used == 1 else np.flatnonzero(fold == number) for number in scored]
    members, mirrored = _train(problem, solver, tasks, fold, n_repeats, n_jobs, progress)
    scores = np.zeros((n, len(problem.blueprint.slots)))
    for rows, member in zip(unseen, members, strict=True):
        scores[rows] += problem.scores(member.net, rows) / n_repeats
    history = pd.concat(
        [member.history.assign(member=number) for number, member in enumerate(members)],
        ignore_index=True,
    )
    return CrossFit(members, scores, fold >= 0, fold, history, mirrored)


_Task = tuple[np.ndarray, np.ndarray, np.random.SeedSequence]


def _train(
    problem: DeepProblem,
    solver: MemberSolver,
    tasks: Sequence[_Task],
    fold: np.ndarray,
    n_repeats: int,
    n_jobs: int | None,
    progress: bool,
) -> tuple[tuple[Member, ...], tuple[str, ...]]:
    """Members of all tasks, and the inputs that were mirrored.

    Where that is open the first member of every fold is trained without; if these find that mirror
    images say the same, all are trained with them, else the others join the first ones.
    """
    with tqdm(
        total=len(tasks),
        desc="deep terms",
        unit="network",
        disable=not progress,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
    ) as bar:
        if not problem.blueprint.undecided():
            return tuple(_train_all(problem, solver, tasks, n_jobs, bar)), ()
        pilots = list(_train_all(problem, solver, tasks[::n_repeats], n_jobs, bar))
        held_out = [np.flatnonzero(fold == number) for number in range(len(pilots))]
        mirrored = mirrored_inputs(problem, pilots, held_out)
        if mirrored:
            bar.total += len(pilots)
            decided = replace(problem.blueprint, mirrored=frozenset(mirrored))
            again = replace(problem, blueprint=decided)
            return tuple(_train_all(again, solver, tasks, n_jobs, bar)), mirrored
        others = [task for k, task in enumerate(tasks) if k % n_repeats]
        rest = _train_all(problem, solver, others, n_jobs, bar)
        members = [
            next(rest) if k % n_repeats else pilots[k // n_repeats] for k in range(len(tasks))
        ]
        return tuple(members), ()


def _train_all(
    problem: DeepProblem,
    solver: MemberSolver,
    tasks: Sequence[_Task],
    n_jobs: int | None,
    bar: tqdm,
) -> Iterator[Member]:
    if n_jobs in (None, 1):
        for train, stop, seed in tasks:
            yield solver.fit(problem, train, stop, seed, bar.update)
        return
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    jobs = (delayed(solver.fit)(problem, *task, _silent) for task in tasks)
    for member in parallel(jobs):
        bar.update(1)
        yield member


def _silent(share: float) -> None:
    """Report nothing: a worker has no progress bar."""
