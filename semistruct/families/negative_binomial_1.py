"""The negative binomial distribution with a variance proportional to its mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._counts import negative_binomial_log_mass
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import COUNTS
from semistruct.links import Log

__all__ = ["NegativeBinomial1"]


@dataclass(frozen=True, repr=False)
class NegativeBinomial1(AutodiffFamily):
    """Counts more variable than Poisson's: variance ``mean (1 + dispersion)`` (NB1).

    Notes
    -----
    The NB2 distribution of :class:`~semistruct.families.NegativeBinomial` at dispersion
    ``dispersion / mean``: ``P(y) = Gamma(y + size) / (Gamma(size) y!) dispersion^y
    (1 + dispersion)^(-y - size)`` with ``size = mean / dispersion``. A sum of such counts of one
    dispersion is such a count. The Poisson limit of a small dispersion is computed without
    cancellation.

    References
    ----------
    Cameron and Trivedi (2013), Regression Analysis of Count Data, section 3.3.1.
    """

    param_names = ("mean", "dispersion")
    kernel_links = (Log(), Log())
    links = (Log(), Log())
    discrete = True
    response = COUNTS

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_mean, log_dispersion = omega.unbind(-1)
        return negative_binomial_log_mass(log_mean, log_dispersion - log_mean, y)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = torch.maximum(weighted_mean(y, weight), 0.5 / weight.sum())
        variance = weighted_mean((y - mean) ** 2, weight)
        return torch.stack([mean, (variance / mean - 1).clamp(0.01, 100.0)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        mean, dispersion = self.theta(eta).unbind(-1)
        return RowDistribution(self, eta, mean, mean * (1 + dispersion))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, dispersion = self.theta(eta).unbind(-1)
        return elementwise(stats.nbinom.cdf, y, mean / dispersion, 1 / (1 + dispersion))

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        mean, dispersion = theta.unbind(-1)
        return elementwise(stats.nbinom.ppf, q, mean / dispersion, 1 / (1 + dispersion))
