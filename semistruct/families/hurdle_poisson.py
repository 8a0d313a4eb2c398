"""The hurdle Poisson distribution: rate of the positive counts and probability of one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._counts import log_one_minus_exp, poisson_log_mass
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import COUNTS
from semistruct.links import Link, Log, Logit, resolve_link

__all__ = ["HurdlePoisson"]


@dataclass(frozen=True, repr=False)
class HurdlePoisson(AutodiffFamily):
    """Counts that are positive with probability ``presence``, and then zero-truncated Poisson.

    Parameters
    ----------
    presence_link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of the probability of a positive count; the rate has a log link.

    Notes
    -----
    ``P(0) = 1 - p`` and ``P(y) = p rate^y exp(-rate) / (y! (1 - exp(-rate)))`` for ``y > 0``, with
    ``p = presence``. Unlike with zero inflation, zeros may be fewer than Poisson's, and the two
    predictors separate: each has the fit it would have alone. ``rate`` is the mean before the
    truncation; the mean of the response is ``p rate / (1 - exp(-rate))``.

    References
    ----------
    Mullahy (1986), Journal of Econometrics 33, 341-365.
    """

    presence_link: str | Link = "logit"

    param_names = ("rate", "presence")
    kernel_links = (Log(), Logit())
    discrete = True
    response = COUNTS

    def __post_init__(self) -> None:
        self._choose_link("presence_link", ("logit", "probit", "cloglog"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (Log(), resolve_link(self.presence_link))

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_rate, logit = omega.unbind(-1)
        count = poisson_log_mass(log_rate, y) - log_one_minus_exp(log_rate)
        return torch.where(y == 0, logsigmoid(-logit), logsigmoid(logit) + count)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        half = 0.5 / weight.sum()
        mean = torch.maximum(weighted_mean(y, weight), half)
        presence = torch.maximum(weighted_mean((y > 0).to(y), weight), half)
        # Of the positive counts the factorial moment E[y (y - 1)] / E[y] is the rate.
        rate = (weighted_mean(y * (y - 1), weight) / mean).clamp(min=0.01)
        return torch.stack([rate, torch.minimum(presence, 1 - half)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        rate, presence = self.theta(eta).unbind(-1)
        mean = presence * rate / -torch.expm1(-rate)
        return RowDistribution(self, eta, mean, mean * (1 + rate - mean))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        rate, presence = self.theta(eta).unbind(-1)
        above = elementwise(stats.poisson.sf, y.clamp(min=0), rate) / -torch.expm1(-rate)
        inside = 1 - presence * above
        return torch.where(y < 0, torch.zeros_like(inside), inside)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        rate, presence = theta.unbind(-1)
        above = (1 - q) / presence * -torch.expm1(-rate)
        count = elementwise(stats.poisson.isf, above.clamp(max=1.0), rate).clamp(min=1.0)
        return torch.where(q <= 1 - presence, torch.zeros_like(count), count)
