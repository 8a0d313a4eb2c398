"""The normal distribution: location and scale."""

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
from semistruct.families.supports import REAL
from semistruct.links import Identity, Link, Log, bounded_exp, resolve_link

__all__ = ["Normal"]


@dataclass(frozen=True, repr=False)
class Normal(SeparableFamily):
    """Normal response: mean ``loc``, standard deviation ``scale``.

    Parameters
    ----------
    loc_link : {"identity", "log", "inverse"} or Link, default="identity"
        Link of the mean; the scale has a log link.

    Notes
    -----
    ``f(y) = exp(-(y - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi))``; mean ``loc``, variance
    ``scale^2``. The precision in the likelihood is bounded (scale above 1e-145 in float64, 4e-11 in
    float32), since the likelihood itself is unbounded where a model can interpolate the response.

    Examples
    --------
    >>> Normal()
    Normal()
    >>> Normal(loc_link="log").links
    (Log(), Log())
    """

    loc_link: str | Link = "identity"

    param_names = ("loc", "scale")
    kernel_links = (Identity(), Log())
    dispersion = ("scale", 2)
    response = REAL

    def __post_init__(self) -> None:
        self._choose_link("loc_link", ("identity", "log", "inverse"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.loc_link), Log())

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        return normal_log_density(omega, y)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return normal_gradient(omega, y)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        return normal_information(omega, y, kind)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = omega.unbind(-1)
        z = (y - loc) * bounded_exp(-log_scale, 40.0)
        return log_ndtr(z), log_ndtr(-z)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        loc = weighted_mean(y, weight)
        scale = weighted_mean((y - loc) ** 2, weight).sqrt()
        # A constant response has no scale of its own; any small positive start will do.
        floor = 1e-6 * loc.abs().clamp(min=1.0)
        return torch.stack([loc, torch.maximum(scale, floor)])

    def distribution(self, eta: Tensor) -> torch.distributions.Normal:
        loc, scale = self.theta(eta).unbind(-1)
        return torch.distributions.Normal(loc, scale, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale = self.theta(eta).unbind(-1)
        return torch.special.ndtr((y - loc) / scale)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        loc, scale = self.theta(eta).unbind(-1)
        return loc + scale * torch.special.ndtri(q)
