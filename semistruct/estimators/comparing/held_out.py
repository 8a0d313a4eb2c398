"""What a fitted model of any package says about rows that it has not seen, each thing once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from semistruct.estimators._members import located, response_for, risk_of, survival_curves_of
from semistruct.estimators.late_fusion import LateFusion
from semistruct.estimators.regressor import SemiStructuredRegressor
from semistruct.exceptions import DataError, UnsupportedCombinationError

__all__ = ["HeldOut"]

_LEVELS = (np.arange(99) + 0.5) / 99  # of the quantiles that stand for a distribution


@dataclass(frozen=True)
class HeldOut:
    """A fitted model and held-out rows.

    Parameters
    ----------
    model : fitted model
    X : DataFrame of m rows
    y : Surv or (m,) array
    y_train : Surv or array
        From which censoring is estimated.
    sample_weight : (m,) array
    times : (T,) array
        At which survival is judged; empty for other responses.
    """

    model: Any
    X: pd.DataFrame
    y: Any
    y_train: Any
    sample_weight: np.ndarray
    times: np.ndarray

    @cached_property
    def point(self) -> np.ndarray:
        """Predicted means ``(m,)``."""
        return self._finite(np.asarray(self.model.predict(self.X), dtype=float))

    @cached_property
    def log_prob(self) -> np.ndarray:
        """Log densities of the responses ``(m,)``."""
        found, rows = self._with("log_prob", "densities of responses")
        return np.asarray(found.log_prob(rows, self.y), dtype=float)

    @cached_property
    def quantiles(self) -> np.ndarray:
        """Quantiles at 99 levels ``(m, 99)``, the middles of 99 parts of equal probability."""
        found, rows = self._with("predict_quantile", "quantiles")
        return np.asarray(found.predict_quantile(rows, list(_LEVELS)), dtype=float)

    def interval(self, level: float) -> pd.DataFrame:
        """Central prediction intervals: columns ``lower`` and ``upper``."""
        found, rows = self._with("predict_interval", "intervals")
        return found.predict_interval(rows, level)

    @cached_property
    def labels(self) -> np.ndarray:
        """Predicted classes ``(m,)``."""
        return np.asarray(self.model.predict(self.X))

    @cached_property
    def classes(self) -> np.ndarray:
        """The classes of the fit, in the order of the probabilities."""
        return np.asarray(self.model.classes_)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probabilities of the classes ``(m, C)``."""
        found, rows = self._with("predict_proba", "probabilities")
        return self._finite(np.asarray(found.predict_proba(rows), dtype=float))

    @cached_property
    def class_scores(self) -> np.ndarray:
        """Probabilities ``(m, C)``, or of a model without any its scores of the second class."""
        if callable(getattr(self._inside[0], "predict_proba", None)):
            return self.probabilities
        found, rows = self._with("decision_function", "probabilities or scores")
        return self._finite(np.asarray(found.decision_function(rows), dtype=float))

    @cached_property
    def risk(self) -> np.ndarray:
        """Risks ``(m,)``, larger is riskier; of a model of lifetimes minus their medians."""
        found, rows = self._inside
        if isinstance(found, SemiStructuredRegressor):
            return -np.asarray(found.predict_median(rows), dtype=float)
        return self._finite(risk_of(self.model, self.X))

    @cached_property
    def survival(self) -> pd.DataFrame:
        """Survival functions at :attr:`times`: times as rows."""
        return survival_curves_of(self.model, self.X, self.times)

    def incidence(self, cause: int) -> pd.DataFrame:
        """Cumulative incidences of one cause at :attr:`times`: times as rows."""
        found, rows = self._with("predict_cumulative_incidence", "incidences of causes")
        return found.predict_cumulative_incidence(rows, self.times)[cause]

    def foreign(self, scorer: Any) -> float:
        """What a scorer of scikit-learn says."""
        return float(scorer(self.model, self.X, response_for(self.model, self.y)))

    @cached_property
    def _inside(self) -> tuple[Any, Any]:
        # A late fusion combines, and has the methods itself.
        return located(self.model, self.X)

    def _with(self, method: str, what: str) -> tuple[Any, Any]:
        """The model that has a method, and the rows as it sees them."""
        for found, rows in ((self.model, self.X), self._inside):
            if callable(getattr(found, method, None)):
                return found, rows
        kind = type(self._inside[0]).__name__
        extra = " of these members" if isinstance(self._inside[0], LateFusion) else ""
        raise UnsupportedCombinationError(f"{kind}{extra} predicts no {what}.")

    def _finite(self, values: np.ndarray) -> np.ndarray:
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            raise DataError(
                f"{int(bad.sum())} prediction(s) of held-out rows are not finite, first row "
                f"{self.X.index[int(np.argmax(bad))]!r}."
            )
        return values
