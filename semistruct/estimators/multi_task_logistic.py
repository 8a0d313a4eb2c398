"""Survival as the distribution of an event over intervals of time: multi-task logistic, PMF."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import nn

from semistruct.estimators._follow_up import checked_times
from semistruct.estimators._specification import Formula, Specification
from semistruct.estimators._survival import SurvivalEstimator
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Objective
from semistruct.families.interval_probabilities import IntervalProbabilities
from semistruct.inference.covariance import covariance
from semistruct.modality_dropout import DropRates
from semistruct.objectives.bound import Objectives
from semistruct.responses import PiecewiseExpansion, Surv, TimeIntervals, as_surv

__all__ = ["MultiTaskLogistic"]

_DENSE = 4 * 10**6  # numbers held at a time for standard errors


class MultiTaskLogistic(SurvivalEstimator):
    """Probabilities of the intervals in which an event falls, each with a predictor of its own.

    Parameters
    ----------
    formula : None, str, term, or mapping from ``"interval_1"``, ``"interval_2"``, ... to these
        ``"age + cnn(ct)"`` is the predictor of every interval, with coefficients for each; one
        network reads the pictures for all of them, with weights for each. None is every tabular
        column linear and every image column a ``cnn``. With competing causes every cause has such
        predictors, ``"cause_1_interval_1"``, ...
    head : {"mtlr", "pmf"}
        What the predictors are: log odds of an event before the end of an interval against a later
        one, added up from the last interval (multi-task logistic regression), or log odds of every
        interval against no event in any.
    cuts, max_intervals
        As in :class:`~semistruct.PAMM`. As many sets of coefficients as there are intervals are
        estimated: a dozen intervals at quantiles of the event times, ``cuts=12``, is plenty.
    encoders, pretraining, auxiliary, checkpoint, n_folds, n_repeats, max_epochs, batch_size, \
learning_rate, weight_decay, patience, orthogonalize, gate, modality_dropout, smoothing, discrete, \
cov_type, missing, device, n_jobs, progress, random_state
        As in :class:`~semistruct.PAMM`.
    share_encoders : bool
        False trains a network for every interval.

    Attributes
    ----------
    intervals_ : TimeIntervals
    causes_ : tuple of int
    params, bse, pvalues : Series
        Log odds ratios, their standard errors and p-values, indexed by
        (parameter, coefficient).
    reference_time_, loglik_, loglik_null_, edf_, smoothing_, history_, n_iter_, n_features_in_
        As in :class:`~semistruct.PAMM`.

    Notes
    -----
    Nothing relates the hazards of different subjects: effects may vary with time as they like, and
    survival curves may cross. A censored subject counts as having survived an interval of which it
    saw half or more. See
    :class:`~semistruct.families.interval_probabilities.IntervalProbabilities` for the likelihood.

    References
    ----------
    Yu, Greiner, Lin & Baracos (2011), NeurIPS 24. Fotso (2018), Deep neural networks for survival
    analysis based on a multi-task framework, arXiv:1801.05512. Kvamme & Borgan (2021), Lifetime
    Data Analysis 27, 710-736.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> table = pd.DataFrame({"age": rng.normal(size=500)})
    >>> time = rng.exponential(np.exp(-table["age"]))
    >>> y = Surv(np.minimum(time, 2.0), time < 2.0)
    >>> model = MultiTaskLogistic("age", cuts=6).fit(table, y)
    >>> bool(model.score(table, y) > 0.7)
    True
    >>> model.predict_survival_function(table[:2], times=[0.5, 1.0]).shape
    (2, 2)
    """

    family_: IntervalProbabilities
    intervals_: TimeIntervals
    causes_: tuple[int, ...]
    reference_time_: float
    follow_up_: Surv

    def __init__(
        self,
        formula: Formula | Mapping[str, Formula] = None,
        *,
        head: Literal["mtlr", "pmf"] = "mtlr",
        cuts: Any = 12,
        max_intervals: int | None = None,
        encoders: Mapping[str, nn.Module] | None = None,
        share_encoders: bool = True,
        smoothing: Literal["reml", "ml", "gcv"] = "reml",
        discrete: bool | None = None,
        pretraining: Objectives = None,
        auxiliary: Objectives = None,
        n_folds: int = 5,
        n_repeats: int = 2,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        patience: int | None = None,
        orthogonalize: Literal["structured", "parametric", "none"] = "structured",
        gate: bool = True,
        modality_dropout: DropRates = None,
        cov_type: Literal["model", "sandwich", "cluster"] | None = None,
        missing: Literal["raise", "drop"] = "raise",
        device: str = "auto",
        n_jobs: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        random_state: Any = None,
    ) -> None:
        self.formula = formula
        self.head = head
        self.cuts = cuts
        self.max_intervals = max_intervals
        self.encoders = encoders
        self.share_encoders = share_encoders
        self.smoothing = smoothing
        self.discrete = discrete
        self.pretraining = pretraining
        self.auxiliary = auxiliary
        self.n_folds = n_folds
        self.n_repeats = n_repeats
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.orthogonalize = orthogonalize
        self.gate = gate
        self.modality_dropout = modality_dropout
        self.cov_type = cov_type
        self.missing = missing
        self.device = device
        self.n_jobs = n_jobs
        self.checkpoint = checkpoint
        self.progress = progress
        self.random_state = random_state

    def predict(self, X: Any) -> np.ndarray:
        """Log cumulative hazard at the median event time, ``(n,)``; larger is riskier."""
        hazard = self._hazards(self._new_rows(X), np.array([self.reference_time_]))[0]
        return np.log(np.maximum(hazard, np.finfo(float).tiny))

    def predict_probabilities(self, X: Any, *, cause: int | None = None) -> pd.DataFrame:
        """Probability of an event in each interval: ends of intervals as rows.

        Parameters
        ----------
        X : DataFrame or array of n rows
        cause : int, optional
            With competing causes one of them; by default any.
        """
        frame = self._new_rows(X)
        p = self.family_.probabilities(self._eta(frame))
        k = self._position(cause)
        found = p.sum(axis=0) if k is None else p[k]
        return pd.DataFrame(found.T, pd.Index(self.intervals_.ends, name="time"), frame.index)

    def predict_cumulative_incidence(
        self, X: Any, times: Any = None, *, cause: int | None = None
    ) -> pd.DataFrame:
        """Probability of an event of each cause until each time: times as rows.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            By default the ends of all intervals.
        cause : int, optional
            By default all causes: columns ``(cause, subject)``.
        """
        frame = self._new_rows(X)
        grid = self.intervals_.ends if times is None else checked_times(times)
        self._position(cause)
        index = pd.Index(grid, name="time")
        steps = np.cumsum(self.family_.probabilities(self._eta(frame)), axis=-1)
        found = np.concatenate([np.zeros_like(steps[..., :1]), steps], axis=-1)
        tables = {
            name: pd.DataFrame(found[k][:, self._passed(grid)].T, index, frame.index)
            for k, name in enumerate(self.causes_)
        }
        return tables[cause] if cause is not None else pd.concat(tables, axis=1, names=["cause"])

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Harrell's concordance of :meth:`predict` with the follow-up; events of any cause count.

        See :meth:`CoxPH.score`.
        """
        surv = as_surv(self._given_response(self._new_rows(X), y))
        return super().score(X, Surv(surv.time, surv.event, surv.entry), sample_weight)

    def _objective(self) -> Objective:
        return IntervalProbabilities(1, head=self.head)

    def _learn_response(self, response: Surv, weight: np.ndarray) -> tuple[Surv, np.ndarray]:
        used = response[np.flatnonzero(weight > 0)]
        if used.id is not None and pd.Series(used.id).duplicated().any():
            raise DataError(
                "several rows have the same id; here a row is a subject, and its columns do not "
                "change. Use PAMM or DiscreteHazard for rows that change or return."
            )
        expansion = PiecewiseExpansion.from_surv(used, self.cuts, max_intervals=self.max_intervals)
        self.intervals_, self.causes_ = expansion.intervals, expansion.causes
        return response, weight

    def _objective_of(self, response: Surv) -> Objective:
        return IntervalProbabilities(len(self.intervals_), self.causes_, self.head)

    def _formulas(self, objective: Objective, frame: pd.DataFrame, response: Any) -> Any:
        if isinstance(self.formula, Mapping):
            return self.formula
        return dict.fromkeys(objective.param_names, self.formula)

    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Surv
    ) -> np.ndarray:
        self.follow_up_ = y
        self.n_events_ = int((y.event & (y.time <= self.intervals_.ends[-1])).sum())
        self.reference_time_ = float(np.median(y.time[y.event]))
        starts, ends = self.intervals_.starts, self.intervals_.ends
        happened = y.event & (y.time <= ends[-1])
        here = np.searchsorted(ends, y.time, side="left")
        # Half of an interval is as good as all of it; see DiscreteHazard.
        survived = np.searchsorted((starts + ends) / 2, y.time, side="right")
        entry = np.zeros(len(y)) if y.entry is None else y.entry
        entered = np.searchsorted(ends, entry, side="right")
        number = np.where(happened, here, np.maximum(survived, entered))
        return IntervalProbabilities.encode(number, np.where(happened, y.cause, 0), entered)

    def _position(self, cause: int | None) -> int | None:
        if cause is None:
            return 0 if len(self.causes_) == 1 else None
        if cause not in self.causes_:
            raise SpecificationError(f"cause must be one of {self.causes_}, got {cause!r}.")
        return self.causes_.index(cause)

    def _event_times(self) -> np.ndarray:
        return self.intervals_.ends

    def _end_of_follow_up(self) -> float:
        return float(self.intervals_.ends[-1])

    def _stratum(self, frame: pd.DataFrame) -> np.ndarray:
        return np.zeros(len(frame), dtype=int)

    def _training_rows(self) -> tuple[pd.DataFrame | None, Surv]:
        return self.fit_.frame, self.follow_up_

    def _passed(self, times: np.ndarray) -> np.ndarray:
        """Number of intervals that are over at each time."""
        return np.searchsorted(self.intervals_.ends, times, side="right")

    def _eta(self, frame: pd.DataFrame) -> np.ndarray:
        return self.fit_.eta(frame, self._device())

    def _hazards(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        return -self.family_.log_survival(self._eta(frame))[:, self._passed(times)].T

    def _hazard_errors(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        V = self._used_covariance()
        found = [
            np.sqrt(np.maximum(np.einsum("itp,pq,itq->it", slopes, V, slopes, optimize=True), 0.0))
            for slopes, _ in self._slopes(frame, times)
        ]
        return np.vstack(found).T

    def _average_survival_error(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        V = self._used_covariance()
        total: Any = 0.0
        for slopes, survival in self._slopes(frame, times):
            total = total + np.einsum("it,itp->tp", survival, slopes) / len(frame)
        return np.sqrt(np.einsum("tp,pq,tq->t", total, V, total))

    def _slopes(
        self, frame: pd.DataFrame, times: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For some rows at a time slopes ``(m, T, P)`` of cumulative hazards, and survival."""
        fit, passed = self.fit_, self._passed(times)
        used = fit.marginal if fit.deep is None else fit.deep.fit
        eta = self._eta(frame)
        step = max(1, _DENSE // (len(times) * len(used.beta)))
        for start in range(0, len(frame), step):
            rows = slice(start, start + step)
            part = frame.iloc[rows]
            slope = self.family_.log_survival_slopes(eta[rows])[:, passed]
            found = np.concatenate(
                [
                    slope[:, :, [k]] * design.block(part).dense()[:, None, :]
                    for k, design in enumerate(fit.problem.designs)
                ],
                axis=2,
            )
            yield found, np.exp(self.family_.log_survival(eta[rows])[:, passed])

    def _used_covariance(self) -> np.ndarray:
        """Covariance ``(P, P)`` of the coefficients that predictions use."""
        fit = self.fit_
        kind = self.cov_type or ("cluster" if self.specification_.cluster else "model")
        used = fit.marginal if fit.deep is None else fit.deep.fit
        return covariance(used, fit.problem, kind, cluster=fit.cluster)
