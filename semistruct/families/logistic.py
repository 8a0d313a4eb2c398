"""The logistic distribution: location and scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import weighted_mean
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import REAL
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["Logistic"]


@dataclass(frozen=True, repr=False)
class Logistic(AutodiffFamily):
    """Logistic response: mean ``loc``, standard deviation ``scale pi / sqrt(3)``.

    Notes
    -----
    ``F(y) = 1 / (1 + exp(-z))``, ``f(y) = F (1 - F) / scale`` with ``z = (y - loc) / scale``.
    """

    param_names = ("loc", "scale")
    kernel_links = (Identity(), Log())
    links = (Identity(), Log())
    dispersion = ("scale", 2)
    response = REAL

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        return logsigmoid(z) + logsigmoid(-z) - log_scale

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        return logsigmoid(z), logsigmoid(-z)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        loc = weighted_mean(y, weight)
        scale = weighted_mean((y - loc) ** 2, weight).sqrt() * math.sqrt(3) / math.pi
        floor = 1e-6 * loc.abs().clamp(min=1.0)
        return torch.stack([loc, torch.maximum(scale, floor)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        loc, scale = self.theta(eta).unbind(-1)
        return RowDistribution(self, eta, loc, (math.pi * scale) ** 2 / 3)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale = self.theta(eta).unbind(-1)
        return ((y - loc) / scale).sigmoid()

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        loc, scale = theta.unbind(-1)
        return loc + scale * (q.log() - (-q).log1p())
