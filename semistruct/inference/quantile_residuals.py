"""Probability integral transforms and randomised quantile residuals of any family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri, ndtri_exp

from semistruct.exceptions import UnsupportedCombinationError
from semistruct.families.base import Family, Objective
from semistruct.families.censored import ENTRY, LOWER, UPPER, Censored
from semistruct.fitting.model import ModelFit
from semistruct.fitting.score_nodes import Nodes

__all__ = [
    "ProbabilityInterval",
    "mixed_quantile_residuals",
    "predicting_eta",
    "probability_interval",
    "quantile_residuals",
    "residual_rows",
    "training_intervals",
    "training_residuals",
]

_LAST = 1 - 2.0**-53  # the largest number below one
# A step of the distribution function between neighbouring numbers that is more than its rounding:
# the probability of one value, of a count or of the zeros of a mixed distribution.
_ATOM = 1e-10


@dataclass(frozen=True, eq=False)
class ProbabilityInterval:
    """Where the probability integral transform of every response lies.

    Attributes
    ----------
    lower, upper : (n,) arrays
        ``F(y-)`` and ``F(y)``; equal for continuous responses that are observed exactly.
    """

    lower: np.ndarray
    upper: np.ndarray

    def draw(self, random_state: int = 0) -> np.ndarray:
        """One uniform number per row, inside the open interval 0 to 1.

        The number of a row depends on the seed and on its position only.
        """
        share = np.random.default_rng(random_state).random(len(self.lower))
        u = self.lower + share * (self.upper - self.lower)
        return np.clip(u, np.finfo(float).tiny, _LAST)


def probability_interval(family: Objective, eta: np.ndarray, y: np.ndarray) -> ProbabilityInterval:
    """``F(y-)`` and ``F(y)`` of every row.

    Parameters
    ----------
    family : Family
    eta : (n, K) array
    y : (n, ...) array
        Validated responses.

    Raises
    ------
    UnsupportedCombinationError
        If the likelihood is none of a response with a distribution function.

    Notes
    -----
    A response that is censored lies between the values at the ends of its interval (the last is one
    where it is censored on the right), given survival to its delayed entry.
    """
    if not isinstance(family, Family):
        raise UnsupportedCombinationError(
            f"{type(family).__name__} has no distribution function of a response; quantile "
            "residuals are for SemiStructuredRegressor and its families. Models of hazards have "
            "martingale and deviance residuals."
        )
    at = torch.from_numpy(np.ascontiguousarray(eta, dtype=float))

    def cdf(values: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found = family.cdf(at, torch.from_numpy(np.ascontiguousarray(values, dtype=float)))
        return np.clip(found.numpy(), 0.0, 1.0)

    if isinstance(family, Censored):
        return _censored(cdf, y)
    upper, lower = cdf(y), cdf(np.nextafter(y, -np.inf))
    return ProbabilityInterval(np.where(upper - lower > _ATOM, lower, upper), upper)


def quantile_residuals(
    family: Objective, eta: np.ndarray, y: np.ndarray, random_state: int = 0
) -> np.ndarray:
    """``Phi^-1(u)`` with ``u`` uniform between ``F(y-)`` and ``F(y)``, ``(n,)``.

    Parameters
    ----------
    family : Family
    eta : (n, K) array
    y : (n, ...) array
        Validated responses.
    random_state : int
        For discrete and censored responses; others have nothing random.

    Notes
    -----
    Independent standard normal where the model is right, up to the estimation of its parameters.
    Values of positive probability, such as the zeros of a Tweedie response, are randomised and
    others are not. Far in a tail, families with stable log tails keep their digits (a residual of
    30 is 30).

    References
    ----------
    Dunn and Smyth (1996), Randomized quantile residuals, JCGS 5, 236-244.

    Examples
    --------
    >>> from semistruct.families import Normal, Poisson
    >>> quantile_residuals(Normal(), np.zeros((3, 2)), np.array([-1.0, 0.0, 40.0])).round(6) + 0.0
    array([-1.,  0., 40.])
    >>> two = quantile_residuals(Poisson(), np.zeros((2, 1)), np.array([0.0, 3.0]))
    >>> bool(two[0] < -0.3), bool(two[1] > 1.3)
    (True, True)
    """
    interval = probability_interval(family, eta, y)
    residuals = ndtri(interval.draw(random_state))
    exact = interval.lower == interval.upper
    if exact.any() and y.ndim == 1:
        tails = _from_tails(family, eta[exact], y[exact])
        residuals[exact] = residuals[exact] if tails is None else tails
    return residuals


def mixed_quantile_residuals(
    family: Objective, nodes: Nodes, y: np.ndarray, random_state: int = 0
) -> np.ndarray:
    """Quantile residuals ``(n,)`` of rows whose predictions are mixtures.

    Parameters
    ----------
    family : Family
    nodes : Nodes
        Predictors ``(N, K)``.
    y : (n, ...) array
        Validated responses.
    random_state : int

    Notes
    -----
    ``F`` is the mean of the distribution functions of a row's nodes. Those of a response with
    delayed entry are averaged as they are given survival to entry.
    """
    parts = probability_interval(family, nodes.values, y[nodes.row])
    interval = ProbabilityInterval(nodes.mean(parts.lower), nodes.mean(parts.upper))
    residuals = ndtri(interval.draw(random_state))
    alone = np.setdiff1d(np.arange(nodes.n), nodes.mixed)
    found = quantile_residuals(family, nodes.values[nodes.start], y, random_state)
    residuals[alone] = found[alone]
    return residuals


def predicting_eta(fit: ModelFit) -> np.ndarray:
    """Predictors ``(n, K)`` of the training rows, with out-of-fold deep scores."""
    return fit.marginal.eta if fit.deep is None else fit.deep.fit.eta


def residual_rows(fit: ModelFit) -> np.ndarray:
    """Training rows of positive weight that have their pictures.

    Of a single network those that it was not trained on.
    """
    used = fit.problem.sample_weight > 0
    if fit.deep is not None and fit.deep.calibration.gamma.any():
        used = used & fit.deep.crossfit.honest
        if fit.deep.lacking is not None:
            used = used & ~fit.deep.lacking
    return np.flatnonzero(used)


def training_intervals(fit: ModelFit) -> tuple[np.ndarray, ProbabilityInterval]:
    """The rows of :func:`residual_rows`, and their probability intervals."""
    rows = residual_rows(fit)
    y = fit.problem.y[rows]
    return rows, probability_interval(fit.problem.family, predicting_eta(fit)[rows], y)


def training_residuals(fit: ModelFit, random_state: int = 0) -> np.ndarray:
    """Quantile residuals of the rows of :func:`residual_rows`."""
    rows = residual_rows(fit)
    eta, y = predicting_eta(fit)[rows], fit.problem.y[rows]
    return quantile_residuals(fit.problem.family, eta, y, random_state)


def _from_tails(family: Objective, eta: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """From the smaller tail's logarithm; None for families without."""
    try:
        with torch.no_grad():
            lower, upper = family.log_tails(  # type: ignore[attr-defined]
                torch.from_numpy(np.ascontiguousarray(eta, dtype=float)),
                torch.from_numpy(np.ascontiguousarray(y, dtype=float)),
            )
    except UnsupportedCombinationError:
        return None
    below, above = lower.numpy(), upper.numpy()
    return np.where(below < above, ndtri_exp(below), -ndtri_exp(above))


def _censored(cdf: Callable[[np.ndarray], np.ndarray], y: np.ndarray) -> ProbabilityInterval:
    def at(values: np.ndarray) -> np.ndarray:
        finite = np.isfinite(values)
        # A stand-in where the bound is infinite; its value is not used.
        some = np.where(
            finite, values, np.where(np.isfinite(y[:, LOWER]), y[:, LOWER], y[:, UPPER])
        )
        some = np.where(np.isfinite(some), some, 1.0)
        found = cdf(some)
        return np.where(finite, found, np.where(values > 0, 1.0, 0.0))

    entry = at(y[:, ENTRY])
    left = np.maximum(1.0 - entry, np.finfo(float).tiny)
    lower, upper = ((at(y[:, side]) - entry) / left for side in (LOWER, UPPER))
    return ProbabilityInterval(np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0))
