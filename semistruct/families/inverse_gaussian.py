"""The inverse Gaussian distribution: mean and dispersion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from semistruct.families._arithmetic import elementwise, symmetric, weighted_mean
from semistruct.families._tails import positive_tails
from semistruct.families.base import CurvatureKind
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import POSITIVE
from semistruct.links import Link, Log, bounded_exp, resolve_link

__all__ = ["InverseGaussian"]


@dataclass(frozen=True, repr=False)
class InverseGaussian(SeparableFamily):
    """Positive, right-skewed response with variance ``dispersion * mean^3``.

    Parameters
    ----------
    mean_link : {"log", "identity", "inverse"} or Link, default="log"
        Link of the mean; the dispersion has a log link.

    Notes
    -----
    ``f(y) = (2 pi dispersion y^3)^(-1/2) exp(-(y - mean)^2 / (2 dispersion mean^2 y))``. The log
    likelihood is not concave in the log mean where ``y < mean / 2``; the expected curvature is
    positive everywhere.

    References
    ----------
    Chhikara and Folks (1989), The Inverse Gaussian Distribution.
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
        h, ratio = _pieces(omega, y)
        deviance = (ratio - 1) ** 2 / y
        return -0.5 * (math.log(2 * math.pi) + 3 * y.log() + omega[..., 1] + h * deviance)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        h, ratio = _pieces(omega, y)
        return torch.stack(
            [h * ratio * (ratio - 1) / y, 0.5 * h * (ratio - 1) ** 2 / y - 0.5], dim=-1
        )

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        h, ratio = _pieces(omega, y)
        if kind == "expected":
            mean = h * bounded_exp(-omega[..., 0], 40.0)
            return symmetric({(0, 0): mean, (1, 1): torch.full_like(mean, 0.5)}, 2)
        return symmetric(
            {
                (0, 0): h * ratio * (2 * ratio - 1) / y,
                (0, 1): h * ratio * (ratio - 1) / y,
                (1, 1): 0.5 * h * (ratio - 1) ** 2 / y,
            },
            2,
        )

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        mean, dispersion = bounded_exp(omega, 40.0).unbind(-1)
        cdf = elementwise(stats.invgauss.cdf, y * dispersion, mean * dispersion)
        return positive_tails(self.log_density, omega, y, cdf)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = weighted_mean(y, weight)
        dispersion = weighted_mean((y / mean - 1) ** 2 / y, weight)
        return torch.stack([mean, torch.maximum(dispersion, 1e-12 / mean)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        mean, dispersion = self.theta(eta).unbind(-1)
        return RowDistribution(self, eta, mean, dispersion * mean**3)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        mean, dispersion = self.theta(eta).unbind(-1)
        return elementwise(stats.invgauss.cdf, y * dispersion, mean * dispersion)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        mean, dispersion = self.theta(eta).unbind(-1)
        standard = elementwise(lambda mu, p: stats.invgauss.ppf(p, mu), mean * dispersion, q)
        return standard / dispersion


def _pieces(omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """``1 / dispersion`` and ``y / mean``, each ``(..., n)``; bounded to have finite squares."""
    ratio = y * bounded_exp(-omega[..., 0], 0.5 * math.log(torch.finfo(omega.dtype).max) + 20.0)
    return bounded_exp(-omega[..., 1], 40.0), ratio
