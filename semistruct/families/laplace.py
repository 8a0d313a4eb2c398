"""The Laplace distribution: location and scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.families._arithmetic import weighted_mean
from semistruct.families._quantiles import weighted_quantile
from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import REAL
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["Laplace"]


@dataclass(frozen=True, repr=False)
class Laplace(SeparableFamily):
    """Response with double exponential errors; the fitted ``loc`` is a conditional median.

    Notes
    -----
    ``f(y) = exp(-|y - loc| / scale) / (2 scale)``; mean and median ``loc``, variance
    ``2 scale^2``. The log-density has a kink at ``loc`` and is linear elsewhere, so that its second
    derivative in ``loc`` says nothing. The curvature is therefore the expected one, ``scale^-2``
    for ``loc`` and 1 for ``log(scale)``, whichever kind is asked for; fits are Fisher scoring.
    With smoothing parameters to be estimated the kinks leave the criterion rough: expect them to
    be less precise than those of a smooth family.

    References
    ----------
    Kotz, Kozubowski and Podgorski (2001), The Laplace Distribution and Generalizations, section
    2.6.
    """

    param_names = ("loc", "scale")
    kernel_links = (Identity(), Log())
    links = (Identity(), Log())
    response = REAL
    smooth = False

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale = omega.unbind(-1)
        return -((y - loc).abs() * bounded_exp(-log_scale, 40.0)) - log_scale - math.log(2)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale = omega.unbind(-1)
        rate = bounded_exp(-log_scale, 40.0)
        return torch.stack([(y - loc).sign() * rate, (y - loc).abs() * rate - 1], dim=-1)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        loc, log_scale = omega.unbind(-1)
        shape = torch.broadcast_shapes(loc.shape, y.shape)
        diagonal = torch.stack([bounded_exp(-2 * log_scale, 40.0), torch.ones_like(loc)], dim=-1)
        return torch.diag_embed(diagonal).expand(*shape, 2, 2)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        small = -z.abs() - math.log(2)
        large = (-small.exp()).log1p()
        below = z < 0
        return torch.where(below, small, large), torch.where(below, large, small)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        loc = weighted_quantile(y, weight, 0.5)
        scale = weighted_mean((y - loc).abs(), weight)
        return torch.stack([loc, torch.maximum(scale, 1e-6 * loc.abs().clamp(min=1.0))])

    def distribution(self, eta: Tensor) -> torch.distributions.Laplace:
        loc, scale = self.theta(eta).unbind(-1)
        return torch.distributions.Laplace(loc, scale, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale = self.theta(eta).unbind(-1)
        z = (y - loc) / scale
        tail = 0.5 * (-z.abs()).exp()
        return torch.where(z < 0, tail, 1 - tail)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        loc, scale = self.theta(eta).unbind(-1)
        tail = torch.minimum(q, 1 - q)
        return loc + scale * (q - 0.5).sign() * -(2 * tail).log()
