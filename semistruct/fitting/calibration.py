"""Do no harm: how much of a deep score to keep, decided on rows its network never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from semistruct.fitting.augmented import fix_smoothing, take_rows, with_columns, with_offset
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """What the gate found.

    Attributes
    ----------
    gamma : (T,) array
        Slope of every orthogonalised score; zero where the gate closed.
    table : DataFrame
        One row per slot: ``slope``, ``gain`` (out-of-fold log-likelihood gained over the model
        without the slot), ``se`` of the gain, ``kept``.
    """

    gamma: np.ndarray
    table: pd.DataFrame


def calibrate(
    problem: StructuredProblem,
    start: StructuredFit,
    scores: np.ndarray,
    params: Sequence[int],
    *,
    raw: np.ndarray,
    rows: np.ndarray,
    fold: np.ndarray,
    groups: np.ndarray,
    gate: bool = True,
) -> Calibration:
    """Slopes of the orthogonalised deep scores, with the structured coefficients profiled.

    Parameters
    ----------
    problem : StructuredProblem
        All n rows.
    start : StructuredFit
        The fit without deep terms; its smoothing parameters are kept.
    scores : (n, T) array
        Orthogonalised scores, honest in ``rows``.
    params : sequence of T int
        The predictor that each score enters.
    raw : (n, T) array
        The scores before orthogonalisation. Where they do not vary, a network stayed at its start
        and the orthogonalised score is a combination of the table's columns.
    rows : (m,) int array
        Rows whose score comes from a network that did not see them.
    fold : (n,) int array
        Parts of the honest rows, reused for the nested estimate.
    groups : (n,) int array
        Rows that belong together, for the standard error of a gain.
    gate : bool
        False keeps every slot with its slope.

    Notes
    -----
    A slope alone is no test: on noise it is positive half of the time. The gain of a slot is
    estimated by nested cross-validation: coefficients and slopes from the other folds, their
    log-likelihood on the fold. A slot is kept when its gain is positive; slots are dropped one at
    a time, the least useful first. What is kept is shrunk by its slope, which is never negative.

    To ask for a gain of one standard error as well would drop informative pictures of small
    studies, and several that share their information, far more often than it would save from
    noise: that costs next to nothing once the slope comes from unseen rows.
    """
    T = scores.shape[1]
    fixed = fix_smoothing(problem, start.smoothing)
    nested = _Nested(take_rows(fixed, rows), scores[rows], raw[rows], tuple(params), fold[rows])
    alive = [t for t in range(T) if np.ptp(raw[rows, t]) > 0]
    gains = {t: (0.0, 0.0) for t in range(T)}
    while alive:
        full = nested.loglik(alive)
        for t in alive:
            rest = [other for other in alive if other != t]
            gains[t] = _gain(full - nested.loglik(rest), groups[rows])
        worst = min(alive, key=lambda t: gains[t][0])
        if not gate or gains[worst][0] > 0:
            break
        alive.remove(worst)
    gamma = np.zeros(T)
    gamma[alive] = nested.slopes(alive, np.ones(len(rows), bool))[0]
    table = pd.DataFrame(
        {
            "slope": gamma,
            "gain": [gains[t][0] for t in range(T)],
            "se": [gains[t][1] for t in range(T)],
            "kept": gamma > 0,
        }
    )
    return Calibration(gamma, table)


def _row_loglik(problem: StructuredProblem, eta: np.ndarray) -> np.ndarray:
    """Weighted log-likelihood of every row, ``(n,)``; of a Cox model, within these rows."""
    return problem.bind().contributions(eta)


def _gain(difference: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    _, codes = np.unique(groups, return_inverse=True)
    per_group = np.bincount(codes, weights=difference)
    m = len(per_group)
    return float(per_group.sum()), float(np.sqrt(m) * per_group.std(ddof=1 if m > 1 else 0))


@dataclass(frozen=True)
class _Nested:
    """Fits of a structured problem with some of the scores as columns, on parts of the rows."""

    problem: StructuredProblem
    scores: np.ndarray
    raw: np.ndarray
    params: tuple[int, ...]
    fold: np.ndarray

    def loglik(self, slots: Sequence[int]) -> np.ndarray:
        """Out-of-fold log-likelihood of every row with these slots in the model."""
        found = np.zeros(len(self.fold))
        for number in np.unique(self.fold):
            inside = self.fold == number
            slopes, fit = self.slopes(slots, ~inside)
            held_out = take_rows(self._with_scores(slots, slopes), np.flatnonzero(inside))
            eta = held_out.offset.copy()
            for k, (block, at) in enumerate(zip(held_out.blocks, fit.slices, strict=True)):
                eta[:, k] += block.matvec(fit.beta[at])
            found[inside] = _row_loglik(held_out, eta)
        return found

    def slopes(self, slots: Sequence[int], inside: np.ndarray) -> tuple[np.ndarray, StructuredFit]:
        """Slopes not below zero, and the structured coefficients that go with them."""
        rows = np.flatnonzero(inside)
        free = [t for t in slots if np.ptp(self.raw[rows, t]) > 0]
        slopes = dict.fromkeys(slots, 0.0)
        while free:
            found = self._free_slopes(free, rows)
            if min(found) >= 0:
                slopes.update(zip(free, found, strict=True))
                break
            free = [t for t, slope in zip(free, found, strict=True) if slope > min(found)]
        values = np.array([slopes[t] for t in slots], dtype=float)
        return values, fit_structured(take_rows(self._with_scores(slots, values), rows))

    def _free_slopes(self, slots: Sequence[int], rows: np.ndarray) -> list[float]:
        K = len(self.problem.designs)
        members = [[t for t in slots if self.params[t] == k] for k in range(K)]
        columns = [self.scores[rows][:, members[k]] for k in range(K)]
        labels = [[f"score {t}" for t in members[k]] for k in range(K)]
        fit = fit_structured(with_columns(take_rows(self.problem, rows), columns, labels))
        slope: dict[int, float] = {}
        for k, at in enumerate(fit.slices):
            own = fit.beta[at][self.problem.designs[k].p :]
            slope.update(zip(members[k], own.tolist(), strict=True))
        return [slope[t] for t in slots]

    def _with_scores(self, slots: Sequence[int], slopes: np.ndarray) -> StructuredProblem:
        offset = np.zeros_like(self.problem.offset)
        for t, slope in zip(slots, slopes, strict=True):
            offset[:, self.params[t]] += slope * self.scores[:, t]
        return with_offset(self.problem, offset)
