"""Early fusion: pictures become columns of numbers, then any model of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from lifelines.fitters import RegressionFitter
from pygam.pygam import GAM
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from semistruct._validation import check_length, check_sample_weight
from semistruct.estimators._composition import Composition, Kind
from semistruct.estimators._delegation import DelegatedPredictions
from semistruct.estimators._input import as_table
from semistruct.estimators._members import (
    feature_table,
    fit_model_of_any_kind,
    fresh,
    kind_of,
    reads_tensors,
    response_for,
    rows_of,
)
from semistruct.estimators.wrappers.wrap import wrap
from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms.measurement import is_tensor

__all__ = ["EarlyFusion"]


class EarlyFusion(DelegatedPredictions, Composition):
    """Replace columns of pictures by features of them, then fit one model to the table.

    The features are learned inside ``fit``, so under cross-validation from the training rows of
    each fold only.

    Parameters
    ----------
    estimator : estimator
        What is fitted to the table with features: a model of this package, of scikit-learn or
        scikit-survival, a fitter of lifelines, a model of pyGAM, or formula models of statsmodels
        by :func:`~semistruct.wrap`. In a formula, features are named by a selector:
        ``"age + cols('ct_*')"``; ``formula=None`` has all columns.
    features : mapping of str to transformer
        By column of pictures: :class:`~semistruct.ImageFeatures`, or any scikit-learn transformer
        of one column that names its output.
    drop : bool
        Whether the columns of pictures are left out of the table. Models of this package can read
        them beside the features, ``"cols('ct_*') + cnn(ct)"``, with ``drop=False``.

    Attributes
    ----------
    estimator_ : the fitted model
        With its ``summary()``, ``coef_`` and so on; models of lifelines, pyGAM and statsmodels are
        ``estimator_.fitted_``.
    features_ : dict of str to fitted transformer
    table_columns_ : list of str
        Columns of the table that the estimator was fitted to.
    classes_ : array
        Of a classifier.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    ``predict``, ``predict_proba``, ``predict_survival_function``, ``score`` and so on are there
    where the estimator has them, and take the table with pictures.

    The features know nothing of the response, and their number is what the table model can bear;
    with many of them use a penalty. Coefficients are conditional on the features: what a picture
    shows beyond them is left in the coefficients of the table.

    Parameters of parts have the names of the columns: ``ct__n_components``,
    ``estimator__alpha``.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from semistruct import ImageFeatures
    >>> from semistruct.datasets import simulate_digits
    >>> frame = simulate_digits(200)
    >>> table = frame[["age", "bmi", "digit"]]
    >>> fusion = EarlyFusion(
    ...     LinearRegression(), features={"digit": ImageFeatures("pca", n_components=4)}
    ... ).fit(table, frame["y"])
    >>> fusion.table_columns_
    ['age', 'bmi', 'digit_0', 'digit_1', 'digit_2', 'digit_3']
    >>> fusion.set_params(digit__n_components=2).fit(table, frame["y"]).predict(table[:3]).shape
    (3,)
    """

    _parts_in: ClassVar[str] = "features"

    def __init__(self, estimator: Any, features: Mapping[str, Any], *, drop: bool = True) -> None:
        self.estimator = estimator
        self.features = features
        self.drop = drop

    def transform_features(self, X: Any) -> pd.DataFrame:
        """The table as the estimator sees it, features in the place of pictures.

        Raises
        ------
        DataError
            If a column of pictures is not in the table.
        """
        check_is_fitted(self)
        frame = as_table(self, X, reset=False, every_column=False)
        self._check_columns(frame)
        parts = {
            name: feature_table(part.transform(frame[[name]]), part, frame.index)
            for name, part in self.features_.items()
        }
        table = self._joined(frame, parts)
        return table[[name for name in self.table_columns_ if name in table.columns]]

    @available_if(lambda fusion: fusion._has("score"))
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Score of the estimator: R2, accuracy, or concordance with the follow-up."""
        check_is_fitted(self)
        options = {} if sample_weight is None else {"sample_weight": sample_weight}
        response = response_for(self.estimator_, y)
        return float(self.estimator_.score(self.transform_features(X), response, **options))

    def _kind(self) -> Kind:
        return kind_of(self.estimator)

    def _part_that_predicts(self) -> Any:
        return self.estimator

    def _passed_on(self, X: Any) -> tuple[Any, Any]:
        return self.estimator_, self.transform_features(X)

    def _has(self, name: str) -> bool:
        return callable(getattr(self._model(), name, None))

    def _ask(self, name: str, X: Any, *args: Any, **options: Any) -> Any:
        return getattr(self.estimator_, name)(self.transform_features(X), *args, **options)

    def _model(self) -> Any:
        if "estimator_" in vars(self):
            return self.estimator_
        foreign = isinstance(self.estimator, (RegressionFitter, GAM))
        return wrap(self.estimator) if foreign else self.estimator

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        self._check_names()
        model = fresh(self.estimator)
        for name, part in self.features.items():
            if not callable(getattr(part, "fit_transform", None)):
                raise SpecificationError(
                    f"features must map columns to transformers such as ImageFeatures('pca'); "
                    f"{name!r} is mapped to {part!r}."
                )
        if not isinstance(X, pd.DataFrame):
            raise DataError(
                f"early fusion needs a DataFrame with columns of pictures, got {type(X).__name__}."
            )
        frame = as_table(self, X, reset=True)
        self._check_columns(frame)
        if groups is not None:
            check_length(len(frame), groups, "groups")
        weight = None if sample_weight is None else check_sample_weight(sample_weight, len(frame))
        if weight is not None and not weight.all():
            # Rows that count for nothing must not move the features either.
            used = np.flatnonzero(weight > 0)
            frame, weight = frame.iloc[used], weight[used]
            y = None if y is None else rows_of(y, used)
            groups = None if groups is None else rows_of(groups, used)
        features, parts = {}, {}
        for name, part in self.features.items():
            features[name] = clone(part)
            found = features[name].fit_transform(frame[[name]])
            parts[name] = feature_table(found, features[name], frame.index)
        table = self._joined(frame, parts)
        tensors = [name for name in table.columns if is_tensor(table[name])]
        if tensors and not reads_tensors(model):
            raise DataError(
                f"{type(model).__name__} reads no pictures, but the table keeps the columns "
                f"{', '.join(map(repr, tensors))}; give features for them, or drop them."
            )
        fit_model_of_any_kind(model, table, y, weight, groups)
        self.features_ = features
        self.estimator_ = model
        self.table_columns_ = list(table.columns)
        if "classes_" in dir(model):
            self.classes_ = model.classes_

    def _check_columns(self, frame: pd.DataFrame) -> None:
        for name in self.features:
            if name not in frame.columns:
                raise DataError(
                    f"the table has no column {name!r}, for which there are features; it has "
                    f"{', '.join(map(repr, frame.columns))}."
                )

    def _joined(self, frame: pd.DataFrame, parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        kept = frame.drop(columns=list(parts)) if self.drop else frame
        for name, part in parts.items():
            twice = [column for column in part.columns if column in kept.columns]
            if twice:
                raise DataError(
                    f"the features of {name!r} are called {', '.join(map(repr, twice))}, and so "
                    "are columns of the table; rename these."
                )
            kept = pd.concat([kept, part], axis=1)
        return kept
