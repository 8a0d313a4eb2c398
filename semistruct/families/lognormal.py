"""The lognormal distribution: location and scale of the logarithm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.families._arithmetic import weighted_mean
from semistruct.families._normal_kernel import (
    normal_gradient,
    normal_information,
    normal_log_density,
)
from semistruct.families._tails import log_ndtr
from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import POSITIVE
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["LogNormal"]


@dataclass(frozen=True, repr=False)
class LogNormal(SeparableFamily):
    """Positive response whose logarithm is normal with mean ``loc`` and deviation ``scale``.

    Notes
    -----
    ``f(y) = exp(-(log y - loc)^2 / (2 scale^2)) / (y scale sqrt(2 pi))``; median ``exp(loc)``, mean
    ``exp(loc + scale^2 / 2)``, variance ``(exp(scale^2) - 1) exp(2 loc + scale^2)``. The scale has
    the floor of :class:`Normal`.
    """

    param_names = ("loc", "scale")
    kernel_links = (Identity(), Log())
    links = (Identity(), Log())
    dispersion = ("scale", 2)
    response = POSITIVE

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        z = y.log()
        return normal_log_density(omega, z) - z

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return normal_gradient(omega, y.log())

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        return normal_information(omega, y.log(), kind)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = omega.unbind(-1)
        z = (y.log() - loc) * bounded_exp(-log_scale, 40.0)
        return log_ndtr(z), log_ndtr(-z)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        z = y.log()
        loc = weighted_mean(z, weight)
        scale = weighted_mean((z - loc) ** 2, weight).sqrt()
        return torch.stack([loc, scale.clamp(min=1e-6)])

    def distribution(self, eta: Tensor) -> torch.distributions.LogNormal:
        loc, scale = self.theta(eta).unbind(-1)
        return torch.distributions.LogNormal(loc, scale, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale = self.theta(eta).unbind(-1)
        return torch.special.ndtr((y.clamp(min=0).log() - loc) / scale)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        loc, scale = self.theta(eta).unbind(-1)
        return (loc + scale * torch.special.ndtri(q)).exp()
