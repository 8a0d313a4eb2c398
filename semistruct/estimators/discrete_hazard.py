"""Survival in discrete time on tables plus images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats
from torch import Tensor, nn

from semistruct.estimators._bands import banded, check_level
from semistruct.estimators._interval_rows import IntervalEstimator
from semistruct.estimators._specification import Formula, Specification
from semistruct.exceptions import UnsupportedCombinationError
from semistruct.families import Objective
from semistruct.families.discrete_hazard import DiscreteHazards
from semistruct.inference.mixed_hazards import mixed_hazards
from semistruct.modality_dropout import DropRates
from semistruct.objectives.bound import Objectives
from semistruct.responses import PiecewiseExpansion, Surv

__all__ = ["DiscreteHazard"]


class DiscreteHazard(IntervalEstimator):
    """Additive model of the probability of an event in each interval of time.

    Parameters
    ----------
    formula : None, str, term, or mapping from ``"hazard_1"``, ``"hazard_2"``, ... to these
        As in :class:`~semistruct.PAMM`: ``"s(tend) + age + cnn(ct)"`` has a smooth baseline,
        ``"C(interval) + age"`` a free one. With competing causes every cause has the formula with
        coefficients of its own, or a mapping gives each its own.
    link : {"logit", "cloglog"}
        Of the hazard. "cloglog" has the coefficients of a proportional hazards model in continuous
        time; competing causes need the multinomial "logit".
    cuts, max_intervals
        As in :class:`~semistruct.PAMM`. Times are known as intervals ``(a, b]``; whole numbers
        are intervals of length one by ``cuts=np.arange(1, last + 1)``.
    encoders, share_encoders, pretraining, auxiliary, n_folds, n_repeats, max_epochs, batch_size, \
learning_rate, weight_decay, patience, modality_dropout, orthogonalize, gate, smoothing, discrete, \
cov_type, missing, device, n_jobs, checkpoint, progress, random_state
        As in :class:`~semistruct.PAMM`.

    Attributes
    ----------
    intervals_, causes_, params, bse, pvalues, reference_time_, loglik_, loglik_null_, edf_, \
smoothing_, history_, n_iter_, n_features_in_
        As in :class:`~semistruct.PAMM`; coefficients are log odds ratios (logit) or log hazard
        ratios (cloglog).

    Notes
    -----
    A censored subject counts as having survived an interval of which it saw half or more, a
    subject with delayed entry as having been at risk in it. Pictures are encoded once per subject.

    References
    ----------
    Tutz & Schmid (2016), Modeling Discrete Time-to-Event Data. Gensheimer & Narasimhan (2019),
    PeerJ 7, e6257 (the rule for censored subjects).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> table = pd.DataFrame({"age": rng.normal(size=1000)})
    >>> months = np.ceil(12 * rng.exponential(np.exp(-0.5 * table["age"])))
    >>> y = Surv(np.minimum(months, 24), months <= 24)
    >>> model = DiscreteHazard("s(tend) + age", link="cloglog", cuts=np.arange(1, 25))
    >>> round(float(model.fit(table, y).params["hazard", "age"]), 1)
    0.5
    """

    family_: DiscreteHazards

    def __init__(
        self,
        formula: Formula | Mapping[str, Formula] = None,
        *,
        link: Literal["logit", "cloglog"] = "logit",
        cuts: Any = None,
        max_intervals: int | None = None,
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
        self.link = link
        self.cuts = cuts
        self.max_intervals = max_intervals
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

    def predict_hazard(
        self, X: Any, *, cause: int | None = None, level: float | None = None
    ) -> pd.DataFrame:
        """Probability of an event in each interval for those who reach it.

        Parameters
        ----------
        X : DataFrame or array of n rows
        cause : int, optional
            With competing causes one of them; by default any.
        level : float, optional
            Of a single cause, adds a pointwise confidence band, symmetric on the scale of the
            link: columns are then ``(subject, "estimate" | "lower" | "upper")``.

        Returns
        -------
        DataFrame
            Ends of the intervals as rows, subjects as columns.

        Raises
        ------
        UnsupportedCombinationError
            If a band is asked for and there are several causes.
        """
        frame = self._new_rows(X)
        k = self._position(cause)
        etas = self._log_hazards(frame)
        hazards = self.family_.hazards(etas)
        found = hazards.sum(axis=0) if k is None else hazards[k]
        index = pd.Index(self.intervals_.ends, name="time")
        if level is None:
            return pd.DataFrame(found.T, index, frame.index)
        check_level(level)
        if len(self.causes_) > 1:
            raise UnsupportedCombinationError(
                "there is no band of the hazard where causes share an interval, since the "
                "probability of one depends on the predictors of all; "
                "predict_cumulative_incidence(level=) has bands."
            )
        V = self._used_covariance()
        se = np.vstack(
            [
                np.sqrt(np.einsum("ijp,pq,ijq->ij", design, V, design, optimize=True))
                for (design,), _ in self._design_chunks(frame, len(index))
            ]
        )
        half = stats.norm.ppf(0.5 + level / 2) * se
        lower, upper = (self.family_.hazards(etas + sign * half)[0] for sign in (-1, 1))
        return banded(found.T, lower.T, upper.T, index, frame.index)

    def _objective(self) -> Objective:
        return DiscreteHazards(link=self.link)

    def _objective_of(self, response: Surv) -> Objective:
        causes = tuple(range(1, response.n_causes + 1))
        if self._stacked(causes):
            raise UnsupportedCombinationError(
                "a formula that names 'cause' cannot be used in discrete time, where causes share "
                "an interval; give a mapping with a formula for each cause, or use PAMM."
            )
        return DiscreteHazards(causes, self.link)

    def _expansion(self, response: Surv) -> PiecewiseExpansion:
        found = PiecewiseExpansion.from_surv(response, self.cuts, max_intervals=self.max_intervals)
        K = len(found.causes)
        happened = found.event.reshape(K, -1).any(axis=0)
        length = found.intervals.lengths[found.interval]
        kept = np.tile(happened, K) | (found.exposure >= 0.5 * length)
        return replace(
            found,
            row=found.row[kept],
            interval=found.interval[kept],
            exposure=np.ones(int(kept.sum())),
            event=found.event[kept],
            cause=None if found.cause is None else found.cause[kept],
        )

    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Any
    ) -> np.ndarray:
        return y.event.reshape(len(y.causes), -1).T.astype(float)

    def _mixing(self, etas: Tensor) -> Tensor:
        return mixed_hazards(etas, self.link)

    def _cumulative(self, etas: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Minus log survival ``(n, T)``: a step function that jumps at the ends of intervals."""
        steps = np.cumsum(-self.family_.log_survival(etas), axis=-1)
        before = np.concatenate([np.zeros_like(steps[..., :1]), steps], axis=-1)
        return before[..., self._passed(times)]

    def _passed(self, times: np.ndarray) -> np.ndarray:
        """Number of intervals that are over at each time."""
        return np.searchsorted(self.intervals_.ends, times, side="right")

    def _cumulative_slopes(
        self, designs: Sequence[np.ndarray], etas: np.ndarray, times: np.ndarray
    ) -> np.ndarray:
        slopes = self.family_.log_survival_slopes(etas)
        slope = sum(w[..., None] * X for w, X in zip(slopes, designs, strict=True))
        steps = np.cumsum(slope, axis=1)
        return np.concatenate([np.zeros_like(steps[:, :1]), steps], axis=1)[:, self._passed(times)]

    def _incidences(self, etas: np.ndarray, times: np.ndarray) -> np.ndarray:
        ends = np.concatenate([[0.0], self.intervals_.ends[:-1]])
        survival = np.exp(-self._cumulative(etas, ends))  # on reaching each interval
        steps = np.cumsum(survival * self.family_.hazards(etas), axis=-1)
        before = np.concatenate([np.zeros_like(steps[..., :1]), steps], axis=-1)
        return before[..., self._passed(times)]
