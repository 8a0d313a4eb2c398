"""The generalized Pareto distribution: scale and shape of excesses over a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.families._arithmetic import symmetric, weighted_mean
from semistruct.families._counts import log_one_minus_exp
from semistruct.families._powers import expm1_ratio, log1p_ratio
from semistruct.families.autodiff import autodiff_gradient, autodiff_information
from semistruct.families.base import CurvatureKind
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import Support
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["GeneralizedPareto"]

_NON_NEGATIVE = Support(
    "non-negative numbers",
    lambda y: y >= 0,
    "Model the excess over a threshold: subtract it and drop the rows below.",
    lower=0.0,
)
_LOWEST_SHAPE = -0.45  # where the expected curvature is held; it is infinite from -1/2 on


@dataclass(frozen=True, repr=False)
class GeneralizedPareto(SeparableFamily):
    """Excesses over a high threshold, with a tail from bounded to heavier than exponential.

    Notes
    -----
    ``F(y) = 1 - (1 + shape y / scale)^(-1 / shape)`` for ``y >= 0``, exponential at ``shape = 0``
    (by series, without a gap); for a negative shape ``y`` ends at ``-scale / shape``, and beyond it
    the likelihood is zero. Mean ``scale / (1 - shape)`` for ``shape < 1``, variance
    ``scale^2 / ((1 - shape)^2 (1 - 2 shape))`` for ``shape < 1/2``, infinite else. Maximum
    likelihood is regular for ``shape > -1/2`` (Smith, 1985); the expected curvature does not exist
    below and is held there at its value for -0.45.

    References
    ----------
    Davison and Smith (1990), JRSS B 52, 393-442. Smith (1985), Biometrika 72, 67-90.
    """

    param_names = ("scale", "shape")
    kernel_links = (Log(), Identity())
    links = (Log(), Identity())
    response = _NON_NEGATIVE

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_scale, shape = omega.unbind(-1)
        z = y * bounded_exp(-log_scale, 40.0)
        product = shape * z
        outside = product <= -1
        # Where the response is impossible the derivatives are zero, not NaN.
        product = torch.where(outside, torch.zeros_like(product), product)
        z = torch.where(outside, torch.zeros_like(z), z)
        value = -log_scale - (z + product) * log1p_ratio(product)
        return torch.where(outside, torch.full_like(value, -math.inf), value)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return autodiff_gradient(self.log_density, omega, y)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "observed":
            return autodiff_information(self.log_density, omega, y)
        shape = omega[..., 1].clamp(min=_LOWEST_SHAPE)
        one, two = (1 + shape).reciprocal(), (1 + 2 * shape).reciprocal()
        return symmetric({(0, 0): two, (0, 1): one * two, (1, 1): 2 * one * two}, 2)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shape = omega.unbind(-1)
        z = y * bounded_exp(-log_scale, 40.0)
        product = shape * z
        outside = product <= -1
        product = torch.where(outside, torch.zeros_like(product), product)
        ratio = log1p_ratio(product)
        log_hazard = y.log() - log_scale + ratio.log()
        certain, never = torch.zeros_like(z), torch.full_like(z, -math.inf)
        lower = torch.where(outside, certain, log_one_minus_exp(log_hazard))
        return lower, torch.where(outside, never, -z * ratio)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = weighted_mean(y, weight).clamp(min=1e-6)
        # A positive shape allows every response.
        shape = torch.full_like(mean, 0.1)
        return torch.stack([mean * (1 - shape), shape])

    def distribution(self, eta: Tensor) -> RowDistribution:
        scale, shape = self.theta(eta).unbind(-1)
        infinite = torch.full_like(shape, math.inf)
        mean = torch.where(shape < 1, scale / (1 - shape), infinite)
        variance = torch.where(shape < 0.5, mean**2 / (1 - 2 * shape), infinite)
        return RowDistribution(self, eta, mean, variance)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        scale, shape = self.theta(eta).unbind(-1)
        z = y.clamp(min=0) / scale
        product = shape * z
        inside = -torch.expm1(-z * log1p_ratio(product.clamp(min=-1)))
        return torch.where(product <= -1, torch.ones_like(inside), inside)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        scale, shape = self.theta(eta).unbind(-1)
        exponential = -torch.log1p(-q)
        return scale * exponential * expm1_ratio(shape * exponential)
