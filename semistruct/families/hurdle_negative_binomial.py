"""The hurdle negative binomial distribution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._counts import (
    log_one_minus_exp,
    negative_binomial_log_mass,
    negative_binomial_log_zero,
)
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import COUNTS
from semistruct.links import Link, Log, Logit, resolve_link

__all__ = ["HurdleNegativeBinomial"]


@dataclass(frozen=True, repr=False)
class HurdleNegativeBinomial(AutodiffFamily):
    """Counts that are positive with probability ``presence``, and then truncated NB2.

    Parameters
    ----------
    presence_link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of the probability of a positive count; mean and dispersion have log links.

    Notes
    -----
    ``mean`` and ``dispersion`` are those of the negative binomial distribution before its zeros
    are taken out, of variance ``mean + dispersion mean^2`` and ``P(0) = (1 + dispersion
    mean)^(-1 / dispersion)``. The mean of the response is ``presence mean / (1 - P(0))``.

    References
    ----------
    Mullahy (1986), Journal of Econometrics 33, 341-365.
    """

    presence_link: str | Link = "logit"

    param_names = ("mean", "dispersion", "presence")
    kernel_links = (Log(), Log(), Logit())
    discrete = True
    response = COUNTS

    def __post_init__(self) -> None:
        self._choose_link("presence_link", ("logit", "probit", "cloglog"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (Log(), Log(), resolve_link(self.presence_link))

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_mean, log_dispersion, logit = omega.unbind(-1)
        truncation = log_one_minus_exp(negative_binomial_log_zero(log_mean, log_dispersion))
        count = negative_binomial_log_mass(log_mean, log_dispersion, y) - truncation
        return torch.where(y == 0, logsigmoid(-logit), logsigmoid(logit) + count)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        half = 0.5 / weight.sum()
        presence = torch.maximum(weighted_mean((y > 0).to(y), weight), half)
        mean = (weighted_mean(y, weight) / presence - 0.5).clamp(min=0.1)
        presence = torch.minimum(presence, 1 - half)
        return torch.stack([mean, torch.full_like(mean, 0.5), presence])

    def distribution(self, eta: Tensor) -> RowDistribution:
        mean, dispersion, presence = self.theta(eta).unbind(-1)
        overall = presence * mean / _chance_of_a_count(mean, dispersion)
        variance = overall * (1 + mean * (1 + dispersion) - overall)
        return RowDistribution(self, eta, overall, variance)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, dispersion, presence = self.theta(eta).unbind(-1)
        success = 1 / (1 + dispersion * mean)
        above = elementwise(stats.nbinom.sf, y.clamp(min=0), 1 / dispersion, success)
        inside = 1 - presence * (above / _chance_of_a_count(mean, dispersion))
        return torch.where(y < 0, torch.zeros_like(inside), inside)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        mean, dispersion, presence = theta.unbind(-1)
        above = (1 - q) / presence * _chance_of_a_count(mean, dispersion)
        success = 1 / (1 + dispersion * mean)
        count = elementwise(stats.nbinom.isf, above.clamp(max=1.0), 1 / dispersion, success)
        return torch.where(q <= 1 - presence, torch.zeros_like(count), count.clamp(min=1.0))


def _chance_of_a_count(mean: Tensor, dispersion: Tensor) -> Tensor:
    """``1 - P(0)`` of the untruncated distribution."""
    return -torch.expm1(-(dispersion * mean).log1p() / dispersion)
