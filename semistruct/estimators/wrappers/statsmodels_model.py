"""Formula models of statsmodels with scikit-learn's methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import OLS, WLS

from semistruct._validation import check_sample_weight
from semistruct.estimators._input import as_table, response_values
from semistruct.estimators.wrappers.foreign import tabular, tagged, two_classes
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError

__all__ = ["StatsmodelsModel"]


class StatsmodelsModel(BaseEstimator):
    """A formula model of statsmodels as a scikit-learn estimator.

    Parameters
    ----------
    function : callable
        ``statsmodels.formula.api.ols``, ``glm``, ``logit``, ``quantreg``, ...
    formula : str
        With the response on its left side: ``"y ~ age + C(center)"``. The response handed to
        ``fit`` gets that name.
    kind : {"regressor", "classifier"}
        Whether the predicted mean is a prediction or the probability of the larger of two classes.
    options, fit_options : mapping, optional
        Passed to ``function`` and to the model's ``fit``.

    Attributes
    ----------
    fitted_ : the results of statsmodels
    classes_ : (2,) array
        Of a classifier.

    Notes
    -----
    ``sample_weight`` becomes ``freq_weights`` of a ``glm`` and ``weights`` of a ``wls``.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        formula: str,
        kind: Literal["regressor", "classifier"] = "regressor",
        options: Mapping[str, Any] | None = None,
        fit_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.formula = formula
        self.kind = kind
        self.options = options
        self.fit_options = fit_options

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> StatsmodelsModel:
        """Fit the model to the tabular columns of ``X``."""
        if self.kind not in ("regressor", "classifier"):
            raise SpecificationError(
                f"kind must be 'regressor' or 'classifier', got {self.kind!r}."
            )
        name, tilde, _ = str(self.formula).partition("~")
        if not tilde or not name.strip().isidentifier():
            raise SpecificationError(
                f"the formula must name the response, as in 'y ~ age', got {self.formula!r}."
            )
        frame = tabular(as_table(self, X, reset=True))
        response = response_values(y, len(frame))
        if self.kind == "classifier":
            self.classes_, response = two_classes(response)
        options = dict(self.options or {})
        if sample_weight is not None:
            argument = self._weights_argument()
            options[argument] = check_sample_weight(sample_weight, len(frame))
        data = frame.assign(**{name.strip(): response})
        self.fitted_ = self.function(self.formula, data, **options).fit(**(self.fit_options or {}))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Mean of the response, or the likelier class, ``(n,)``."""
        if self.kind == "classifier":
            chosen = self.predict_proba(X).argmax(axis=1)
            return self.classes_[chosen]
        return self._mean(X)

    @available_if(lambda self: self.kind == "classifier")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the two classes, ``(n, 2)``, of a classifier."""
        p = self._mean(X)
        return np.column_stack([1 - p, p])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2, or accuracy of a classifier."""
        measure = accuracy_score if self.kind == "classifier" else r2_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Tags:
        return tagged(super().__sklearn_tags__(), self.kind == "classifier")

    def _mean(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        frame = tabular(as_table(self, X, reset=False, every_column=False))
        found = np.asarray(self.fitted_.predict(frame), dtype=float)
        if len(found) < len(frame) or np.isnan(found).any():
            raise DataError("statsmodels predicts no rows with missing values; fill or drop them.")
        return found

    def _weights_argument(self) -> str:
        model = getattr(self.function, "__self__", None)
        if isinstance(model, type) and issubclass(model, GLM):
            return "freq_weights"
        if isinstance(model, type) and issubclass(model, WLS) and not issubclass(model, OLS):
            return "weights"
        raise UnsupportedCombinationError(
            f"{self.formula!r}: sample_weight goes with statsmodels' glm and wls only."
        )
