"""Survival curves of a Cox model: baseline hazard, predictions and their bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from scipy import stats

from semistruct.exceptions import SpecificationError
from semistruct.families.cox import BoundCox
from semistruct.fitting.model import ModelFit
from semistruct.fitting.score_nodes import Nodes
from semistruct.inference.covariance import CovarianceKind, covariance
from semistruct.losses import CoxBaseline, cox_baseline

__all__ = ["BandTransform", "SurvivalCurves", "survival_band"]

BandTransform = Literal["log", "log-log", "plain"]


@dataclass(frozen=True, eq=False)
class SurvivalCurves:
    """Breslow's baseline of a fitted Cox model, at the mean of the training rows.

    Attributes
    ----------
    baseline : CoxBaseline
        Of a row whose predictor is ``center`` and whose columns are ``means``.
    center : float
    means : (p,) array
    covariance : (p, p) array
        Of the coefficients that predictions use. Networks and smoothing parameters count as known.
    """

    baseline: CoxBaseline
    center: float
    means: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, fit: ModelFit, cov_type: CovarianceKind = "model") -> SurvivalCurves:
        """Estimate the baseline from the training rows, with the predictor of predictions."""
        problem = fit.problem
        used = fit.marginal if fit.deep is None else fit.deep.fit
        bound = cast(BoundCox, problem.bind())
        eta, X = used.eta[:, 0], problem.blocks[0].dense()
        center = float(np.average(eta, weights=problem.sample_weight))
        means = np.average(X, axis=0, weights=problem.sample_weight)
        baseline = cox_baseline(
            eta - center, bound.risk_sets, X=X - means, weights=bound.weight, ties=bound.ties
        )
        cov = covariance(used, problem, cov_type, cluster=fit.cluster)
        return cls(baseline, center, means, cov)

    @property
    def times(self) -> np.ndarray:
        """All event times, upwards."""
        return np.unique(self.baseline.time)

    def cumulative_hazard(
        self, times: np.ndarray, eta: np.ndarray, stratum: np.ndarray
    ) -> np.ndarray:
        """``(m, n)`` for ``times`` ``(m,)``, predictors ``eta`` ``(n,)`` and strata ``(n,)``."""
        found = np.empty((len(times), len(eta)))
        for s in np.unique(stratum):
            own = stratum == s
            with np.errstate(over="ignore"):
                ratio = np.exp(eta[own] - self.center)
            found[:, own] = self.baseline.at(times, int(s))[:, None] * ratio
        return found

    def standard_error(
        self, times: np.ndarray, X: np.ndarray, eta: np.ndarray, stratum: np.ndarray
    ) -> np.ndarray:
        """Standard error of the cumulative hazard, ``(m, n)``, for design rows ``X`` ``(n, p)``.

        Notes
        -----
        See :meth:`~semistruct.losses.CoxBaseline.standard_error`; its quadratic form is multiplied
        out, so that times and rows meet in one product of matrices.
        """
        found = np.empty((len(times), len(eta)))
        drift = np.vstack([cast(np.ndarray, self.baseline.drift), np.zeros(X.shape[1])])
        level = np.append(self.baseline.cumulative_hazard, 0.0)
        variance = np.append(self.baseline.variance, 0.0)
        for s in np.unique(stratum):
            own = stratum == s
            at = self.baseline.position(times, int(s))
            x, d = X[own] - self.means, drift[at]
            xV, dV = x @ self.covariance, d @ self.covariance
            H = level[at][:, None]
            quadratic = H**2 * (xV * x).sum(1) - 2 * H * (d @ xV.T) + (dV * d).sum(1)[:, None]
            total = variance[at][:, None] + np.maximum(quadratic, 0.0)
            found[:, own] = np.exp(eta[own] - self.center) * np.sqrt(total)
        return found

    def restricted_mean_error(
        self, time: float, X: np.ndarray, nodes: Nodes, stratum: np.ndarray
    ) -> np.ndarray:
        """Standard error of the mean time without event within ``time``, ``(n,)``.

        Of predictors ``(N,)``, over whose curves the mean of every row is taken.

        Notes
        -----
        A jump of the baseline moves the mean by minus the hazard ratio times the area under the
        survival curve after it; the coefficients move all jumps, see :meth:`standard_error`.
        """
        found = np.empty(nodes.n)
        for s in np.unique(stratum):
            own = np.flatnonzero(stratum == s)
            part = slice(*np.searchsorted(self.baseline.stratum, [s, s + 1]))
            jumps = self.baseline.time[part]
            before = jumps < time
            jumps, H = jumps[before], self.baseline.cumulative_hazard[part][before]
            drift = cast(np.ndarray, self.baseline.drift)[part][before]
            variance = np.diff(self.baseline.variance[part][before], prepend=0.0)
            lengths = np.diff(np.append(jumps, time))
            for i in own:
                at = slice(nodes.start[i], nodes.start[i] + nodes.count[i])
                ratio = np.exp(nodes.values[at] - self.center)
                areas = (ratio / len(ratio)) @ np.exp(-np.outer(ratio, H)) * lengths
                after = np.cumsum(areas[::-1])[::-1]
                gradient = (areas @ H) * (X[i] - self.means) - areas @ drift
                quadratic = max(gradient @ self.covariance @ gradient, 0.0)
                found[i] = np.sqrt(after**2 @ variance + quadratic)
        return found

    def path(
        self,
        times: np.ndarray,
        start: np.ndarray,
        stop: np.ndarray,
        X: np.ndarray,
        eta: np.ndarray,
        stratum: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cumulative hazard along intervals with columns of their own, and its standard error.

        Parameters
        ----------
        times : (m,) array
        start, stop : (k,) arrays
            Intervals of one subject that follow one another.
        X : (k, p) array
        eta, stratum : (k,) arrays

        Returns
        -------
        hazard, se : (m,) arrays
            Missing after the last interval.
        """
        padded = np.vstack([cast(np.ndarray, self.baseline.drift), np.zeros(X.shape[1])])
        level = np.append(self.baseline.cumulative_hazard, 0.0)
        variance = np.append(self.baseline.variance, 0.0)
        hazard, free = np.zeros(len(times)), np.zeros(len(times))
        gradient = np.zeros((len(times), X.shape[1]))
        for k in range(len(eta)):
            at = self.baseline.position(np.clip(times, start[k], stop[k]), int(stratum[k]))
            begin = self.baseline.position(start[[k]], int(stratum[k]))
            ratio = np.exp(eta[k] - self.center)
            H = level[at] - level[begin]
            hazard += ratio * H
            free += ratio**2 * (variance[at] - variance[begin])
            moved = np.outer(H, X[k] - self.means) - (padded[at] - padded[begin])
            gradient += ratio * moved
        quadratic = np.einsum("tp,pq,tq->t", gradient, self.covariance, gradient)
        se = np.sqrt(free + np.maximum(quadratic, 0.0))
        after = times > stop.max()
        return np.where(after, np.nan, hazard), np.where(after, np.nan, se)


def survival_band(
    hazard: np.ndarray, se: np.ndarray, level: float, transform: BandTransform
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise limits of a survival curve from its cumulative hazard and standard error.

    Parameters
    ----------
    hazard, se : arrays of one shape
    level : float
    transform : {"log", "log-log", "plain"}
        The scale on which the limits are symmetric: of ``log S`` (R's default), of
        ``log(-log S)``, or of ``S`` itself.
    """
    if transform not in get_args(BandTransform):
        raise SpecificationError(
            f"transform must be one of {', '.join(map(repr, get_args(BandTransform)))}, got "
            f"{transform!r}."
        )
    z = stats.norm.ppf(0.5 + level / 2)
    if transform == "log-log":
        ratio = np.divide(z * se, hazard, out=np.zeros_like(hazard), where=hazard > 0)
        return np.exp(-hazard * np.exp(ratio)), np.exp(-hazard * np.exp(-ratio))
    survival = np.exp(-hazard)
    if transform == "plain":
        half: Any = z * survival * se
        return np.clip(survival - half, 0.0, 1.0), np.clip(survival + half, 0.0, 1.0)
    return np.exp(-hazard - z * se), np.minimum(np.exp(-hazard + z * se), 1.0)
