"""Estimators whose rows are intervals of time: formulas over time, causes, pictures once each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from sklearn.utils import check_random_state

from semistruct.estimators._bands import banded, check_level, normal_draws
from semistruct.estimators._expanded import TIME_COLUMNS, ExpandedRows, default_baseline
from semistruct.estimators._fit import FitOptions, fit_model
from semistruct.estimators._follow_up import checked_times
from semistruct.estimators._mixed_intervals import MixedIntervals
from semistruct.estimators._specification import Formula, Specification, formula_terms
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Objective
from semistruct.fitting.model import ModelFit
from semistruct.inference.covariance import CovarianceKind, covariance
from semistruct.plots import hazard_curves, incidence_curves
from semistruct.responses import PiecewiseExpansion, Surv, TimeIntervals, as_surv
from semistruct.terms import add_terms, default_terms

__all__ = ["IntervalEstimator"]

_CHUNK = 2 * 10**5  # rows of intervals that are evaluated at a time
_DENSE = 4 * 10**6  # numbers held at a time for standard errors


class IntervalEstimator(MixedIntervals):
    """A model of what happens in each interval of time, for one or several competing causes."""

    formula: Formula | Mapping[str, Formula]
    expansion_: PiecewiseExpansion
    intervals_: TimeIntervals
    causes_: tuple[int, ...]
    reference_time_: float
    follow_up_: Surv

    _made: ClassVar[tuple[str, ...]] = TIME_COLUMNS

    @abstractmethod
    def _expansion(self, response: Surv) -> PiecewiseExpansion:
        """The rows of intervals of this follow-up."""

    @abstractmethod
    def _cumulative(self, etas: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Minus log survival ``(n, T)`` of predictors ``(K, n, J)``."""

    @abstractmethod
    def _cumulative_slopes(
        self, designs: Sequence[np.ndarray], etas: np.ndarray, times: np.ndarray
    ) -> np.ndarray:
        """Its derivatives ``(n, T, P)`` in all coefficients; ``K`` designs ``(n, J, P)``."""

    @abstractmethod
    def _incidences(self, etas: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Incidences ``(K, n, T)`` of predictors ``(K, n, J)``."""

    def predict(self, X: Any) -> np.ndarray:
        """Log cumulative hazard at the median event time, ``(n,)``; larger is riskier.

        With competing causes of all of them together.
        """
        return np.log(self._hazards(self._new_rows(X), np.array([self.reference_time_]))[0])

    def predict_cumulative_incidence(
        self,
        X: Any,
        times: Any = None,
        *,
        cause: int | None = None,
        level: float | None = None,
        n_draws: int = 1000,
        random_state: Any = None,
    ) -> pd.DataFrame:
        """Probability of an event of each cause until each time: times as rows.

        With the survival function the incidences of all causes add up to one.

        Parameters
        ----------
        X : DataFrame or array of n rows
        times : (m,) array-like, optional
            By default the ends of all intervals.
        cause : int, optional
            By default all causes: columns ``(cause, subject)``.
        level : float, optional
            Adds pointwise bands, quantiles over ``n_draws`` draws of the coefficients from their
            estimated distribution: a last level of the columns is then "estimate", "lower" or
            "upper".
        n_draws : int
        random_state : int, RandomState or None
        """
        frame = self._new_rows(X)
        grid = self._time_grid(times)
        index = pd.Index(grid, name="time")
        self._position(cause)
        found = self._incidences(self._log_hazards(frame), grid)
        limits = None
        if level is not None:
            check_level(level)
            limits = self._incidence_limits(frame, grid, level, n_draws, random_state)
        tables = {}
        for k, name in enumerate(self.causes_):
            if limits is None:
                table = pd.DataFrame(found[k].T, index, frame.index)
            else:
                table = banded(found[k].T, limits[0][k].T, limits[1][k].T, index, frame.index)
            tables[name] = table
        if cause is not None:
            return tables[cause]
        return pd.concat(tables, axis=1, names=["cause"])

    def term_contributions(
        self, X: Any, *, time: float | None = None, cause: int | None = None
    ) -> pd.DataFrame:
        """What every term adds to the log hazard at one time, columns ``(parameter, term)``.

        Parameters
        ----------
        X : DataFrame or array of n rows
        time : float, optional
            By default the median event time.
        cause : int, optional
            Where one predictor is that of all causes; by default the first.
        """
        frame = self._new_rows(X)
        chosen = self.causes_[0] if cause is None else self.causes_[self._position(cause) or 0]
        j = self.intervals_.at([self.reference_time_ if time is None else time])[0]
        grid = self._grid(frame, chosen)
        n = len(frame)
        rows = replace(grid, unit=np.arange(n), cell=np.full(n, grid.cell[j]))
        table = rows.frame.set_axis(frame.index, axis=0)
        nodes = self.fit_.nodes(frame, self._device())
        own = None if nodes is None else self._weighted(nodes.mean(nodes.values), rows)
        return self.fit_.predictor.contributions(table, self.family_.param_names, own)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Harrell's concordance of :meth:`predict` with the follow-up; events of any cause count.

        See :meth:`CoxPH.score`.
        """
        frame = self._new_rows(X)
        y = self._given_response(frame, y)
        surv = as_surv(y)
        anything = type(surv)(surv.time, surv.event, surv.entry)
        return super().score(X, anything, sample_weight)

    def _stacked(self, causes: tuple[int, ...]) -> bool:
        """Whether one predictor, which names ``cause``, is that of all causes."""
        if len(causes) == 1 or self.formula is None or isinstance(self.formula, Mapping):
            return False
        terms = formula_terms(self.formula, tuple(self.encoders or ()))
        return any("cause" in term.reads for term in (*terms.structured, *terms.offsets))

    def _formulas(self, objective: Objective, frame: pd.DataFrame, response: Any) -> Any:
        formula: Any = self.formula
        if formula is None:
            baseline = default_baseline(len(self._expansion(response).intervals.ends))
            formula = add_terms([*baseline, default_terms(frame)])
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
        expansion = self._expansion(response)
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
        self.follow_up_ = response
        self.intervals_ = expansion.intervals
        self.causes_ = causes
        self.n_events_ = int(expansion.event.sum())
        self.reference_time_ = float(np.median(response.time[response.event]))
        return fitted

    def _curve_panels(self, level: float) -> dict[str, Callable[..., Axes]]:
        panels = super()._curve_panels(level)
        if not panels:
            return {}
        if len(self.causes_) == 1:
            return panels | {"hazard": partial(self._plot_hazard, level)}
        return panels | {"incidence": self._plot_incidence}

    def _plot_hazard(self, level: float, *, ax: Axes) -> Axes:
        return hazard_curves(self, self._as_given(self._typical_rows()), level=level, ax=ax)

    def _plot_incidence(self, *, ax: Axes) -> Axes:
        return incidence_curves(self, self._as_given(self._typical_rows()), ax=ax)

    def _typical_rows(self) -> pd.DataFrame:
        """The training row of median risk in each third of the risk."""
        frame, _, thirds = self._risk_thirds()
        risk = self.predict(self._as_given(frame))
        rows, names = [], []
        for code, name in enumerate(thirds.categories):
            own = np.flatnonzero(thirds.codes == code)
            if own.size:
                rows.append(own[np.argsort(risk[own], kind="stable")[own.size // 2]])
                names.append(name)
        return frame.iloc[rows].set_axis(names, axis=0)

    def _grid(self, frame: pd.DataFrame, cause: int) -> ExpandedRows:
        stacked = len(self.causes_) > 1 and len(self.family_.param_names) == 1
        return ExpandedRows.grid(
            self.intervals_,
            frame,
            _tabular(self.specification_),
            cause if stacked else None,
            self.causes_ if stacked else None,
        )

    def _position(self, cause: int | None) -> int | None:
        if cause is None:
            return 0 if len(self.causes_) == 1 else None
        if cause not in self.causes_:
            raise SpecificationError(f"cause must be one of {self.causes_}, got {cause!r}.")
        return self.causes_.index(cause)

    def _time_grid(self, times: Any) -> np.ndarray:
        return self._event_times() if times is None else checked_times(times)

    def _event_times(self) -> np.ndarray:
        return self.intervals_.ends

    def _end_of_follow_up(self) -> float:
        return float(self.intervals_.ends[-1])

    def _stratum(self, frame: pd.DataFrame) -> np.ndarray:
        return np.zeros(len(frame), dtype=int)

    def _training_rows(self) -> tuple[pd.DataFrame | None, Surv]:
        return self.fit_.inputs, self.follow_up_

    def _cov_type(self) -> CovarianceKind:
        if self.cov_type is None and self.fit_.deep is not None:
            return "cluster"
        return super()._cov_type()

    def _hazards(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        return self._cumulative(self._log_hazards(frame), times).T

    def _hazard_errors(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        V = self._used_covariance()
        found = []
        for designs, etas in self._design_chunks(frame, len(times)):
            slopes = self._cumulative_slopes(designs, etas, times)
            found.append(np.sqrt(np.einsum("itp,pq,itq->it", slopes, V, slopes, optimize=True)))
        return np.vstack(found).T

    def _average_survival_error(self, frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        V = self._used_covariance()
        total: Any = 0.0
        for designs, etas in self._design_chunks(frame, len(times)):
            slopes = self._cumulative_slopes(designs, etas, times)
            survival = np.exp(-self._cumulative(etas, times))
            total = total + np.einsum("it,itp->tp", survival, slopes) / len(frame)
        return np.sqrt(np.einsum("tp,pq,tq->t", total, V, total))

    def _log_hazards(self, frame: pd.DataFrame) -> np.ndarray:
        """Predictors ``(K, n, J)``; of rows that lack pictures those of their mixtures."""
        n, J = len(frame), len(self.intervals_)
        nodes = self.fit_.nodes(frame, self._device())
        found = np.empty((len(self.causes_), n, J))
        step = max(1, _CHUNK // J)
        for start in range(0, n, step):
            rows = np.arange(start, min(start + step, n))
            found[:, rows] = self._mixture(frame, nodes, rows)
        return found

    def _eta_of(self, frame: pd.DataFrame, scores: np.ndarray | None) -> np.ndarray:
        """Log hazards ``(K, n, J)``."""
        J = len(self.intervals_)
        columns = []
        for cause in self._separately():
            grid = self._grid(frame, cause)
            own = None if scores is None else self._weighted(scores, grid)
            eta = self.fit_.predictor.eta(grid, own)  # (n J, K or 1)
            columns.append(eta.reshape(len(frame), J, -1))
        return np.moveaxis(np.concatenate(columns, axis=2), 2, 0)

    def _separately(self) -> tuple[int, ...]:
        """Causes whose rows have to be evaluated on their own."""
        return self.causes_ if len(self.family_.param_names) == 1 else self.causes_[:1]

    def _used_covariance(self) -> np.ndarray:
        """Covariance ``(P, P)`` of the coefficients that predictions use."""
        fit = self.fit_
        kind = self.cov_type or ("cluster" if self.specification_.cluster else "model")
        used = fit.marginal if fit.deep is None else fit.deep.fit
        return covariance(used, fit.problem, kind, cluster=fit.cluster)

    def _design_chunks(
        self, frame: pd.DataFrame, n_times: int
    ) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
        """For some rows at a time: designs ``(m, J, P)`` and log hazards of each cause.

        Designs have a column for every coefficient of the model.
        """
        fit, J = self.fit_, len(self.intervals_)
        used = fit.marginal if fit.deep is None else fit.deep.fit
        nodes = fit.nodes(frame, self._device())
        P = len(used.beta)
        step = max(1, _DENSE // (max(J, n_times) * P))
        for start in range(0, len(frame), step):
            rows = np.arange(start, min(start + step, len(frame)))
            part = frame.iloc[rows]
            designs: list[np.ndarray] = []
            for cause in self._separately():
                grid = self._grid(part, cause)
                for design, at in zip(fit.problem.designs, used.slices, strict=True):
                    X = np.zeros((len(grid.unit), P))
                    X[:, at] = grid.block(design).dense()
                    designs.append(X.reshape(len(part), J, P))
            etas = self._mixture(frame, nodes, rows, designs)
            yield designs, etas

    def _incidence_limits(
        self, frame: pd.DataFrame, grid: np.ndarray, level: float, n_draws: int, random_state: Any
    ) -> np.ndarray:
        """Lower and upper limits of the incidences, ``(2, K, n, T)``."""
        rng = check_random_state(random_state)
        levels = [0.5 - level / 2, 0.5 + level / 2]
        deviations = normal_draws(rng, self._used_covariance(), int(n_draws))
        limits = []
        for designs, etas in self._design_chunks(frame, len(grid)):
            for i in range(etas.shape[1]):
                pairs = zip(designs, etas, strict=True)
                drawn_etas = np.stack([eta[i] + deviations @ X[i].T for X, eta in pairs])
                drawn = self._incidences(drawn_etas, grid)
                limits.append(np.quantile(drawn, levels, axis=1))
        return np.stack(limits, axis=2)


def _tabular(specification: Specification) -> tuple[str, ...]:
    """Columns that the structured terms read."""
    return tuple(
        dict.fromkeys(
            name
            for terms in specification.terms
            for term in (*terms.structured, *terms.offsets, *_by_terms(terms.deep))
            for name in term.reads
            if name not in TIME_COLUMNS
        )
    )


def _by_terms(deep: Any) -> list[Any]:
    return [term.by for term in deep if term.by is not None]


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
