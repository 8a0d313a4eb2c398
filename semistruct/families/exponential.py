"""The exponential distribution: its mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.families._arithmetic import weighted_mean
from semistruct.families._counts import log_one_minus_exp
from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import POSITIVE
from semistruct.links import Log, bounded_exp

__all__ = ["Exponential"]


@dataclass(frozen=True, repr=False)
class Exponential(SeparableFamily):
    """Positive response without memory: mean ``mean``, hazard ``1 / mean`` at all times.

    Notes
    -----
    ``f(y) = exp(-y / mean) / mean``; variance ``mean^2``. The Weibull distribution with shape 1.

    References
    ----------
    Kalbfleisch and Prentice (2002), section 2.2.1.
    """

    param_names = ("mean",)
    kernel_links = (Log(),)
    links = (Log(),)
    response = POSITIVE

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        return -omega[..., 0] - y * bounded_exp(-omega[..., 0], 40.0)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return y[..., None] * bounded_exp(-omega, 40.0) - 1

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "expected":
            return torch.ones_like(omega)[..., None]
        return (y[..., None] * bounded_exp(-omega, 40.0))[..., None]

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return log_one_minus_exp(y.log() - omega[..., 0]), -y * bounded_exp(-omega[..., 0], 40.0)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        return weighted_mean(y, weight)[None]

    def distribution(self, eta: Tensor) -> torch.distributions.Exponential:
        return torch.distributions.Exponential(self.theta(-eta)[..., 0], validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        return -torch.expm1(-y.clamp(min=0) / self.theta(eta)[..., 0])

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        return -torch.log1p(-q) * self.theta(eta)[..., 0]
