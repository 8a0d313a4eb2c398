"""Predictions of the members of a late fusion, and the distributions made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators._composition import Kind
from semistruct.estimators._follow_up import checked_times
from semistruct.estimators._input import as_table, central_levels, quantile_levels
from semistruct.estimators._members import (
    located,
    named_failure,
    predicting_part,
    risk_of,
    survival_curves_of,
)
from semistruct.estimators.late.heads import Combine
from semistruct.estimators.late.mixture import mixture_log_prob, mixture_quantile
from semistruct.estimators.regressor import SemiStructuredRegressor
from semistruct.exceptions import DataError

__all__ = ["FusedPredictions"]


def _is_mixture(fusion: Any) -> bool:
    return fusion.combine in ("mean", "weighted", "stack") and all(
        isinstance(predicting_part(member), SemiStructuredRegressor)
        for member in fusion._named().values()
    )


def _has_curves(fusion: Any) -> bool:
    return fusion._kind() == "survival" and fusion.combine != "rank"


class FusedPredictions:
    """What follows from fitted members; mixed into :class:`~semistruct.LateFusion`."""

    combine: Combine
    kind_: Kind
    members_: dict[str, Any]
    centers_: dict[str, float]
    columns_: dict[str, list[str]]
    classes_: np.ndarray
    event_times_: np.ndarray
    head_: Any

    @available_if(_is_mixture)
    def predict_quantile(self, X: Any, q: float | list[float] = 0.5) -> Any:
        """Quantiles of the mixture of the members' distributions.

        Parameters
        ----------
        X : DataFrame
        q : float or sequence of float
            Levels between 0 and 1.

        Returns
        -------
        (n,) array for one level, DataFrame with a column per level otherwise.
        """
        levels = quantile_levels(q)
        frame = self._new_rows(X)
        families, etas, weights = [], [], []
        for name, weight in zip(self.members_, self.head_.weights, strict=True):
            model, rows = self._inside(name, frame)
            parts = model._nodes(model._new_rows(rows)).columns()
            families += [model.family_] * len(parts)
            etas += parts
            weights += [weight / len(parts)] * len(parts)
        values = [
            mixture_quantile(families, etas, np.array(weights), float(level)) for level in levels
        ]
        if np.ndim(q) == 0:
            return values[0]
        return pd.DataFrame(np.column_stack(values), frame.index, levels)

    @available_if(_is_mixture)
    def predict_interval(self, X: Any, level: float = 0.9) -> pd.DataFrame:
        """Central interval of the mixture: columns ``lower`` and ``upper``."""
        table = self.predict_quantile(X, central_levels(level))
        return table.set_axis(["lower", "upper"], axis=1)

    @available_if(_is_mixture)
    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """Log-density (or log-probability) of each response under the mixture, ``(n,)``."""
        frame = self._new_rows(X)
        parts = []
        for name in self.members_:
            model, rows = self._inside(name, frame)
            parts.append(model.log_prob(rows, y))
        return mixture_log_prob(np.stack(parts), self.head_.weights)

    @available_if(_has_curves)
    def predict_survival_function(self, X: Any, times: Any = None) -> pd.DataFrame:
        """Probability of no event until each time: times as rows, subjects as columns.

        The mean, weighted mean or pointwise median of the members' curves; of "stack" the curve of
        a Cox model with the stacked risk as offset.

        Parameters
        ----------
        X : DataFrame
        times : (m,) array-like, optional
            By default all event times of the training rows.
        """
        frame = self._new_rows(X)
        grid = self.event_times_ if times is None else checked_times(times)
        if self.combine == "stack":
            risk = self.head_.predict(self._predictions(frame))
            stacked = pd.DataFrame({"stacked": risk}, frame.index)
            return self.head_.baseline.predict_survival_function(stacked, grid)
        curves = []
        for name, model in self.members_.items():
            with _naming(name, model):
                curves.append(survival_curves_of(model, self._seen(name, frame), grid).to_numpy())
        index = pd.Index(grid, name="time")
        return pd.DataFrame(self.head_.survival(np.stack(curves)), index, frame.index)

    @available_if(_has_curves)
    def predict_cumulative_hazard(self, X: Any, times: Any = None) -> pd.DataFrame:
        """Minus the logarithm of :meth:`predict_survival_function`."""
        with np.errstate(divide="ignore"):
            return -np.log(self.predict_survival_function(X, times))

    @available_if(_has_curves)
    def predict_median(self, X: Any) -> pd.Series:
        """First event time at which survival is one half or less; infinite where there is none."""
        curves = self.predict_survival_function(X)
        reached = curves.to_numpy() <= 0.5 * (1 + 1e-12)
        first = np.where(reached.any(axis=0), self.event_times_[reached.argmax(axis=0)], np.inf)
        return pd.Series(first, curves.columns)

    def _new_rows(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self)
        return as_table(self, X, reset=False, every_column=False)

    def _seen(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        # A model of ours says itself what it lacks; it may not read every column it was shown.
        return frame[[column for column in self.columns_[name] if column in frame.columns]]

    def _inside(self, name: str, frame: pd.DataFrame) -> tuple[Any, Any]:
        return located(self.members_[name], self._seen(name, frame))

    def _predictions(self, frame: pd.DataFrame) -> np.ndarray:
        """Numbers or centred risks ``(n, M)``, or probabilities ``(n, M, C)``."""
        return self._predictions_by(self.members_, self.centers_, frame)

    def _predictions_by(
        self, members: Mapping[str, Any], centers: Mapping[str, float], frame: pd.DataFrame
    ) -> np.ndarray:
        parts = []
        for name, model in members.items():
            with _naming(name, model):
                found = self._prediction(model, self._seen(name, frame))
            parts.append(found - centers[name])
        return np.stack(parts, axis=1)

    def _centers(
        self, members: Mapping[str, Any], frame: pd.DataFrame, case_weight: np.ndarray
    ) -> dict[str, float]:
        """What is taken from predictions: of risks, whose level is arbitrary, their mean."""
        zero = dict.fromkeys(members, 0.0)
        if self.kind_ != "survival":
            return zero
        risks = self._predictions_by(members, zero, frame)
        means = np.average(risks, axis=0, weights=case_weight)
        return dict(zip(members, means.tolist(), strict=True))

    def _prediction(self, model: Any, rows: pd.DataFrame) -> np.ndarray:
        if self.kind_ == "survival":
            found = risk_of(model, rows)
        elif self.kind_ == "regressor":
            found = np.asarray(model.predict(rows), dtype=float)
        else:
            found = self._probabilities(model, rows)
        shape = (len(rows), *((len(self.classes_),) if self.kind_ == "classifier" else ()))
        if found.shape != shape:
            raise DataError(f"predictions have shape {found.shape}, and {shape} is needed.")
        if not np.isfinite(found).all():
            row = int(np.argmin(np.isfinite(found).reshape(len(rows), -1).all(axis=1)))
            raise DataError(f"the prediction of row {row} is not finite.")
        return found

    def _probabilities(self, model: Any, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities ``(n, C)`` in the order of ``classes_``; of a vote zeros and ones."""
        if callable(getattr(model, "predict_proba", None)):
            given = np.asarray(model.predict_proba(rows), dtype=float)
            at = np.searchsorted(self.classes_, model.classes_)
            found = np.zeros((len(rows), len(self.classes_)))
            found[:, at] = given
            return found
        if self.combine != "vote":
            raise DataError("it has no predict_proba; use combine='vote', or calibrate it.")
        at = np.searchsorted(self.classes_, np.asarray(model.predict(rows)))
        return np.eye(len(self.classes_))[at]

    def _column_names(self) -> pd.Index:
        names = list(self.members_)
        if self.kind_ == "classifier":
            return pd.MultiIndex.from_product([names, self.classes_], names=["member", "class"])
        return pd.Index(names, name="member")


@contextmanager
def _naming(name: str, model: Any) -> Iterator[None]:
    """Put the name of a member into front of its errors."""
    try:
        yield
    except Exception as error:
        raise named_failure(name, model, "to predict", error) from error
