"""Predictions from hazards that are constant in intervals: exact integrals and bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from semistruct.estimators._bands import banded, check_level
from semistruct.estimators._follow_up import warn_beyond
from semistruct.estimators._interval_rows import IntervalEstimator
from semistruct.exceptions import DataError, SpecificationError
from semistruct.inference.mixed_hazards import mixed_log_hazards

__all__ = ["HazardEstimator"]


class HazardEstimator(IntervalEstimator):
    """What follows from cause-specific hazards ``(K, n, J)`` of new rows."""

    def predict_hazard(
        self, X: Any, times: Any = None, *, cause: int | None = None, level: float | None = None
    ) -> pd.DataFrame:
        """Hazard at each time, in events per unit of time: times as rows, subjects as columns.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            By default the ends of all intervals.
        cause : int, optional
            With competing causes one of them; by default all together.
        level : float, optional
            Adds a pointwise confidence band, symmetric on the log scale: columns are then
            ``(subject, "estimate" | "lower" | "upper")``.
        """
        frame = self._new_rows(X)
        grid = self._time_grid(times)
        at = self.intervals_.at(grid)
        hazards = self._cause_hazards(frame)
        index = pd.Index(grid, name="time")
        k = self._position(cause)
        estimate = (hazards.sum(axis=0) if k is None else hazards[k])[:, at].T
        if level is None:
            return pd.DataFrame(estimate, index, frame.index)
        check_level(level)
        if k is None:
            raise SpecificationError(
                "a band of the hazard needs a cause: the sum over causes has none on the log "
                f"scale. Give cause=, one of {self.causes_}."
            )
        V = self._used_covariance()
        se = np.vstack(
            [
                np.sqrt(np.einsum("ijp,pq,ijq->ij", X_k[k], V, X_k[k], optimize=True))
                for X_k, _ in self._design_chunks(frame, len(grid))
            ]
        )[:, at].T
        z = stats.norm.ppf(0.5 + level / 2)
        return banded(
            estimate, estimate * np.exp(-z * se), estimate * np.exp(z * se), index, frame.index
        )

    def predict_hazard_ratio(
        self,
        X: Any,
        reference: Any,
        times: Any = None,
        *,
        cause: int | None = None,
        level: float | None = None,
    ) -> pd.DataFrame:
        """Ratio of the hazards of rows to those of others over time: times as rows.

        What varies over time in it are the effects that do: ``s(tend, by=x)``, ``te(tend, x)``.

        Parameters
        ----------
        X : DataFrame or array of n rows
        reference : DataFrame or array of one or n rows
            What the rows are compared with.
        times : (m,) array-like, optional
            By default the ends of all intervals.
        cause : int, optional
            With competing causes one of them.
        level : float, optional
            Adds a pointwise confidence band, symmetric on the log scale: columns are then
            ``(subject, "estimate" | "lower" | "upper")``. Networks count as known.

        Raises
        ------
        SpecificationError
            If there are several causes and none is named.
        DataError
            If ``reference`` has neither one row nor as many as ``X``.
        """
        frame, other = self._new_rows(X), self._new_rows(reference)
        if len(other) not in (1, len(frame)):
            raise DataError(
                f"reference has {len(other)} rows and X {len(frame)}; give one row, or one for "
                "each row of X."
            )
        grid = self._time_grid(times)
        at = self.intervals_.at(grid)
        index = pd.Index(grid, name="time")
        k = self._position(cause)
        if k is None:
            raise SpecificationError(
                f"a hazard ratio is that of one cause; give cause=, one of {self.causes_}."
            )
        difference = (self._log_hazards(frame)[k] - self._log_hazards(other)[k])[:, at].T
        if level is None:
            return pd.DataFrame(np.exp(difference), index, frame.index)
        check_level(level)
        V = self._used_covariance()
        opposite = other.iloc[np.zeros(len(frame), dtype=int)] if len(other) == 1 else other
        se = []
        chunks = (self._design_chunks(rows, len(grid)) for rows in (frame, opposite))
        for (designs, _), (others, _) in zip(*chunks, strict=True):
            x = designs[k] - others[k]
            se.append(np.sqrt(np.einsum("ijp,pq,ijq->ij", x, V, x, optimize=True))[:, at])
        half = stats.norm.ppf(0.5 + level / 2) * np.vstack(se).T
        return banded(
            np.exp(difference),
            np.exp(difference - half),
            np.exp(difference + half),
            index,
            frame.index,
        )

    def predict_percentile(self, X: Any, p: float = 0.5) -> pd.Series:
        """Time at which survival is ``p``; infinite where it is larger at the last cut point.

        As in lifelines, ``p`` is a survival probability: ``p=0.9`` comes before the median.
        """
        if not 0 < p < 1:
            raise SpecificationError(f"p must lie between 0 and 1, got {p!r}.")
        frame = self._new_rows(X)
        hazard = self._cause_hazards(frame).sum(axis=0)
        reached = np.cumsum(hazard * self.intervals_.lengths, axis=1)
        target = -np.log(p)
        j = (reached < target).sum(axis=1)
        last = np.minimum(j, len(self.intervals_) - 1)
        rows = np.arange(len(frame))
        step = hazard[rows, last]
        # Counted back from the end of the interval in which the target is reached.
        left = (reached[rows, last] - target) / np.where(step > 0, step, 1.0)
        time = self.intervals_.ends[last] - left
        return pd.Series(np.where(j < len(self.intervals_), time, np.inf), index=frame.index)

    def predict_restricted_mean(self, X: Any, time: float) -> pd.Series:
        """Mean time without event within the first ``time`` units, exactly integrated.

        Warns
        -----
        DataWarning
            If ``time`` is beyond the last cut point, from where on survival counts as constant.
        """
        end = self._end_of_follow_up()
        warn_beyond(time, end)
        frame = self._new_rows(X)
        hazard = self._cause_hazards(frame).sum(axis=0)
        starts, ends = self.intervals_.starts, self.intervals_.ends
        lengths = np.clip(np.minimum(ends, time) - starts, 0.0, None)
        step = hazard * lengths
        before = np.exp(-np.hstack([np.zeros((len(frame), 1)), np.cumsum(step, axis=1)]))
        # The mean of exp(-h t) over an interval, in the limit one.
        mean = np.where(step > 1e-12, -np.expm1(-step) / np.where(step > 1e-12, step, 1.0), 1.0)
        total = (before[:, :-1] * mean * lengths).sum(axis=1) + before[:, -1] * max(0, time - end)
        return pd.Series(total, index=frame.index)

    def _mixing(self, etas: Tensor) -> Tensor:
        return mixed_log_hazards(etas, torch.from_numpy(self.intervals_.lengths))

    def _cumulative(self, etas: np.ndarray, times: np.ndarray) -> np.ndarray:
        return self.intervals_.cumulative_hazard(np.exp(etas).sum(axis=0), times)

    def _cumulative_slopes(
        self, designs: Sequence[np.ndarray], etas: np.ndarray, times: np.ndarray
    ) -> np.ndarray:
        at = self.intervals_.at(times)
        elapsed = times - self.intervals_.starts[at]
        slope = sum(np.exp(eta)[..., None] * X for X, eta in zip(designs, etas, strict=True))
        steps = np.cumsum(slope * self.intervals_.lengths[:, None], axis=1)
        before = np.concatenate([np.zeros_like(steps[:, :1]), steps[:, :-1]], axis=1)
        return before[:, at] + slope[:, at] * elapsed[:, None]

    def _cause_hazards(self, frame: pd.DataFrame) -> np.ndarray:
        """Hazards ``(K, n, J)``."""
        return np.exp(self._log_hazards(frame))

    def _incidences(self, etas: np.ndarray, times: np.ndarray) -> np.ndarray:
        return self.intervals_.cumulative_incidence(np.exp(etas), times)
