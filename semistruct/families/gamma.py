"""The gamma distribution: mean and dispersion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor

from semistruct.families._arithmetic import (
    elementwise,
    log_minus_digamma,
    stirling_error,
    symmetric,
    trigamma_excess,
    weighted_mean,
)
from semistruct.families._tails import positive_tails
from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import POSITIVE
from semistruct.links import Link, Log, bounded_exp, resolve_link

__all__ = ["Gamma"]

_HALF_LOG_2PI = 0.9189385332046727


@dataclass(frozen=True, repr=False)
class Gamma(SeparableFamily):
    """Positive response with mean ``mean`` and variance ``dispersion * mean^2``.

    Parameters
    ----------
    mean_link : {"log", "identity", "inverse"} or Link, default="log"
        Link of the mean; the dispersion has a log link.

    Notes
    -----
    With the shape ``a = 1 / dispersion``,
    ``f(y) = (a / mean)^a y^(a - 1) exp(-a y / mean) / Gamma(a)``; the coefficient of variation is
    ``sqrt(dispersion)``. Terms that cancel for a small dispersion are computed by their asymptotic
    series.

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, chapter 8.
    """

    mean_link: str | Link = "log"

    param_names = ("mean", "dispersion")
    kernel_links = (Log(), Log())
    dispersion = ("dispersion", 1)
    response = POSITIVE

    def __post_init__(self) -> None:
        self._choose_link("mean_link", ("log", "identity", "inverse"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.mean_link), Log())

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        shape, excess, _ = _pieces(omega, y)
        # a log a - a - lgamma(a) = log(a) / 2 - log(2 pi) / 2 - (error of Stirling's formula)
        constant = -0.5 * omega[..., 1] - _HALF_LOG_2PI - stirling_error(shape)
        return -shape * excess + constant - y.log()

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        shape, excess, relative = _pieces(omega, y)
        # In the log dispersion: -a dl/da, with dl/da = log a - digamma(a) - excess.
        return torch.stack([shape * relative, shape * excess - log_minus_digamma(shape)], dim=-1)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        shape, excess, relative = _pieces(omega, y)
        spread = trigamma_excess(shape)
        if kind == "expected":
            shape, spread = torch.broadcast_tensors(shape, spread)
            return symmetric({(0, 0): shape, (1, 1): spread}, 2)
        return symmetric(
            {
                (0, 0): shape * (1 + relative),
                (0, 1): shape * relative,
                (1, 1): spread - log_minus_digamma(shape) + shape * excess,
            },
            2,
        )

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        shape, _, relative = _pieces(omega, y)
        cdf = elementwise(special.gammainc, shape, shape * (1 + relative))
        return positive_tails(self.log_density, omega, y, cdf)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = weighted_mean(y, weight)
        # Maximum likelihood: log a - digamma(a) = log(mean) - mean(log) =: gap, by Newton in log a
        # from the start of Minka (2002).
        gap = (mean.log() - weighted_mean(y.log(), weight)).clamp(min=1e-12)
        shape = (3 - gap + ((gap - 3) ** 2 + 24 * gap).sqrt()) / (12 * gap)
        for _ in range(6):
            step = (log_minus_digamma(shape) - shape * gap) / trigamma_excess(shape)
            shape = shape * step.clamp(-1, 1).exp()
        return torch.stack([mean, shape.reciprocal()])

    def distribution(self, eta: Tensor) -> torch.distributions.Gamma:
        mean, dispersion = self.theta(eta).unbind(-1)
        shape = dispersion.reciprocal()
        return torch.distributions.Gamma(shape, shape / mean, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, dispersion = self.theta(eta).unbind(-1)
        standard = y.clamp(min=0) / (mean * dispersion)
        return elementwise(special.gammainc, dispersion.reciprocal(), standard)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        mean, dispersion = self.theta(eta).unbind(-1)
        standard = elementwise(special.gammaincinv, dispersion.reciprocal(), q)
        # With a small shape the low quantiles would underflow to 0, outside of the support.
        return (standard * mean * dispersion).clamp(min=torch.finfo(standard.dtype).tiny)


def _pieces(omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape ``a``, ``y/m - 1 - log(y/m)`` (never negative) and ``y/m - 1``, each ``(..., n)``."""
    log_ratio = y.log() - omega[..., 0]
    relative = _bounded_expm1(log_ratio)
    return bounded_exp(-omega[..., 1], 40.0), relative - log_ratio, relative


def _bounded_expm1(x: Tensor) -> Tensor:
    return torch.where(x < 1, torch.expm1(x.clamp(max=1)), bounded_exp(x, 40.0) - 1)
