"""Predictions that a composition passes on to the model inside it, where that has them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

__all__ = ["DelegatedPredictions"]


def _delegated(name: str, what: str) -> Callable[..., Any]:
    def method(self: DelegatedPredictions, X: Any, *args: Any, **options: Any) -> Any:
        check_is_fitted(self)
        return self._ask(name, X, *args, **options)

    method.__name__ = name
    method.__doc__ = f"{what}, as ``{name}`` of the model inside."
    return available_if(lambda model: model._has(name))(method)


class DelegatedPredictions:
    """Methods of models of any kind, each there only where the model inside has it."""

    @abstractmethod
    def _has(self, name: str) -> bool:
        """Whether the model inside, fitted or not, has the method."""

    @abstractmethod
    def _ask(self, name: str, X: Any, *args: Any, **options: Any) -> Any:
        """Call the method with the table as the model inside sees it."""

    predict = _delegated("predict", "Predictions of the rows")
    predict_proba = _delegated("predict_proba", "Probabilities of the classes")
    predict_log_proba = _delegated("predict_log_proba", "Logarithms of these probabilities")
    decision_function = _delegated("decision_function", "Scores of the classes")
    predict_params = _delegated("predict_params", "Parameters of the predictive distribution")
    predict_quantile = _delegated("predict_quantile", "Quantiles of the predictive distribution")
    predict_interval = _delegated("predict_interval", "Prediction intervals")
    sample = _delegated("sample", "Draws from the predictive distribution")
    log_prob = _delegated("log_prob", "Log densities of responses")
    predict_survival_function = _delegated("predict_survival_function", "Survival functions")
    predict_cumulative_hazard = _delegated("predict_cumulative_hazard", "Cumulative hazards")
    predict_cumulative_incidence = _delegated("predict_cumulative_incidence", "Incidences")
    predict_hazard = _delegated("predict_hazard", "Hazards")
    predict_partial_hazard = _delegated("predict_partial_hazard", "Hazard ratios")
    predict_median = _delegated("predict_median", "Median survival times")
    predict_percentile = _delegated("predict_percentile", "Percentiles of survival times")
    predict_restricted_mean = _delegated("predict_restricted_mean", "Restricted mean times")
    predict_average_survival = _delegated("predict_average_survival", "Mean survival functions")
