"""Cox's proportional hazards model on tables plus images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted
from torch import nn

from semistruct.estimators._cox_curves import CoxCurves
from semistruct.estimators._fit import FitOptions, fit_model
from semistruct.estimators._specification import Formula, Specification
from semistruct.exceptions import (
    DataError,
    DataWarning,
    SpecificationError,
    UnsupportedCombinationError,
)
from semistruct.families import Objective
from semistruct.families.cox import ENTRY, EVENT, TIME, BoundCox, CoxPartialLikelihood
from semistruct.fitting.model import ModelFit
from semistruct.fitting.sampled_controls import SampledControls
from semistruct.fitting.score_nodes import Nodes
from semistruct.inference.proportional_hazards import TimeTransform, proportional_hazards_test
from semistruct.losses import (
    cox_deviance_residuals,
    cox_martingale_residuals,
    cox_schoenfeld_residuals,
    cox_score_residuals,
)
from semistruct.losses.cox import Ties
from semistruct.modality_dropout import DropRates
from semistruct.objectives.bound import Objectives
from semistruct.responses import Surv
from semistruct.terms import ResponseCall

__all__ = ["CoxPH"]

Residual = Literal["martingale", "deviance", "score", "dfbeta", "schoenfeld"]


class CoxPH(CoxCurves):
    """Cox regression whose log hazard ratio has additive and deep terms.

    Parameters
    ----------
    formula : None, str or term
        ``"age + s(bmi) + strata(center) + cnn(ct)"``, with the response as ``y``, or
        ``"Surv(time, event) ~ age + cnn(ct)"``. ``strata()`` gives each combination of its columns
        a baseline hazard of its own; ``cluster()`` asks for robust standard errors over subjects;
        ``re(id)`` is a shared Gaussian frailty. None is every tabular column linear and every
        image column a ``cnn``.
    ties : {"efron", "breslow"}
        Treatment of tied event times.
    risk_sets : {"batch", "full", "controls"}
        Who is at risk while networks are trained: the rows of the mini-batch, or all training
        rows, at one exact step per epoch in the memory of one batch, or beside every event some
        ``n_controls`` of those at risk, drawn anew in every epoch. What is reported always comes
        from full risk sets.
    n_controls : int
        See ``risk_sets``.
    encoders, share_encoders, pretraining, auxiliary, n_folds, n_repeats, max_epochs, batch_size, \
learning_rate, weight_decay, patience, modality_dropout, orthogonalize, gate, discrete, missing, \
device, n_jobs, checkpoint, progress, random_state
        As in :class:`~semistruct.SemiStructuredRegressor`.
    smoothing : {"reml", "ml"}
        How smoothing parameters are chosen: by the Laplace approximation of the restricted or
        marginal partial likelihood.
    cov_type : {"model", "sandwich", "cluster"}, optional
        By default "cluster" with ``cluster()`` in the formula, "sandwich" (Lin and Wei 1989) with
        deep terms, else "model".

    Attributes
    ----------
    params, bse, pvalues : Series
        Log hazard ratios of the parametric terms, their standard errors and p-values, indexed by
        (parameter, coefficient).
    strata_ : MultiIndex or None
        Combinations of the columns of ``strata()`` that have a baseline.
    n_events_ : int
    curves_ : SurvivalCurves
        Baseline hazard with what the bands of survival curves need.
    loglik_, loglik_null_, edf_, smoothing_, history_, n_iter_, n_features_in_
        As in :class:`~semistruct.SemiStructuredRegressor`; the likelihood is the partial one.

    Notes
    -----
    Rows of a subject with time-varying columns are intervals, ``Surv(time, event, entry, id)``.
    Each may have a picture of its own; rows of a subject that share one encode it once.

    The networks are trained on mini-batches with the risk sets within the batch, in which events
    have their share; every number that is reported or used in a prediction comes from the
    partial likelihood of the full cohort, maximised by Newton's method.

    References
    ----------
    Cox (1972), J. R. Stat. Soc. B 34. Lin & Wei (1989), JASA 84. Therneau & Grambsch (2000),
    Modeling Survival Data.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"age": rng.normal(size=300), "sex": rng.choice(["f", "m"], 300)})
    >>> time = rng.exponential(np.exp(-0.5 * table["age"]))
    >>> y = Surv(np.minimum(time, 2.0), time < 2.0)
    >>> model = CoxPH("age + sex").fit(table, y)
    >>> round(float(model.params["log_hazard", "age"]), 1)
    0.5
    >>> model.predict_survival_function(table[:2], times=[0.5, 1.0]).shape
    (2, 2)
    """

    family_: CoxPartialLikelihood

    _has_strata: ClassVar[bool] = True

    def __init__(
        self,
        formula: Formula = None,
        *,
        ties: Ties = "efron",
        risk_sets: Literal["batch", "full", "controls"] = "batch",
        n_controls: int = 5,
        encoders: Mapping[str, nn.Module] | None = None,
        share_encoders: bool = False,
        pretraining: Objectives = None,
        auxiliary: Objectives = None,
        smoothing: Literal["reml", "ml"] = "reml",
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
        self.ties = ties
        self.risk_sets = risk_sets
        self.n_controls = n_controls
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
        """Log hazard ratio of every row, ``(n,)``, to a row whose terms are all zero.

        Larger is riskier. Ratios between rows mean something, the level does not. Of a row that
        lacks a picture it is the logarithm of the mean hazard ratio over what the picture may say:
        the ratio at the beginning, from where on it falls, since those at high risk leave first.
        Survival functions take that into account.
        """
        return self._eta(self._new_rows(X))

    def predict_partial_hazard(self, X: Any) -> pd.Series:
        """Hazard ratio of every row to the average training row (mean of the log hazard ratio)."""
        frame = self._new_rows(X)
        return pd.Series(np.exp(self._eta(frame) - self.curves_.center), index=frame.index)

    def residuals(self, kind: Residual = "martingale") -> Any:
        """Residuals of the table model for the training rows.

        Parameters
        ----------
        kind : {"martingale", "deviance", "score", "dfbeta", "schoenfeld"}
            "score" and "dfbeta" have a column for each coefficient; "schoenfeld" has rows for
            events only, indexed by their time.

        Returns
        -------
        Series or DataFrame
        """
        check_is_fitted(self)
        problem, marginal = self.fit_.problem, self.fit_.marginal
        bound = cast(BoundCox, problem.bind())
        risk_sets = bound.risk_sets
        eta, X = marginal.eta[:, 0], problem.blocks[0].dense()
        options: dict[str, Any] = {"weights": bound.weight, "ties": bound.ties}
        index = None if self.fit_.frame is None else self.fit_.frame.index
        names = list(problem.designs[0].names)
        if kind == "martingale":
            return pd.Series(cox_martingale_residuals(eta, risk_sets, **options).numpy(), index)
        if kind == "deviance":
            return pd.Series(cox_deviance_residuals(eta, risk_sets, **options).numpy(), index)
        if kind == "score":
            values = cox_score_residuals(eta, X, risk_sets, weighted=False, **options).numpy()
            return pd.DataFrame(values, index, names)
        if kind == "dfbeta":
            values = cox_score_residuals(eta, X, risk_sets, **options).numpy() @ marginal.V
            return pd.DataFrame(values, index, names)
        if kind == "schoenfeld":
            found = cox_schoenfeld_residuals(eta, X, risk_sets, **options)
            return pd.DataFrame(found.residuals, pd.Index(found.time, name="time"), names)
        raise SpecificationError(
            "kind must be 'martingale', 'deviance', 'score', 'dfbeta' or 'schoenfeld', got "
            f"{kind!r}."
        )

    def check_assumptions(self, transform: TimeTransform = "km") -> pd.DataFrame:
        """Test of proportional hazards for each parametric term and all of them.

        See :func:`~semistruct.inference.proportional_hazards.proportional_hazards_test`; a small
        ``p`` says that the hazard ratio changes with time.
        """
        check_is_fitted(self)
        return proportional_hazards_test(self.fit_, transform)

    def _objective(self) -> CoxPartialLikelihood:
        if self.risk_sets not in ("batch", "full", "controls"):
            raise SpecificationError(
                f"risk_sets must be 'batch', 'full' or 'controls', got {self.risk_sets!r}."
            )
        return CoxPartialLikelihood(self.ties)

    def _response(
        self, left: str | ResponseCall | None, frame: pd.DataFrame, y: Any
    ) -> tuple[Surv, str]:
        surv, name = super()._response(left, frame, y)
        if surv.n_causes > 1:
            raise UnsupportedCombinationError(
                f"the response has {surv.n_causes} competing causes; fit each of them as "
                "y.of_cause(k), the others being censoring, or all with PAMM."
            )
        return surv, name

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        super()._fit(X, y, sample_weight, groups)
        self.n_events_ = int(self.fit_.problem.y[:, EVENT].sum())
        if self.loglik_null_ == 0.0 and self.edf_.size:
            warnings.warn(
                "nobody else is at risk at the time of any event, so that no rows are compared: "
                "the coefficients mean nothing. Look at entry times and strata.",
                DataWarning,
                stacklevel=4,
            )
        if self._curve_covariance() == "cluster":
            _ = self.curves_  # clusters that cannot be used are refused now, not by a prediction

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
        encoded = self._encoded(objective, specification, frame, response)
        end = None if response.entry is None else response.time
        return fit_model(
            specification, frame, encoded, weight, objective, cluster, options, interval_end=end
        )

    def _training(self) -> dict[str, Any]:
        if self.risk_sets == "controls":
            return {"sampler": SampledControls(self.n_controls)}
        return {"full_cohort": self.risk_sets == "full"}

    def _encoded(
        self, objective: Objective, specification: Specification, frame: pd.DataFrame, y: Surv
    ) -> np.ndarray:
        if not y.event.any():
            raise DataError(
                f"none of the {len(y)} rows has an event; a partial likelihood needs at least one."
            )
        codes = None
        self.strata_ = None
        if specification.strata:
            combination = _combinations(frame, specification.strata)
            self.strata_ = pd.MultiIndex.from_frame(
                combination.to_frame(index=False).drop_duplicates()
            ).sortlevel()[0]
            codes = self.strata_.get_indexer(combination).astype(float)
        return CoxPartialLikelihood.encode(y.time, y.event.astype(float), y.entry, codes)

    def _training_rows(self) -> tuple[pd.DataFrame | None, Surv]:
        y = self.fit_.problem.y
        entry = y[:, ENTRY] if np.isfinite(y[:, ENTRY]).any() else None
        return self.fit_.frame, Surv(y[:, TIME], y[:, EVENT], entry)

    def _stratum(self, frame: pd.DataFrame) -> np.ndarray:
        if self.strata_ is None:
            return np.zeros(len(frame), dtype=int)
        combination = _combinations(frame, self.specification_.strata)
        codes = self.strata_.get_indexer(combination)
        if (codes < 0).any():
            row = int(np.argmax(codes < 0))
            raise DataError(
                f"row {row} has the stratum {combination[row]}, for which there is no baseline; "
                f"known: {', '.join(map(str, list(self.strata_[:10])))}."
            )
        return codes

    def _nodes(self, frame: pd.DataFrame) -> Nodes:
        nodes = self.fit_.node_etas(frame, self._device())
        return Nodes(nodes.n, nodes.row, nodes.values[:, 0])


def _combinations(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.MultiIndex:
    for name in names:
        if name not in frame.columns:
            raise DataError(f"the table has no column {name!r}, which strata() names.")
        if frame[name].isna().any():
            row = int(np.argmax(frame[name].isna().to_numpy()))
            raise DataError(
                f"the stratum {name!r} is missing in row {row}; every row needs a baseline. Fill "
                "it, or use missing='drop'."
            )
    # Categories compare by their labels, so that new tables may have other category lists.
    return pd.MultiIndex.from_arrays([np.asarray(frame[name]) for name in names], names=list(names))
