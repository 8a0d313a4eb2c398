"""The Poisson distribution: rate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import COUNTS
from semistruct.links import Link, Log, bounded_exp, resolve_link

__all__ = ["Poisson"]


@dataclass(frozen=True, repr=False)
class Poisson(SeparableFamily):
    """Counts with mean and variance ``rate``.

    Parameters
    ----------
    link : {"log", "identity", "sqrt"} or Link, default="log"
        Link of the rate.

    Notes
    -----
    ``P(y) = rate^y exp(-rate) / y!``. An exposure enters as the offset ``log(exposure)`` under the
    log link.
    """

    link: str | Link = "log"

    param_names = ("rate",)
    kernel_links = (Log(),)
    discrete = True
    response = COUNTS

    def __post_init__(self) -> None:
        self._choose_link("link", ("log", "identity", "sqrt"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.link),)

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_rate = omega[..., 0]
        return y * log_rate - bounded_exp(log_rate) - torch.lgamma(y + 1)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return y[..., None] - bounded_exp(omega)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        return bounded_exp(omega)[..., None]

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        # Without a single event the estimate would be 0; half an event keeps it inside.
        rate = torch.maximum(weighted_mean(y, weight), 0.5 / weight.sum())
        return rate[None]

    def distribution(self, eta: Tensor) -> torch.distributions.Poisson:
        return torch.distributions.Poisson(self.theta(eta)[..., 0], validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        return elementwise(stats.poisson.cdf, y, self.theta(eta)[..., 0])

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        return elementwise(lambda rate, p: stats.poisson.ppf(p, rate), self.theta(eta)[..., 0], q)
