"""The beta distribution: mean and precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import (
    elementwise,
    log_minus_digamma,
    stirling_error,
    symmetric,
    trigamma_excess,
    weighted_mean,
)
from semistruct.families._tails import quadrature_tails
from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import UNIT_INTERVAL
from semistruct.links import Link, Log, Logit, bounded_exp, resolve_link

__all__ = ["Beta"]


@dataclass(frozen=True, repr=False)
class Beta(SeparableFamily):
    """Shares strictly between 0 and 1, with variance ``mean (1 - mean) / (1 + precision)``.

    Parameters
    ----------
    mean_link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of the mean; the precision has a log link.

    Notes
    -----
    The usual shapes are ``a = mean * precision`` and ``b = (1 - mean) * precision``.

    References
    ----------
    Ferrari and Cribari-Neto (2004), Journal of Applied Statistics 31, 799-815.
    """

    mean_link: str | Link = "logit"

    param_names = ("mean", "precision")
    kernel_links = (Logit(), Log())
    response = UNIT_INTERVAL

    def __post_init__(self) -> None:
        self._choose_link("mean_link", ("logit", "probit", "cloglog"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.mean_link), Log())

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        logit, log_precision = omega.unbind(-1)
        log_mean, log_rest = logsigmoid(logit), logsigmoid(-logit)
        precision, a, b = _kernel_shapes(omega)
        # Stirling's formula in the beta function leaves the divergence of the mean from y, times
        # the precision: nothing of the size of the precision cancels.
        log_y, log_1my = y.log(), (-y).log1p()
        divergence = a * (log_mean - log_y) + b * (log_rest - log_1my)
        errors = stirling_error(precision) - stirling_error(a) - stirling_error(b)
        scale = 0.5 * (log_precision + log_mean + log_rest - math.log(2 * math.pi))
        return scale + errors - divergence - log_y - log_1my

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        logit = omega[..., 0]
        mean, rest = logit.sigmoid(), (-logit).sigmoid()
        precision, a, b = _kernel_shapes(omega)
        gap_a, gap_b = log_minus_digamma(a), log_minus_digamma(b)
        upper = y.log() - logsigmoid(logit)
        lower = (-y).log1p() - logsigmoid(-logit)
        return torch.stack(
            [
                rest * gap_a - mean * gap_b + a * rest * (upper - lower),
                gap_a + gap_b - log_minus_digamma(precision) + a * upper + b * lower,
            ],
            dim=-1,
        )

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        logit = omega[..., 0]
        mean, rest = logit.sigmoid(), (-logit).sigmoid()
        precision, a, b = _kernel_shapes(omega)
        spread_a, spread_b = trigamma_excess(a), trigamma_excess(b)
        entries = {
            (0, 0): rest**2 * spread_a + mean**2 * spread_b + a * rest,
            (0, 1): rest * spread_a - mean * spread_b,
            (1, 1): spread_a + spread_b - trigamma_excess(precision),
        }
        if kind == "observed":
            score_mean, score_precision = self.gradient(omega, y).unbind(-1)
            bend = (logit / 2).tanh()  # 2 mean - 1
            entries[0, 0] = entries[0, 0] + bend * score_mean
            entries[0, 1] = entries[0, 1] - score_mean
            entries[1, 1] = entries[1, 1] - score_precision
        return symmetric(entries, 2)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # Close to 1 a share is as exact as float64: the upper tail there has fewer digits.
        limits = torch.finfo(omega.dtype)
        _, a, b = _kernel_shapes(omega)

        def inverse(t: Tensor) -> tuple[Tensor, Tensor]:
            share = t.sigmoid().clamp(limits.tiny, 1 - limits.eps / 2)
            return share, logsigmoid(t) + logsigmoid(-t)

        cdf = elementwise(special.betainc, a, b, y)
        return quadrature_tails(self.log_density, omega, y, cdf, torch.logit, inverse)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = weighted_mean(y, weight)
        variance = weighted_mean((y - mean) ** 2, weight)
        precision = mean * (1 - mean) / variance.clamp(min=1e-12) - 1
        return torch.stack([mean, precision.clamp(1e-3, 1e8)])

    def distribution(self, eta: Tensor) -> torch.distributions.Beta:
        a, b = _shapes(self.theta(eta))
        return torch.distributions.Beta(a, b, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        a, b = _shapes(self.theta(eta))
        return elementwise(special.betainc, a, b, y.clamp(0, 1))

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        a, b = _shapes(self.theta(eta))
        # A share that rounds to 0 or 1 would leave the support.
        edges = torch.finfo(torch.promote_types(a.dtype, q.dtype))
        return elementwise(special.betaincinv, a, b, q).clamp(edges.tiny, 1 - edges.eps / 2)


def _shapes(theta: Tensor) -> tuple[Tensor, Tensor]:
    mean, precision = theta.unbind(-1)
    return mean * precision, (1 - mean) * precision


def _kernel_shapes(omega: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``precision``, ``a`` and ``b``, each ``(..., n)``, none of them 0 or infinite."""
    logit, log_precision = omega.unbind(-1)
    return (
        bounded_exp(log_precision, 40.0),
        bounded_exp(log_precision + logsigmoid(logit), 40.0),
        bounded_exp(log_precision + logsigmoid(-logit), 40.0),
    )
