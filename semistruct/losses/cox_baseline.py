"""Baseline hazard of a Cox model, with what the variance of a survival curve needs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from semistruct.exceptions import DataError
from semistruct.losses._arithmetic import LINEAR
from semistruct.losses._problem import Ties, cox_problem
from semistruct.losses._risk_sets import CoxRiskSets
from semistruct.losses.cox_information import as_columns, as_vector

__all__ = ["CoxBaseline", "cox_baseline"]

_COLUMNS = 4


@dataclass(frozen=True, eq=False)
class CoxBaseline:
    """Cumulative baseline hazard by stratum: step functions that jump at the event times.

    Attributes
    ----------
    time : (K,) float64 array
        Event times by stratum, upwards.
    stratum : (K,) int array
        Position of the stratum in ``strata``.
    strata : (S,) array
        Labels of the strata.
    hazard : (K,) float64 array
        Jumps, of the hazard at ``eta = 0``.
    cumulative_hazard : (K,) float64 array
        Their running sums within the stratum.
    variance : (K,) float64 array
        Running sums of ``sum_r c / D_r^2``: variance of the cumulative hazard at known ``beta``.
    drift : (K, p) float64 array or None
        Running sums of ``sum_r c / D_r xbar_r``: minus the derivative of the cumulative hazard in
        ``beta``.
    """

    time: np.ndarray
    stratum: np.ndarray
    strata: np.ndarray
    hazard: np.ndarray
    cumulative_hazard: np.ndarray
    variance: np.ndarray
    drift: np.ndarray | None

    def position(self, times: Any, stratum: int = 0) -> np.ndarray:
        """Index into the arrays of the last event time not after each of ``times``, else -1.

        Parameters
        ----------
        times : (m,) array-like
        stratum : int
            Position of the stratum in ``strata``.
        """
        first, last = np.searchsorted(self.stratum, [stratum, stratum + 1])
        found = np.searchsorted(self.time[first:last], times, side="right")
        return np.where(found > 0, first + found - 1, -1)

    def at(self, times: Any, stratum: int = 0) -> np.ndarray:
        """Cumulative hazard at ``times`` ``(m,)`` in a stratum, zero before its first event."""
        return np.append(self.cumulative_hazard, 0.0)[self.position(times, stratum)]

    def standard_error(
        self, times: Any, x: np.ndarray, eta: float, covariance: np.ndarray, stratum: int = 0
    ) -> np.ndarray:
        """Standard error of the cumulative hazard of one covariate vector, ``(m,)``.

        Parameters
        ----------
        times : (m,) array-like
        x : (p,) array
        eta : float
            Its predictor.
        covariance : (p, p) array
            Covariance of the coefficients.
        stratum : int
            Position of the stratum in ``strata``.

        Notes
        -----
        ``exp(2 eta) [ sum c / D^2 + q' V q ]`` with ``q = Lambda0 x - sum c / D xbar`` (Tsiatis
        1981, Annals of Statistics 9). The standard error of ``log S(t)`` is the same.
        """
        if self.drift is None:
            raise DataError("the baseline was computed without X; give X to cox_baseline.")
        at = self.position(times, stratum)
        variance = np.append(self.variance, 0.0)[at]
        drift = np.vstack([self.drift, np.zeros(self.drift.shape[1])])[at]
        q = np.append(self.cumulative_hazard, 0.0)[at][:, None] * np.asarray(x) - drift
        return np.exp(eta) * np.sqrt(variance + np.einsum("mp,pq,mq->m", q, covariance, q))


def cox_baseline(
    eta: Any,
    risk_sets: CoxRiskSets,
    *,
    X: Any = None,
    weights: Any = None,
    ties: Ties = "efron",
) -> CoxBaseline:
    """Breslow's estimate of the cumulative baseline hazard, corrected for ties with ``"efron"``.

    Parameters
    ----------
    eta : (n,) tensor or array
    risk_sets : CoxRiskSets
    X : (n, p) tensor or array, optional
        Design; only needed for standard errors.
    weights : (n,) tensor or array, optional
        Case weights.
    ties : {"efron", "breslow"}
        The jump is ``(W_k / m_k) sum_r 1 / D_r`` or ``W_k / A_k``.

    Returns
    -------
    CoxBaseline

    Examples
    --------
    >>> risk_sets = CoxRiskSets.from_data([1.0, 2.0, 2.0, 3.0], [1, 1, 1, 0])
    >>> baseline = cox_baseline([0.0, 0.0, 0.0, 0.0], risk_sets, ties="breslow")
    >>> baseline.at([0.5, 1.0, 2.5])
    array([0.        , 0.25      , 0.91666667])
    """
    eta = as_vector(eta, risk_sets)
    problem = cox_problem(eta, weights, risk_sets, ties)
    moments = problem.evaluate(eta)[1]
    first, extra = problem.coefficients()
    log_first, log_extra = moments.log_denominators()
    log_first = log_first + moments.shift
    hazard_first = first * (-log_first).exp()
    variance_first = first * (-2.0 * log_first).exp()
    hazard_extra = variance_extra = None
    if extra is not None and log_extra is not None:
        log_extra = log_extra + moments.shift
        hazard_extra = extra * (-log_extra).exp()
        variance_extra = extra * (-2.0 * log_extra).exp()

    def at_times(of_first: Tensor, of_extra: Tensor | None) -> np.ndarray:
        """Sum over the denominators of each event time, ``(..., K)``."""
        rule = problem.rule.extra
        if of_extra is not None and rule is not None:
            tied_time = risk_sets.scan.tied_time
            of_first = of_first.clone()
            of_first[..., tied_time] += LINEAR.bucket_sum(of_extra, rule.group, tied_time.shape[0])
        return of_first.cpu().numpy()

    hazard = at_times(hazard_first, hazard_extra)
    variance = at_times(variance_first, variance_extra)
    drift = None
    if X is not None:
        X = as_columns(X, moments.hazard)
        drift = np.empty((hazard.size, X.shape[1]))
        for start in range(0, X.shape[1], _COLUMNS):
            part = slice(start, start + _COLUMNS)
            mean_first, mean_extra = moments.means(X[:, part].T.contiguous())
            of_extra = None
            if mean_extra is not None and hazard_extra is not None:
                of_extra = mean_extra * hazard_extra
            drift[:, part] = at_times(mean_first * hazard_first, of_extra).T
    present = problem.at_events(problem.weights).cpu().numpy() > 0
    kept = np.flatnonzero(present)
    order = kept[np.lexsort((risk_sets.time[kept], risk_sets.stratum[kept]))]
    stratum = risk_sets.stratum[order]
    return CoxBaseline(
        time=risk_sets.time[order],
        stratum=stratum,
        strata=risk_sets.strata,
        hazard=hazard[order],
        cumulative_hazard=_running(hazard[order], stratum),
        variance=_running(variance[order], stratum),
        drift=None if drift is None else _running(drift[order], stratum),
    )


def _running(jumps: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Running sums along the first axis that start anew in every stratum."""
    sums = np.empty_like(jumps)
    edges = [0, *(np.flatnonzero(np.diff(stratum)) + 1), len(jumps)]
    for first, last in itertools.pairwise(edges):
        np.cumsum(jumps[first:last], axis=0, out=sums[first:last])
    return sums
