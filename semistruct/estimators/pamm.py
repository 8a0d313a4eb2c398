"""Piecewise-exponential additive mixed models on tables plus images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted
from torch import nn

from semistruct.estimators._hazard import HazardEstimator
from semistruct.estimators._specification import Formula, Specification
from semistruct.estimators.transitions import transition_probabilities
from semistruct.families import Objective
from semistruct.families.piecewise_exponential import PiecewiseExponential
from semistruct.modality_dropout import DropRates
from semistruct.objectives.bound import Objectives
from semistruct.responses import PiecewiseExpansion, Surv

__all__ = ["PAMM"]


class PAMM(HazardEstimator):
    """Additive model of the log hazard over time, fitted to rows of intervals.

    Parameters
    ----------
    formula : None, str, term, or mapping from ``"hazard_1"``, ``"hazard_2"``, ... to these
        ``"s(tend) + age + s(bmi) + cnn(ct)"``. Beside the columns of the table a formula may name
        ``tend`` and ``tstart``, the ends of the interval of time, ``interval``, its number, and
        with competing causes ``cause``: ``s(tend)`` is a smooth baseline hazard, ``C(interval)``
        a free one, ``s(tend, by=stage)`` a baseline for each stage or, with numbers, an effect
        that varies with time, ``te(tend, age)`` a surface. None is ``s(tend)`` (with fewer than
        five intervals ``C(interval)``), every tabular column linear, every image column a ``cnn``.

        With competing causes every cause has the formula with coefficients of its own; a mapping
        gives each cause its own formula; and a formula that names ``cause`` is one predictor for
        all of them, in which what is not combined with ``cause`` is shared.
    cuts : array-like, int or None
        Cut points of time; how many intervals, cut at quantiles of the event times; or None:
        every event time, at most ``max_intervals``.
    max_intervals : int, optional
        Where ``cuts`` is None.
    gap_time : bool
        Whether time runs from the previous event of a subject instead of from zero.
    encoders, share_encoders, pretraining, auxiliary, n_folds, n_repeats, max_epochs, batch_size, \
learning_rate, weight_decay, patience, modality_dropout, orthogonalize, gate, smoothing, discrete, \
missing, device, n_jobs, checkpoint, progress, random_state
        As in :class:`~semistruct.SemiStructuredRegressor`. With ``share_encoders`` one network
        reads the pictures for all causes, with weights for each.
    cov_type : {"model", "sandwich", "cluster"}, optional
        By default "cluster" with ``cluster()`` in the formula or with deep terms, over subjects,
        else "model".

    Attributes
    ----------
    intervals_ : TimeIntervals
        ``intervals_.cuts`` are the cut points.
    causes_ : tuple of int
    params, bse, pvalues : Series
        Log hazard ratios of the parametric terms, their standard errors and p-values, indexed by
        (parameter, coefficient).
    reference_time_ : float
        Median event time, at which :meth:`predict` compares.
    loglik_, loglik_null_, edf_, smoothing_, history_, n_iter_, n_features_in_
        As in :class:`~semistruct.SemiStructuredRegressor`.

    Notes
    -----
    With hazards that are constant in intervals ``(a, b]`` the likelihood of censored and truncated
    follow-up is that of Poisson counts with the time under observation as exposure, so that an
    additive model of the hazard is an additive Poisson model of the expanded rows. Terms that do
    not vary within a row of the data are evaluated once for it, and its pictures are encoded once,
    however many intervals it has.

    Everybody is administratively censored at the last cut point; hazards are known up to there.

    References
    ----------
    Bender, Groll & Scheipl (2018), Statistical Modelling 18, 299-321. Kopper et al. (2022),
    DeepPAMM, PAKDD.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> table = pd.DataFrame({"age": rng.normal(size=1000)})
    >>> time = rng.exponential(np.exp(-0.5 * table["age"]))
    >>> y = Surv(np.minimum(time, 2.0), time < 2.0)
    >>> model = PAMM("s(tend) + age", cuts=20).fit(table, y)
    >>> round(float(model.params["hazard", "age"]), 1)
    0.5
    >>> model.predict_survival_function(table[:2], times=[0.5, 1.0]).shape
    (2, 2)
    """

    def __init__(
        self,
        formula: Formula | Mapping[str, Formula] = None,
        *,
        cuts: Any = None,
        max_intervals: int | None = None,
        gap_time: bool = False,
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
        self.cuts = cuts
        self.max_intervals = max_intervals
        self.gap_time = gap_time
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

    def expand(self, y: Any) -> PiecewiseExpansion:
        """Other follow-up, cut at the cut points of the fit."""
        check_is_fitted(self)
        return self.expansion_.expand(y)

    def predict_transition_probability(
        self, X: Any, times: Any = None, *, start: float = 0.0
    ) -> pd.DataFrame:
        """Probability of each state at each time, for those without event at ``start``.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            From ``start`` to the last cut point; by default the ends of all later intervals.
        start : float
            When the rows are known to have had no event.

        Returns
        -------
        DataFrame
            Times as rows, columns ``(state, subject)``: state 0 is no event, the others are the
            causes. With ``start=0`` they are :meth:`predict_survival_function` and
            :meth:`predict_cumulative_incidence`.

        See Also
        --------
        semistruct.transition_probabilities : Of states that can be left again.
        """
        check_is_fitted(self)
        found = transition_probabilities({(0, self.causes_): self}, X, times, start=start)
        return found[0]

    def _objective(self) -> Objective:
        return PiecewiseExponential()

    def _objective_of(self, response: Surv) -> Objective:
        causes = tuple(range(1, response.n_causes + 1))
        return PiecewiseExponential((1,) if self._stacked(causes) else causes)

    def _expansion(self, response: Surv) -> PiecewiseExpansion:
        return PiecewiseExpansion.from_surv(
            response, self.cuts, max_intervals=self.max_intervals, gap_time=self.gap_time
        )

    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Any
    ) -> np.ndarray:
        # Where each cause has a predictor the rows of the first stand for all.
        K = len(objective.param_names)
        rows = len(y) // K
        return PiecewiseExponential.encode(y.event.reshape(K, rows).T, y.exposure[:rows])
