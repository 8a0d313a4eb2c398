"""Classification on tables plus images: two classes, several, or ordered ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import torch
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn.functional import logsigmoid

from semistruct.estimators._base import SemiStructuredEstimator
from semistruct.estimators._classes import (
    Labels,
    class_family,
    class_weights,
    find_classes,
    read_labels,
)
from semistruct.estimators._mixtures import mixed_sample
from semistruct.estimators._specification import Formula, Specification
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.families import Bernoulli, Categorical, Family, Objective, Ordinal
from semistruct.families.classes import ClassFamily
from semistruct.inference.covariance import CovarianceKind
from semistruct.inference.effects import Estimand
from semistruct.inference.summary import Summary, frame_table
from semistruct.inference.thresholds import has_thresholds, threshold_table
from semistruct.modality_dropout import DropRates
from semistruct.objectives.bound import Objectives
from semistruct.terms import ResponseCall

__all__ = ["SemiStructuredClassifier"]


class SemiStructuredClassifier(ClassifierMixin, SemiStructuredEstimator):
    """Classification by additive and deep terms: logistic, multinomial and ordinal regression.

    Parameters
    ----------
    formula : None, str, term, or mapping from parameter names to these
        ``"disease ~ age + s(bmi) + cnn(xray)"``. With several unordered classes one formula is
        that of every class but the reference, each with coefficients of its own; a mapping from
        classes describes them one by one, and a class it leaves out has an intercept only. None
        is every tabular column linear and every image column a ``cnn``.
    family : {"auto", "bernoulli", "categorical", "ordinal"} or Family
        "auto" is Bernoulli for two classes, ordinal for an ordered categorical of pandas, else
        categorical. An instance chooses the link, ``Ordinal(link="probit")``, and with names of
        classes their order: the first is the reference, ``Categorical(categories=("none",
        "benign", "malign"))``.
    class_weight : None, "balanced" or mapping from labels to numbers
        Factors of the case weights; "balanced" gives all classes the same sum of weights.
        Standard errors then want ``cov_type="sandwich"``.
    share_encoders : bool
        Whether the same deep term in the predictors of several classes is read by one network, with
        a last layer for each.
    encoders, pretraining, auxiliary, smoothing, discrete, n_folds, n_repeats, max_epochs, \
batch_size, learning_rate, weight_decay, patience, modality_dropout, orthogonalize, gate, \
cov_type, missing, device, n_jobs, checkpoint, progress, random_state
        As in :class:`~semistruct.SemiStructuredRegressor`; smoothing parameters of several classes
        are chosen by "reml" or "ml".

    Attributes
    ----------
    classes_ : (C,) array
        Sorted, or in the order of an ordered categorical or of the family's categories.
    family_ : Family
    params, bse, pvalues : Series
        Parametric coefficients of the default estimand, their standard errors and p-values,
        indexed by (parameter, coefficient).
    loglik_, loglik_null_ : float
        Log-likelihood of the table model and of constants.
    thresholds_ : Series
        Of ordered classes whose widths have no predictors, on the scale of the predictor without an
        intercept; see :meth:`thresholds`.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Bernoulli: the probability of ``classes_[1]``, by a logit, probit or complementary log-log.

    Categorical: the multinomial logit ``log(P(class) / P(classes_[0])) = eta_class``, whose
    parameters are called like the classes.

    Ordinal: ``P(Y <= j) = F(threshold_j - eta)``, as in R's ``polr`` and statsmodels'
    ``OrderedModel``: larger predictors mean higher classes. The engine gives the predictor
    ``location`` the intercept and holds the first threshold at zero, and has a parameter
    ``width_<class>`` (log link) for the distance between the thresholds of every inner class, so
    that the thresholds are ordered whatever the data. ``thresholds_`` and the summary have the
    thresholds without an intercept, with standard errors by the delta method.

    A category without a row of positive weight is no class. ``predict`` is the most probable class.
    Predictions are row by row.

    References
    ----------
    McCullagh (1980), JRSS B 42, 109-142. Wood, Pya and Saefken (2016), Smoothing parameter and
    model selection for general smooth models, JASA 111, 1548-1563.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"x": rng.normal(size=300)})
    >>> y = np.digitize(table["x"] + rng.logistic(size=300), [-1.0, 1.0])
    >>> model = SemiStructuredClassifier("x", "ordinal").fit(table, y)
    >>> model.predict_proba(table[:2]).shape, list(model.thresholds_.index)
    ((2, 3), ['0|1', '1|2'])
    """

    family_: Family
    classes_: np.ndarray
    thresholds_: pd.Series
    ordered_: bool

    def __init__(
        self,
        formula: Formula | Mapping[Any, Formula] = None,
        family: str | Family = "auto",
        *,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        encoders: Mapping[str, nn.Module] | None = None,
        share_encoders: bool = True,
        pretraining: Objectives = None,
        auxiliary: Objectives = None,
        smoothing: Literal["reml", "ml", "gcv"] = "reml",
        discrete: bool | None = None,
        n_folds: int = 5,
        n_repeats: int = 2,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        patience: int | None = None,
        modality_dropout: DropRates = None,
        orthogonalize: Literal["structured", "parametric", "none"] = "structured",
        gate: bool = True,
        cov_type: Literal["model", "sandwich", "cluster"] | None = None,
        missing: Literal["raise", "drop"] = "raise",
        device: str = "auto",
        n_jobs: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        random_state: Any = None,
    ) -> None:
        self.formula = formula
        self.family = family
        self.class_weight = class_weight
        self.encoders = encoders
        self.share_encoders = share_encoders
        self.pretraining = pretraining
        self.auxiliary = auxiliary
        self.smoothing = smoothing
        self.discrete = discrete
        self.n_folds = n_folds
        self.n_repeats = n_repeats
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.modality_dropout = modality_dropout
        self.orthogonalize = orthogonalize
        self.gate = gate
        self.cov_type = cov_type
        self.missing = missing
        self.device = device
        self.n_jobs = n_jobs
        self.checkpoint = checkpoint
        self.progress = progress
        self.random_state = random_state

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every row, ``(n,)``, a label as it was given."""
        found = self._log_probabilities(X).argmax(axis=1)
        return self.classes_[found]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, ``(n, C)``, in the order of ``classes_``."""
        return np.exp(self._log_probabilities(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Their logarithms, ``(n, C)``, exact also where a probability rounds to zero or one."""
        return self._log_probabilities(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log odds of the second of two classes, ``(n,)``; else log-probabilities, ``(n, C)``."""
        found = self._log_probabilities(X)
        return found[:, 1] - found[:, 0] if len(self.classes_) == 2 else found

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """Log-probability of each label, ``(n,)``.

        Raises
        ------
        DataError
            If a label is missing or no class of the fit.
        """
        found = self._log_probabilities(X)
        codes = self._codes(read_labels(y, len(found)))
        return found[np.arange(len(found)), codes.astype(int)]

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw labels from the predicted probabilities, ``(n_samples, n)``."""
        seed = check_random_state(random_state).randint(2**31 - 1)
        generator = torch.Generator().manual_seed(int(seed))
        frame = self._new_rows(X)
        nodes = self.fit_.node_etas(frame, self._device())
        codes = mixed_sample(self.family_, nodes, int(n_samples), generator)
        return self.classes_[codes.astype(int)]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Share of rows whose class is predicted.

        Parameters
        ----------
        X : DataFrame or array
        y : (n,) array-like, optional
            By default the column that the formula names. A label that was in no training row
            counts as wrong.
        sample_weight : (n,) array-like, optional
        """
        found = self.predict(X)
        left = self.specification_.response
        if y is None and isinstance(left, str) and isinstance(X, pd.DataFrame) and left in X:
            y = X[left]
        right = read_labels(y, len(found)).known(self.classes_)
        chosen = pd.Index(self.classes_).get_indexer(pd.Index(found))
        return float(accuracy_score(right, chosen, sample_weight=sample_weight))

    def thresholds(
        self, *, level: float = 0.95, cov_type: CovarianceKind | None = None
    ) -> pd.DataFrame:
        """Thresholds between ordered classes, of the model without deep terms.

        Parameters
        ----------
        level : float
            Of the confidence intervals.
        cov_type : {"model", "corrected", "sandwich", "cluster"}, optional

        Returns
        -------
        DataFrame
            One row for ``"low|mid"``, ``"mid|high"``, ...: columns ``threshold``, ``se``,
            ``lower``, ``upper``. ``P(Y <= j) = F(threshold_j - eta)`` with the predictor ``eta``
            less its intercept.

        Raises
        ------
        UnsupportedCombinationError
            If the classes have no order, or a width has a predictor, so that there are other
            thresholds for every row.
        """
        check_is_fitted(self)
        cov = self._coefficient_covariance(cov_type)
        return threshold_table(self.fit_, cov, level)

    def summary(
        self,
        *,
        estimand: Estimand | None = None,
        cov_type: CovarianceKind | None = None,
        level: float = 0.95,
    ) -> Summary:
        """Table of coefficients, thresholds, smooths and deep terms."""
        summary = super().summary(estimand=estimand, cov_type=cov_type, level=level)
        if has_thresholds(self.fit_):
            table = self.thresholds(level=level, cov_type=cov_type)
            title = "thresholds of the predictor without its intercept"
            summary.tables.append(frame_table(table, title))
        return summary

    def _objective(self) -> Family:
        return class_family(self.family, self.classes_, self.ordered_)

    def _objective_of(self, response: Any) -> Family:
        family = self._objective()
        if self.smoothing == "gcv" and isinstance(family, ClassFamily):
            raise UnsupportedCombinationError(
                f"{family!r} has no saturated model, which smoothing='gcv' compares with; choose "
                "'reml' or 'ml'."
            )
        return family

    def _formulas(
        self, objective: Objective, frame: pd.DataFrame, response: Any
    ) -> Formula | Mapping[str, Formula]:
        names = [str(label) for label in self.classes_]
        if isinstance(self.formula, Mapping):
            formulas = {str(label): formula for label, formula in self.formula.items()}
            if names[0] in formulas and not isinstance(objective, Ordinal):
                raise SpecificationError(
                    f"{names[0]!r} is the reference class, which has no predictor; give formulas "
                    f"of {', '.join(map(repr, names[1:]))}, or choose another reference by "
                    "Categorical(categories=(...))."
                )
            if isinstance(objective, Bernoulli) and names[1] in formulas:
                formulas[objective.param_names[0]] = formulas.pop(names[1])
            return formulas
        if isinstance(objective, Categorical):
            return dict.fromkeys(names[1:], self.formula)
        return self.formula

    def _response(
        self, left: str | ResponseCall | None, frame: pd.DataFrame, y: Any
    ) -> tuple[Any, str]:
        if left is not None and y is not None:
            raise SpecificationError(
                f"the response is given twice: as {str(left)!r} in the formula and as y. Leave one "
                "out."
            )
        if isinstance(left, ResponseCall):
            raise SpecificationError(
                f"the response {str(left)!r} is none of classes; name a column of labels."
            )
        if left is not None:
            if left not in frame.columns:
                raise DataError(f"the table has no column {left!r}, which the formula names.")
            y = frame[left]
        return read_labels(y, len(frame)), left or str(getattr(y, "name", None) or "y")

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        super()._fit(X, y, sample_weight, groups)
        if has_thresholds(self.fit_):
            self.thresholds_ = threshold_table(self.fit_, self.fit_.marginal.V)["threshold"]

    def _learn_response(
        self, response: Labels, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        self.classes_ = find_classes(response, weight, self.family)
        self.ordered_ = response.order is not None
        # A row of weight zero is absent, and so is a class that it alone has.
        used = replace(response, missing=response.missing | (weight == 0))
        codes = used.codes(self.classes_)
        return codes, weight * class_weights(self.class_weight, self.classes_, codes, weight)

    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Any
    ) -> np.ndarray:
        if isinstance(y, Labels):
            return self._codes(y)
        codes = cast(Family, objective).validate(y)
        rows = np.bincount(codes.astype(int), minlength=len(self.classes_))
        if not rows.all():
            raise DataError(
                f"no row of the class {self.classes_[rows.argmin()]!r} is left by missing='drop'; "
                "fill in what is missing, or leave out the class."
            )
        if (rows == 1).any() and any(terms.deep for terms in specification.terms):
            raise DataError(
                f"the class {self.classes_[rows.argmin()]!r} has one row only, so that no network "
                "can be trained with it and asked about it; merge it with another class."
            )
        return codes

    def _codes(self, labels: Labels) -> np.ndarray:
        return self.family_.validate(labels.codes(self.classes_))

    def _log_probabilities(self, X: Any) -> np.ndarray:
        frame = self._new_rows(X)
        nodes = self.fit_.node_etas(frame, self._device())
        eta = torch.from_numpy(nodes.values)
        if isinstance(self.family_, ClassFamily):
            return nodes.logmean(self.family_.log_probabilities(eta).numpy())
        logit = cast(Bernoulli, self.family_).kernel_eta(eta)[:, 0]
        found = torch.stack([logsigmoid(-logit), logsigmoid(logit)], dim=1).numpy()
        return nodes.logmean(found)
