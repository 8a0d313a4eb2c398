"""What every fitted estimator reports: coefficients, tables, contributions and the figure."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators._explanation import ExplanationMixin
from semistruct.estimators._fit import FitOptions
from semistruct.estimators._input import resolve_device
from semistruct.estimators._specification import Specification
from semistruct.estimators.persistence.files import save
from semistruct.exceptions import UnsupportedCombinationError
from semistruct.families import Objective
from semistruct.fitting.model import ModelFit
from semistruct.inference.covariance import CovarianceKind
from semistruct.inference.criteria import InformationCriteria, information_criteria
from semistruct.inference.deviance import Deviance, model_deviance
from semistruct.inference.effects import Estimand, covariance_of_effects, effects_table
from semistruct.inference.partial import PartialFit, partial_effects
from semistruct.inference.smooth_tests import smooth_table
from semistruct.inference.summary import Summary, summarise
from semistruct.plots.model import plot_model

__all__ = ["ReportingMixin", "by_term"]


class ReportingMixin(ExplanationMixin):
    """Accessors of a fitted model, all from one :class:`~semistruct.fitting.model.ModelFit`.

    Every coefficient that is shown comes from :meth:`effects`; those that predictions use are
    private.
    """

    cov_type: CovarianceKind | None
    device: str
    fit_: ModelFit
    family_: Objective
    specification_: Specification
    response_name_: str
    criteria_: InformationCriteria | None
    partial_: PartialFit | None

    @abstractmethod
    def _training(self) -> dict[str, Any]:
        """More options of training."""

    @abstractmethod
    def _new_rows(self, X: Any) -> pd.DataFrame:
        """Rows to predict as a table."""

    def term_contributions(self, X: Any) -> pd.DataFrame:
        """What every term adds to its predictor, columns ``(parameter, term)``."""
        frame = self._new_rows(X)
        scores = self.fit_.scores(frame, self._device())
        return self.fit_.predictor.contributions(frame, self.family_.param_names, scores)

    def embeddings(self, X: Any) -> pd.DataFrame:
        """Latent features of the deep terms, columns ``(term, member, feature)``."""
        frame = self._new_rows(X)
        return self.fit_.embeddings(frame, self._device())

    def effects(
        self,
        estimand: Estimand | None = None,
        *,
        cov_type: CovarianceKind | None = None,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Parametric coefficients with standard errors, for a stated estimand.

        Parameters
        ----------
        estimand : {"marginal", "projection", "partial"}, optional
            "marginal" (default): the best model without the picture. "projection": the
            least-squares projection of the true predictor on the table, which for the normal
            family with identity link is the same. "partial": the coefficients with the picture
            held fixed, for which networks are trained once more when it is first asked for, as
            many as for the model; see :func:`~semistruct.inference.partial.partial_fit`.
        cov_type : {"model", "corrected", "sandwich", "cluster"}, optional
            "corrected" adds the uncertainty of smoothing parameters to "model". Of "partial" it is
            always a sandwich, clustered where rows belong together.
        level : float
            Of the confidence intervals.

        Returns
        -------
        DataFrame
            Columns ``coef``, ``se``, ``lower``, ``upper``, the statistic, ``p``; of "partial" also
            ``r2``, the share of a column's variance that the picture explains on unseen rows, and
            ``change``, the difference between two seeds of the networks in standard errors.
        """
        check_is_fitted(self)
        if estimand == "partial":
            return self._partial_fit(cov_type).table(level)
        return effects_table(self.fit_, estimand or "marginal", cov_type or self._cov_type(), level)

    @property
    def params(self) -> pd.Series:
        """Parametric coefficients."""
        return self.effects()["coef"]

    @property
    def bse(self) -> pd.Series:
        """Standard errors of :attr:`params`."""
        return self.effects()["se"]

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values of :attr:`params`."""
        return self.effects()["p"]

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals of :attr:`params`: columns ``lower`` and ``upper``."""
        return self.effects(level=level)[["lower", "upper"]]

    def cov_params(self, cov_type: CovarianceKind | None = None) -> pd.DataFrame:
        """Covariance matrix of :attr:`params`; "corrected" counts the smoothing as estimated."""
        check_is_fitted(self)
        return covariance_of_effects(self.fit_, cov_type or self._cov_type())

    @property
    def aic_(self) -> float:
        """Conditional AIC of the table model, corrected for the estimation of its smoothing.

        ``-2 loglik_ + 2 df`` as in mgcv: ``df`` is the sum of ``edf2`` after REML and ML, else the
        effective degrees of freedom; a dispersion counts as one parameter. See
        :func:`~semistruct.inference.criteria.information_criteria`.
        """
        return self._criteria().aic

    @property
    def bic_(self) -> float:
        """``-2 loglik_ + log(n) df`` with the degrees of freedom of :attr:`aic_`."""
        return self._criteria().bic

    def deviance(self) -> Deviance:
        """Deviance of the table model, of a constant first parameter, and the share explained.

        See :func:`~semistruct.inference.deviance.model_deviance`.
        """
        check_is_fitted(self)
        return model_deviance(self.fit_.marginal, self.fit_.problem)

    def smooths(self) -> pd.DataFrame:
        """Smooths and random effects of the table model: edf, test statistic, p-value."""
        check_is_fitted(self)
        table = smooth_table(self.fit_.marginal, self.fit_.problem)
        return table.set_index(["parameter", "term"])

    def summary(
        self,
        *,
        estimand: Estimand | None = None,
        cov_type: CovarianceKind | None = None,
        level: float = 0.95,
    ) -> Summary:
        """Table of coefficients, smooths and deep terms; prints, and renders in a notebook."""
        check_is_fitted(self)
        partial = self._partial_fit(cov_type) if estimand == "partial" else None
        return summarise(
            self.fit_,
            response=self.response_name_,
            estimand=estimand or "marginal",
            cov_type=cov_type or self._cov_type(),
            level=level,
            aic=self.aic_,
            partial=partial,
        )

    def plot(self, **options: Any) -> Figure:
        """One figure: smooth curves with bands, coefficients, random effects, deep scores.

        Options are those of :func:`semistruct.plots.model.plot_model`.
        """
        check_is_fitted(self)
        return plot_model(self.fit_, cov_type=self._cov_type(), **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file, which :func:`semistruct.load` reads.

        The file holds tensors, tables and plain values, and no code: see
        :func:`~semistruct.estimators.persistence.files.load` for what is in it. Networks are kept
        as recipes and weights; modules of your own have to be handed to ``load`` again.

        Parameters
        ----------
        path : path
            Such as ``"study.semistruct"``; an existing file is replaced.

        Raises
        ------
        SpecificationError
            If a part of the model is code: a family, a term or an option of your own.
        """
        save(self, path)

    def _criteria(self) -> InformationCriteria:
        check_is_fitted(self)
        if self.criteria_ is None:
            self.criteria_ = information_criteria(self.fit_.marginal, self.fit_.problem)
        return self.criteria_

    def _partial_fit(self, cov_type: CovarianceKind | None) -> PartialFit:
        if cov_type not in (None, "sandwich", "cluster"):
            raise UnsupportedCombinationError(
                f"estimand='partial' has a sandwich covariance only, got cov_type={cov_type!r}; "
                "leave cov_type out."
            )
        if self.partial_ is None:
            options = FitOptions.of(self, **self._training())
            self.partial_ = partial_effects(
                self.fit_,
                options.training,
                n_repeats=options.n_repeats,
                # The first two children of this seed are those of the folds and the networks.
                random_state=np.random.SeedSequence(options.random_state.entropy, spawn_key=(2,)),
                n_jobs=options.n_jobs,
                progress=options.progress,
            )
        return self.partial_

    def _cov_type(self) -> CovarianceKind:
        if self.cov_type is not None:
            return self.cov_type
        if self.specification_.cluster is not None:
            return "cluster"
        return "model" if self.fit_.deep is None else "sandwich"

    def _device(self) -> str:
        return resolve_device(self.device)


def by_term(fitted: ModelFit, values: np.ndarray) -> pd.Series:
    """Sums of a vector over the coefficients of each term, indexed by (parameter, term)."""
    found = {}
    for param, design, at in zip(
        fitted.problem.family.param_names,
        fitted.problem.designs,
        fitted.marginal.slices,
        strict=True,
    ):
        for label, columns in design.slices.items():
            found[param, label] = float(values[at][columns].sum())
    index = pd.MultiIndex.from_tuples(list(found), names=["parameter", "term"])
    return pd.Series(list(found.values()), index=index)
