"""Models of pyGAM with scikit-learn's methods."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
from pygam import LogisticGAM
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from semistruct._validation import check_sample_weight
from semistruct.estimators._input import as_table, response_values
from semistruct.estimators.wrappers.foreign import tagged, two_classes
from semistruct.terms.measurement import tabular_columns
from semistruct.terms.reading import numeric_columns

__all__ = ["PyGAMModel"]


class PyGAMModel(BaseEstimator):
    """A generalized additive model of pyGAM as a scikit-learn estimator.

    Parameters
    ----------
    gam : LinearGAM, PoissonGAM, LogisticGAM, ...
        Copied, never fitted itself. Its terms count the tabular columns of the table.
    gridsearch : bool
        Whether the smoothing is chosen by pyGAM's ``gridsearch``.

    Attributes
    ----------
    fitted_ : the model, fitted
    classes_ : (2,) array
        Of a ``LogisticGAM``, which is a classifier.
    """

    def __init__(self, gam: Any, gridsearch: bool = False) -> None:
        self.gam = gam
        self.gridsearch = gridsearch

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> PyGAMModel:
        """Fit a copy of the model to the tabular columns of ``X``."""
        values = self._values(as_table(self, X, reset=True))
        response = response_values(y, len(values))
        if isinstance(self.gam, LogisticGAM):
            self.classes_, response = two_classes(response)
        options: dict[str, Any] = {}
        if sample_weight is not None:
            options["weights"] = check_sample_weight(sample_weight, len(values))
        gam = copy.deepcopy(self.gam)
        if self.gridsearch:
            gam.gridsearch(values, response, progress=False, **options)
        else:
            gam.fit(values, response, **options)
        self.fitted_ = gam
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Mean of the response, or the likelier class, ``(n,)``."""
        if isinstance(self.gam, LogisticGAM):
            chosen = self.predict_proba(X).argmax(axis=1)
            return self.classes_[chosen]
        values = self._new(X)
        return np.asarray(self.fitted_.predict(values), dtype=float)

    @available_if(lambda self: isinstance(self.gam, LogisticGAM))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the two classes, ``(n, 2)``, of a ``LogisticGAM``."""
        values = self._new(X)
        p = np.asarray(self.fitted_.predict_proba(values), dtype=float)
        return np.column_stack([1 - p, p])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2, or accuracy of a ``LogisticGAM``."""
        measure = accuracy_score if isinstance(self.gam, LogisticGAM) else r2_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Tags:
        return tagged(super().__sklearn_tags__(), isinstance(self.gam, LogisticGAM))

    def _new(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self._values(as_table(self, X, reset=False, every_column=False))

    def _values(self, frame: pd.DataFrame) -> np.ndarray:
        return numeric_columns(frame, tabular_columns(frame), "pyGAM")
