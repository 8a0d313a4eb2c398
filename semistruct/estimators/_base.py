"""What every estimator with one formula does: checks, fits, forgets a failed fit."""

from __future__ import annotations

import copy
import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from semistruct._validation import check_length, check_sample_weight
from semistruct.estimators._fingerprints import fingerprint
from semistruct.estimators._fit import FitOptions, fit_model
from semistruct.estimators._fitting import WholeFit
from semistruct.estimators._inference import InferenceMixin
from semistruct.estimators._input import as_table, complete_rows
from semistruct.estimators._reporting import by_term
from semistruct.estimators._specification import (
    Formula,
    Specification,
    named_response,
    specify,
)
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Objective
from semistruct.fitting.model import ModelFit
from semistruct.terms import ResponseCall

__all__ = ["SemiStructuredEstimator"]

# Options that change no number.
_NO_NUMBER = ("checkpoint", "device", "n_jobs", "progress")


class SemiStructuredEstimator(WholeFit, InferenceMixin, BaseEstimator):
    """A model with additive and deep terms and one likelihood."""

    formula: Formula | Mapping[str, Formula]
    checkpoint: str | os.PathLike[str] | None
    encoders: Mapping[str, nn.Module] | None
    missing: str
    random_state: Any

    _has_strata: ClassVar[bool] = False
    # Columns that formulas may name and the estimator makes.
    _made: ClassVar[tuple[str, ...]] = ()

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, groups: Any = None) -> Any:
        """Fit the table model and, where there are deep terms, the networks.

        Parameters
        ----------
        X : DataFrame, or array of shape (n, p) where no picture is used
        y : array-like of n rows, optional
            The response, unless the formula names it.
        sample_weight : array-like of shape (n,), optional
            Case weights; a row of weight zero behaves as if it were absent.
        groups : array-like of shape (n,), optional
            Subjects: rows of one subject stay in one fold of the cross-fit, as rows of one
            picture do. By default the column named by ``cluster()``.

        Raises
        ------
        SpecificationError
            If the formula or an option makes no sense.
        DataError
            If the table or the response cannot be used. The estimator is then not fitted.
        """
        return self._fit_whole(X, y, sample_weight, groups)

    def table_model(self) -> Any:
        """The fitted model of the table alone, to compare predictions with.

        It was fitted before the networks and kept: its coefficients are the ones that are reported.

        Returns
        -------
        Estimator of the same class
            It predicts without deep terms and reads no picture. Its parameters are those of this
            estimator, so that fitting it again fits the whole model.
        """
        check_is_fitted(self)
        found = copy.copy(self)
        found.__dict__.pop("curves_", None)  # computed from the whole fit when asked for
        terms = tuple(replace(own, deep=()) for own in self.specification_.terms)
        found.specification_ = replace(self.specification_, terms=terms)
        found.fit_ = replace(
            self.fit_,
            formulas=tuple(own.text() for own in terms),
            blueprint=None,
            deep=None,
        )
        found.history_ = self.history_.iloc[:0]
        found.criteria_ = None
        return found

    @abstractmethod
    def _objective(self) -> Objective:
        """The likelihood asked for."""

    def _objective_of(self, response: Any) -> Objective:
        """The likelihood for this response, where that depends on it."""
        return self._objective()

    def _formulas(
        self, objective: Objective, frame: pd.DataFrame, response: Any
    ) -> Formula | Mapping[str, Formula]:
        """The formula, or those of several parameters."""
        return self.formula

    @abstractmethod
    def _response(
        self, left: str | ResponseCall | None, frame: pd.DataFrame, y: Any
    ) -> tuple[Any, str]:
        """The response of every row, something that an array of positions indexes; its name.

        ``left`` is the left-hand side of the formula, where it has one.
        """

    def _learn_response(self, response: Any, weight: np.ndarray) -> tuple[Any, np.ndarray]:
        """Learn what labels there are; the response and the case weights as they are used."""
        return response, weight

    @abstractmethod
    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Any
    ) -> np.ndarray:
        """The response as the likelihood wants it, ``(n, ...)``, validated."""

    def _fit_rows(
        self,
        objective: Objective,
        specification: Specification,
        frame: pd.DataFrame,
        response: Any,
        weight: np.ndarray,
        cluster: np.ndarray | None,
        options: FitOptions,
    ) -> ModelFit:
        """Fit to the rows that are used."""
        encoded = self._encoded(objective, specification, frame, response)
        return fit_model(specification, frame, encoded, weight, objective, cluster, options)

    def _training(self) -> dict[str, Any]:
        """How networks are trained, beyond the options that all estimators have."""
        return {}

    def _subjects(self, y: Any) -> np.ndarray | None:
        """Subjects that the response itself names."""
        return None

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        frame = as_table(self, X, reset=True)
        encoders = tuple(self.encoders or ())
        left = named_response(self.formula, frame, encoders)
        response, name = self._response(left, frame, y)
        response, weight = self._learn_response(
            response, check_sample_weight(sample_weight, len(frame))
        )
        objective = self._objective_of(response)
        specification = specify(
            self._formulas(objective, frame, response),
            frame,
            objective.param_names,
            encoders=encoders,
            strata=self._has_strata,
        )
        cluster = self._groups(specification, frame, groups)
        if cluster is None:
            cluster = self._subjects(response)
        if self.missing not in ("raise", "drop"):
            raise SpecificationError(f"missing must be 'raise' or 'drop', got {self.missing!r}.")
        rows = np.flatnonzero(weight > 0)
        if self.missing == "drop":
            values = response[rows] if isinstance(response, np.ndarray) else None
            names = [name for name in specification.tabular(frame) if name not in self._made]
            rows = rows[complete_rows(frame.iloc[rows], names, values)]
        if len(rows) < len(frame):
            frame, response, weight = frame.iloc[rows], response[rows], weight[rows]
            cluster = None if cluster is None else cluster[rows]
        options = FitOptions.of(self, **self._training())
        if self.checkpoint is not None and any(terms.deep for terms in specification.terms):
            folder = self._checkpoint_folder(frame, response, weight, cluster)
            options = replace(options, checkpoint=folder)
        fitted = self._fit_rows(objective, specification, frame, response, weight, cluster, options)
        self.response_name_ = name
        self.specification_ = specification
        self.fit_ = fitted
        self.criteria_ = None  # made when asked for, as is the next
        self.partial_ = None
        self.family_ = objective
        self.n_iter_ = max(1, fitted.marginal.n_iter)
        self.loglik_ = fitted.marginal.loglik
        self.loglik_null_ = fitted.marginal.loglik_null
        self.edf_ = by_term(fitted, fitted.marginal.edf)
        labels = [
            (param, penalty.label)
            for param, design in zip(objective.param_names, fitted.problem.designs, strict=True)
            for penalty in design.penalties
        ]
        self.smoothing_ = pd.Series(
            fitted.marginal.smoothing,
            index=pd.MultiIndex.from_tuples(labels, names=["parameter", "term"]),
            dtype=float,
        )
        self.history_ = pd.DataFrame(columns=["epoch", "train_loss", "held_out_loss", "member"])
        self.pretraining_history_ = pd.DataFrame(columns=["epoch", "member"])
        if fitted.deep is not None:
            crossfit = fitted.deep.crossfit
            self.history_ = crossfit.history
            if "epoch" in crossfit.pretraining:
                self.pretraining_history_ = crossfit.pretraining

    def _checkpoint_folder(
        self, frame: pd.DataFrame, response: Any, weight: np.ndarray, cluster: np.ndarray | None
    ) -> Path:
        """Folder of the networks of this model on these rows."""
        if not isinstance(self.random_state, (int, np.integer)):
            raise SpecificationError(
                "checkpoint needs an integer random_state, or the networks of another fit could "
                f"never be these; got random_state={self.random_state!r}."
            )
        options = {k: v for k, v in self.get_params(deep=False).items() if k not in _NO_NUMBER}
        problem = (type(self).__name__, options, frame, response, weight, cluster)
        return Path(self.checkpoint or "") / fingerprint(problem)

    def _groups(
        self, specification: Specification, frame: pd.DataFrame, groups: Any
    ) -> np.ndarray | None:
        if groups is not None:
            check_length(len(frame), groups, "groups")
            return np.asarray(groups, dtype=object)
        if specification.cluster is None:
            return None
        if specification.cluster not in frame.columns:
            raise DataError(f"the table has no column {specification.cluster!r} for cluster().")
        return frame[specification.cluster].to_numpy(dtype=object)

    def _new_rows(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self)
        if isinstance(X, pd.DataFrame) and self.formula is not None:
            return as_table(self, X, reset=False, every_column=False)
        return as_table(self, X, reset=False)
