"""The zero-inflated Poisson distribution: rate and probability of an extra zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._counts import poisson_log_mass
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import COUNTS
from semistruct.links import Log, Logit, bounded_exp

__all__ = ["ZeroInflatedPoisson"]


@dataclass(frozen=True, repr=False)
class ZeroInflatedPoisson(AutodiffFamily):
    """Counts that are zero with probability ``inflation`` and else Poisson with rate ``rate``.

    Notes
    -----
    ``P(0) = p + (1 - p) exp(-rate)`` and ``P(y) = (1 - p) rate^y exp(-rate) / y!`` for ``y > 0``,
    with ``p = inflation``; mean ``(1 - p) rate``, variance ``(1 - p) rate (1 + p rate)``. The
    observed curvature may be indefinite.

    References
    ----------
    Lambert (1992), Technometrics 34, 1-14.
    """

    param_names = ("rate", "inflation")
    kernel_links = (Log(), Logit())
    links = (Log(), Logit())
    discrete = True
    response = COUNTS

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_rate, logit = omega.unbind(-1)
        present = logsigmoid(-logit)
        zero = torch.logaddexp(logsigmoid(logit), present - bounded_exp(log_rate))
        return torch.where(y == 0, zero, present + poisson_log_mass(log_rate, y))

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        # Moments: the factorial moment E[y (y - 1)] / E[y] is the rate.
        mean = torch.maximum(weighted_mean(y, weight), 0.5 / weight.sum())
        rate = torch.maximum(weighted_mean(y * (y - 1), weight) / mean, mean)
        return torch.stack([rate, (1 - mean / rate).clamp(0.02, 0.98)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        rate, share = self.theta(eta).unbind(-1)
        mean = (1 - share) * rate
        return RowDistribution(self, eta, mean, mean * (1 + share * rate))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        rate, share = self.theta(eta).unbind(-1)
        inside = share + (1 - share) * elementwise(stats.poisson.cdf, y, rate)
        return torch.where(y < 0, torch.zeros_like(inside), inside)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        rate, share = theta.unbind(-1)
        level = ((q - share) / (1 - share)).clamp(min=0.0)
        count = elementwise(stats.poisson.ppf, level, rate)
        return count.clamp(min=0.0)
