"""The two-stage baseline: a table model, then a network on what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from semistruct._validation import check_length, check_sample_weight
from semistruct.estimators._composition import Composition, Kind
from semistruct.estimators._delegation import DelegatedPredictions
from semistruct.estimators._follow_up import called_response
from semistruct.estimators._input import as_table
from semistruct.estimators._members import feature_table, rows_of
from semistruct.estimators._specification import Formula, formula_terms, named_response
from semistruct.estimators.classifier import SemiStructuredClassifier
from semistruct.estimators.cox import CoxPH
from semistruct.estimators.pamm import PAMM
from semistruct.estimators.regressor import SemiStructuredRegressor
from semistruct.evaluation.concordance import concordance_index
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.families import Categorical
from semistruct.responses import as_surv
from semistruct.terms import ResponseCall, TermList, offset, ridge
from semistruct.terms.measurement import tabular_columns

__all__ = ["TwoStage"]

_FIRST = (SemiStructuredRegressor, SemiStructuredClassifier, CoxPH, PAMM)
_OFFSET = "structured_predictor"
# Of a PAMM, whose second stage is a model of one factor for each subject.
_SCALED = ("predict", "predict_survival_function", "predict_cumulative_hazard", "predict_hazard")


class TwoStage(DelegatedPredictions, Composition):
    """Fit a table model, then a picture model with the predictor of the first as an offset.

    A baseline to compare joint models with, *not* a recommended method: where pictures and table
    say the same, the first stage keeps all of it. The second stage then explains too little, and
    the coefficients of the first are those of the model without pictures.

    Parameters
    ----------
    structured : SemiStructuredRegressor, SemiStructuredClassifier, CoxPH or PAMM
        The first stage, without deep terms; ``formula=None`` has the tabular columns only. Its
        options for networks are those of the second stage.
    image : str, term or None
        What is added to the first (or only) predictor, of unordered classes to each:
        ``"cnn(ct)"``. With ``features`` it names
        their columns, ``"ct_0 + s(ct_1)"``, and is by default a ridge penalty on all of them.
    features : mapping of str to transformer, optional
        Features of columns of pictures, learned from the training rows: see
        :class:`~semistruct.EarlyFusion`.
    residualise : bool
        Whether the features are first made orthogonal to the columns of the structured predictor,
        by least squares on the training rows. What the picture adds to the table is then not
        attenuated, in a linear model exactly (Frisch and Waugh 1933); what they share goes to the
        table.

    Attributes
    ----------
    structured_ : the fitted first stage
    image_ : the fitted second stage
        Of a PAMM a Poisson regression, else a model like the first.
    features_ : dict of str to fitted transformer
    projection_ : DataFrame or None
        Least-squares coefficients of the features on the structured columns.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Regression: every distribution parameter has its predictor of the first stage as an offset, and
    a new intercept. Cox: the partial likelihood with the log hazard of the first stage as offset,
    within its strata. PAMM: with the hazards of the first stage given, a factor of them for each
    row has the likelihood of a Poisson count with the cumulative hazard over the row's follow-up
    as mean, so that the effect of the picture cannot vary with time.

    Standard errors of either stage do not know of the other one.

    References
    ----------
    Frisch & Waugh (1933), Econometrica 1, 387-401. Law, Paige & Russell (2019), ACM Transactions
    on Intelligent Systems and Technology 10, for pictures of streets and prices of houses.

    Examples
    --------
    >>> from semistruct import ImageFeatures
    >>> from semistruct.datasets import simulate_digits
    >>> frame = simulate_digits(200)
    >>> model = TwoStage(
    ...     SemiStructuredRegressor("age + bmi"), features={"digit": ImageFeatures("pca", 4)}
    ... ).fit(frame, frame["y"])
    >>> list(model.structured_.params["loc"].index)
    ['Intercept', 'age', 'bmi']
    >>> model.predict_interval(frame[:2]).shape
    (2, 2)
    """

    _parts_in: ClassVar[str] = "features"

    def __init__(
        self,
        structured: Any,
        image: Formula = None,
        *,
        features: Mapping[str, Any] | None = None,
        residualise: bool = False,
    ) -> None:
        self.structured = structured
        self.image = image
        self.features = features
        self.residualise = residualise

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R2, accuracy, or concordance (within strata) of :meth:`predict` with the follow-up."""
        check_is_fitted(self)
        frame = as_table(self, X, reset=False, every_column=False)
        y = self._response(frame, y)
        if isinstance(self.structured, PAMM):
            risk = self.predict(frame)
            return concordance_index(as_surv(y), risk, sample_weight=sample_weight)
        return float(self.image_.score(self._second_rows(frame), y, sample_weight))

    def _kind(self) -> Kind:
        if isinstance(self.structured, SemiStructuredClassifier):
            return "classifier"
        return "survival" if isinstance(self.structured, (CoxPH, PAMM)) else "regressor"

    def _part_that_predicts(self) -> Any:
        return self if self._kind() == "survival" else self.structured

    def _passed_on(self, X: Any) -> tuple[Any, Any]:
        return self.image_, self._second_rows(X)

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        self._check()
        if not isinstance(X, pd.DataFrame):
            raise DataError(
                f"a two-stage fit needs a DataFrame with columns of pictures, got "
                f"{type(X).__name__}."
            )
        frame = as_table(self, X, reset=True)
        for name in frame.columns:
            if str(name).startswith(_OFFSET):
                raise DataError(f"the column {name!r} has a name that is made here; rename it.")
        weight = check_sample_weight(sample_weight, len(frame))
        if groups is not None:
            check_length(len(frame), groups, "groups")
            groups = np.asarray(groups, dtype=object)
        if (weight == 0).any():
            used = np.flatnonzero(weight > 0)
            frame, weight = frame.iloc[used], weight[used]
            y = None if y is None else rows_of(y, used)
            groups = None if groups is None else groups[used]
        response = self._response(frame, y)
        if isinstance(self.structured, PAMM):
            surv = as_surv(response)
            groups = surv.id if groups is None else groups
            if surv.n_causes > 1:
                raise UnsupportedCombinationError(
                    f"the response has {surv.n_causes} competing causes; fit each of them as "
                    "y.of_cause(k)."
                )
        first = clone(self.structured)
        first.fit(self._first_rows(frame), y, weight, groups=groups)
        self.structured_ = first
        if isinstance(first, PAMM):
            spent, response = _exposure(first, frame)
            predictors = np.log(spent)[:, None]
        else:
            predictors = self._predictors(frame)
        self.features_: dict[str, Any] = {}
        tables = []
        for name, part in (self.features or {}).items():
            self.features_[name] = clone(part)
            values = self.features_[name].fit_transform(frame[[name]])
            tables.append(feature_table(values, self.features_[name], frame.index))
        self.projection_ = None
        if self.residualise:
            self.projection_ = _projection(self._columns(frame), pd.concat(tables, axis=1), weight)
        rows = self._with_features(frame, tables, predictors)
        names = [name for table in tables for name in table.columns]
        second = self._second_model(names)
        second.fit(rows, response, weight, groups=groups)
        self.image_ = second
        if isinstance(second, SemiStructuredClassifier):
            self.classes_ = second.classes_

    def _check(self) -> None:
        if not isinstance(self.structured, _FIRST):
            raise SpecificationError(
                "structured must be a SemiStructuredRegressor, a SemiStructuredClassifier, a CoxPH "
                f"or a PAMM, got {type(self.structured).__name__}."
            )
        formula = self.structured.formula
        for one in formula.values() if isinstance(formula, Mapping) else [formula]:
            if one is not None and formula_terms(one, self._encoders()).deep:
                raise SpecificationError(
                    f"the structured model must have no deep terms, got {one!r}; give them as "
                    "image=."
                )
        if self.structured.missing != "raise":
            raise UnsupportedCombinationError(
                "missing='drop' would leave out rows of the first stage only; drop them before."
            )
        if self.features is not None:
            self._check_names()
        elif self.image is None:
            raise SpecificationError(
                "the second stage needs image=, such as 'cnn(ct)', or features= of pictures."
            )
        if self.residualise and self.features is None:
            raise UnsupportedCombinationError(
                "residualise=True needs features=, which are known before the second stage; a "
                "network is made orthogonal to the table by a joint model, "
                "SemiStructuredRegressor('age + cnn(ct)')."
            )
        if self.residualise and isinstance(self.structured, PAMM):
            raise UnsupportedCombinationError(
                "residualise=True needs structured columns with one value per row; those of a PAMM "
                "vary over time. Use CoxPH."
            )

    def _encoders(self) -> tuple[str, ...]:
        return tuple(self.structured.encoders or ())

    def _first_rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        # Without a formula every column has a term, and a picture would be a network.
        return frame[list(tabular_columns(frame))] if self.structured.formula is None else frame

    def _response(self, frame: pd.DataFrame, y: Any) -> Any:
        left = named_response(self.structured.formula, frame, self._encoders())
        if y is not None or left is None:
            return y
        return called_response(left, frame) if isinstance(left, ResponseCall) else frame[left]

    def _predictors(self, frame: pd.DataFrame) -> np.ndarray:
        """Predictors of the first stage, ``(n, K)``."""
        rows = self._first_rows(frame)
        if isinstance(self.structured_, CoxPH):
            return self.structured_.predict(rows)[:, None]
        model = self.structured_
        return model.fit_.eta(model._new_rows(rows), model._device())

    def _columns(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A constant and the columns of the first structured predictor."""
        design = self.structured_.fit_.problem.designs[0]
        X = pd.DataFrame(design.block(frame).dense(), frame.index, list(design.names))
        return X if "Intercept" in X.columns else X.assign(Intercept=1.0)

    def _second_model(self, names: list[str]) -> Any:
        if self.image is None:
            added: TermList = TermList.of(ridge(*names))
        else:
            added = formula_terms(self.image, self._encoders())
        if isinstance(self.structured, PAMM):
            shared = set(SemiStructuredRegressor().get_params(deep=False)) - {"formula", "family"}
            given = clone(self.structured).get_params(deep=False)
            options = {name: given[name] for name in shared if name in given}
            model = SemiStructuredRegressor(offset(_OFFSET) + added, "poisson", **options)
            return model.set_params(orthogonalize="none", cov_type=None)
        model = clone(self.structured)
        if isinstance(self.structured, CoxPH):
            terms = self.structured_.specification_.terms[0]
            kept = TermList(strata=terms.strata, cluster=terms.cluster)
            return model.set_params(formula=offset(_OFFSET) + added + kept, orthogonalize="none")
        family = self.structured_.family_
        everywhere = isinstance(family, Categorical)
        formulas = {
            param: offset(f"{_OFFSET}_{k}") + (added if everywhere or k == 0 else TermList())
            for k, param in enumerate(family.param_names)
        }
        return model.set_params(formula=formulas, orthogonalize="none", cov_type=None)

    def _second_rows(self, X: Any) -> pd.DataFrame:
        """The table as the second stage sees it."""
        check_is_fitted(self)
        frame = as_table(self, X, reset=False, every_column=False)
        tables = []
        for name, part in self.features_.items():
            if name not in frame.columns:
                raise DataError(f"the table has no column {name!r}, for which there are features.")
            tables.append(feature_table(part.transform(frame[[name]]), part, frame.index))
        if isinstance(self.structured, PAMM):
            return self._with_features(frame, tables, np.zeros((len(frame), 1)))
        return self._with_features(frame, tables, self._predictors(frame))

    def _with_features(
        self, frame: pd.DataFrame, tables: list[pd.DataFrame], predictors: np.ndarray
    ) -> pd.DataFrame:
        single = isinstance(self.structured, (CoxPH, PAMM))
        offsets = pd.DataFrame(
            {(_OFFSET if single else f"{_OFFSET}_{k}"): eta for k, eta in enumerate(predictors.T)},
            frame.index,
        )
        if not tables:
            return pd.concat([frame, offsets], axis=1)
        features = pd.concat(tables, axis=1)
        twice = [name for name in features.columns if name in frame.columns]
        if twice:
            raise DataError(
                f"features are called {', '.join(map(repr, twice))}, and so are columns of the "
                "table; rename these."
            )
        if self.projection_ is not None:
            features = features - self._columns(frame).to_numpy() @ self.projection_.to_numpy()
        return pd.concat([frame, features, offsets], axis=1)

    def _has(self, name: str) -> bool:
        if isinstance(self.structured, PAMM):
            return name in _SCALED
        return callable(getattr(self.structured, name, None))

    def _ask(self, name: str, X: Any, *args: Any, **options: Any) -> Any:
        if isinstance(self.structured, PAMM):
            return self._scaled(name, X, *args, **options)
        return getattr(self.image_, name)(self._second_rows(X), *args, **options)

    def _scaled(self, name: str, X: Any, times: Any = None) -> Any:
        """A prediction of the first stage with its hazards times a factor for each row."""
        frame = as_table(self, X, reset=False, every_column=False)
        rows, factor = self._first_rows(frame), self.image_.predict(self._second_rows(frame))
        if name == "predict":
            return self.structured_.predict(rows) + np.log(factor)
        if name == "predict_hazard":
            return self.structured_.predict_hazard(rows, times) * factor
        hazard = self.structured_.predict_cumulative_hazard(rows, times) * factor
        return np.exp(-hazard) if name == "predict_survival_function" else hazard


def _exposure(model: PAMM, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative hazard over each row's follow-up, and its number of events, ``(n,)`` each."""
    expansion = model.expansion_
    hazard = model._cause_hazards(model._new_rows(frame))[0]
    spent = hazard[expansion.row, expansion.interval] * expansion.exposure
    n = len(frame)
    events = np.bincount(expansion.row, expansion.event, minlength=n)
    return np.bincount(expansion.row, spent, minlength=n), events


def _projection(X: pd.DataFrame, U: pd.DataFrame, weight: np.ndarray) -> pd.DataFrame:
    root = np.sqrt(weight)[:, None]
    G = np.linalg.lstsq(X.to_numpy() * root, U.to_numpy() * root, rcond=None)[0]
    return pd.DataFrame(G, X.columns, U.columns)
