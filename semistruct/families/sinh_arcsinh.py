"""The sinh-arcsinh distribution: location, scale, skewness and tail weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from semistruct.families._arithmetic import elementwise
from semistruct.families._quantiles import weighted_quantile
from semistruct.families._tails import log_ndtr
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import REAL
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["SinhArcsinh"]

_DECILE = 1.2815515655446004  # of the standard normal distribution


@dataclass(frozen=True, repr=False)
class SinhArcsinh(AutodiffFamily):
    """Real response whose skewness and tails have predictors of their own (SHASH).

    Notes
    -----
    ``sinh(tail asinh(z) - skewness)`` is standard normal, with ``z = (y - loc) / scale``. Skewness
    0 is symmetric, positive values lean to the right; ``tail = 1`` has normal tails, smaller values
    heavier ones, larger values lighter ones. ``skewness = 0`` with ``tail = 1`` is the normal
    distribution. The median is ``loc + scale sinh(skewness / tail)``. The family of mgcv's
    ``shash`` has ``scale`` divided by ``tail``.

    References
    ----------
    Jones and Pewsey (2009), Biometrika 96, 761-780: equation (2), moments in section 2.
    """

    param_names = ("loc", "scale", "skewness", "tail")
    kernel_links = (Identity(), Log(), Identity(), Log())
    links = (Identity(), Log(), Identity(), Log())
    response = REAL

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale, skewness, log_tail = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        u = bounded_exp(log_tail, 40.0) * z.asinh() - skewness
        # Beyond it the square of the hyperbolic sine overflows.
        limit = 0.5 * math.log(torch.finfo(omega.dtype).max) - 2.0
        u = u.clamp(-limit, limit)
        log_cosh = u.abs() + (-2 * u.abs()).exp().log1p() - math.log(2)
        jacobian = log_tail - log_scale + log_cosh - torch.hypot(z, torch.ones_like(z)).log()
        return jacobian - 0.5 * u.sinh() ** 2 - 0.5 * math.log(2 * math.pi)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale, skewness, log_tail = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        u = bounded_exp(log_tail, 40.0) * z.asinh() - skewness
        limit = 0.25 * math.log(torch.finfo(omega.dtype).max) - 2.0
        u = u.clamp(-limit, limit).sinh()
        return log_ndtr(u), log_ndtr(-u)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        # With a tail weight of 1 the deciles give the other three in closed form.
        low, middle, high = (weighted_quantile(y, weight, level) for level in (0.1, 0.5, 0.9))
        spread = torch.maximum(high - low, 1e-6 * middle.abs().clamp(min=1.0))
        lean = (high + low - 2 * middle) / spread / math.tanh(math.asinh(_DECILE) / 2)
        skewness = lean.clamp(-0.9, 0.9).atanh()
        scale = spread / (2 * _DECILE * skewness.cosh())
        loc = middle - scale * skewness.sinh()
        return torch.stack([loc, scale, skewness, torch.ones_like(loc)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        loc, scale, skewness, tail = self.theta(eta).unbind(-1)
        first = (skewness / tail).sinh() * elementwise(_moment, 1 / tail)
        second = ((2 * skewness / tail).cosh() * elementwise(_moment, 2 / tail) - 1) / 2
        return RowDistribution(self, eta, loc + scale * first, scale**2 * (second - first**2))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale, skewness, tail = self.theta(eta).unbind(-1)
        u = tail * ((y - loc) / scale).asinh() - skewness
        return elementwise(special.ndtr, u.sinh())

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        loc, scale, skewness, tail = theta.unbind(-1)
        normal = elementwise(special.ndtri, q)
        return loc + scale * ((normal.asinh() + skewness) / tail).sinh()


def _moment(q: np.ndarray) -> np.ndarray:
    """``E exp(q asinh(Z))`` for a standard normal ``Z``; Jones and Pewsey's ``P_q``."""
    orders: np.ndarray = special.kve((q + 1) / 2, 0.25) + special.kve((q - 1) / 2, 0.25)
    return orders / math.sqrt(8 * math.pi)
