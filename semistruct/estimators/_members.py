"""What fusions ask of models of any package: what they predict, a fit, risks, curves."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pandas as pd
from lifelines.fitters import RegressionFitter
from pygam.pygam import GAM
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from semistruct.estimators._base import SemiStructuredEstimator
from semistruct.estimators._composition import Composition, Kind, nested_params
from semistruct.estimators._follow_up import checked_times
from semistruct.estimators._survival import SurvivalEstimator
from semistruct.estimators.features.image_features import ImageFeatures
from semistruct.estimators.wrappers.lifelines_model import LifelinesModel
from semistruct.estimators.wrappers.wrap import wrap
from semistruct.exceptions import (
    DataError,
    SemistructError,
    SpecificationError,
    UnsupportedCombinationError,
)
from semistruct.responses import Surv

__all__ = [
    "feature_table",
    "MemberError",
    "core_of",
    "fit_model_of_any_kind",
    "fresh",
    "kind_of",
    "located",
    "named_failure",
    "predicting_part",
    "reads_tensors",
    "response_for",
    "risk_of",
    "rows_of",
    "survival_curves_of",
]

_READ_TENSORS = (SemiStructuredEstimator, Composition, ImageFeatures, Pipeline, ColumnTransformer)


class MemberError(DataError):
    """A part of a fusion failed; the message says which one and how."""


def fresh(model: Any) -> Any:
    """An unfitted copy with scikit-learn's methods.

    Raises
    ------
    SpecificationError
        If it is no model.
    """
    if isinstance(model, (RegressionFitter, GAM)):
        return wrap(copy.deepcopy(model))
    if isinstance(model, BaseEstimator):
        return clone(model)
    if callable(getattr(model, "fit", None)) and not isinstance(model, type):
        return copy.deepcopy(model)
    raise SpecificationError(
        f"{model!r} is no model: it has no fit. Formula models of statsmodels come in as "
        "semistruct.wrap(smf.glm, 'y ~ age')."
    )


def core_of(model: Any) -> Any:
    """The model inside searches and pipelines."""
    while isinstance(model, (BaseSearchCV, Pipeline)):
        model = model.estimator if isinstance(model, BaseSearchCV) else model.steps[-1][1]
    return model


def _is_scikit_survival(model: Any) -> bool:
    return any(base.__module__.startswith("sksurv.") for base in type(model).__mro__)


def kind_of(model: Any) -> Kind:
    """What a model predicts: numbers, classes or survival."""
    core = core_of(model)
    if isinstance(core, Composition):
        return core._kind()
    survival = (SurvivalEstimator, LifelinesModel, RegressionFitter)
    if isinstance(core, survival) or _is_scikit_survival(core):
        return "survival"
    if isinstance(core, GAM):
        return kind_of(wrap(core))
    return "classifier" if isinstance(core, BaseEstimator) and is_classifier(core) else "regressor"


def reads_tensors(model: Any) -> bool:
    """Whether a model, or a model inside it, knows columns of pictures."""
    return any(isinstance(m, _READ_TENSORS) for m in [model, *nested_params(model).values()])


def fit_model_of_any_kind(
    model: Any, X: pd.DataFrame, y: Any, sample_weight: np.ndarray | None, groups: Any
) -> None:
    """Fit a model from :func:`fresh`, with weights and subjects where it takes them.

    Raises
    ------
    UnsupportedCombinationError
        If there are weights, or delayed entry, and the model takes none.
    """
    core = core_of(model)
    options: dict[str, Any] = {}
    prefix, inside = "", model
    while isinstance(inside, BaseSearchCV):
        inside = inside.estimator
    if isinstance(inside, Pipeline):
        prefix = f"{inside.steps[-1][0]}__"
    if sample_weight is not None:
        if "sample_weight" not in inspect.signature(core.fit).parameters:
            raise UnsupportedCombinationError(
                f"{type(core).__name__} takes no sample_weight; leave out the weights or the model."
            )
        options[f"{prefix}sample_weight"] = sample_weight
    if groups is not None and isinstance(core, (SemiStructuredEstimator, Composition)):
        options[f"{prefix}groups"] = groups
    model.fit(X, response_for(model, y), **options)


def predicting_part(model: Any) -> Any:
    """The unfitted model whose predictions a model passes on, inside searches and fusions."""
    while True:
        core = core_of(model)
        inside = core._part_that_predicts() if isinstance(core, Composition) else core
        if inside is core:
            return core
        model = inside


def located(model: Any, X: Any) -> tuple[Any, Any]:
    """The fitted model inside searches, pipelines and fusions, and the table as it sees it."""
    while True:
        if isinstance(model, BaseSearchCV):
            model = model.best_estimator_
        elif isinstance(model, Pipeline):
            X = model[:-1].transform(X) if len(model) > 1 else X
            model = model[-1]
        elif isinstance(model, Composition) and model._part_that_predicts() is not model:
            model, X = model._passed_on(X)
        else:
            return model, X


def risk_of(model: Any, X: Any) -> np.ndarray:
    """Risk of every row, larger is riskier, ``(n,)``."""
    found, rows = located(model, X)
    risk = np.asarray(found.predict(rows), dtype=float)
    # scikit-survival has models that predict a time instead.
    return risk if getattr(found, "_predict_risk_score", True) else -risk


def survival_curves_of(model: Any, X: pd.DataFrame, times: Any) -> pd.DataFrame:
    """Survival functions at ``times``: times as rows, rows of ``X`` as columns.

    Raises
    ------
    UnsupportedCombinationError
        If the model has none.
    """
    found, rows = located(model, X)
    if not callable(getattr(found, "predict_survival_function", None)):
        raise UnsupportedCombinationError(
            f"{type(found).__name__} has no predict_survival_function; it can be a member for "
            "risks only."
        )
    grid = checked_times(times)
    index = pd.Index(grid, name="time")
    if not _is_scikit_survival(found):
        curves = found.predict_survival_function(rows, times=grid)
        return pd.DataFrame(np.asarray(curves, dtype=float), index, X.index)
    columns = []
    for curve in found.predict_survival_function(rows):
        steps = np.concatenate([[1.0], np.asarray(curve.y, dtype=float)])
        columns.append(steps[np.searchsorted(curve.x, grid, side="right")])
    return pd.DataFrame(np.column_stack(columns), index, X.index)


def named_failure(name: str, model: Any, doing: str, error: Exception) -> Exception:
    """The error of a member with its name in front, of the same kind where it is one of ours."""
    message = f"the member {name!r} ({type(core_of(model)).__name__}) failed {doing}: {error}"
    if isinstance(error, SemistructError):
        return type(error)(message)
    return MemberError(f"{message} [{type(error).__name__}]")


def response_for(model: Any, y: Any) -> Any:
    """The response in the form that a model's methods take."""
    if isinstance(y, Surv) and _is_scikit_survival(core_of(model)):
        if y.entry is not None:
            raise UnsupportedCombinationError(
                f"{type(core_of(model)).__name__} of scikit-survival knows no delayed entry."
            )
        return np.asarray(y)
    return y


def rows_of(values: Any, rows: np.ndarray) -> Any:
    """Some rows of a response, by position."""
    if isinstance(values, (pd.Series, pd.DataFrame)):
        return values.iloc[rows]
    return values[rows] if isinstance(values, (Surv, np.ndarray)) else np.asarray(values)[rows]


def feature_table(values: Any, part: Any, index: pd.Index) -> pd.DataFrame:
    """What a fitted transformer returned, as a table with the index of its rows."""
    if isinstance(values, pd.DataFrame):
        return values.set_axis(index, axis=0)
    dense = values.toarray() if issparse(values) else np.asarray(values)
    return pd.DataFrame(dense, index, list(part.get_feature_names_out()))
