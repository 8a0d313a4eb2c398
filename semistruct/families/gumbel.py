"""The Gumbel distribution of maxima: location and scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.families._arithmetic import weighted_mean
from semistruct.families._counts import log_one_minus_exp
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.supports import REAL
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["Gumbel"]

_EULER = 0.5772156649015329


@dataclass(frozen=True, repr=False)
class Gumbel(AutodiffFamily):
    """Maxima of many like quantities; the mode is ``loc``.

    Notes
    -----
    ``F(y) = exp(-exp(-z))`` with ``z = (y - loc) / scale``; mean ``loc + 0.5772 scale``, variance
    ``pi^2 scale^2 / 6``. For minima fit ``-y``.

    References
    ----------
    Coles (2001), An Introduction to Statistical Modeling of Extreme Values, section 3.1.
    """

    param_names = ("loc", "scale")
    kernel_links = (Identity(), Log())
    links = (Identity(), Log())
    dispersion = ("scale", 2)
    response = REAL

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        return -z - bounded_exp(-z) - log_scale

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        return -bounded_exp(-z), log_one_minus_exp(-z)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = weighted_mean(y, weight)
        scale = weighted_mean((y - mean) ** 2, weight).sqrt() * math.sqrt(6) / math.pi
        scale = torch.maximum(scale, 1e-6 * mean.abs().clamp(min=1.0))
        return torch.stack([mean - _EULER * scale, scale])

    def distribution(self, eta: Tensor) -> torch.distributions.Gumbel:
        loc, scale = self.theta(eta).unbind(-1)
        return torch.distributions.Gumbel(loc, scale, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale = self.theta(eta).unbind(-1)
        return (-bounded_exp(-(y - loc) / scale)).exp()

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        loc, scale = theta.unbind(-1)
        return loc - scale * (-q.log()).log()
