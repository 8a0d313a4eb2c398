"""Questions to a fitted model: contrasts, marginal means, curves with bands, residuals, checks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators._reporting import ReportingMixin
from semistruct.estimators._specification import Specification
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Objective
from semistruct.inference.covariance import CovarianceKind, covariance
from semistruct.inference.curves import smooth_curve
from semistruct.inference.marginal import (
    Scale,
    combination_table,
    contrast_rows,
    grid_prediction,
    marginal_prediction,
)
from semistruct.inference.quantile_residuals import (
    mixed_quantile_residuals,
    quantile_residuals,
    training_residuals,
)
from semistruct.plots.diagnostics import plot_diagnostics
from semistruct.terms import ResponseCall

__all__ = ["InferenceMixin"]


class InferenceMixin(ReportingMixin):
    """Inference beyond tables of coefficients; all but residuals is about the table model."""

    @abstractmethod
    def _response(
        self, left: str | ResponseCall | None, frame: pd.DataFrame, y: Any
    ) -> tuple[Any, str]:
        """The response of every row, and its name."""

    @abstractmethod
    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Any
    ) -> np.ndarray:
        """The response as the likelihood wants it."""

    def contrast(
        self,
        X: Any,
        contrasts: Any = "pairwise",
        *,
        scale: Scale = "link",
        param: str | None = None,
        cov_type: CovarianceKind | None = None,
        level: float = 0.95,
        simultaneous: bool = False,
        random_state: int = 0,
    ) -> pd.DataFrame:
        """Linear combinations of the table model's predictions for the rows of a grid.

        Parameters
        ----------
        X : DataFrame of g rows
            Its index names the predictions.
        contrasts : {"pairwise", "reference"}, (g,) or (m, g) array, or mapping from names to these
            Differences between all rows, differences to the first row, or coefficients.
        scale : {"link", "parameter", "response"}
            What is predicted: the predictor of a parameter (differences are log ratios under a log
            link), the parameter itself, or the mean of the response.
        param : str, optional
            The parameter, by default the first; for the response of a classifier of several
            classes the class whose probability is meant.
        cov_type : {"model", "corrected", "sandwich", "cluster"}, optional
        level : float
            Of the confidence intervals.
        simultaneous : bool
            Whether intervals and p-values hold jointly, from simulated coefficients.
        random_state : int
            For ``simultaneous``.

        Returns
        -------
        DataFrame
            One row per contrast: ``estimate``, ``se``, ``t`` (or ``z``), ``p``, ``lower``,
            ``upper``. Standard errors on the scale of a parameter or the response are by the delta
            method.

        References
        ----------
        Hothorn, Bretz and Westfall (2008), Simultaneous inference in general parametric models,
        Biometrical Journal 50, 346-363.
        """
        check_is_fitted(self)
        prediction = grid_prediction(self.fit_, self._new_rows(X), scale, param)
        L, names = contrast_rows(contrasts, prediction.labels)
        return combination_table(
            prediction,
            self._coefficient_covariance(cov_type),
            L=L,
            names=names,
            df_resid=self.fit_.marginal.df_resid,
            level=level,
            simultaneous=simultaneous,
            random_state=random_state,
        )

    def marginal_means(
        self,
        at: str | Sequence[str] | Mapping[str, Sequence[Any]],
        X: Any = None,
        *,
        contrasts: Any = None,
        scale: Scale = "response",
        param: str | None = None,
        cov_type: CovarianceKind | None = None,
        level: float = 0.95,
        simultaneous: bool = False,
        random_state: int = 0,
    ) -> pd.DataFrame:
        """Predictions averaged over rows, with some columns set to given values.

        Parameters
        ----------
        at : str, sequence of str, or mapping from columns to values
            Columns by name take all levels that the training rows have.
        X : DataFrame, optional
            Rows to average over; by default the training rows, with their case weights.
        contrasts : {"pairwise", "reference"}, array or mapping, optional
            Combinations of the means, as for :meth:`contrast`, instead of the means.
        scale, param, cov_type, level, simultaneous, random_state
            As for :meth:`contrast`.

        Returns
        -------
        DataFrame
            ``estimate``, ``se``, ``lower``, ``upper`` of each combination of values; of contrasts
            the test of zero as well. The rows averaged over count as given.

        References
        ----------
        Lane and Nelder (1982), Analysis of covariance and standardization as instances of
        prediction, Biometrics 38, 613-621.
        """
        check_is_fitted(self)
        if X is None:
            if self.fit_.frame is None:
                raise DataError("the model was kept without its training rows; give X.")
            frame, weight = self.fit_.frame, self.fit_.problem.sample_weight
        else:
            frame = self._new_rows(X)
            weight = np.ones(len(frame))
        prediction = marginal_prediction(
            self.fit_, _values(at, self.fit_.frame, frame), frame, weight, scale, param
        )
        L, names = (None, None)
        if contrasts is not None:
            L, names = contrast_rows(contrasts, prediction.labels)
        return combination_table(
            prediction,
            self._coefficient_covariance(cov_type),
            L=L,
            names=names,
            df_resid=self.fit_.marginal.df_resid,
            level=level,
            simultaneous=simultaneous,
            test=contrasts is not None,
            random_state=random_state,
        )

    def smooth_curve(
        self,
        term: str,
        *,
        param: str | None = None,
        grid: int | np.ndarray = 100,
        level: float = 0.95,
        simultaneous: bool = False,
        random_state: int = 0,
    ) -> pd.DataFrame:
        """A smooth of one variable on a grid with its pointwise or simultaneous band.

        See :func:`semistruct.inference.curves.smooth_curve`.
        """
        check_is_fitted(self)
        return smooth_curve(
            self.fit_,
            param or self.family_.param_names[0],
            term,
            grid,
            level,
            simultaneous=simultaneous,
            random_state=random_state,
        )

    def quantile_residuals(self, X: Any = None, y: Any = None, *, random_state: int = 0) -> Any:
        """Randomised quantile residuals: standard normal where the model is right.

        Parameters
        ----------
        X : DataFrame, optional
            By default the training rows that were used.
        y : array-like, optional
            The response of ``X``.
        random_state : int
            Of discrete and censored responses.

        Returns
        -------
        (n,) array

        Notes
        -----
        Of the predictions of the whole model, deep terms included; those of training rows come from
        networks that had not seen the row (with ``n_folds=1`` only the rows held out are used). See
        :func:`semistruct.inference.quantile_residuals.quantile_residuals`.
        """
        check_is_fitted(self)
        if (X is None) != (y is None):
            raise SpecificationError("give both X and y, or neither for the training rows.")
        if X is None:
            return training_residuals(self.fit_, random_state)
        frame = self._new_rows(X)
        response, _ = self._response(None, frame, y)
        values = self._encoded(self.family_, self.specification_, frame, response)
        nodes = self.fit_.node_etas(frame, self._device())
        if nodes.is_single:
            return quantile_residuals(self.family_, nodes.values, values, random_state)
        return mixed_quantile_residuals(self.family_, nodes, values, random_state)

    def plot_diagnostics(self, *, level: float = 0.95, random_state: int = 0) -> np.ndarray:
        """Four panels: quantiles, worm plot, distribution, residuals against fitted values.

        Returns
        -------
        (2, 2) array of matplotlib.axes.Axes

        See Also
        --------
        semistruct.plots.diagnostics.plot_diagnostics : What is drawn.
        """
        check_is_fitted(self)
        return plot_diagnostics(self.fit_, level=level, random_state=random_state)

    def _coefficient_covariance(self, cov_type: CovarianceKind | None) -> np.ndarray:
        fit = self.fit_
        kind = cov_type or self._cov_type()
        return covariance(fit.marginal, fit.problem, kind, cluster=fit.cluster)


def _values(
    at: str | Sequence[str] | Mapping[str, Sequence[Any]],
    training: pd.DataFrame | None,
    frame: pd.DataFrame,
) -> dict[str, list[Any]]:
    """The values of every column."""
    if isinstance(at, Mapping):
        return {name: list(np.atleast_1d(np.asarray(v, dtype=object))) for name, v in at.items()}
    found = {}
    for name in [at] if isinstance(at, str) else at:
        source = frame if training is None or name not in training else training
        if name not in source:
            raise DataError(f"no predictor reads a column {name!r}.")
        levels = source[name].dropna().unique()
        if pd.api.types.is_float_dtype(source[name].dtype) and len(levels) > 10:
            raise SpecificationError(
                f"{name!r} is a number with {len(levels)} values; say which, as in "
                f"{{{name!r}: [{np.min(levels):.3g}, {np.max(levels):.3g}]}}."
            )
        present = set(levels)
        dtype = source[name].dtype
        ordered = dtype.categories if isinstance(dtype, pd.CategoricalDtype) else sorted(levels)
        found[name] = [level for level in ordered if level in present]
    return found
