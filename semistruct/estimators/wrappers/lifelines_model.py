"""Regression fitters of lifelines with scikit-learn's methods."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from semistruct._validation import check_sample_weight
from semistruct.estimators._follow_up import checked_times
from semistruct.estimators._input import as_table
from semistruct.estimators.wrappers.foreign import one_cause, tabular
from semistruct.evaluation.concordance import concordance_index
from semistruct.exceptions import DataError
from semistruct.responses import as_surv

__all__ = ["LifelinesModel"]

_TIME, _EVENT = "semistruct_time", "semistruct_event"
_ENTRY, _WEIGHT = "semistruct_entry", "semistruct_weight"
_SMALLEST = 1e-300  # cumulative hazard whose logarithm stands for none


class LifelinesModel(BaseEstimator):
    """A regression fitter of lifelines as a scikit-learn estimator.

    Parameters
    ----------
    fitter : CoxPHFitter, WeibullAFTFitter, AalenAdditiveFitter, ...
        Copied, never fitted itself.
    fit_options : mapping, optional
        Passed to its ``fit``, such as ``{"formula": "age + C(sex)"}`` or ``{"robust": True}``.

    Attributes
    ----------
    fitted_ : the fitter, fitted
        ``model.fitted_.print_summary()`` and everything else of lifelines.

    Notes
    -----
    Tabular columns of the table are handed over with follow-up, entry and weights as further
    columns. ``predict`` is the log partial hazard where the fitter has one, else the logarithm of
    the cumulative hazard at the median event time: the larger, the riskier.
    """

    def __init__(self, fitter: Any, fit_options: Mapping[str, Any] | None = None) -> None:
        self.fitter = fitter
        self.fit_options = fit_options

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LifelinesModel:
        """Fit a copy of the fitter to the table ``X`` and the follow-up ``y``."""
        # lifelines warns of an index that is not unique
        frame = tabular(as_table(self, X, reset=True)).reset_index(drop=True)
        surv = one_cause(as_surv(y))
        if len(surv) != len(frame):
            raise DataError(f"y has {len(surv)} rows and the table {len(frame)}.")
        columns = {_TIME: surv.time, _EVENT: surv.event.astype(int)}
        options = dict(self.fit_options or {})
        if surv.entry is not None:
            columns[_ENTRY] = surv.entry
            options["entry_col"] = _ENTRY
        if sample_weight is not None:
            columns[_WEIGHT] = check_sample_weight(sample_weight, len(frame))
            options["weights_col"] = _WEIGHT
        fitter = copy.deepcopy(self.fitter)
        fitter.fit(frame.assign(**columns), duration_col=_TIME, event_col=_EVENT, **options)
        self.fitted_ = fitter
        self.median_event_time_ = float(np.median(surv.time[surv.event]))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Risk of every row, larger is riskier, ``(n,)``."""
        frame = self._rows(X)
        if isinstance(self.fitted_, CoxPHFitter):
            rows = frame.reset_index(drop=True)
            return np.asarray(self.fitted_.predict_log_partial_hazard(rows), dtype=float)
        hazard = self.predict_cumulative_hazard(X, [self.median_event_time_]).to_numpy()[0]
        return np.log(np.maximum(hazard, _SMALLEST))

    def predict_survival_function(self, X: Any, times: Any = None) -> pd.DataFrame:
        """Survival: times as rows, subjects as columns."""
        frame = self._rows(X)
        rows = frame.reset_index(drop=True)
        curves = self.fitted_.predict_survival_function(rows, times=times)
        known, values = np.asarray(curves.index, dtype=float), curves.to_numpy(dtype=float)
        grid = known if times is None else checked_times(times)
        if not np.array_equal(known, grid):
            # Aalen's model has its own times only; its curves are steps between them.
            steps = np.vstack([np.ones(len(frame)), values])
            values = steps[np.searchsorted(known, grid, side="right")]
        return pd.DataFrame(values, pd.Index(grid, name="time"), frame.index)

    def predict_cumulative_hazard(self, X: Any, times: Any = None) -> pd.DataFrame:
        """Cumulative hazard: times as rows, subjects as columns."""
        with np.errstate(divide="ignore"):
            return -np.log(self.predict_survival_function(X, times))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Harrell's concordance of :meth:`predict` with the follow-up."""
        return concordance_index(as_surv(y), self.predict(X), sample_weight=sample_weight)

    def _rows(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self)
        return tabular(as_table(self, X, reset=False, every_column=False))
