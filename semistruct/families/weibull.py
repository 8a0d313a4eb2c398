"""The Weibull distribution: scale and shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.families._arithmetic import weighted_mean
from semistruct.families._counts import log_one_minus_exp
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import POSITIVE
from semistruct.links import Log, bounded_exp

__all__ = ["Weibull"]

_EULER = 0.5772156649015329


@dataclass(frozen=True, repr=False)
class Weibull(AutodiffFamily):
    """Positive response with survival function ``exp(-(y / scale)^shape)``.

    Notes
    -----
    ``f(y) = (shape / scale) (y / scale)^(shape - 1) exp(-(y / scale)^shape)``; mean
    ``scale Gamma(1 + 1 / shape)``, variance
    ``scale^2 (Gamma(1 + 2 / shape) - Gamma(1 + 1 / shape)^2)``. A predictor of the log scale is an
    accelerated failure time model; with a constant shape it is also a proportional hazards model
    with log hazard ratio ``-shape`` times the coefficient.

    References
    ----------
    Kalbfleisch and Prentice (2002), section 2.2.2.
    """

    param_names = ("scale", "shape")
    kernel_links = (Log(), Log())
    links = (Log(), Log())
    response = POSITIVE

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_scale, log_shape = omega.unbind(-1)
        log_y = y.log()
        z = bounded_exp(log_shape, 40.0) * (log_y - log_scale)
        return log_shape + z - log_y - bounded_exp(z)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, log_shape = omega.unbind(-1)
        z = bounded_exp(log_shape, 40.0) * (y.log() - log_scale)
        return log_one_minus_exp(z), -bounded_exp(z)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        # The log response is a Gumbel variable of minima: match its two moments.
        z = y.log()
        mean = weighted_mean(z, weight)
        spread = weighted_mean((z - mean) ** 2, weight).sqrt() * math.sqrt(6) / math.pi
        spread = spread.clamp(min=1e-6)
        return torch.stack([(mean + _EULER * spread).exp(), spread.reciprocal()])

    def distribution(self, eta: Tensor) -> RowDistribution:
        scale, shape = self.theta(eta).unbind(-1)
        first = torch.lgamma(1 + 1 / shape)
        # Gamma(1 + 2 / shape) - Gamma(1 + 1 / shape)^2 without cancellation for a large shape
        excess = torch.expm1(torch.lgamma(1 + 2 / shape) - 2 * first)
        mean = scale * first.exp()
        return RowDistribution(self, eta, mean, mean**2 * excess)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        scale, shape = self.theta(eta).unbind(-1)
        return -torch.expm1(-((y.clamp(min=0) / scale) ** shape))

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        scale, shape = theta.unbind(-1)
        return scale * (-torch.log1p(-q)) ** shape.reciprocal()
