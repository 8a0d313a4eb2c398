"""Which epoch of the networks to keep: asked of rows that they did not train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semistruct.fitting.augmented import take_rows
from semistruct.fitting.members import Course, DeepProblem
from semistruct.fitting.structured import StructuredProblem

__all__ = ["ChosenEpochs", "choose_epochs"]

_SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way from the structured model


@dataclass(frozen=True)
class ChosenEpochs:
    """Epochs to keep.

    Attributes
    ----------
    final : int
        That with the highest log-likelihood of all held-out rows: what predictions use.
    trained : int
        The best but epoch 0; that too if there is no other.
    of_part : (F,) int array
        For every part of the held-out rows that with the highest log-likelihood of the *other*
        parts, so that no row has a say in the epoch it is scored at.
    """

    final: int
    trained: int
    of_part: np.ndarray


def choose_epochs(
    problem: DeepProblem,
    courses: Sequence[Sequence[Course]],
    held_out: Sequence[np.ndarray],
    part: np.ndarray,
) -> ChosenEpochs:
    """Compare the epochs of all networks at once.

    Every network was trained on all rows but its held-out ones, which are judged by the mean
    predictor of the networks that held them out. One epoch is chosen for all networks, from the
    sum over all held-out rows: this needs no rows set aside for stopping, and has far less noise
    than a decision for each network. Epoch 0, the structured model, is one of the candidates.

    What is kept will be shrunk by a slope, so an epoch is judged at the best point between the
    structured model and itself, not for being over-confident.

    Parameters
    ----------
    problem : DeepProblem
        n rows.
    courses : sequence of sequences of Course
        For every split of the rows the networks trained on it.
    held_out : sequence of int arrays
        For every split the rows that its networks did not see; no row twice.
    part : (n,) int array
        Part of each held-out row, numbered from 0; a part lies within one split.
    """
    epochs = np.unique(np.concatenate([course.epochs for own in courses for course in own]))
    n_parts = int(part.max()) + 1
    losses = np.zeros((n_parts, len(epochs), len(_SHARES)))
    for own, rows in zip(courses, held_out, strict=True):
        losses += _losses(problem, own, rows, part[rows], epochs, n_parts)

    def best(parts: list[int]) -> np.ndarray:
        return losses[parts].sum(axis=0).min(axis=1)

    everyone = list(range(n_parts))
    total = best(everyone)
    others = [best([other for other in everyone if other != k]) for k in everyone]
    return ChosenEpochs(
        int(epochs[np.argmin(total)]),
        int(epochs[-1 if len(epochs) == 1 else 1 + np.argmin(total[1:])]),
        np.array([epochs[np.argmin(loss)] for loss in others]),
    )


def _losses(
    problem: DeepProblem,
    courses: Sequence[Course],
    rows: np.ndarray,
    part: np.ndarray,
    epochs: np.ndarray,
    n_parts: int,
) -> np.ndarray:
    """Minus the log-likelihood ``(n_parts, len(epochs), len(_SHARES))`` of rows."""
    held_out = take_rows(problem.structured, rows)
    bounds = {
        number: take_rows(held_out, np.flatnonzero(part == number)).bind()
        for number in np.unique(part)
    }
    start = problem.start.eta[rows]
    found = np.zeros((n_parts, len(epochs), len(_SHARES)))
    for e, epoch in enumerate(epochs):
        predictors = [_predictor(problem, held_out, course, rows, epoch) for course in courses]
        eta = np.mean(predictors, axis=0)
        for j, share in enumerate(_SHARES):
            between = start + share * (eta - start)
            for number, bound in bounds.items():
                loss = -bound.loglik(between[part == number])
                found[number, e, j] = loss if np.isfinite(loss) else np.inf
    return found


def _predictor(
    problem: DeepProblem,
    held_out: StructuredProblem,
    course: Course,
    rows: np.ndarray,
    epoch: int,
) -> np.ndarray:
    """Predictors ``(m, K)`` of held-out rows at an epoch."""
    at = course.round_of(epoch)
    scores = problem.spread(course.scores[at], problem.units(rows), rows)
    eta = held_out.offset.copy()
    for k, (block, own) in enumerate(zip(held_out.blocks, problem.start.slices, strict=True)):
        eta[:, k] += block.matvec(course.beta[at, own])
    for t, slot in enumerate(problem.blueprint.slots):
        eta[:, slot.param] += scores[:, t]
    return eta
