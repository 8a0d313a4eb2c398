"""The additive predictors of a fitted model, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from semistruct.design import Design
from semistruct.terms.base import DesignBlock

__all__ = ["Predictor", "Rows", "ScoreColumn"]


class Rows(Protocol):
    """Rows that know how to make a design's block: intervals of subjects."""

    def block(self, design: Design) -> DesignBlock:
        """The ``(n, p)`` design of the rows."""

    def offset(self, design: Design) -> np.ndarray:
        """The sum of the offsets, ``(n,)``."""


@dataclass(frozen=True)
class ScoreColumn:
    """How one deep score enters a predictor.

    Attributes
    ----------
    label : str
        Of the deep term.
    param : int
        Position of the predictor.
    G : (p_k, 1) array
        Shadow of the score on the structured columns, learned once.
    center : float
        Its constant, where no structured column is one.
    gamma : float
        Calibrated slope.
    """

    label: str
    param: int
    G: np.ndarray
    center: float
    gamma: float


@dataclass(frozen=True)
class Predictor:
    """``eta_k = X_k beta_k + sum_t gamma_t (s_t - X_k G_t) + offset_k``, with everything stored.

    Attributes
    ----------
    designs : tuple of K Design
    beta : tuple of K (p_k,) arrays
    columns : tuple of T ScoreColumn

    Notes
    -----
    Nothing is learned from the rows that are predicted: a row alone gives what it gives among
    others. A score that is NaN is taken to be what the table predicts for it, so that the deep
    term contributes nothing.
    """

    designs: tuple[Design, ...]
    beta: tuple[np.ndarray, ...]
    columns: tuple[ScoreColumn, ...] = ()

    def eta(self, frame: pd.DataFrame | Rows, scores: np.ndarray | None = None) -> np.ndarray:
        """Predictors ``(n, K)`` from the table and raw scores ``(n, T)``, NaN where absent."""
        columns = []
        for k, (design, beta) in enumerate(zip(self.designs, self.beta, strict=True)):
            if isinstance(frame, pd.DataFrame):
                block, offset = design.block(frame), design.offset(frame)
            else:
                block, offset = frame.block(design), frame.offset(design)
            eta = block.matvec(beta) + offset
            for t, column in self._own(k):
                eta += column.gamma * _orthogonal(block, column, scores, t)
            columns.append(eta)
        return np.column_stack(columns)

    def shadows(self, frame: pd.DataFrame) -> np.ndarray:
        """What the table predicts for the scores, ``(n, T)``."""
        found = np.zeros((len(frame), len(self.columns)))
        for k, design in enumerate(self.designs):
            own = self._own(k)
            if own:
                block = design.block(frame)
                for t, column in own:
                    found[:, t] = block.matvec(column.G[:, 0]) + column.center
        return found

    def moved(self, eta: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Predictors ``(n, K)`` after the scores have changed by ``change`` ``(n, T)``.

        A score that is not used may change by NaN.
        """
        found = eta.copy()
        for t, column in enumerate(self.columns):
            if column.gamma:
                found[:, column.param] += column.gamma * change[:, t]
        return found

    def contributions(
        self, frame: pd.DataFrame, param_names: Sequence[str], scores: np.ndarray | None = None
    ) -> pd.DataFrame:
        """What every term adds to its predictor: columns ``(parameter, term)``.

        The columns of a parameter sum to its predictor.
        """
        found: dict[tuple[str, str], np.ndarray] = {}
        for k, (design, beta) in enumerate(zip(self.designs, self.beta, strict=True)):
            block = design.block(frame)
            for label, columns in design.slices.items():
                only = np.zeros(design.p)
                only[columns] = beta[columns]
                found[param_names[k], label] = block.matvec(only)
            if design.offsets:
                found[param_names[k], "offset"] = design.offset(frame)
            for t, column in self._own(k):
                deep = column.gamma * _orthogonal(block, column, scores, t)
                found[param_names[k], column.label] = deep
        table = pd.DataFrame(found, index=frame.index)
        table.columns = pd.MultiIndex.from_tuples(found, names=["parameter", "term"])
        return table

    def _own(self, k: int) -> list[tuple[int, ScoreColumn]]:
        return [(t, column) for t, column in enumerate(self.columns) if column.param == k]


def _orthogonal(
    block: DesignBlock, column: ScoreColumn, scores: np.ndarray | None, t: int
) -> np.ndarray:
    if scores is None:
        return np.zeros(block.shape[0])
    left = scores[:, t] - block.matvec(column.G[:, 0]) - column.center
    return np.where(np.isnan(scores[:, t]), 0.0, left)
