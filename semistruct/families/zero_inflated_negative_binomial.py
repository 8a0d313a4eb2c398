"""The zero-inflated negative binomial distribution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._counts import negative_binomial_log_mass, negative_binomial_log_zero
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import COUNTS
from semistruct.links import Log, Logit, bounded_exp

__all__ = ["ZeroInflatedNegativeBinomial"]


@dataclass(frozen=True, repr=False)
class ZeroInflatedNegativeBinomial(AutodiffFamily):
    """Counts that are zero with probability ``inflation`` and else negative binomial (NB2).

    Notes
    -----
    ``mean`` and ``dispersion`` are those of the negative binomial part, of variance
    ``mean + dispersion mean^2``; the response has mean ``(1 - p) mean`` and variance
    ``(1 - p) mean (1 + mean (p + dispersion))`` with ``p = inflation``. Zeros speak for the
    dispersion and for the inflation alike, so that the two are weakly identified where the mean is
    small; the observed curvature may then be indefinite.

    References
    ----------
    Greene (1994), Working paper EC-94-10, New York University.
    Yau, Wang and Lee (2003), Biometrical Journal 45, 437-452.
    """

    param_names = ("mean", "dispersion", "inflation")
    kernel_links = (Log(), Log(), Logit())
    links = (Log(), Log(), Logit())
    discrete = True
    response = COUNTS

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_mean, log_dispersion, logit = omega.unbind(-1)
        present = logsigmoid(-logit)
        minus_log_zero = bounded_exp(negative_binomial_log_zero(log_mean, log_dispersion))
        zero = torch.logaddexp(logsigmoid(logit), present - minus_log_zero)
        count = present + negative_binomial_log_mass(log_mean, log_dispersion, y)
        return torch.where(y == 0, zero, count)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        # The mean of the positive counts; the zeros that it does not explain are extra.
        presence = weighted_mean((y > 0).to(y), weight)
        mean = weighted_mean(y, weight) / torch.maximum(presence, 0.5 / weight.sum())
        mean = mean.clamp(min=0.1)
        inflation = (1 - presence - 1 / (1 + mean)).clamp(0.05, 0.95)
        return torch.stack([mean, torch.full_like(mean, 0.5), inflation])

    def distribution(self, eta: Tensor) -> RowDistribution:
        mean, dispersion, share = self.theta(eta).unbind(-1)
        overall = (1 - share) * mean
        return RowDistribution(self, eta, overall, overall * (1 + mean * (share + dispersion)))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, dispersion, share = self.theta(eta).unbind(-1)
        count = elementwise(stats.nbinom.cdf, y, 1 / dispersion, 1 / (1 + dispersion * mean))
        inside = share + (1 - share) * count
        return torch.where(y < 0, torch.zeros_like(inside), inside)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        mean, dispersion, share = theta.unbind(-1)
        level = ((q - share) / (1 - share)).clamp(min=0.0)
        success = 1 / (1 + dispersion * mean)
        return elementwise(stats.nbinom.ppf, level, 1 / dispersion, success).clamp(min=0.0)
