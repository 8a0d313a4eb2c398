"""Piecewise-exponential additive mixed models on tables plus images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted
from torch import nn

from semistruct.estimators._expanded import TIME_COLUMNS, ExpandedRows
from semistruct.estimators._fit import FitOptions, fit_model
from semistruct.estimators._hazard import HazardEstimator
from semistruct.estimators._specification import Formula, Specification, formula_terms
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Objective
from semistruct.families.piecewise_exponential import PiecewiseExponential
from semistruct.fitting.model import ModelFit
from semistruct.responses import PiecewiseExpansion, Surv
from semistruct.terms import add_terms, default_terms, s

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
        that varies with time, ``te(tend, age)`` a surface. None is ``s(tend)`` with every tabular
        column linear and every image column a ``cnn``.

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
    encoders, share_encoders, n_folds, n_repeats, max_epochs, batch_size, learning_rate, \
weight_decay, patience, orthogonalize, gate, smoothing, missing, device, n_jobs, progress, \
random_state
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
        Log hazard ratios of the parametric terms, indexed by (parameter, coefficient).
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

    _made: ClassVar[tuple[str, ...]] = TIME_COLUMNS
    _kind: ClassVar[str] = "PAMM"

    def __init__(
        self,
        formula: Formula | Mapping[str, Formula] = None,
        *,
        cuts: Any = None,
        max_intervals: int | None = None,
        gap_time: bool = False,
        encoders: Mapping[str, nn.Module] | None = None,
        share_encoders: bool = False,
        smoothing: Literal["reml", "ml", "gcv"] = "reml",
        n_folds: int = 5,
        n_repeats: int = 3,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        patience: int | None = None,
        orthogonalize: Literal["structured", "parametric", "none"] = "structured",
        gate: bool = True,
        cov_type: Literal["model", "sandwich", "cluster"] | None = None,
        missing: Literal["raise", "drop"] = "raise",
        device: str = "auto",
        n_jobs: int | None = None,
        progress: bool = True,
        random_state: Any = None,
    ) -> None:
        self.formula = formula
        self.cuts = cuts
        self.max_intervals = max_intervals
        self.gap_time = gap_time
        self.encoders = encoders
        self.share_encoders = share_encoders
        self.smoothing = smoothing
        self.n_folds = n_folds
        self.n_repeats = n_repeats
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.orthogonalize = orthogonalize
        self.gate = gate
        self.cov_type = cov_type
        self.missing = missing
        self.device = device
        self.n_jobs = n_jobs
        self.progress = progress
        self.random_state = random_state

    def expand(self, y: Any) -> PiecewiseExpansion:
        """Other follow-up, cut at the cut points of the fit."""
        check_is_fitted(self)
        return self.expansion_.expand(y)

    def _objective(self) -> Objective:
        return PiecewiseExponential()

    def _objective_of(self, response: Surv) -> Objective:
        causes = tuple(range(1, response.n_causes + 1))
        if len(causes) == 1 or self._stacked(causes):
            return PiecewiseExponential()
        return PiecewiseExponential(causes)

    def _stacked(self, causes: tuple[int, ...]) -> bool:
        """Whether one predictor, which names ``cause``, is that of all causes."""
        if len(causes) == 1 or self.formula is None or isinstance(self.formula, Mapping):
            return False
        terms = formula_terms(self.formula, tuple(self.encoders or ()))
        return any("cause" in term.reads for term in (*terms.structured, *terms.offsets))

    def _formulas(self, objective: Objective, frame: pd.DataFrame) -> Any:
        formula: Any = self.formula
        if formula is None:
            formula = add_terms([s("tend"), default_terms(frame)])
        if isinstance(formula, Mapping):
            return formula
        return dict.fromkeys(objective.param_names, formula)

    def _fit_rows(
        self,
        objective: Objective,
        specification: Specification,
        frame: pd.DataFrame,
        response: Surv,
        weight: np.ndarray,
        cluster: np.ndarray | None,
        options: FitOptions,
    ) -> ModelFit:
        expansion = PiecewiseExpansion.from_surv(
            response, self.cuts, max_intervals=self.max_intervals, gap_time=self.gap_time
        )
        _check_names(specification, frame)
        causes = expansion.causes
        encoded = self._encoded(objective, specification, frame, expansion)
        stacked = len(causes) > 1 and len(objective.param_names) == 1
        expanded = ExpandedRows.of(expansion, frame, _tabular(specification), stacked)
        if cluster is None:
            cluster = np.arange(len(frame))
        fitted = fit_model(
            specification, frame, encoded, weight, objective, cluster, options, expanded
        )
        self.expansion_ = expansion
        self.intervals_ = expansion.intervals
        self.causes_ = causes
        self.n_events_ = int(expansion.event.sum())
        self.reference_time_ = float(np.median(response.time[response.event]))
        return fitted

    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Any
    ) -> np.ndarray:
        # Where each cause has a predictor the rows of the first stand for all.
        K = len(objective.param_names)
        rows = len(y) // K
        return PiecewiseExponential.encode(y.event.reshape(K, rows).T, y.exposure[:rows])

    def _grid(self, frame: pd.DataFrame, cause: int) -> ExpandedRows:
        stacked = len(self.causes_) > 1 and len(self.family_.param_names) == 1
        return ExpandedRows.grid(
            self.intervals_,
            frame,
            _tabular(self.specification_),
            cause if stacked else None,
            self.causes_ if stacked else None,
        )


def _tabular(specification: Specification) -> tuple[str, ...]:
    """Columns that the structured terms read."""
    return tuple(
        dict.fromkeys(
            name
            for terms in specification.terms
            for term in (*terms.structured, *terms.offsets)
            for name in term.reads
            if name not in TIME_COLUMNS
        )
    )


def _check_names(specification: Specification, frame: pd.DataFrame) -> None:
    read = [
        name
        for terms in specification.terms
        for term in (*terms.structured, *terms.offsets)
        for name in term.reads
    ]
    taken = [name for name in TIME_COLUMNS if name in read and name in frame.columns]
    if taken:
        raise DataError(
            f"{taken[0]!r} in the formula stands for the intervals of time, but the table has a "
            "column of this name too; rename the column."
        )
    for term in (term for terms in specification.terms for term in terms.deep):
        made = [name for name in term.variables if name in TIME_COLUMNS]
        if made:
            raise SpecificationError(
                f"{term.label} reads {made[0]!r}, which differs between the intervals of a row; "
                "networks read what is the same in all of them, so that a picture is encoded once. "
                f"Use s({made[0]}) for the effect of time."
            )
