# Longer than 400 lines because scikit-learn asks one class for all predictions of an estimator.
"""Distributional regression on tables plus images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from torch import nn

from semistruct.estimators._base import SemiStructuredEstimator
from semistruct.estimators._follow_up import response_of_call
from semistruct.estimators._input import (
    central_levels,
    quantile_levels,
    response_columns,
    response_values,
)
from semistruct.estimators._lifetimes import (
    as_censored,
    banded_survival,
    event_times,
    hazard_frame,
    survival_frame,
)
from semistruct.estimators._mixtures import mixed_quantiles, mixed_sample
from semistruct.estimators._specification import Formula, Specification
from semistruct.evaluation.concordance import concordance_index
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.families import Censored, Family, Objective, resolve_family
from semistruct.families.classes import ClassFamily
from semistruct.fitting.score_nodes import Nodes
from semistruct.inference.delta import delta_errors, predictor_covariance
from semistruct.inference.survival_curves import BandTransform
from semistruct.modality_dropout import DropRates
from semistruct.objectives.bound import Objectives
from semistruct.responses import Interval
from semistruct.terms import ResponseCall

__all__ = ["SemiStructuredRegressor"]


class SemiStructuredRegressor(RegressorMixin, SemiStructuredEstimator):
    """Regression whose every distribution parameter has additive and deep terms.

    Parameters
    ----------
    formula : None, str, term, or mapping from parameter names to these
        ``"price ~ bedrooms + s(area) + cnn(frontal)"`` describes the first parameter; a mapping
        describes several: ``{"loc": ..., "scale": "s(area)"}``. None is every tabular column
        linear and every image column a ``cnn``.
    family : str or Family
        Distribution of the response: ``"normal"``, ``"lognormal"``, ``"gamma"``, ``"poisson"``,
        ``"bernoulli"``, or an instance with other links. With ``"dirichlet"`` and
        ``"multivariate_normal"`` the response has several columns.
    encoders : mapping of str to torch.nn.Module, optional
        Networks of your own by the names used in the formula. They are copied, never changed.
    share_encoders : bool
        Whether the same deep term in two parameters is read by one network.
    pretraining : objective or sequence of these, optional
        From :mod:`semistruct.objectives`. Their weighted sum is minimised before the networks are
        trained for the response, within every fold and on its training rows only.
    auxiliary : objective or sequence of these, optional
        Added to the loss of the response while the networks are trained, each times its weight.
    smoothing : {"reml", "ml", "gcv"}
        How smoothing parameters are chosen.
    discrete : bool, optional
        Whether curves are fitted at up to 1,000 binned values of each variable, as by mgcv's
        ``bam(discrete=TRUE)``, which is faster and changes estimates by far less than their
        standard errors; predictions are made at the values themselves. By default from 50,000
        rows on.
    n_folds : int
        Folds of the cross-fit; 1 holds a fifth of the rows out, once.
    n_repeats : int
        Networks per fold; their scores are averaged.
    max_epochs, batch_size, patience : int, optional
        See :class:`~semistruct.fitting.members.TrainingOptions`; by default they follow the
        number of rows.
    learning_rate, weight_decay : float
        Of AdamW, for the networks.
    modality_dropout : float, mapping of column to float, or "one", optional
        How often columns of pictures and tensors count as absent while networks are trained, so
        that these learn to do without: a probability, one for each column, or "one", exactly one
        of the columns that a row has, where it has at least two. Nothing is set to zero.
    orthogonalize : {"structured", "parametric", "none"}
        What the deep scores are made orthogonal to: linear terms and smooths, linear terms only,
        or nothing.
    gate : bool
        Whether a deep term that does not help on unseen rows is dropped.
    cov_type : {"model", "sandwich", "cluster"}, optional
        By default "cluster" with ``cluster()`` in the formula, "sandwich" with deep terms, else
        "model".
    missing : {"raise", "drop"}
        What to do with training rows that lack tabular values. Missing pictures are allowed.
    device : str
        Where networks are trained: "auto" is CUDA where there is one.
    n_jobs : int, optional
        Networks trained at the same time; changes no number.
    checkpoint : str or path, optional
        Folder in which every trained network is kept. A fit that was interrupted goes on where it
        stopped when it is called again with the same data, options and seed; networks of anything
        else are not taken for its own. Needs an integer ``random_state``. What is there may be
        deleted once the model is fitted.
    progress : bool
        Whether to draw a progress bar while networks are trained.
    random_state : int, RandomState or None

    Attributes
    ----------
    params, bse, pvalues : Series
        Parametric coefficients of the default estimand, their standard errors and p-values,
        indexed by (parameter, coefficient).
    loglik_, loglik_null_ : float
        Log-likelihood of the table model and of constants.
    edf_ : Series
        Effective degrees of freedom per term of the table model.
    smoothing_ : Series
        Smoothing parameters, in mgcv's units.
    history_ : DataFrame
        Training of the networks; empty without deep terms. ``train_NAME`` and ``held_out_NAME``
        are the values of every auxiliary objective.
    pretraining_history_ : DataFrame
        The same for the objectives of pre-training; empty without.
    n_iter_ : int
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    The table model is fitted first and kept: its coefficients answer "what is the best model
    *without* the picture" (``estimand="marginal"``). The networks are cross-fitted; their scores
    are made orthogonal to the table's columns by a projection that is learned once and stored,
    and kept only if they help on unseen rows. Predictions are row by row.

    ``predict`` is the mean of the response, for the lognormal too; ``predict_quantile(X, 0.5)``
    is the median.

    Pictures may be missing, in training and in prediction. A row without its picture is predicted
    by the mixture of the distributions that the picture could have led to, given the table: what
    the deep score may be is learned from out-of-fold scores of the rows that have pictures. The
    mixture is wider than the distribution of a row whose picture is known.
    :meth:`table_model` predicts from the table alone.

    With ``Surv(time, event, entry=)`` or ``Interval(lower, upper)`` as response a continuous family
    is fitted to censored and truncated data; ``"weibull"``, ``"exponential"``, ``"lognormal"`` and
    ``"log_logistic"`` are then the usual accelerated failure time models.

    References
    ----------
    Rügamer, D., Kolb, C. and Klein, N. (2024). Semi-structured distributional regression. The
    American Statistician 78, 88-99.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"area": rng.uniform(1, 3, 200), "rooms": rng.integers(1, 6, 200)})
    >>> price = np.sin(2 * table["area"]) + 0.5 * table["rooms"] + rng.normal(0, 0.1, 200)
    >>> model = SemiStructuredRegressor("s(area) + rooms").fit(table, price)
    >>> round(float(model.params["loc", "rooms"]), 1)
    0.5
    """

    family_: Family

    def __init__(
        self,
        formula: Formula | Mapping[str, Formula] = None,
        family: str | Family = "normal",
        *,
        encoders: Mapping[str, nn.Module] | None = None,
        share_encoders: bool = False,
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

    def predict(self, X: Any, *, se: bool = False) -> Any:
        """Mean of the response.

        Parameters
        ----------
        X : DataFrame or array
        se : bool
            Whether the standard errors of the means are wanted.

        Returns
        -------
        (n,) array, ``(n, D)`` for a response of D columns; with ``se`` a DataFrame with columns
        ``mean`` and ``se``.

        Notes
        -----
        The standard errors are those of the delta method with ``cov_type``, smoothing parameters
        counted as known: of the mean, not of a new response, which is what
        :meth:`predict_interval` is about.
        """
        frame = self._new_rows(X)
        nodes = self._nodes(frame)
        mean = nodes.mean(self.family_.mean(torch.from_numpy(nodes.values)).numpy())
        if not se:
            return mean
        self._require_one_column("standard errors")
        spread = self._predictor_covariance(frame)
        errors = delta_errors(self.family_.mean, torch.from_numpy(nodes.values), spread)
        return pd.DataFrame({"mean": mean, "se": errors}, index=frame.index)

    def predict_params(self, X: Any) -> pd.DataFrame:
        """Parameters of the predictive distribution on their natural scale, one column each.

        A row that lacks a picture has a mixture of distributions for its prediction; what stands
        here are then the parameters at the mean of what its deep score may be. All other methods
        predict from the mixture.
        """
        frame = self._new_rows(X)
        eta = torch.from_numpy(self.fit_.eta(frame, self._device()))
        theta = self.family_.theta(eta).numpy()
        return pd.DataFrame(theta, columns=list(self.family_.param_names), index=frame.index)

    def predict_quantile(self, X: Any, q: float | list[float] = 0.5) -> Any:
        """Quantiles of the predictive distribution.

        Parameters
        ----------
        X : DataFrame or array
        q : float or sequence of float
            Levels between 0 and 1.

        Returns
        -------
        (n,) array for one level, DataFrame with a column per level otherwise.
        """
        levels = quantile_levels(q)
        frame = self._new_rows(X)
        self._require_one_column("quantiles")
        values = mixed_quantiles(self.family_, self._nodes(frame), levels)
        if np.ndim(q) == 0:
            return values[0]
        return pd.DataFrame(values.T, columns=levels, index=frame.index)

    def predict_interval(self, X: Any, level: float = 0.9) -> pd.DataFrame:
        """Central interval of the predictive distribution: columns ``lower`` and ``upper``.

        Notes
        -----
        It covers the response given the estimated parameters; the uncertainty of the parameters
        is not added. The scale is estimated from rows the networks had not seen.
        """
        table = self.predict_quantile(X, central_levels(level))
        return table.set_axis(["lower", "upper"], axis=1)

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw responses from the predictive distribution, ``(n_samples, n)``."""
        seed = check_random_state(random_state).randint(2**31 - 1)
        generator = torch.Generator().manual_seed(int(seed))
        nodes = self._nodes(self._new_rows(X))
        return mixed_sample(self.family_, nodes, int(n_samples), generator)

    def predict_survival_function(
        self,
        X: Any,
        times: Any = None,
        *,
        level: float | None = None,
        transform: BandTransform = "log",
    ) -> pd.DataFrame:
        """Probabilities that the response exceeds ``times``, times as rows, subjects as columns.

        With a censored lifetime as response this is the survival function of an accelerated
        failure time model.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            By default the responses of the training rows that are known exactly.
        level : float, optional
            Adds a pointwise confidence band by the delta method, in which smoothing parameters
            count as known: columns are then ``(subject, "estimate" | "lower" | "upper")``.
        transform : {"log", "log-log", "plain"}
            Scale on which the band is symmetric.
        """
        frame = self._new_rows(X)
        self._require_one_column("survival functions")
        nodes = self._nodes(frame)
        survival = survival_frame(self.family_, nodes, self._times(times), frame.index)
        if level is None:
            return survival
        spread = self._predictor_covariance(frame)
        eta = torch.from_numpy(nodes.values)
        return banded_survival(self.family_, eta, spread, survival, level, transform)

    def predict_cumulative_hazard(self, X: Any, times: Any = None) -> pd.DataFrame:
        """Minus the logarithm of :meth:`predict_survival_function`."""
        frame = self._new_rows(X)
        self._require_one_column("hazards")
        return hazard_frame(self.family_, self._nodes(frame), self._times(times), frame.index)

    def predict_median(self, X: Any) -> pd.Series:
        """Medians of the response."""
        frame = self._new_rows(X)
        return pd.Series(self.predict_quantile(X, 0.5), frame.index, name="median")

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """Log-density (or log-probability) of each response, ``(n,)``.

        Of a censored response the log-probability of what is known of it.
        """
        nodes = self._nodes(self._new_rows(X))
        encoded = self.family_.validate(self._values(y, nodes.n))
        own = torch.from_numpy(encoded[nodes.row])
        eta = torch.from_numpy(nodes.values)
        return nodes.logmean(self.family_.contributions(eta, own).numpy())

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R2 of the means; with ``Surv`` concordance of the medians, with ``Interval`` log-score.

        Parameters
        ----------
        X : DataFrame or array
        y : array, Surv or Interval
            The log-score is the mean of :meth:`log_prob`.
        sample_weight : (n,) array-like, optional
        """
        censored = as_censored(y)
        if censored is None:
            return float(super().score(X, y, sample_weight))
        if isinstance(censored, Interval):
            return float(np.average(self.log_prob(X, censored), weights=sample_weight))
        later = self.predict_median(X).to_numpy()
        return float(concordance_index(censored, -later, sample_weight=sample_weight))

    def _objective(self) -> Family:
        family = resolve_family(self.family)
        if isinstance(family, ClassFamily):
            raise UnsupportedCombinationError(
                f"{family!r} is of classes and not of numbers; use SemiStructuredClassifier."
            )
        return family

    def _objective_of(self, response: Any) -> Family:
        family = self._objective()
        if isinstance(response, np.ndarray) or isinstance(family, Censored):
            return family
        return Censored(family)  # type: ignore[arg-type]  # it refuses what it cannot censor

    def _values(self, y: Any, n: int) -> Any:
        censored = as_censored(y)
        if censored is None:
            several = self._objective().columns > 1
            return response_columns(y, n) if several else response_values(y, n)
        if len(censored) != n:
            raise DataError(f"y has {len(censored)} rows and the table {n}.")
        return censored

    def _subjects(self, y: Any) -> np.ndarray | None:
        subjects = getattr(y, "id", None)
        return None if subjects is None else np.asarray(subjects, dtype=object)

    def _response(
        self, left: str | ResponseCall | None, frame: pd.DataFrame, y: Any
    ) -> tuple[Any, str]:
        if left is not None and y is not None:
            raise SpecificationError(
                f"the response is given twice: as {str(left)!r} in the formula and as y. Leave one "
                "out."
            )
        if isinstance(left, ResponseCall):
            return response_of_call(left, frame), str(left)
        if left is not None:
            if left not in frame.columns:
                raise DataError(f"the table has no column {left!r}, which the formula names.")
            y = frame[left]
        values = self._values(y, len(frame))
        kind = "y" if isinstance(values, np.ndarray) else type(values).__name__
        return values, left or str(getattr(y, "name", None) or kind)

    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Any
    ) -> np.ndarray:
        encoded = cast(Family, objective).validate(y)
        if isinstance(objective, Censored):
            objective.require_information(encoded)
        return encoded

    def _require_one_column(self, what: str) -> None:
        if self.family_.columns > 1:
            raise UnsupportedCombinationError(
                f"{what} are of a response of one column, and this one has "
                f"{self.family_.columns}; use predict_params(), or compute them from sample()."
            )

    def _nodes(self, frame: pd.DataFrame) -> Nodes:
        return self.fit_.node_etas(frame, self._device())

    def _times(self, times: Any) -> Any:
        return event_times(self.fit_.problem.y) if times is None else times

    def _predictor_covariance(self, frame: pd.DataFrame) -> np.ndarray:
        """Covariance of the predictors of new rows, ``(n, K, K)``."""
        if self.fit_.deep is not None:
            raise UnsupportedCombinationError(
                "standard errors of predictions need a model without deep terms: the uncertainty "
                "of a network is not in the covariance of the coefficients. Use "
                "predict_interval(), or leave the deep terms out."
            )
        blocks = [design.block(frame) for design in self.fit_.problem.designs]
        return predictor_covariance(blocks, self._coefficient_covariance(None))
