"""Probabilities that a latent variable falls between two thresholds, with their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.links import bounded_exp

__all__ = ["LATENT", "EndLog", "IntervalLog", "LatentDistribution", "width"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


@dataclass(frozen=True)
class EndLog:
    """Logarithm of a tail probability at a threshold ``x``, and its derivatives in ``x``."""

    value: Tensor
    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class IntervalLog:
    """``log(F(x + w) - F(x))`` and its derivatives in the lower end ``x`` and in ``t = log w``."""

    value: Tensor
    x: Tensor
    t: Tensor
    xx: Tensor
    xt: Tensor
    tt: Tensor


@dataclass(frozen=True)
class LatentDistribution:
    """A standard distribution by the functions that thresholds need.

    Attributes
    ----------
    log_cdf, log_sf : function of x
        Log-probabilities of being below and above ``x``, as :class:`EndLog`.
    log_interval : function of x and t
        Log-probability of the interval of width ``exp(t)`` above ``x``, as :class:`IntervalLog`.
    point : function of p
        Quantiles: the threshold with probability ``p`` below it.

    Notes
    -----
    Nothing is formed as a difference of probabilities, so that thin and remote intervals keep
    their digits.
    """

    log_cdf: Callable[[Tensor], EndLog]
    log_sf: Callable[[Tensor], EndLog]
    log_interval: Callable[[Tensor, Tensor], IntervalLog]
    point: Callable[[Tensor], Tensor]


def width(t: Tensor) -> Tensor:
    """``exp(t)``, whose square is finite."""
    return bounded_exp(t, 0.5 * math.log(torch.finfo(t.dtype).max))


def _per_expm1(d: Tensor) -> tuple[Tensor, Tensor]:
    """``q = d / (exp(d) - 1)`` and ``d q'(d)``, for positive ``d``."""
    q = d / torch.expm1(d.clamp(max=80.0))
    q = torch.where(d < 80.0, q, d * (-d).exp())
    return q, q * (1 - d - q)


def _log_cut(d: Tensor, log_d: Tensor) -> Tensor:
    """``log(1 - exp(-d))``, also where ``d`` is so small that only its logarithm is known."""
    safe = d.clamp(min=torch.finfo(d.dtype).tiny)
    return log_d + (-torch.expm1(-safe) / safe).log()


def _logistic_below(x: Tensor) -> EndLog:
    return EndLog(logsigmoid(x), (-x).sigmoid(), -x.sigmoid() * (-x).sigmoid())


def _logistic_above(x: Tensor) -> EndLog:
    return EndLog(logsigmoid(-x), -x.sigmoid(), -x.sigmoid() * (-x).sigmoid())


def _logistic_interval(x: Tensor, t: Tensor) -> IntervalLog:
    # F(x + w) - F(x) = F(x + w) (1 - F(x)) (1 - exp(-w))
    w = width(t)
    q, dq = _per_expm1(w)
    upper = x + w
    rest, bend = (-upper).sigmoid(), upper.sigmoid() * (-upper).sigmoid()
    return IntervalLog(
        value=logsigmoid(upper) + logsigmoid(-x) + _log_cut(w, t),
        x=rest - x.sigmoid(),
        t=w * rest + q,
        xx=-bend - x.sigmoid() * (-x).sigmoid(),
        xt=-bend * w,
        tt=w * rest - (bend * w) * w + dq,
    )


def _extreme_below(x: Tensor) -> EndLog:
    z = bounded_exp(x, 40.0)
    q, dq = _per_expm1(z)
    return EndLog(_log_cut(z, x), q, dq)


def _extreme_above(x: Tensor) -> EndLog:
    z = bounded_exp(x, 40.0)
    return EndLog(-z, -z, -z)


def _extreme_interval(x: Tensor, t: Tensor) -> IntervalLog:
    # F(x + w) - F(x) = exp(-z) (1 - exp(-d)) with z = exp(x) and d = z (exp(w) - 1)
    w, z = width(t), bounded_exp(x, 40.0)
    per_width, d_per_width = _per_expm1(w)
    log_d = x + w + _log_cut(w, t)
    d = log_d.clamp(max=80.0).exp()
    q, dq = _per_expm1(d)
    slope = w + per_width  # of log d in t
    return IntervalLog(
        value=-z + torch.where(log_d < 80.0, _log_cut(d, log_d.clamp(max=80.0)), 0 * log_d),
        x=q - z,
        t=q * slope,
        xx=dq - z,
        xt=dq * slope,
        tt=(dq * slope) * slope + q * (w + d_per_width),
    )


def _log_phi(x: Tensor) -> Tensor:
    return -0.5 * x**2 - _LOG_SQRT_2PI


def _normal_below(x: Tensor) -> EndLog:
    value = torch.special.log_ndtr(x)
    mills = (_log_phi(x) - value).exp()
    return EndLog(value, mills, -mills * (x + mills))


def _normal_above(x: Tensor) -> EndLog:
    mirrored = _normal_below(-x)
    return EndLog(mirrored.value, -mirrored.first, mirrored.second)


def _normal_interval(x: Tensor, t: Tensor) -> IntervalLog:
    # In the shift x the derivatives are moments of the truncated normal: minus its mean, and its
    # variance less one. A thin interval has them by quadrature, a wide one from its ends.
    limit = torch.finfo(x.dtype).max ** 0.4
    w, x = width(t).clamp(max=limit), x.clamp(-limit, limit)
    thin = w * (1 + x.abs()) < 1
    value_thin, mean_thin, variance_thin = _thin(x, torch.where(thin, t, -x.abs().log1p() - 1))
    value_wide, mean_wide, variance_wide = _wide(x, torch.where(thin, torch.ones_like(w), w))
    value = torch.where(thin, value_thin, value_wide)
    mean = torch.where(thin, mean_thin, mean_wide)  # above x
    variance = torch.where(thin, variance_thin, variance_wide)
    edge = (t + _log_phi(x + w) - value).exp()  # w phi(x + w) / P
    return IntervalLog(
        value=value,
        x=-x - mean,
        t=edge,
        xx=variance - 1,
        xt=-edge * (w - mean),
        tt=edge * (1 - w * (x + w) - edge),
    )


def _thin(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability, mean above ``x`` and variance, by Gauss-Legendre quadrature."""
    nodes, weights = (torch.as_tensor(a).to(x) for a in ((_NODES + 1) / 2, _WEIGHTS / 2))
    s = t.exp()[..., None] * nodes
    mass = weights * (-s * (x[..., None] + s / 2)).exp()
    total = mass.sum(-1)
    mean = (mass * s).sum(-1) / total
    variance = (mass * (s - mean[..., None]) ** 2).sum(-1) / total
    return _log_phi(x) + t + total.log(), mean, variance


def _wide(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same from the distribution function, in the tail that is farther from one."""
    upper = x + w
    mirrored = x > 0
    near = torch.special.log_ndtr(torch.where(mirrored, -x, upper))
    far = torch.special.log_ndtr(torch.where(mirrored, -upper, x))
    value = near + (-torch.expm1(far - near)).log()
    a, b = (_log_phi(upper) - value).exp(), (_log_phi(x) - value).exp()
    mean = b - a
    return value, mean - x, 1 + x * b - upper * a - mean**2


def _extreme_point(p: Tensor) -> Tensor:
    return (-(-p).log1p()).log()


LATENT: dict[str, LatentDistribution] = {
    "logit": LatentDistribution(
        _logistic_below, _logistic_above, _logistic_interval, lambda p: p.logit()
    ),
    "probit": LatentDistribution(
        _normal_below, _normal_above, _normal_interval, torch.special.ndtri
    ),
    "cloglog": LatentDistribution(
        _extreme_below, _extreme_above, _extreme_interval, _extreme_point
    ),
}
