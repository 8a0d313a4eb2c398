"""Predictions from hazards that are constant in intervals: exact integrals, bands, incidences."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.utils import check_random_state

from semistruct.estimators._expanded import ExpandedRows
from semistruct.estimators._survival import SurvivalEstimator, checked_times, warn_beyond
from semistruct.exceptions import SpecificationError
from semistruct.inference.covariance import CovarianceKind, covariance
from semistruct.responses import PiecewiseExpansion, TimeIntervals, as_surv

__all__ = ["HazardEstimator"]

_CHUNK = 2 * 10**5  # rows of intervals that are evaluated at a time
_DENSE = 4 * 10**6  # numbers held at a time for standard errors


class HazardEstimator(SurvivalEstimator):
    """What follows from cause-specific hazards ``(K, n, J)`` of new rows."""

    expansion_: PiecewiseExpansion
    intervals_: TimeIntervals
    causes_: tuple[int, ...]
    reference_time_: float

    @abstractmethod
    def _grid(self, frame: pd.DataFrame, cause: int) -> ExpandedRows:
        """All rows in all intervals, where causes are stacked those of one cause."""

    def predict(self, X: Any) -> np.ndarray:
        """Log cumulative hazard at the median event time, ``(n,)``; larger is riskier.

        With competing causes of all of them together.
        """
        return np.log(self._hazards(self._new_rows(X), np.array([self.reference_time_]))[0])

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
        _check_level(level)
        if k is None:
            raise SpecificationError(
                "a band of the hazard needs a cause: the sum over causes has none on the log "
                f"scale. Give cause=, one of {self.causes_}."
            )
        se = np.vstack(
            [
                np.sqrt(np.einsum("ijp,pq,ijq->ij", X_k[k], V, X_k[k]))
                for X_k, _, V in self._design_chunks(frame, len(grid))
            ]
        )[:, at].T
        z = stats.norm.ppf(0.5 + level / 2)
        return _banded(
            estimate, estimate * np.exp(-z * se), estimate * np.exp(z * se), index, frame.index
        )

    def predict_cumulative_incidence(
        self,
        X: Any,
        times: Any = None,
        *,
        cause: int | None = None,
        level: float | None = None,
        n_draws: int = 1000,
        random_state: Any = None,
    ) -> pd.DataFrame:
        """Probability of an event of each cause until each time: times as rows.

        Integrated exactly, see :meth:`TimeIntervals.cumulative_incidence`. With the survival
        function the incidences of all causes add up to one.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            By default the ends of all intervals.
        cause : int, optional
            By default all causes: columns ``(cause, subject)``.
        level : float, optional
            Adds pointwise bands, quantiles over ``n_draws`` draws of the coefficients from their
            estimated distribution: a last level of the columns is then "estimate", "lower" or
            "upper".
        n_draws : int
        random_state : int, RandomState or None
        """
        frame = self._new_rows(X)
        grid = self._time_grid(times)
        index = pd.Index(grid, name="time")
        self._position(cause)
        found = self.intervals_.cumulative_incidence(self._cause_hazards(frame), grid)
        limits = None
        if level is not None:
            _check_level(level)
            limits = self._incidence_limits(frame, grid, level, n_draws, random_state)
        tables = {}
        for k, name in enumerate(self.causes_):
            if limits is None:
                table = pd.DataFrame(found[k].T, index, frame.index)
            else:
                table = _banded(found[k].T, limits[0][k].T, limits[1][k].T, index, frame.index)
            tables[name] = table
        if cause is not None:
            return tables[cause]
        return pd.concat(tables, axis=1, names=["cause"])

    def term_contributions(
        self, X: Any, *, time: float | None = None, cause: int | None = None
    ) -> pd.DataFrame:
        """What every term adds to the log hazard at one time, columns ``(parameter, term)``.

        Parameters
        ----------
        X : DataFrame or array of n rows
        time : float, optional
            By default the median event time.
        cause : int, optional
            Where one predictor is that of all causes; by default the first.
        """
        frame = self._new_rows(X)
        chosen = self.causes_[0] if cause is None else self.causes_[self._position(cause) or 0]
        j = self.intervals_.at([self.reference_time_ if time is None else time])[0]
        grid = self._grid(frame, chosen)
        n = len(frame)
        rows = replace(grid, unit=np.arange(n), cell=np.full(n, grid.cell[j]))
        table = rows.frame.set_axis(frame.index, axis=0)
        scores = self.fit_.scores(frame, self._device())
        return self.fit_.predictor.contributions(table, self.family_.param_names, scores)

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

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Harrell's concordance of :meth:`predict` with the follow-up; events of any cause count.

        See :meth:`CoxPH.score`.
        """
        frame = self._new_rows(X)
        y = self._given_response(frame, y)
        surv = as_surv(y)
        anything = type(surv)(surv.time, surv.event, surv.entry)
        return super().score(X, anything, sample_weight)

    def _position(self, cause: int | None) -> int | None:
        if cause is None:
            return 0 if len(self.causes_) == 1 else None
        if cause not in self.causes_:
            raise SpecificationError(f"cause must be one of {self.causes_}, got {cause!r}.")
        return self.causes_.index(cause)

    def _time_grid(self, times: Any) -> np.ndarray:
        return self._event_times() if times is None else checked_times(times)

    def _event_times(self) -> np.ndarray:
        return self.intervals_.ends

    def _end_of_follow_up(self) -> float:
        return float(self.intervals_.ends[-1])

    def _stratum(self, frame: pd.DataFrame) -> np.ndarray:
        return np.zeros(len(frame), dtype=int)

    def _cov_type(self) -> CovarianceKind:
        if self.cov_type is None and self.fit_.deep is not None:
            return "cluster"
        return super()._cov_type()

    def _hazards(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        total = self._cause_hazards(frame).sum(axis=0)
        return self.intervals_.cumulative_hazard(total, times).T

    def _hazard_errors(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        at = self.intervals_.at(times)
        elapsed = times - self.intervals_.starts[at]
        found = []
        for designs, etas, V in self._design_chunks(frame, len(times)):
            slope = sum(np.exp(eta)[..., None] * X for X, eta in zip(designs, etas, strict=True))
            steps = np.cumsum(slope * self.intervals_.lengths[:, None], axis=1)
            before = np.concatenate([np.zeros_like(steps[:, :1]), steps[:, :-1]], axis=1)
            gradient = before[:, at] + slope[:, at] * elapsed[:, None]
            found.append(np.sqrt(np.einsum("itp,pq,itq->it", gradient, V, gradient)))
        return np.vstack(found).T

    def _cause_hazards(self, frame: pd.DataFrame) -> np.ndarray:
        """Hazards ``(K, n, J)``."""
        n, J = len(frame), len(self.intervals_)
        scores = self.fit_.scores(frame, self._device())
        found = np.empty((len(self.causes_), n, J))
        step = max(1, _CHUNK // J)
        for start in range(0, n, step):
            at = slice(start, start + step)
            part = None if scores is None else scores[at]
            found[:, at] = np.exp(self._eta_of(frame.iloc[at], part))
        return found

    def _eta_of(self, frame: pd.DataFrame, scores: np.ndarray | None) -> np.ndarray:
        """Log hazards ``(K, n, J)``."""
        J = len(self.intervals_)
        columns = []
        for cause in self._separately():
            grid = self._grid(frame, cause)
            own = None if scores is None else scores[grid.unit]
            eta = self.fit_.predictor.eta(grid, own)  # (n J, K or 1)
            columns.append(eta.reshape(len(frame), J, -1))
        return np.moveaxis(np.concatenate(columns, axis=2), 2, 0)

    def _separately(self) -> tuple[int, ...]:
        """Causes whose rows have to be evaluated on their own."""
        return self.causes_ if len(self.family_.param_names) == 1 else self.causes_[:1]

    def _design_chunks(
        self, frame: pd.DataFrame, n_times: int
    ) -> Iterator[tuple[list[np.ndarray], np.ndarray, np.ndarray]]:
        """For some rows at a time: designs ``(m, J, P)`` and log hazards of each cause, covariance.

        Designs have a column for every coefficient of the model.
        """
        fit, J = self.fit_, len(self.intervals_)
        used = fit.marginal if fit.deep is None else fit.deep.fit
        kind = self.cov_type or ("cluster" if self.specification_.cluster else "model")
        V = covariance(used, fit.problem, kind, cluster=fit.cluster)
        scores = fit.scores(frame, self._device())
        P = len(used.beta)
        step = max(1, _DENSE // (max(J, n_times) * P))
        for start in range(0, len(frame), step):
            part = frame.iloc[start : start + step]
            own = None if scores is None else scores[start : start + step]
            designs = []
            for cause in self._separately():
                grid = self._grid(part, cause)
                for design, at in zip(fit.problem.designs, used.slices, strict=True):
                    X = np.zeros((len(grid.unit), P))
                    X[:, at] = grid.block(design).dense()
                    designs.append(X.reshape(len(part), J, P))
            yield designs, self._eta_of(part, own), V

    def _incidence_limits(
        self, frame: pd.DataFrame, grid: np.ndarray, level: float, n_draws: int, random_state: Any
    ) -> np.ndarray:
        """Lower and upper limits of the incidences, ``(2, K, n, T)``."""
        rng = check_random_state(random_state)
        levels = [0.5 - level / 2, 0.5 + level / 2]
        deviations = None
        limits = []
        for designs, etas, V in self._design_chunks(frame, len(grid)):
            if deviations is None:
                deviations = _normal_draws(rng, V, int(n_draws))
            for i in range(etas.shape[1]):
                pairs = zip(designs, etas, strict=True)
                hazards = np.stack([np.exp(eta[i] + deviations @ X[i].T) for X, eta in pairs])
                drawn = self.intervals_.cumulative_incidence(hazards, grid)
                limits.append(np.quantile(drawn, levels, axis=1))
        return np.stack(limits, axis=2)


def _normal_draws(rng: np.random.RandomState, V: np.ndarray, n: int) -> np.ndarray:
    values, vectors = np.linalg.eigh(V)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return rng.standard_normal((n, len(V))) @ root.T


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise SpecificationError(f"level must lie between 0 and 1, got {level!r}.")


def _banded(
    estimate: np.ndarray, lower: np.ndarray, upper: np.ndarray, index: pd.Index, subjects: pd.Index
) -> pd.DataFrame:
    parts = np.stack([estimate, lower, upper], axis=2).reshape(len(index), -1)
    columns = pd.MultiIndex.from_product([subjects, ["estimate", "lower", "upper"]])
    return pd.DataFrame(parts, index, columns)
