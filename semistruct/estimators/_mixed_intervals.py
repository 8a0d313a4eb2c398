"""Predictors of intervals for rows that lack pictures: those of a mixture."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from semistruct.estimators._expanded import ExpandedRows
from semistruct.estimators._survival import SurvivalEstimator
from semistruct.fitting.deep import DeepFit
from semistruct.fitting.score_nodes import Nodes
from semistruct.inference.mixed_hazards import mix_intervals
from semistruct.responses import TimeIntervals

__all__ = ["MixedIntervals"]


class MixedIntervals(SurvivalEstimator):
    """Replaces the predictors of what a score may be by one predictor of each interval.

    That one has the survival function and the incidences of the mixture, so that all that follows
    from predictors, bands included, holds for rows without pictures too.
    """

    intervals_: TimeIntervals
    causes_: tuple[int, ...]

    @abstractmethod
    def _mixing(self, etas: Tensor) -> Tensor:
        """Predictors ``(K, J)`` of a mixture of equally likely predictors ``(Q, K, J)``."""

    @abstractmethod
    def _eta_of(self, frame: pd.DataFrame, scores: np.ndarray | None) -> np.ndarray:
        """Predictors ``(K, n, J)`` with given scores ``(n, T)``."""

    @abstractmethod
    def _grid(self, frame: pd.DataFrame, cause: int) -> ExpandedRows:
        """Every row in every interval."""

    @abstractmethod
    def _separately(self) -> tuple[int, ...]:
        """Causes whose rows have to be evaluated on their own."""

    def _mixture(
        self,
        frame: pd.DataFrame,
        nodes: Nodes | None,
        rows: np.ndarray,
        designs: list[np.ndarray] | None = None,
    ) -> np.ndarray:
        """Predictors ``(K, m, J)`` of some rows.

        For rows that lack pictures ``designs``, K arrays ``(m, J, P)``, are overwritten by the
        derivatives of the mixture's predictors in the coefficients.
        """
        part = frame.iloc[rows]
        if nodes is None:
            return self._eta_of(part, None)
        own = nodes.take(rows)
        center = own.mean(own.values)
        etas = self._eta_of(part, center)
        for count in np.unique(own.count[own.count > 1]):
            at = np.flatnonzero(own.count == count)
            change = own.take(at).values.reshape(len(at), count, -1) - center[at][:, None]
            # (r, Q, K, J): every node of every row.
            moved = etas[:, at].swapaxes(0, 1)[:, None] + self._score_shifts(part.iloc[at], change)
            mixed, slopes = mix_intervals(
                torch.from_numpy(moved), self._mixing, designs is not None
            )
            etas[:, at] = mixed.numpy().swapaxes(0, 1)
            if designs is not None and slopes is not None:
                X = np.stack([design[at] for design in designs], axis=1)  # (r, K, J, P)
                effective = np.einsum("rajbl,rblp->arjp", slopes.numpy(), X, optimize=True)
                for design, new in zip(designs, effective, strict=True):
                    design[at] = new
        return etas

    def _score_shifts(self, frame: pd.DataFrame, change: np.ndarray) -> np.ndarray:
        """What changes ``(r, Q, T)`` of the scores add to the predictors, ``(r, Q, K, J)``."""
        deep = cast(DeepFit, self.fit_.deep)
        gamma = deep.calibration.gamma
        used = np.flatnonzero(gamma)
        r, J, T = len(frame), len(self.intervals_), len(gamma)
        stacked = len(self.family_.param_names) == 1
        found = np.zeros((r, change.shape[1], len(self.causes_), J))
        for c, cause in enumerate(self._separately()):
            weights = self._weighted(np.ones((r, T)), self._grid(frame, cause)).reshape(r, J, T)
            for t in used:
                k = c if stacked else deep.slots[t].param
                found[:, :, k] += gamma[t] * change[:, :, t, None] * weights[:, None, :, t]
        return found

    def _weighted(self, scores: np.ndarray, rows: ExpandedRows) -> np.ndarray:
        """Scores of subjects as they enter the predictors of their intervals."""
        if all(slot.by is None for slot in self.fit_.deep.slots):  # type: ignore[union-attr]
            return scores[rows.unit]
        return self.fit_.weighted(scores[rows.unit], rows.frame)
