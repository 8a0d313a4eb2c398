"""Models of lifelines, pyGAM and statsmodels with scikit-learn's methods."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from lifelines.fitters import RegressionFitter
from pygam import LogisticGAM
from pygam.pygam import GAM
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import OLS, WLS

from semistruct._validation import check_sample_weight
from semistruct.estimators._input import as_table, response_values
from semistruct.evaluation.concordance import concordance_index
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.responses import Surv, as_surv
from semistruct.terms.measurement import tabular_columns
from semistruct.terms.reading import numeric_columns

__all__ = ["LifelinesModel", "PyGAMModel", "StatsmodelsModel", "wrap"]

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
        frame = _tabular(as_table(self, X, reset=True)).reset_index(drop=True)
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
        index = pd.Index(np.asarray(curves.index, dtype=float), name="time")
        return pd.DataFrame(curves.to_numpy(dtype=float), index, frame.index)

    def predict_cumulative_hazard(self, X: Any, times: Any = None) -> pd.DataFrame:
        """Cumulative hazard: times as rows, subjects as columns."""
        with np.errstate(divide="ignore"):
            return -np.log(self.predict_survival_function(X, times))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Harrell's concordance of :meth:`predict` with the follow-up."""
        return concordance_index(as_surv(y), self.predict(X), sample_weight=sample_weight)

    def _rows(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self)
        return _tabular(as_table(self, X, reset=False, every_column=False))


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
        return _tagged(super().__sklearn_tags__(), isinstance(self.gam, LogisticGAM))

    def _new(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self._values(as_table(self, X, reset=False, every_column=False))

    def _values(self, frame: pd.DataFrame) -> np.ndarray:
        return numeric_columns(frame, tabular_columns(frame), "pyGAM")


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
        frame = _tabular(as_table(self, X, reset=True))
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
        return _tagged(super().__sklearn_tags__(), self.kind == "classifier")

    def _mean(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        frame = _tabular(as_table(self, X, reset=False, every_column=False))
        found = np.asarray(self.fitted_.predict(frame), dtype=float)
        if len(found) < len(frame):
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


def wrap(model: Any, formula: str | None = None, **options: Any) -> Any:
    """Give a model of another package scikit-learn's methods.

    Parameters
    ----------
    model : fitter of lifelines, model of pyGAM, or formula function of statsmodels
    formula : str, optional
        For statsmodels: ``wrap(smf.glm, "y ~ age", options={"family": ...})``.
    **options
        Of :class:`LifelinesModel`, :class:`PyGAMModel` or :class:`StatsmodelsModel`.

    Returns
    -------
    A scikit-learn estimator; ``model`` itself where it is one already.

    Raises
    ------
    SpecificationError
        If the model is of no known kind.

    Examples
    --------
    >>> import statsmodels.formula.api as smf
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"x": rng.normal(size=50)})
    >>> y = 2 * table["x"] + rng.normal(0, 0.1, 50)
    >>> wrap(smf.ols, "y ~ x").fit(table, y).fitted_.params.round(1)["x"]
    np.float64(2.0)
    """
    if isinstance(model, RegressionFitter):
        wrapped: Any = LifelinesModel(model, **options)
    elif isinstance(model, GAM):
        wrapped = PyGAMModel(model, **options)
    elif formula is not None and callable(model):
        return StatsmodelsModel(model, formula, **options)
    elif callable(getattr(model, "fit", None)) and not isinstance(model, type) and not options:
        wrapped = model
    else:
        raise SpecificationError(
            f"{model!r} is no model that can be wrapped; give a fitter of lifelines, a model of "
            "pyGAM, or a formula function of statsmodels with formula=."
        )
    if formula is not None:
        raise SpecificationError(f"formula= is for statsmodels; {type(model).__name__} takes none.")
    return wrapped


def one_cause(y: Surv) -> Surv:
    """Refuse competing causes."""
    if y.n_causes > 1:
        raise UnsupportedCombinationError(
            f"the response has {y.n_causes} competing causes; take one, as y.of_cause(1)."
        )
    return y


def two_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two classes, and a response of zeros and ones."""
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) != 2:
        raise DataError(f"a response of two classes is needed, got {len(classes)}: {classes[:5]}.")
    return classes, codes.astype(float)


def _tabular(frame: pd.DataFrame) -> pd.DataFrame:
    return cast(pd.DataFrame, frame[list(tabular_columns(frame))])


def _tagged(tags: Tags, is_classifier: bool) -> Tags:
    if is_classifier:
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
    else:
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
    tags.target_tags.required = True
    return tags
