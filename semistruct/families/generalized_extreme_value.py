"""The generalized extreme value distribution: location, scale and shape of block maxima."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semistruct.families._arithmetic import weighted_mean
from semistruct.families._counts import log_one_minus_exp
from semistruct.families._powers import expm1_ratio, log1p_ratio
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.base import CurvatureKind
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import REAL
from semistruct.links import Identity, Link, Log, bounded_exp, resolve_link

__all__ = ["GeneralizedExtremeValue"]

_NODES = 160  # with the range below: relative error 1e-9 for shapes above -0.2
_GUMBEL_RANGE = (-5.0, 55.0)
_EULER = 0.5772156649015329
# zeta(k) (2^k - 2) / k for k = 2, 3, ...: the series of lgamma(1 - 2x) - 2 lgamma(1 - x) over x^2
_EXCESS_SERIES = (
    1.6449340668482264,
    2.4041138063191885,
    3.7881313179889835,
    6.22156653086022,
    10.51254497383931,
    18.150286992874612,
    31.879456059284735,
    56.78047559347799,
    102.30164557806299,
    186.0919190803662,
    341.2506231957703,
)


@dataclass(frozen=True, repr=False)
class GeneralizedExtremeValue(AutodiffFamily):
    """Maxima of many like quantities, with a tail of any of the three types.

    Parameters
    ----------
    shape_link : "identity" or Link, default="identity"
        Link of the shape; give your own to confine it. Location and scale have identity and log.

    Notes
    -----
    ``F(y) = exp(-(1 + shape z)^(-1 / shape))`` with ``z = (y - loc) / scale``, where
    ``1 + shape z > 0``; Gumbel's distribution at ``shape = 0`` (by series, without a gap),
    Frechet's for a positive and the reversed Weibull for a negative shape. Where
    ``1 + shape z <= 0`` the likelihood is zero. The mean is finite for ``shape < 1``, the variance
    for ``shape < 1/2``. Maximum likelihood is regular for ``shape > -1/2`` (Smith, 1985); below,
    the expected curvature does not exist, and a truncated quadrature takes its place in the steps
    of a fit. For minima fit ``-y``.

    References
    ----------
    Coles (2001), An Introduction to Statistical Modeling of Extreme Values, section 3.1.3.
    Smith (1985), Biometrika 72, 67-90.
    """

    shape_link: str | Link = "identity"

    param_names = ("loc", "scale", "shape")
    kernel_links = (Identity(), Log(), Identity())
    response = REAL

    def __post_init__(self) -> None:
        self._choose_link("shape_link", ("identity",))

    @property
    def links(self) -> tuple[Link, ...]:
        return (Identity(), Log(), resolve_link(self.shape_link))

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale, shape = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        product = shape * z
        outside = product <= -1
        # Where the response is impossible the derivatives are zero, not NaN.
        product = torch.where(outside, torch.zeros_like(product), product)
        z = torch.where(outside, torch.zeros_like(z), z)
        reduced = z * log1p_ratio(product)
        value = -log_scale - reduced - product * log1p_ratio(product) - bounded_exp(-reduced)
        return torch.where(outside, torch.full_like(value, -math.inf), value)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "observed":
            return super().information(omega, y, kind)
        # Free of location and scale but for the unit of the location's score.
        shapes, row = torch.unique(omega[..., 2].detach(), return_inverse=True)
        unit = torch.ones_like(omega)
        unit[..., 0] = bounded_exp(-omega[..., 1], 40.0)
        return unit[..., :, None] * self._standard_information(shapes)[row] * unit[..., None, :]

    def _standard_information(self, shapes: Tensor) -> Tensor:
        """Expected curvature ``(m, 3, 3)`` at location 0 and scale 1, over Gumbel variates."""
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        low, high = _GUMBEL_RANGE
        gumbel = low + (high - low) * (nodes + 1) / 2
        masses = weights * (high - low) / 2 * np.exp(-gumbel - np.exp(-gumbel))
        zero = torch.zeros_like(shapes)
        omega = torch.stack([zero, zero, shapes], dim=-1)
        s = torch.as_tensor(gumbel).to(shapes)[:, None]
        score = self.gradient(omega, s * expm1_ratio(shapes * s))
        return torch.einsum("s,smj,smk->mjk", torch.as_tensor(masses).to(shapes), score, score)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale, shape = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        product = shape * z
        outside = product <= -1
        product = torch.where(outside, torch.zeros_like(product), product)
        z = torch.where(outside, torch.zeros_like(z), z)
        reduced = z * log1p_ratio(product)
        certain, never = torch.zeros_like(z), torch.full_like(z, -math.inf)
        # Outside the support every response is above (below for a negative shape).
        above, below = outside & (shape > 0), outside & (shape <= 0)
        lower = torch.where(above, never, torch.where(below, certain, -bounded_exp(-reduced)))
        upper = log_one_minus_exp(-reduced)
        return lower, torch.where(above, certain, torch.where(below, never, upper))

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        # Gumbel's moments; so near 0 a shape allows every response but absurd ones.
        mean = weighted_mean(y, weight)
        scale = weighted_mean((y - mean) ** 2, weight).sqrt() * math.sqrt(6) / math.pi
        scale = torch.maximum(scale, 1e-6 * mean.abs().clamp(min=1.0))
        deepest = ((mean - _EULER * scale - y) / scale).max().clamp(min=1.0)
        shape = (0.5 / deepest).clamp(max=0.05)
        return torch.stack([mean - _EULER * scale, scale, shape])

    def distribution(self, eta: Tensor) -> RowDistribution:
        loc, scale, shape = self.theta(eta).unbind(-1)
        infinite = torch.full_like(shape, math.inf)
        mean = torch.where(shape < 1, loc + scale * _mean_of_reduced(shape), infinite)
        variance = torch.where(shape < 0.5, scale**2 * _variance_of_reduced(shape), infinite)
        return RowDistribution(self, eta, mean, variance)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale, shape = self.theta(eta).unbind(-1)
        z = (y - loc) / scale
        product = shape * z
        outside = product <= -1
        reduced = z * log1p_ratio(torch.where(outside, torch.zeros_like(product), product))
        inside = (-bounded_exp(-reduced)).exp()
        return torch.where(outside, (shape < 0).to(inside).expand_as(inside), inside)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        loc, scale, shape = theta.unbind(-1)
        gumbel = -(-q.log()).log()
        return loc + scale * gumbel * expm1_ratio(shape * gumbel)


def _mean_of_reduced(shape: Tensor) -> Tensor:
    """``(Gamma(1 - shape) - 1) / shape`` for ``shape < 1``, Euler's constant at 0."""
    near = shape.abs() < 1e-6
    safe = torch.where(near, torch.full_like(shape, 0.5), shape).clamp(max=1 - 1e-15)
    linear = _EULER + shape * (_EULER**2 / 2 + math.pi**2 / 12)
    return torch.where(near, linear, torch.expm1(torch.lgamma(1 - safe)) / safe)


def _variance_of_reduced(shape: Tensor) -> Tensor:
    """``(Gamma(1 - 2 shape) - Gamma(1 - shape)^2) / shape^2``, ``pi^2 / 6`` at 0."""
    shape = shape.clamp(max=0.5 - 1e-15)
    near = shape.abs() < 0.02
    small = torch.where(near, shape, torch.zeros_like(shape))
    series = torch.zeros_like(small)
    for coefficient in reversed(_EXCESS_SERIES):
        series = series * small + coefficient
    large = torch.where(near, torch.full_like(shape, 0.25), shape)
    log_square = 2 * torch.lgamma(1 - shape)
    excess = torch.lgamma(1 - 2 * large) - 2 * torch.lgamma(1 - large)
    ratio = torch.where(
        near, series * expm1_ratio(small**2 * series), torch.expm1(excess) / large**2
    )
    return log_square.exp() * ratio
