"""The Box-Cox t distribution: median, variation, power and degrees of freedom."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import special
from torch import Tensor

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._powers import expm1_ratio, log1p_ratio
from semistruct.families._quantiles import weighted_quantile
from semistruct.families._tails import log_difference
from semistruct.families.autodiff import autodiff_gradient, autodiff_information
from semistruct.families.base import CurvatureKind
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.separable import SeparableFamily
from semistruct.families.student_t import StudentT
from semistruct.families.supports import POSITIVE
from semistruct.links import Identity, Link, Log, bounded_exp, resolve_link

__all__ = ["BoxCoxT"]

_NO_POWER = 1e-12  # closer to 0 the truncation is that of this power: none
_NODES = 96
_DROP = 36.0  # nats below the top at which an expectation is cut


@dataclass(frozen=True, repr=False)
class BoxCoxT(SeparableFamily):
    """Positive, skewed response with heavy tails: Student's t after a power transformation (BCT).

    Parameters
    ----------
    median_link : {"log", "identity"} or Link, default="log"
        Link of the median; variation and degrees of freedom have log links, the power an identity
        link.

    Notes
    -----
    ``z = ((y / median)^power - 1) / (power variation)``, ``log(y / median) / variation`` at power
    0 (by series, without a gap), is Student's t with ``df`` degrees of freedom, truncated to where
    ``y > 0``. For large ``df`` it is :class:`BoxCoxColeGreen`, at power 0 exactly a log-t
    distribution. ``median`` is the median as far as the truncation is small, and
    ``variation`` the coefficient of variation as far as ``df`` is large as well. Moments have no
    closed form, need not exist, and are NaN. The share that the truncation keeps is computed by
    quadrature, since its derivative in ``df`` has no closed form.

    References
    ----------
    Rigby and Stasinopoulos (2006), Statistical Modelling 6, 209-229.
    """

    median_link: str | Link = "log"

    param_names = ("median", "variation", "power", "df")
    kernel_links = (Log(), Log(), Identity(), Log())
    response = POSITIVE

    def __post_init__(self) -> None:
        self._choose_link("median_link", ("log", "identity"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.median_link), Log(), Identity(), Log())

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        z, jacobian, log_df = _standardized(omega, y)
        zero = torch.zeros_like(log_df)
        inside = StudentT().log_density(torch.stack([zero, zero, log_df], dim=-1), z)
        return inside + jacobian - _log_t_tail(_log_reach(omega), log_df, "below")

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return autodiff_gradient(self.log_density, omega, y)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "observed":
            return autodiff_information(self.log_density, omega, y)
        omega = omega.detach()
        total = omega.new_zeros(*omega.shape, omega.shape[-1])
        for y_node, mass in _expectation(omega):
            score = self.gradient(omega, y_node)
            total += mass[..., None, None] * score[..., :, None] * score[..., None, :]
        return total

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        z, _, log_df = _standardized(omega, y)
        power = omega[..., 2]
        toward = torch.where(power > 0, z, -z)
        log_reach = _log_reach(omega)
        kept = _log_t_tail(log_reach, log_df, "below")
        cut = _log_t_tail(log_reach, log_df, "above")
        # A location of -z puts z at 0, and lets the tails be differentiated in it.
        at = torch.stack([-toward, torch.zeros_like(z), log_df], dim=-1)
        below, above = StudentT().kernel_log_tails(at, torch.zeros_like(z))
        cut = torch.minimum(cut, below - 1e-12)  # y is above 0, if only by rounding
        outer, inner = above - kept, log_difference(below, cut) - kept
        positive = power > 0
        return torch.where(positive, inner, outer), torch.where(positive, outer, inner)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        median = weighted_quantile(y, weight, 0.5)
        log_ratio = (y / median).log()
        # With ten degrees of freedom the deviation exceeds the scale by a ninth.
        variation = (0.9 * weighted_mean(log_ratio**2, weight).sqrt()).clamp(min=1e-6)
        return torch.stack([median, variation, torch.zeros_like(median), 10 + 0 * median])

    def distribution(self, eta: Tensor) -> RowDistribution:
        unknown = torch.full_like(eta[..., 0], math.nan)
        return RowDistribution(self, eta, unknown, unknown)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        median, variation, power, df = self.theta(eta).unbind(-1)
        tiny = torch.finfo(y.dtype).tiny
        log_ratio = (y.clamp(min=tiny) / median).log()
        z = log_ratio * expm1_ratio(power * log_ratio) / variation
        edge = 1 / (power.abs() * variation).clamp(min=1e-30)
        cut = elementwise(special.stdtr, df, -edge)
        below = torch.where(power > 0, cut, torch.zeros_like(cut))
        inside = (elementwise(special.stdtr, df, z) - below) / elementwise(special.stdtr, df, edge)
        return torch.where(y <= 0, torch.zeros_like(inside), inside.clamp(min=0))

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        median, variation, power, df = self.theta(eta).unbind(-1)
        edge = 1 / (power.abs() * variation).clamp(min=1e-30)
        kept = elementwise(special.stdtr, df, edge)
        left = elementwise(special.stdtrit, df, q * kept)
        right = -elementwise(special.stdtrit, df, (1 - q) * kept)
        return _restored(median, variation, power, torch.where(power > 0, right, left))


def _restored(median: Tensor, variation: Tensor, power: Tensor, z: Tensor) -> Tensor:
    """The response whose standardized value is ``z``."""
    z = z * variation
    return median * bounded_exp(z * log1p_ratio((power * z).clamp(min=-1 + 1e-15)), 40.0)


def _standardized(omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``z``, ``log dz/dy`` and ``log df``, each ``(..., n)``."""
    log_median, log_variation, power, log_df = omega.unbind(-1)
    log_ratio = y.log() - log_median
    product = power * log_ratio
    z = log_ratio * expm1_ratio(product) * bounded_exp(-log_variation, 40.0)
    # Its square must not overflow.
    limit = torch.finfo(z.dtype).max ** 0.25
    return z.clamp(-limit, limit), product - y.log() - log_variation, log_df.expand(z.shape)


def _log_reach(omega: Tensor) -> Tensor:
    """Logarithm of ``|power| variation``: one over the ``z`` at which ``y`` is 0 or infinite."""
    return omega[..., 2].abs().clamp(min=_NO_POWER).log() + omega[..., 1]


def _log_t_tail(log_reach: Tensor, log_df: Tensor, side: Literal["below", "above"]) -> Tensor:
    """Logarithm of a tail of Student's t at ``exp(-log_reach)``, twice differentiable in both.

    Rows of equal parameters share one quadrature: the value returned is the Taylor polynomial of
    second degree around the row's own parameters, whose value and two derivatives are exact.
    """
    # Farther out nothing is left, and squares would overflow.
    limit = 0.2 * math.log(torch.finfo(log_df.dtype).max)
    log_reach = log_reach.clamp(-limit, limit).expand(log_df.shape)
    at = torch.stack([log_reach, log_df], dim=-1)
    distinct, row = at.detach().reshape(-1, 2).unique(dim=0, return_inverse=True)
    row = row.reshape(log_df.shape)
    if not (torch.is_grad_enabled() and at.requires_grad):
        return _student_tail(distinct, side)[row]
    leaf = distinct.clone().requires_grad_()
    value = _student_tail(leaf, side)
    (first,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
    second = torch.stack(
        [torch.autograd.grad(g.sum(), leaf, retain_graph=True)[0] for g in first.unbind(-1)], dim=-2
    )
    move = (at - at.detach())[..., None]
    bent = (second.detach()[row] @ move + 2 * first.detach()[row][..., None]) * move
    return value.detach()[row] + 0.5 * bent.sum((-2, -1))


def _student_tail(at: Tensor, side: Literal["below", "above"]) -> Tensor:
    log_reach, log_df = at.unbind(-1)
    omega = torch.stack([torch.zeros_like(log_df), log_reach, log_df], dim=-1)
    below, above = StudentT().kernel_log_tails(omega, torch.ones_like(log_df))
    return below if side == "below" else above


def _expectation(omega: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Responses ``(..., n)`` and masses whose sums are expectations over the response.

    By the Gauss-Legendre rule in ``u``, ``z = sqrt(df) sinh(u)``, where the density of Student's t
    is proportional to ``cosh(u)^-df``, from one end or truncation to the other.
    """
    log_median, log_variation, power, log_df = omega.unbind(-1)
    median, variation, df = (bounded_exp(t, 40.0) for t in (log_median, log_variation, log_df))
    drop = torch.expm1((_DROP / df).clamp(max=30.0))
    reach = (drop + (drop * (2 + drop)).sqrt()).log1p()  # acosh(exp(_DROP / df))
    log_reach = _log_reach(omega)
    edge = (bounded_exp(-log_reach, 40.0) / df.sqrt()).asinh()
    low = torch.where(power > 0, torch.maximum(-reach, -edge), -reach)
    high = torch.where(power > 0, reach, torch.minimum(reach, edge))
    kept = _log_t_tail(log_reach, log_df, "below")
    zero = torch.zeros_like(df)
    standard = torch.stack([zero, zero, log_df], dim=-1)
    for node, weight in zip(*np.polynomial.legendre.leggauss(_NODES), strict=True):
        u = (low + high) / 2 + (high - low) / 2 * float(node)
        z = df.sqrt() * u.sinh()
        log_mass = StudentT().log_density(standard, z) + 0.5 * log_df + u.cosh().log() - kept
        mass = log_mass.exp() * (high - low) / 2 * float(weight)
        yield _restored(median, variation, power, z), mass
