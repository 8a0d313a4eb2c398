"""The Box-Cox Cole-Green distribution: median, variation and power (the LMS method)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._powers import expm1_ratio, log1p_ratio
from semistruct.families._quantiles import weighted_quantile
from semistruct.families._tails import log_difference, log_ndtr
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import POSITIVE
from semistruct.links import Identity, Link, Log, bounded_exp, resolve_link

__all__ = ["BoxCoxColeGreen"]

_CERTAIN = 0.02  # below this |power| variation the truncation is 1 in any dtype: Phi(-50) = 1e-545
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, repr=False)
class BoxCoxColeGreen(AutodiffFamily):
    """Positive skewed response, normal after a power transformation (LMS, BCCG).

    Parameters
    ----------
    median_link : {"log", "identity"} or Link, default="log"
        Link of the median; the variation has a log link, the power an identity link.

    Notes
    -----
    ``z = ((y / median)^power - 1) / (power variation)``, ``log(y / median) / variation`` at power
    0 (by series, without a gap), is standard normal, truncated to where ``y > 0``. ``variation`` is
    close to the coefficient of variation, and ``median`` to the median, as far as the truncation
    is small: exact at power 0, which is the log-normal distribution. Power 1 is the truncated
    normal. Moments have no closed form and are NaN.

    References
    ----------
    Cole and Green (1992), Statistics in Medicine 11, 1305-1319.
    Rigby and Stasinopoulos (2004), Statistics in Medicine 23, 3053-3076: the truncation.
    """

    median_link: str | Link = "log"

    param_names = ("median", "variation", "power")
    kernel_links = (Log(), Log(), Identity())
    response = POSITIVE

    def __post_init__(self) -> None:
        self._choose_link("median_link", ("log", "identity"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.median_link), Log(), Identity())

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        log_median, log_variation, power = omega.unbind(-1)
        log_ratio = y.log() - log_median
        product = power * log_ratio
        z = log_ratio * expm1_ratio(product) * bounded_exp(-log_variation, 40.0)
        # Its square must not overflow.
        limit = math.sqrt(torch.finfo(z.dtype).max) / 2
        z = z.clamp(-limit, limit)
        reach = power.abs() * bounded_exp(log_variation, 40.0)
        untruncated = reach < _CERTAIN
        safe = torch.where(untruncated, torch.ones_like(reach), reach)
        kept = torch.special.log_ndtr(safe.reciprocal())
        kept = torch.where(untruncated, torch.zeros_like(kept), kept)
        jacobian = product - y.log() - log_variation
        return jacobian - 0.5 * z**2 - _HALF_LOG_2PI - kept

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        log_median, log_variation, power = omega.unbind(-1)
        log_ratio = y.log() - log_median
        z = log_ratio * expm1_ratio(power * log_ratio) * bounded_exp(-log_variation, 40.0)
        limit = torch.finfo(z.dtype).max ** 0.25
        z = z.clamp(-limit, limit)
        reach = power.abs() * bounded_exp(log_variation, 40.0)
        # Where the truncation is nothing to the last digit, it stays so and has no derivative.
        edge = reach.clamp(min=_CERTAIN).reciprocal()
        kept = log_ndtr(edge)
        toward = torch.where(power > 0, z, -z)
        outer = log_ndtr(-toward) - kept
        beyond = torch.maximum(toward, -edge * (1 - 1e-12))
        inner = log_difference(log_ndtr(beyond), log_ndtr(-edge)) - kept
        inner = torch.where(reach < _CERTAIN, log_ndtr(toward), inner)
        positive = power > 0
        return torch.where(positive, inner, outer), torch.where(positive, outer, inner)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        median = weighted_quantile(y, weight, 0.5)
        log_ratio = (y / median).log()
        variation = weighted_mean(log_ratio**2, weight).sqrt().clamp(min=1e-6)
        return torch.stack([median, variation, torch.zeros_like(median)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        unknown = torch.full_like(eta[..., 0], math.nan)
        return RowDistribution(self, eta, unknown, unknown)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        median, variation, power = self.theta(eta).unbind(-1)
        tiny = torch.finfo(y.dtype).tiny
        log_ratio = (y.clamp(min=tiny) / median).log()
        z = log_ratio * expm1_ratio(power * log_ratio) / variation
        edge = 1 / (power.abs() * variation).clamp(min=1e-30)
        below = torch.where(power > 0, elementwise(special.ndtr, -edge), torch.zeros_like(edge))
        inside = (elementwise(special.ndtr, z) - below) / elementwise(special.ndtr, edge)
        return torch.where(y <= 0, torch.zeros_like(inside), inside.clamp(min=0))

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        median, variation, power = theta.unbind(-1)
        edge = 1 / (power.abs() * variation).clamp(min=1e-30)
        kept = elementwise(special.ndtr, edge)
        left = elementwise(special.ndtri, q * kept)
        right = -elementwise(special.ndtri, (1 - q) * kept)
        z = torch.where(power > 0, right, left) * variation
        return median * (z * log1p_ratio((power * z).clamp(min=-1 + 1e-15))).exp()
