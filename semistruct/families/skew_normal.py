"""The skew normal distribution: location, scale and slant."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._quantiles import invert_cdf
from semistruct.families._tails import log_ndtr, quadrature_tails
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import REAL
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["SkewNormal"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_FAR = 40.0  # deviations beyond which the distribution function is 0 or 1
_LEAST, _LARGEST = 0.05, 0.9  # skewness of the start; the distribution has at most 0.995


@dataclass(frozen=True, repr=False)
class SkewNormal(AutodiffFamily):
    """Real response with normal tails that leans to one side (Azzalini's skew normal, SN1).

    Notes
    -----
    Density ``2 / scale phi(z) Phi(slant z)`` with ``z = (y - loc) / scale``; slant 0 is the normal
    distribution, positive values have the longer tail on the right. ``loc`` is not the mean, which
    is ``loc + scale delta sqrt(2 / pi)`` with ``delta = slant / sqrt(1 + slant^2)``. At slant 0
    the three parameters are not identified to first order: the information is singular there, and
    standard errors near it are large.

    References
    ----------
    Azzalini, A. (1985). A class of distributions which includes the normal ones. Scandinavian
    Journal of Statistics 12, 171-178.

    Examples
    --------
    >>> family = SkewNormal()
    >>> eta = torch.tensor([[0.0, 0.0, 2.0]], dtype=torch.float64)
    >>> bool((family.cdf(eta, family.quantile(eta, torch.tensor(0.3))) - 0.3).abs() < 1e-7)
    True
    """

    param_names = ("loc", "scale", "slant")
    kernel_links = (Identity(), Log(), Identity())
    links = (Identity(), Log(), Identity())
    response = REAL

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale, slant = omega.unbind(-1)
        # The square of what is larger overflows.
        limit = 0.5 * torch.finfo(omega.dtype).max ** 0.25
        z = ((y - loc) * bounded_exp(-log_scale, 40.0)).clamp(-limit, limit)
        slanted = (slant * z).clamp(-limit, limit)
        return math.log(2) - log_scale - _HALF_LOG_2PI - 0.5 * z**2 + log_ndtr(slanted)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        cdf = self.cdf(omega.detach(), y)
        loc, log_scale, _ = omega.detach().unbind(-1)
        scale = bounded_exp(log_scale, 40.0)

        def inverse(t: Tensor) -> tuple[Tensor, Tensor]:
            return loc[..., None] + scale[..., None] * t, log_scale[..., None].expand_as(t)

        return quadrature_tails(
            self.log_density, omega, y, cdf, lambda x: (x - loc) / scale, inverse
        )

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = weighted_mean(y, weight)
        variance = weighted_mean((y - mean) ** 2, weight)
        spread = torch.maximum(variance, 1e-12 * mean.square().clamp(min=1.0)).sqrt()
        skewness = weighted_mean(((y - mean) / spread) ** 3, weight)
        size = skewness.abs().clamp(_LEAST, _LARGEST) ** (2 / 3)
        delta = (math.pi / 2 * size / (size + (2 - math.pi / 2) ** (2 / 3))).sqrt()
        delta = torch.where(skewness < 0, -delta, delta)
        scale = spread / (1 - 2 * delta**2 / math.pi).sqrt()
        loc = mean - scale * delta * math.sqrt(2 / math.pi)
        return torch.stack([loc, scale, delta / (1 - delta**2).sqrt()])

    def distribution(self, eta: Tensor) -> RowDistribution:
        loc, scale, slant = self.theta(eta).unbind(-1)
        shift = slant / torch.hypot(slant, torch.ones_like(slant)) * math.sqrt(2 / math.pi)
        return RowDistribution(self, eta, loc + scale * shift, scale**2 * (1 - shift**2))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale, slant = self.theta(eta).unbind(-1)
        return elementwise(_cdf, (y - loc) / scale, slant)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        loc, scale, slant = theta.unbind(-1)
        return loc + scale * elementwise(_quantile, slant, q)


def _cdf(z: np.ndarray, slant: np.ndarray) -> np.ndarray:
    """``Phi(z) - 2 T(z, slant)`` with Owen's function T."""
    value: np.ndarray = special.ndtr(z) - 2 * special.owens_t(z, slant)
    return value.clip(0, 1)


def _quantile(slant: np.ndarray, q: np.ndarray) -> np.ndarray:
    slant, q = np.broadcast_arrays(slant, q)
    a, level = (np.ascontiguousarray(x).ravel() for x in (slant, q))
    ends = np.full(level.shape, _FAR)
    found = invert_cdf(lambda z, i: _cdf(z, a[i]), level, -ends, ends)
    return found.reshape(q.shape)
