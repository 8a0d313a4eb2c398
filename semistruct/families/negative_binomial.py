"""The negative binomial distribution: mean and dispersion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import elementwise, stirling_error, weighted_mean
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import COUNTS
from semistruct.links import Log, bounded_exp

__all__ = ["NegativeBinomial"]


@dataclass(frozen=True, repr=False)
class NegativeBinomial(AutodiffFamily):
    """Counts more variable than Poisson's: variance ``mean + dispersion * mean^2`` (NB2).

    Notes
    -----
    With ``size = 1 / dispersion``, ``P(y) = Gamma(y + size) / (Gamma(size) y!)
    (size / (size + mean))^size (mean / (size + mean))^y``: a Poisson count whose rate is gamma with
    relative variance ``dispersion``. The Poisson limit of a small dispersion is computed without
    cancellation.

    References
    ----------
    Lawless (1987), Canadian Journal of Statistics 15, 209-225.
    """

    param_names = ("mean", "dispersion")
    kernel_links = (Log(), Log())
    links = (Log(), Log())
    discrete = True
    response = COUNTS

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_mean, log_dispersion = omega.unbind(-1)
        # Below this it is the Poisson distribution to the last digit.
        log_dispersion = log_dispersion.clamp(min=2 * math.log(torch.finfo(omega.dtype).eps))
        size = bounded_exp(-log_dispersion)
        # Stirling's formula for Gamma(y + size) / Gamma(size); log(1 + dispersion * mean) as a
        # softplus, so that neither product overflows.
        log_y = (y * bounded_exp(log_dispersion, 40.0)).log1p()
        log_1p_mean = -logsigmoid(-(log_mean + log_dispersion))
        gammas = (y + size - 0.5) * log_y + stirling_error(y + size) - stirling_error(size)
        return y * (log_mean - 1) + gammas - (y + size) * log_1p_mean - torch.lgamma(y + 1)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = torch.maximum(weighted_mean(y, weight), 0.5 / weight.sum())
        variance = weighted_mean((y - mean) ** 2, weight)
        return torch.stack([mean, ((variance - mean) / mean**2).clamp(0.01, 100.0)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        mean, dispersion = self.theta(eta).unbind(-1)
        return RowDistribution(self, eta, mean, mean + dispersion * mean**2)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, dispersion = self.theta(eta).unbind(-1)
        return elementwise(stats.nbinom.cdf, y, 1 / dispersion, 1 / (1 + dispersion * mean))

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        mean, dispersion = theta.unbind(-1)
        return elementwise(stats.nbinom.ppf, q, 1 / dispersion, 1 / (1 + dispersion * mean))
