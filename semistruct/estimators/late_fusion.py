"""Late fusion: several models, each fitted alone, whose predictions are combined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if

from semistruct._validation import check_length, check_sample_weight
from semistruct.estimators._composition import Composition, Kind
from semistruct.estimators._input import as_table, response_values
from semistruct.estimators._members import (
    fit_model_of_any_kind,
    fresh,
    kind_of,
    named_failure,
    rows_of,
)
from semistruct.estimators.late.cross_predictions import fold_pairs, shared_rows
from semistruct.estimators.late.heads import ClassHead, Combine, NumberHead, RiskHead, flat
from semistruct.estimators.late.options import check_combine, given_weights, seen_columns
from semistruct.estimators.late.predictions import FusedPredictions
from semistruct.estimators.wrappers.foreign import one_cause
from semistruct.evaluation.concordance import concordance_index
from semistruct.exceptions import DataError, UnsupportedCombinationError
from semistruct.responses import Surv, as_surv

__all__ = ["LateFusion"]

_HEADS = {"regressor": NumberHead, "classifier": ClassHead, "survival": RiskHead}


class LateFusion(FusedPredictions, Composition):
    """Combine the predictions of models that each see their own columns.

    Parameters
    ----------
    members : mapping of str to estimator
        By name: models of this package, of scikit-learn or scikit-survival, fitters of lifelines,
        models of pyGAM, formula models of statsmodels by :func:`~semistruct.wrap`. All must predict
        the same kind of response: numbers, classes or survival.
    combine : {"mean", "median", "vote", "rank", "stack", "weighted"}
        What is combined are means of numbers, probabilities of classes, and risks of survival
        models, standardised out of fold.

        ``"weighted"`` takes ``weights``. ``"vote"`` counts the classes that members choose.
        ``"rank"`` averages, over the members, the share of training rows with a smaller out-of-fold
        prediction; of numbers and two classes the same quantile of the training responses is
        returned, of survival the mean share. ``"stack"`` learns weights that are not negative from
        out-of-fold predictions: by least squares with sum one for numbers, by logistic regression
        on log probabilities for classes, by Cox regression on risks for survival.
    weights : mapping of str to float, or sequence, optional
        For ``"weighted"``, and for ``"vote"`` where members count differently.
    columns : mapping of str to list of str, optional
        Columns that a member may see. By default models that can read pictures see all columns, and
        others the tabular ones.
    cv : int, splitter of scikit-learn, or list of (training rows, held-out rows)
        Folds of the out-of-fold predictions. Of a number: rows of one subject (``groups``, or the
        ``id`` of a :class:`~semistruct.Surv`) and of one picture stay in one fold, and folds have
        equal shares of classes and events.
    random_state : int, RandomState or None
        Of the folds.

    Attributes
    ----------
    members_ : dict of str to fitted model
        Fitted to all rows. Models of lifelines, pyGAM and statsmodels are
        ``members_[name].fitted_``.
    weights_ : Series or None
        Weight of each member, of "mean", "weighted", "stack" and "vote".
    out_of_fold_ : DataFrame or None
        Predictions from which weights, scales and ranks were learned: of numbers, of probabilities
        (columns ``(member, class)``), of risks less the mean of each fit.
    head_ : NumberHead, ClassHead or RiskHead
        What was learned about the combination: the intercepts of stacked classes
        (``head_.pool``), the standard deviations of out-of-fold risks (``head_.scale``), the
        baseline hazard given the stacked risk (``head_.baseline``).
    kind_ : {"regressor", "classifier", "survival"}
    classes_ : array
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Members that describe a whole distribution (:class:`~semistruct.SemiStructuredRegressor`) are
    combined by "mean", "weighted" and "stack" as a mixture: ``predict_quantile``,
    ``predict_interval`` and ``log_prob`` are those of ``sum_m w_m F_m``, which is wider than any
    member where these disagree.

    Survival functions are averaged on the probability scale (or have their pointwise median); of
    "stack" they are those of a Cox model with the stacked risk as offset. ``predict`` is a risk on
    no particular scale.

    A risk has an arbitrary level, which differs between the fits of a cross-validation, so every
    fit's mean over its own training rows is taken away first.

    Predictions are row by row: a row alone has the prediction it has in any table.

    References
    ----------
    Breiman (1996), Stacked regressions, Machine Learning 24. Wolpert (1992), Stacked
    generalization, Neural Networks 5. van der Laan, Polley & Hubbard (2007), Super learner,
    Statistical Applications in Genetics and Molecular Biology 6.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression, Ridge
    >>> from semistruct import EarlyFusion, ImageFeatures
    >>> from semistruct.datasets import simulate_digits
    >>> frame = simulate_digits(200)
    >>> image = EarlyFusion(Ridge(), {"digit": ImageFeatures("pca", 8)})
    >>> fusion = LateFusion(
    ...     {"table": LinearRegression(), "image": image},
    ...     combine="stack",
    ...     columns={"table": ["age", "bmi"], "image": ["digit"]},
    ...     random_state=0,
    ... ).fit(frame, frame["y"])
    >>> fusion.weights_.sum().round(6), fusion.predict(frame[:3]).shape
    (np.float64(1.0), (3,))
    """

    _parts_in: ClassVar[str] = "members"

    def __init__(
        self,
        members: Mapping[str, Any],
        combine: Combine = "mean",
        *,
        weights: Mapping[str, float] | Sequence[float] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
        cv: Any = 5,
        random_state: Any = None,
    ) -> None:
        self.members = members
        self.combine = combine
        self.weights = weights
        self.columns = columns
        self.cv = cv
        self.random_state = random_state

    def predict(self, X: Any) -> np.ndarray:
        """Mean of the response, class, or risk, ``(n,)``."""
        values = self._predictions(self._new_rows(X))
        found = self.head_.predict(values)
        return self.classes_[found] if self.kind_ == "classifier" else found

    @available_if(lambda self: self._kind() == "classifier" and self.combine != "rank")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, ``(n, C)``; of "vote" the shares of the votes."""
        values = self._predictions(self._new_rows(X))
        return self.head_.probabilities(values)

    @available_if(lambda self: self._kind() == "classifier" and self.combine == "rank")
    def decision_function(self, X: Any) -> np.ndarray:
        """Mean rank of the probability of the second of two classes, ``(n,)``."""
        values = self._predictions(self._new_rows(X))
        return self.head_.ranks(values)

    def member_predictions(self, X: Any) -> pd.DataFrame:
        """What each member says alone: numbers, centred risks, or columns ``(member, class)``."""
        frame = self._new_rows(X)
        return pd.DataFrame(flat(self._predictions(frame)), frame.index, self._column_names())

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 of numbers, accuracy of classes, Harrell's concordance of risks."""
        found = self.predict(X)
        if self.kind_ == "survival":
            return concordance_index(as_surv(y), found, sample_weight=sample_weight)
        measure = r2_score if self.kind_ == "regressor" else accuracy_score
        return float(measure(np.asarray(y), found, sample_weight=sample_weight))

    def _kind(self) -> Kind:
        kinds = {name: kind_of(member) for name, member in self._named().items()}
        if len(set(kinds.values())) > 1:
            raise UnsupportedCombinationError(
                "members must predict the same kind of response; got "
                f"{', '.join(f'{name!r}: {kind}' for name, kind in kinds.items())}."
            )
        return next(iter(kinds.values()), "regressor")

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        self._check_names()
        names = list(self.members)
        self.kind_: Kind = self._kind()
        check_combine(self.combine, self.kind_)
        weights = given_weights(self.combine, self.weights, names)
        for member in self.members.values():
            fresh(member)  # what is no model is refused before anything is fitted
        frame = as_table(self, X, reset=True)
        response, strata = self._response(y, len(frame))
        case_weight = check_sample_weight(sample_weight, len(frame))
        if groups is not None:
            check_length(len(frame), groups, "groups")
            groups = np.asarray(groups, dtype=object)
        used = np.flatnonzero(case_weight > 0)
        frame, response, strata = frame.iloc[used], rows_of(response, used), strata[used]
        case_weight = case_weight[used]
        groups = None if groups is None else groups[used]
        self.columns_ = seen_columns(self.members, self.columns, frame)
        passed = None if sample_weight is None else case_weight

        def fit_members(rows: np.ndarray) -> dict[str, Any]:
            labels = self.classes_[response] if self.kind_ == "classifier" else response
            return {
                name: self._fit_member(
                    name,
                    frame.iloc[rows],
                    rows_of(labels, rows),
                    None if passed is None else passed[rows],
                    None if groups is None else groups[rows],
                )
                for name in names
            }

        unseen = None
        if self.kind_ == "survival" or self.combine in ("rank", "stack"):
            subjects = response.id if self.kind_ == "survival" else None
            shared = shared_rows(frame, groups, subjects)
            pairs = fold_pairs(self.cv, shared, strata, self.random_state, used)
            unseen = self._out_of_fold(frame, pairs, fit_members, case_weight)
        self.members_ = fit_members(np.arange(len(frame)))
        self.centers_ = self._centers(self.members_, frame, case_weight)
        head: Any = _HEADS[self.kind_]
        self.head_ = head.learn(self.combine, weights, unseen, response, case_weight)
        self.weights_ = None if self.head_.weights is None else pd.Series(self.head_.weights, names)
        self.out_of_fold_ = None
        if unseen is not None:
            self.out_of_fold_ = pd.DataFrame(flat(unseen), frame.index, self._column_names())

    def _response(self, y: Any, n: int) -> tuple[Any, np.ndarray]:
        """The response as it is combined, and what folds have equal shares of."""
        if y is None:
            raise DataError(
                "a late fusion requires y to be passed, but the target y is None; formulas of "
                "members name no response."
            )
        if isinstance(y, Surv) and self.kind_ != "survival":
            raise UnsupportedCombinationError(
                f"y is a follow-up, and the members are {self.kind_} models; combine survival "
                "models such as CoxPH or PAMM, or give the times alone."
            )
        if self.kind_ == "survival":
            surv: Surv = one_cause(as_surv(y))
            check_length(n, surv, "y")
            if not surv.event.any():
                raise DataError(f"none of the {n} rows has an event; at least one is needed.")
            self.event_times_ = np.unique(surv.time[surv.event])
            return surv, surv.event
        values = response_values(y, n)
        if self.kind_ == "regressor":
            return values.astype(float), np.zeros(n, dtype=int)
        self.classes_, codes = np.unique(values, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"y has one class only, {self.classes_[0]!r}; two are needed.")
        if self.combine == "rank" and len(self.classes_) > 2:
            raise UnsupportedCombinationError(
                f"combine='rank' orders two classes, y has {len(self.classes_)}; use 'mean'."
            )
        return codes, codes

    def _fit_member(
        self, name: str, frame: pd.DataFrame, y: Any, sample_weight: Any, groups: Any
    ) -> Any:
        model = fresh(self.members[name])
        try:
            fit_model_of_any_kind(model, frame[self.columns_[name]], y, sample_weight, groups)
        except Exception as error:
            raise named_failure(name, model, "to fit", error) from error
        return model

    def _out_of_fold(
        self,
        frame: pd.DataFrame,
        pairs: list[tuple[np.ndarray, np.ndarray]],
        fit_members: Callable[[np.ndarray], dict[str, Any]],
        case_weight: np.ndarray,
    ) -> np.ndarray:
        """Predictions of every row by members that have not seen it, ``(n, M, ...)``."""
        unseen: np.ndarray | None = None
        for train, test in pairs:
            members = fit_members(train)
            centers = self._centers(members, frame.iloc[train], case_weight[train])
            part = self._predictions_by(members, centers, frame.iloc[test])
            if unseen is None:
                unseen = np.empty((len(frame), *part.shape[1:]))
            unseen[test] = part
        if unseen is None:
            raise DataError("cv made no folds.")
        return unseen
