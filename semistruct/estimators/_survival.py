"""Predictions of survival models: curves with bands, percentiles, means, concordance."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators._base import SemiStructuredEstimator
from semistruct.evaluation.concordance import concordance_index
from semistruct.exceptions import (
    DataError,
    DataWarning,
    SpecificationError,
    UnsupportedCombinationError,
)
from semistruct.inference.survival_curves import BandTransform, survival_band
from semistruct.responses import Surv, as_surv
from semistruct.terms import ResponseCall

__all__ = ["SurvivalEstimator", "called_response", "checked_times", "warn_beyond"]


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
        if not 0 < level < 1:
            raise SpecificationError(f"level must lie between 0 and 1, got {level!r}.")
        lower, upper = survival_band(hazard, self._hazard_errors(frame, grid), level, transform)
        if not survival:
            with np.errstate(divide="ignore"):
                lower, upper = -np.log(upper), -np.log(lower)
        parts = np.stack([estimate, lower, upper], axis=2).reshape(len(grid), -1)
        columns = pd.MultiIndex.from_product([frame.index, ["estimate", "lower", "upper"]])
        return pd.DataFrame(parts, index, columns)


def called_response(call: ResponseCall, frame: pd.DataFrame) -> Surv:
    """The follow-up that ``Surv(time, event, entry=start)`` makes of columns of the table."""
    if call.name != "Surv":
        raise UnsupportedCombinationError(
            f"the response of a survival model must be Surv(...), got {call.name}(...)."
        )
    for name in call.variables:
        if name not in frame.columns:
            raise DataError(f"the table has no column {name!r}, which the response names.")
    keywords = {key: frame[name].to_numpy() for key, name in call.keywords}
    columns = [frame[name].to_numpy() for name in call.columns]
    return Surv(*columns, **keywords)


def checked_times(times: Any) -> np.ndarray:
    grid = np.atleast_1d(np.asarray(times, dtype=float))
    if grid.ndim != 1 or not np.isfinite(grid).all() or (grid < 0).any():
        raise SpecificationError(f"times must be finite numbers, not negative; got {times!r}.")
    return grid


def warn_beyond(time: Any, end: float) -> None:
    """Check the horizon of a restricted mean; warn where it is beyond the follow-up."""
    if not (isinstance(time, (int, float, np.number)) and np.isfinite(time) and float(time) > 0):
        raise SpecificationError(f"time must be a positive number, got {time!r}.")
    if time > end:
        warnings.warn(
            f"the follow-up ends at {end:g}, before time={time:g}; survival is taken as constant "
            "from there on.",
            DataWarning,
            stacklevel=3,
        )
