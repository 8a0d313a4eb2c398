"""Student's t distribution: location, scale and degrees of freedom."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import (
    elementwise,
    stirling_error,
    symmetric,
    trigamma,
    weighted_mean,
)
from semistruct.families._tails import quadrature_tails
from semistruct.families.autodiff import autodiff_gradient, autodiff_information
from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import REAL
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["StudentT"]


@dataclass(frozen=True, repr=False)
class StudentT(SeparableFamily):
    """Response with heavy tails: ``loc + scale * t``, ``t`` of Student's distribution.

    Notes
    -----
    ``f(y) = Gamma((df + 1) / 2) / (Gamma(df / 2) sqrt(df pi) scale)
    (1 + z^2 / df)^(-(df + 1) / 2)`` with ``z = (y - loc) / scale``. Mean ``loc`` for ``df > 1``,
    variance ``scale^2 df / (df - 2)`` for ``df > 2``. All of ``df`` up to the normal limit are
    computed without cancellation. The log-likelihood is not concave in ``loc``.

    References
    ----------
    Lange, Little and Taylor (1989), JASA 84, 881-896.
    """

    param_names = ("loc", "scale", "df")
    kernel_links = (Identity(), Log(), Log())
    links = (Identity(), Log(), Log())
    response = REAL

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale, log_df = omega.unbind(-1)
        # From here on it is the normal distribution to the last digit.
        log_df = log_df.clamp(max=-2 * math.log(torch.finfo(omega.dtype).eps))
        half = 0.5 * bounded_exp(log_df)
        # log Gamma(half + 1/2) - log Gamma(half) - log(half) / 2 by Stirling's formula
        constant = -half * logsigmoid(log_df) - 0.5
        constant = constant + stirling_error(half + 0.5) - stirling_error(half)
        square = (y - loc) ** 2 * bounded_exp(-2 * log_scale, 40.0)
        tail = (half + 0.5) * (square * bounded_exp(-log_df, 40.0)).log1p()
        return constant - 0.5 * math.log(2 * math.pi) - log_scale - tail

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return autodiff_gradient(self.log_density, omega, y)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "observed":
            return autodiff_information(self.log_density, omega, y)
        _, log_scale, log_df = omega.unbind(-1)
        df = bounded_exp(log_df, 40.0)
        return symmetric(
            {
                (0, 0): (df + 1) / (df + 3) * bounded_exp(-2 * log_scale, 40.0),
                (1, 1): 2 * df / (df + 3),
                (1, 2): -2 * (df / (df + 1)) / (df + 3),
                (2, 2): _information_of_log_df(df),
            },
            3,
        )

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale, log_df = omega.detach().unbind(-1)
        # On the scale asinh(z / sqrt(df)) the density is proportional to cosh^-df.
        log_unit = log_scale + 0.5 * log_df.clamp(max=-2 * math.log(torch.finfo(loc.dtype).eps))
        unit = bounded_exp(log_unit, 40.0)

        def chart(value: Tensor) -> Tensor:
            return ((value - loc) / unit).asinh()

        def inverse(t: Tensor) -> tuple[Tensor, Tensor]:
            limit = 0.25 * math.log(torch.finfo(t.dtype).max)
            t = t.clamp(-limit, limit)
            log_cosh = t.abs() + (-2 * t.abs()).exp().log1p() - math.log(2)
            value = loc[..., None] + unit[..., None] * t.sinh()
            return value, log_unit[..., None] + log_cosh

        standard = (y - loc) * bounded_exp(-log_scale, 40.0)
        cdf = elementwise(special.stdtr, bounded_exp(log_df, 40.0), standard)
        return quadrature_tails(self.log_density, omega, y, cdf, chart, inverse)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        loc = weighted_mean(y, weight)
        scale = weighted_mean((y - loc) ** 2, weight).sqrt()
        floor = 1e-6 * loc.abs().clamp(min=1.0)
        # With ten degrees of freedom the deviation exceeds the scale by a ninth.
        return torch.stack([loc, torch.maximum(0.9 * scale, floor), torch.full_like(loc, 10.0)])

    def distribution(self, eta: Tensor) -> torch.distributions.StudentT:
        loc, scale, df = self.theta(eta).unbind(-1)
        return torch.distributions.StudentT(df, loc, scale, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, scale, df = self.theta(eta).unbind(-1)
        return elementwise(special.stdtr, df, (y - loc) / scale)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        loc, scale, df = self.theta(eta).unbind(-1)
        return loc + scale * elementwise(special.stdtrit, df, q)


def _information_of_log_df(df: Tensor) -> Tensor:
    """``df^2`` times Lange, Little and Taylor's information of ``df``; by its series where large.

    The closed form cancels to the order ``df^-2`` while its terms grow as ``df``.
    """
    large = df > 500.0
    near = torch.where(large, torch.full_like(df, 500.0), df)
    difference = trigamma(near / 2 + 1) - trigamma(near / 2 + 0.5)
    # trigamma(df / 2) = trigamma(df / 2 + 1) + 4 / df^2 keeps a small df finite.
    exact = 1 + near**2 / 4 * difference - near * (near + 5) / (2 * (near + 1) * (near + 3))
    a = df.clamp(min=500.0).reciprocal()
    series = a**2 * (3.5 + a * (-13.0 + a * (39.5 - 119.0 * a)))
    return torch.where(large, series, exact)
