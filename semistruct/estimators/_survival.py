"""Predictions of survival models: curves with bands, percentiles, means, concordance."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators._bands import banded, check_level
from semistruct.estimators._base import SemiStructuredEstimator
from semistruct.estimators._follow_up import (
    called_response,
    checked_times,
    group_codes,
    warn_beyond,
)
from semistruct.evaluation.concordance import concordance_index
from semistruct.exceptions import (
    DataError,
    SpecificationError,
)
from semistruct.inference.survival_curves import BandTransform, survival_band
from semistruct.plots import plot_model, survival_curves
from semistruct.responses import Surv, as_surv
from semistruct.terms import ResponseCall

__all__ = ["SurvivalEstimator"]

_DRAWN = 1000  # training rows behind the panels of curves
_ROWS = 5000  # whose curves are held at a time for their mean


class SurvivalEstimator(SemiStructuredEstimator):
    """What follows from the cumulative hazards of new rows, in lifelines' names and shapes."""

    @abstractmethod
    def predict(self, X: Any) -> np.ndarray:
        """Risk of every row, larger is riskier, ``(n,)``."""

    @abstractmethod
    def _event_times(self) -> np.ndarray:
        """Times at which the cumulative hazard jumps, upwards."""

    @abstractmethod
    def _stratum(self, frame: pd.DataFrame) -> np.ndarray:
        """Number of each row's baseline hazard, ``(n,)``."""

    @abstractmethod
    def _end_of_follow_up(self) -> float:
        """Longest time under observation among the training rows."""

    @abstractmethod
    def _hazards(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        """Cumulative hazards, ``(m, n)``."""

    @abstractmethod
    def _hazard_errors(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        """Their standard errors, ``(m, n)``."""

    @abstractmethod
    def _average_survival_error(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        """Standard error of the mean survival of the rows, ``(m,)``."""

    @abstractmethod
    def _training_rows(self) -> tuple[pd.DataFrame | None, Surv]:
        """What the predictors read of the rows that were fitted, where it is kept; follow-up."""

    def _response(
        self, left: str | ResponseCall | None, frame: pd.DataFrame, y: Any
    ) -> tuple[Surv, str]:
        if left is None:
            if y is None:
                raise DataError(
                    "no response: give y=Surv(time, event), or write it in the formula as in "
                    "'Surv(time, event) ~ age'."
                )
            surv = as_surv(y)
        elif y is not None:
            raise SpecificationError(
                f"the response is given twice: as {left} in the formula and as y. Leave one out."
            )
        elif isinstance(left, ResponseCall):
            surv = called_response(left, frame)
        else:
            raise SpecificationError(
                f"the response {left!r} is one column; write Surv(time, event) ~ ..., or "
                "Surv(time, event, entry=start) with delayed entry."
            )
        if len(surv) != len(frame):
            raise DataError(f"y has {len(surv)} rows and the table {len(frame)}.")
        return surv, "Surv(time, event)" if left is None else str(left)

    def _subjects(self, y: Surv) -> np.ndarray | None:
        return None if y.id is None else np.asarray(y.id, dtype=object)

    def _given_response(self, frame: pd.DataFrame, y: Any) -> Any:
        """The response handed in, by default the one that the formula names."""
        if y is None and isinstance(self.specification_.response, ResponseCall):
            return called_response(self.specification_.response, frame)
        return y

    def predict_cumulative_hazard(
        self, X: Any, times: Any = None, *, level: float | None = None
    ) -> pd.DataFrame:
        """Cumulative hazard: times as rows, subjects as columns.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            By default all event times.
        level : float, optional
            Adds a confidence band: columns are then ``(subject, "estimate" | "lower" | "upper")``.
        """
        return self._predicted_curves(X, times, level, "log-log", survival=False)

    def predict_survival_function(
        self,
        X: Any,
        times: Any = None,
        *,
        level: float | None = None,
        transform: BandTransform = "log",
    ) -> pd.DataFrame:
        """Probability of no event until each time: times as rows, subjects as columns.

        Before the first event time it is one, after the last it stays as it is.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            By default all event times.
        level : float, optional
            Adds a pointwise confidence band: columns are then
            ``(subject, "estimate" | "lower" | "upper")``. It covers the coefficients and the
            baseline hazard; networks and smoothing parameters count as known.
        transform : {"log", "log-log", "plain"}
            Scale on which the band is symmetric.

        References
        ----------
        Tsiatis (1981), Annals of Statistics 9.
        """
        return self._predicted_curves(X, times, level, transform, survival=True)

    def predict_average_survival(
        self,
        X: Any,
        times: Any = None,
        *,
        by: Any = None,
        level: float | None = None,
        transform: BandTransform = "log",
    ) -> pd.DataFrame:
        """Mean over rows of their survival functions: times as rows, groups as columns.

        To compare with the Kaplan-Meier curve of the same rows; with one column set to each of its
        values in turn, adjusted for the others.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            By default all event times.
        by : str or (n,) array-like, optional
            A column of ``X``, or labels of the groups. By default all rows are one group, "all".
        level : float, optional
            Adds a pointwise confidence band: columns are then
            ``(group, "estimate" | "lower" | "upper")``. It covers the coefficients and the
            baseline hazard, the rows being what they are.
        transform : {"log", "log-log", "plain"}
            Scale on which the band is symmetric.

        Raises
        ------
        DataError
            If ``by`` is no column of ``X``, has another length or is missing somewhere.

        References
        ----------
        Makuch (1982), Journal of Chronic Diseases 35.
        """
        frame = self._new_rows(X)
        grid = self._event_times() if times is None else checked_times(times)
        index = pd.Index(grid, name="time")
        labels, codes = group_codes(X, by, len(frame))
        parts = [frame[codes == g] for g in range(len(labels))]
        hazards = []
        for part in parts:
            mean = np.zeros(len(grid))
            for start in range(0, len(part), _ROWS):
                some = part.iloc[start : start + _ROWS]
                mean += np.exp(-self._hazards(some, grid)).sum(axis=1) / len(part)
            with np.errstate(divide="ignore"):
                hazards.append(-np.log(mean))
        hazard = np.column_stack(hazards)
        estimate = np.exp(-hazard)
        if level is None:
            return pd.DataFrame(estimate, index, labels)
        check_level(level)
        error = np.column_stack([self._average_survival_error(part, grid) for part in parts])
        with np.errstate(divide="ignore", invalid="ignore"):
            lower, upper = survival_band(hazard, error / estimate, level, transform)
        return banded(estimate, lower, upper, index, labels)

    def predict_percentile(self, X: Any, p: float = 0.5) -> pd.Series:
        """First time at which survival is ``p`` or less; infinite where it never is, as followed.

        As in lifelines, ``p`` is a survival probability: ``p=0.9`` comes before the median.
        """
        if not 0 < p < 1:
            raise SpecificationError(f"p must lie between 0 and 1, got {p!r}.")
        frame = self._new_rows(X)
        times = self._event_times()
        # A curve that stands at p up to rounding has reached it.
        reached = self._hazards(frame, times) >= -np.log(p) * (1 - 1e-12)
        first = np.where(reached.any(axis=0), times[reached.argmax(axis=0)], np.inf)
        return pd.Series(first, index=frame.index)

    def predict_median(self, X: Any) -> pd.Series:
        """Median survival time; infinite where survival stays above one half."""
        return self.predict_percentile(X, 0.5)

    def predict_restricted_mean(self, X: Any, time: float) -> pd.Series:
        """Mean time without event within the first ``time`` units, exactly integrated.

        Warns
        -----
        DataWarning
            If ``time`` is beyond the follow-up of the training rows, where the curves are constant.
        """
        warn_beyond(time, self._end_of_follow_up())
        frame = self._new_rows(X)
        jumps = self._event_times()
        jumps = jumps[jumps < time]
        survival = np.vstack([np.ones(len(frame)), np.exp(-self._hazards(frame, jumps))])
        lengths = np.diff(np.concatenate([[0.0], jumps, [time]]))
        return pd.Series(lengths @ survival, index=frame.index)

    def plot(self, *, level: float = 0.95, **options: Any) -> Figure:
        """One figure: smooth curves, hazard ratios, random effects, survival, deep scores.

        The last panels of curves are survival of the training rows, by thirds of their predicted
        risk and beside Kaplan-Meier's, and in models of intervals hazards, or the incidences of
        competing causes, of rows at the middle of these thirds; labels ``"survival"``,
        ``"hazard"`` and ``"incidence"``.

        Parameters
        ----------
        level : float
            Coverage of bands and intervals.
        **options
            Of :func:`semistruct.plots.plot_model`.
        """
        check_is_fitted(self)
        panels = self._curve_panels(level)
        return plot_model(self.fit_, cov_type=self._cov_type(), level=level, more=panels, **options)

    def _curve_panels(self, level: float) -> dict[str, Callable[..., Axes]]:
        if self._training_rows()[0] is None:
            return {}
        return {"survival": partial(self._plot_survival, level)}

    def _plot_survival(self, level: float, *, ax: Axes) -> Axes:
        frame, y, thirds = self._risk_thirds()
        return survival_curves(self, self._as_given(frame), y, by=thirds, level=level, ax=ax)

    def _risk_thirds(self) -> tuple[pd.DataFrame, Surv, pd.Categorical]:
        """Training rows, at most 1000 evenly spread, their follow-up and third of the risk."""
        frame, y = self._training_rows()
        if frame is None:
            raise DataError("the model was kept without its training rows.")
        rows = np.linspace(0, len(frame) - 1, min(len(frame), _DRAWN)).astype(int)
        frame, y = frame.iloc[rows], y[rows]
        risk = self.predict(self._as_given(frame))
        third = np.searchsorted(np.quantile(risk, [1 / 3, 2 / 3]), risk, side="left")
        return frame, y, pd.Categorical.from_codes(third, ["low risk", "middle", "high risk"])

    def _as_given(self, frame: pd.DataFrame) -> Any:
        """Training rows as an array, where the model was fitted to one."""
        names = [f"x{j}" for j in range(self.n_features_in_)]
        if "feature_names_in_" in vars(self) or not set(frame.columns) <= set(names):
            return frame
        return frame.reindex(columns=names, fill_value=0.0).to_numpy()

    def hazard_ratios(self, level: float = 0.95) -> pd.DataFrame:
        """Parametric coefficients in the columns of lifelines' summary.

        Returns
        -------
        DataFrame
            Indexed by ``covariate``, with several causes by parameter and coefficient: ``coef``,
            ``exp(coef)``, ``se(coef)``, limits of both, ``z``, ``p``, ``-log2(p)``.
        """
        check_is_fitted(self)
        effects = self.effects(level=level)
        effects = effects[effects.index.get_level_values(1) != "Intercept"]
        if len(self.family_.param_names) == 1:
            effects = effects.droplevel(0).rename_axis("covariate")
        shown = f"{100 * level:g}%"
        return pd.DataFrame(
            {
                "coef": effects["coef"],
                "exp(coef)": np.exp(effects["coef"]),
                "se(coef)": effects["se"],
                f"coef lower {shown}": effects["lower"],
                f"coef upper {shown}": effects["upper"],
                f"exp(coef) lower {shown}": np.exp(effects["lower"]),
                f"exp(coef) upper {shown}": np.exp(effects["upper"]),
                "z": effects["z"],
                "p": effects["p"],
                "-log2(p)": -np.log2(effects["p"].clip(lower=np.finfo(float).tiny)),
            }
        )

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Harrell's concordance of :meth:`predict` with the follow-up, within strata.

        Parameters
        ----------
        X : DataFrame or array of n rows
        y : Surv, structured array or DataFrame, optional
            Delayed entry allowed; by default the response that the formula names.
        sample_weight : (n,) array-like, optional

        Raises
        ------
        DataError
            If no two rows are comparable.
        """
        frame = self._new_rows(X)
        return concordance_index(
            self._given_response(frame, y),
            self.predict(frame),
            sample_weight=sample_weight,
            strata=self._stratum(frame),
        )

    def _predicted_curves(
        self,
        X: Any,
        times: Any,
        level: float | None,
        transform: BandTransform,
        *,
        survival: bool,
    ) -> pd.DataFrame:
        frame = self._new_rows(X)
        grid = self._event_times() if times is None else checked_times(times)
        index = pd.Index(grid, name="time")
        hazard = self._hazards(frame, grid)
        estimate = np.exp(-hazard) if survival else hazard
        if level is None:
            return pd.DataFrame(estimate, index, frame.index)
        check_level(level)
        lower, upper = survival_band(hazard, self._hazard_errors(frame, grid), level, transform)
        if not survival:
            with np.errstate(divide="ignore"):
                lower, upper = -np.log(upper), -np.log(lower)
        return banded(estimate, lower, upper, index, frame.index)
