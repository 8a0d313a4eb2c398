"""What is predicted from the baseline hazard of a Cox model: curves, times, means, with limits."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators._bands import (
    average_survival_error,
    banded,
    check_level,
    limits,
    normal_quantile,
)
from semistruct.estimators._follow_up import checked_times, subject_paths
from semistruct.estimators._survival import SurvivalEstimator
from semistruct.exceptions import DataError, UnsupportedCombinationError
from semistruct.families.cox import TIME
from semistruct.fitting.score_nodes import Nodes
from semistruct.inference.covariance import CovarianceKind
from semistruct.inference.mixed_curves import mixed_cumulative_hazard, mixed_standard_error
from semistruct.inference.survival_curves import BandTransform, SurvivalCurves, survival_band
from semistruct.responses import as_surv

__all__ = ["CoxCurves"]


class CoxCurves(SurvivalEstimator):
    """A survival estimator whose hazards are multiples of one baseline for each stratum."""

    cov_type: CovarianceKind | None
    strata_: pd.MultiIndex | None

    @abstractmethod
    def _nodes(self, frame: pd.DataFrame) -> Nodes:
        """Log hazard ratios ``(N,)``, several of a row that lacks pictures."""

    def _eta(self, frame: pd.DataFrame) -> np.ndarray:
        """Log hazard ratios ``(n,)``, of a row that lacks pictures that of its mean hazard."""
        nodes = self._nodes(frame)
        return nodes.logmean(nodes.values)

    @cached_property
    def curves_(self) -> SurvivalCurves:
        """Baseline hazard with what bands need, computed when first asked for."""
        check_is_fitted(self)
        return SurvivalCurves.of(self.fit_, self._curve_covariance())

    @property
    def baseline_cumulative_hazard_(self) -> pd.DataFrame:
        """Cumulative hazard at predictor zero: one column for each stratum."""
        check_is_fitted(self)
        curves = self.curves_
        n = 1 if self.strata_ is None else len(self.strata_)
        values = curves.cumulative_hazard(curves.times, np.zeros(n), np.arange(n))
        columns = ["baseline"] if self.strata_ is None else self.strata_
        return pd.DataFrame(values, pd.Index(curves.times, name="time"), columns)

    def predict_percentile(
        self,
        X: Any,
        p: float = 0.5,
        *,
        level: float | None = None,
        transform: BandTransform = "log",
    ) -> Any:
        """First time at which survival is ``p`` or less; infinite where it never is, as followed.

        As in lifelines, ``p`` is a survival probability: ``p=0.9`` comes before the median.

        Parameters
        ----------
        X : DataFrame or array of n rows
        p : float
        level : float, optional
            Adds confidence limits: the first times at which those of the survival function are
            ``p`` or less.
        transform : {"log", "log-log", "plain"}
            Scale of the band, see :meth:`predict_survival_function`.

        Returns
        -------
        Series, or with ``level`` DataFrame with columns "estimate", "lower" and "upper"

        References
        ----------
        Brookmeyer and Crowley (1982), Biometrics 38.
        """
        estimate = super().predict_percentile(X, p)
        if level is None:
            return estimate
        check_level(level)
        frame, times = self._new_rows(X), self._event_times()
        hazard = self._hazards(frame, times)
        band = survival_band(hazard, self._hazard_errors(frame, times), level, transform)

        def first(curve: np.ndarray) -> np.ndarray:
            reached = curve <= p * (1 + 1e-12)
            return np.where(reached.any(axis=0), times[reached.argmax(axis=0)], np.inf)

        return limits(estimate, first(band[0]), first(band[1]))

    def predict_median(
        self, X: Any, *, level: float | None = None, transform: BandTransform = "log"
    ) -> Any:
        """Median survival time; infinite where survival stays above one half.

        See :meth:`predict_percentile`.
        """
        return self.predict_percentile(X, 0.5, level=level, transform=transform)

    def predict_restricted_mean(self, X: Any, time: float, *, level: float | None = None) -> Any:
        """Mean time without event within the first ``time`` units, exactly integrated.

        Parameters
        ----------
        X : DataFrame or array of n rows
        time : float
        level : float, optional
            Adds confidence limits, of the coefficients and the baseline hazard.

        Returns
        -------
        Series, or with ``level`` DataFrame with columns "estimate", "lower" and "upper"

        Warns
        -----
        DataWarning
            If ``time`` is beyond the follow-up of the training rows, where the curves are constant.
        """
        estimate = super().predict_restricted_mean(X, time)
        if level is None:
            return estimate
        check_level(level)
        frame = self._new_rows(X)
        design = self.fit_.problem.designs[0].block(frame).dense()
        se = self.curves_.restricted_mean_error(
            time, design, self._nodes(frame), self._stratum(frame)
        )
        half = normal_quantile(level) * se
        lower, upper = np.maximum(estimate - half, 0.0), np.minimum(estimate + half, time)
        return limits(estimate, lower, upper)

    def predict_survival_path(
        self,
        X: Any,
        y: Any,
        times: Any = None,
        *,
        level: float | None = None,
        transform: BandTransform = "log",
    ) -> pd.DataFrame:
        """Survival of subjects whose columns change: times as rows, subjects as columns.

        Pictures must not be missing.

        Parameters
        ----------
        X : DataFrame or array of n rows
            Intervals of the subjects, each with the columns (and the picture) that hold in it.
        y : Surv
            ``Surv(time, event, entry, id)``, the ends of the intervals and whose they are; events
            are not looked at. Those of a subject follow one another without gaps. Without ``id``
            every row is a subject.
        times : (m,) array-like, optional
            By default all event times.
        level : float, optional
            Adds a pointwise confidence band: columns are then
            ``(subject, "estimate" | "lower" | "upper")``.
        transform : {"log", "log-log", "plain"}
            Scale on which the band is symmetric.

        Returns
        -------
        DataFrame
            Probability of no event until each time given none when the first interval begins; one
            before that, missing after the last interval.

        Notes
        -----
        Meaningful for columns whose course does not itself reveal whether the subject lives
        (Kalbfleisch and Prentice 2002, The Statistical Analysis of Failure Time Data, section 6.3).
        """
        frame = self._new_rows(X)
        surv = as_surv(y)
        if len(surv) != len(frame):
            raise DataError(f"y has {len(surv)} rows and the table {len(frame)}.")
        paths = subject_paths(surv)
        grid = self._event_times() if times is None else checked_times(times)
        design = self.fit_.problem.designs[0].block(frame).dense()
        nodes, stratum = self._nodes(frame), self._stratum(frame)
        if not nodes.is_single:
            row = nodes.mixed[0]
            raise UnsupportedCombinationError(
                f"row {row} lacks a picture: what its subject's picture may say would have to be "
                "the same in all intervals, of which the model knows nothing. Leave the subject "
                "out, or use table_model()."
            )
        eta = nodes.values
        start = np.zeros(len(surv)) if surv.entry is None else surv.entry
        hazard, se = np.empty((2, len(grid), len(paths)))
        for number, rows in enumerate(paths.values()):
            hazard[:, number], se[:, number] = self.curves_.path(
                grid, start[rows], surv.time[rows], design[rows], eta[rows], stratum[rows]
            )
        index, subjects = pd.Index(grid, name="time"), pd.Index(paths)
        estimate = np.exp(-hazard)
        if level is None:
            return pd.DataFrame(estimate, index, subjects)
        check_level(level)
        lower, upper = survival_band(hazard, se, level, transform)
        return banded(estimate, lower, upper, index, subjects)

    def _curve_covariance(self) -> CovarianceKind:
        # Sandwiches are for a table model that leaves the picture out; here the scores are in.
        return self.cov_type or ("cluster" if self.specification_.cluster else "model")

    def _event_times(self) -> np.ndarray:
        return self.curves_.times

    def _end_of_follow_up(self) -> float:
        return float(self.fit_.problem.y[:, TIME].max())

    def _hazards(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        stratum = self._stratum(frame)
        return mixed_cumulative_hazard(self.curves_, times, self._nodes(frame), stratum)

    def _hazard_errors(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        X = self.fit_.problem.designs[0].block(frame).dense()
        stratum = self._stratum(frame)
        return mixed_standard_error(self.curves_, times, X, self._nodes(frame), stratum)

    def _average_survival_error(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        X = self.fit_.problem.designs[0].block(frame).dense()
        nodes = self._nodes(frame)
        own, stratum = nodes.row, self._stratum(frame)
        return average_survival_error(
            self.curves_, times, X[own], nodes.values, stratum[own], nodes.weight / nodes.n
        )
