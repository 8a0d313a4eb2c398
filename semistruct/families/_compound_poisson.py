"""Sums of a Poisson number of gamma variables: density, its derivatives, distribution function.

Everywhere the compound is given by rate ``lam`` (mean number of variables), ``shape`` ``a`` and
``scale`` of one variable, each ``(..., n)``, or by their logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy import special
from torch import Tensor

from semistruct.families._arithmetic import (
    log_minus_digamma,
    stirling_error,
    symmetric,
    trigamma_excess,
)
from semistruct.families._quantiles import invert_cdf
from semistruct.links import bounded_exp

__all__ = [
    "compound_cdf",
    "compound_log_density",
    "compound_moments",
    "compound_nodes",
    "compound_quantile",
]

_LOG_2PI = math.log(2 * math.pi)
_DEVIATIONS = 9.5  # terms this many standard deviations from the largest one are below exp(-45)
_EXTRA = 18.0  # 1 / 18! is 2e-16: the terms that skewness adds where the largest is the first
_STEP = 0.6
_LARGEST = 1e12  # of a number of variables: beyond it the terms are not told apart
_MISSED = 1e-11  # mass left out at either end by compound_nodes


def compound_log_density(
    log_rate: Tensor, log_shape: Tensor, log_scale: Tensor, y: Tensor
) -> Tensor:
    """Log-density of ``y > 0``, log-mass of ``y = 0``, ``(..., n)``; differentiable.

    Notes
    -----
    Dunn and Smyth (2005), section 4: ``sum_j Poisson(j; lam) gamma(y; j a, scale)`` around its
    largest term, ``j^(1 + a) = lam (y / (a scale))^a``. Where the terms form a wide bell, every
    s-th of them is summed, times s: by Poisson's summation formula the error is
    ``exp(-2 (pi sd / s)^2)``, below rounding for the steps taken here. Factorials and powers that
    cancel are paired by Stirling's formula.
    """
    log_terms, step, _ = _log_terms(log_rate, log_shape, log_scale, y)
    series = torch.logsumexp(log_terms, dim=-1) + step.log()
    return torch.where(y == 0, -bounded_exp(log_rate), series)


def compound_moments(
    log_rate: Tensor, log_shape: Tensor, log_scale: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """First and second derivatives of the log-density in the three logarithms.

    Returns
    -------
    first : (..., n, 3) Tensor
    second : (..., n, 3, 3) Tensor

    Notes
    -----
    The number of variables ``j`` is missing data: the score is the conditional mean of the
    complete score, the Hessian the conditional mean of the complete Hessian plus the conditional
    covariance of the complete score, Louis (1982), JRSS B 44, 226-233.
    """
    log_terms, _, j = _log_terms(log_rate, log_shape, log_scale, y)
    share = torch.softmax(log_terms, dim=-1)
    rate, x = bounded_exp(log_rate, 40.0), y * bounded_exp(-log_scale, 40.0)
    k = j * bounded_exp(log_shape, 40.0)[..., None]
    safe = torch.where(y > 0, y, torch.ones_like(y))
    log_gap = (safe.log() - log_scale)[..., None] - k.log()
    in_shape = k * log_gap + log_minus_digamma(k)  # d/d log a = k (log x - digamma(k))
    scores = (j - rate[..., None], in_shape, x[..., None] - k)
    means = [_mean(share, score) for score in scores]
    centred = [score - mean[..., None] for score, mean in zip(scores, means, strict=True)]
    second = {(i, m): _mean(share, centred[i] * centred[m]) for i in range(3) for m in range(i, 3)}
    second[0, 0] = second[0, 0] - rate
    second[1, 1] = second[1, 1] + means[1] - _mean(share, k + trigamma_excess(k))
    second[1, 2] = second[1, 2] - _mean(share, k)
    second[2, 2] = second[2, 2] - x
    positive = (y > 0)[..., None]
    none = torch.zeros_like(rate)
    first = torch.where(
        positive, torch.stack(means, dim=-1), torch.stack([-rate, none, none], dim=-1)
    )
    at_zero = symmetric({(0, 0): -rate}, 3)
    return first, torch.where(positive[..., None], symmetric(second, 3), at_zero)


def compound_nodes(
    log_rate: Tensor, log_shape: Tensor, log_scale: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Responses ``(..., n)`` and masses ``(..., n)`` whose sums are expectations over ``y``.

    The point mass at 0, then the trapezoidal rule on the logarithm of ``y``, which for an
    analytic, decaying integrand is exact up to ``exp(-pi^2 / h)``.
    """
    yield torch.zeros_like(log_rate), (-bounded_exp(log_rate)).exp()
    rate, shape = (
        bounded_exp(t.detach().clamp(-100, 25)).double().cpu().numpy()
        for t in (log_rate, log_shape)
    )
    spread = 7 * np.sqrt(rate)
    fewest, most = np.maximum(rate - spread, 1), rate + spread + 12
    low = np.log(np.maximum(special.gammaincinv(fewest * shape, _MISSED), 1e-300))
    high = np.log(special.gammainccinv(most * shape, _MISSED))
    # A gamma variable of shape k has the width k^-1/2 on this scale.
    h = 0.5 / np.sqrt(1 + most * shape / 2.5)
    count = int(np.ceil(((high - low) / h).max())) + 1
    start, end = (torch.as_tensor(t).to(log_rate) for t in (low, high))
    width = (end - start) / (count - 1)
    for i in range(count):
        log_y = start + i * width + log_scale
        y = bounded_exp(log_y)
        log_density = compound_log_density(log_rate, log_shape, log_scale, y)
        yield y, (log_density + log_y).exp() * width


def compound_cdf(rate: Tensor, shape: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """Distribution function at any real ``y``, broadcast; carries no gradient."""
    shape_of = torch.broadcast_shapes(rate.shape, y.shape)
    lam, a, x = (_flat(t, shape_of) for t in (rate, shape, y / scale))
    return torch.as_tensor(_cdf(lam, a, x).reshape(shape_of)).to(torch.result_type(rate, y))


def compound_quantile(rate: Tensor, shape: Tensor, scale: Tensor, q: Tensor) -> Tensor:
    """Quantile function, broadcast; 0 for levels up to the mass at 0."""
    shape_of = torch.broadcast_shapes(rate.shape, q.shape)
    lam, a, level = (_flat(t, shape_of) for t in (rate, shape, q))
    zero = np.exp(-lam)
    x = np.zeros_like(level)
    above = np.flatnonzero(level > zero)
    if above.size:
        lam, a, level, zero = lam[above], a[above], level[above], zero[above]
        # One variable is below the sum of several; so many are hardly ever exceeded.
        low = special.gammaincinv(a, (level - zero) / -np.expm1(-lam))
        most = np.ceil(special.pdtrik(1 - (1 - level) / 2, lam).clip(min=1)) + 1
        high = special.gammainccinv(most * a, (1 - level) / 2)
        low = np.log(np.maximum(low, np.finfo(float).tiny))
        x[above] = np.exp(
            invert_cdf(lambda t, i: _cdf(lam[i], a[i], np.exp(t)), level, low, np.log(high))
        )
    found = torch.as_tensor(x.reshape(shape_of)).to(torch.result_type(rate, q))
    return found * scale


def _log_terms(
    log_rate: Tensor, log_shape: Tensor, log_scale: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of the terms, the step between them, and their numbers, ``(..., n, m)``."""
    shape_of = torch.broadcast_shapes(log_rate.shape, y.shape)
    log_rate, log_shape, log_scale = (t.expand(shape_of) for t in (log_rate, log_shape, log_scale))
    log_y = torch.where(y > 0, y, torch.ones_like(y)).log()
    log_x = log_y - log_scale
    with torch.no_grad():
        weight = log_shape.sigmoid()  # a / (1 + a)
        top = ((1 - weight) * log_rate + weight * (log_x - log_shape)).nan_to_num()
        top = top.clamp(0.0, math.log(_LARGEST)).exp()
        spread = (top * (1 - weight)).sqrt()
        first, step, count = _window(top, spread)
        j = first[..., None] + step[..., None] * torch.arange(count, device=y.device).to(first)
    log_j = j.log()
    log_k = log_j + log_shape[..., None]
    k = bounded_exp(log_k, 60.0)
    number = j * _divergence(log_j - log_rate[..., None]) + 0.5 * (_LOG_2PI + log_j)
    size = k * _divergence(log_k - log_x[..., None]) + 0.5 * (_LOG_2PI - log_k)
    errors = stirling_error(j) + stirling_error(k)
    return -number - size - errors - log_y[..., None], step, j


def _window(top: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, int]:
    first = (top - _DEVIATIONS * spread - 5).floor().clamp(min=1)
    step = (_STEP * spread - 1).floor().clamp(min=1)
    last = top + _DEVIATIONS * spread + _EXTRA
    count = ((last - first) / step).max() if top.numel() else torch.zeros(())
    return first, step, int(count) + 2


def _divergence(u: Tensor) -> Tensor:
    """``u + exp(-u) - 1`` for ``u = log(j / lam)``: ``j`` times it is ``j u - j + lam``."""
    u = u.clamp(min=-0.25 * math.log(torch.finfo(u.dtype).max))
    return u + torch.expm1(-u)


def _mean(share: Tensor, values: Tensor) -> Tensor:
    return (share * values).sum(-1)


def _flat(t: Tensor, shape: torch.Size) -> np.ndarray:
    return t.detach().double().cpu().expand(shape).reshape(-1).numpy()


def _cdf(lam: np.ndarray, a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``exp(-lam) + sum_j Poisson(j; lam) P(j a, x)``, one row at a time in j: the same alone."""
    spread = np.sqrt(lam)
    first = np.maximum(np.floor(lam - _DEVIATIONS * spread - 5), 1)
    # The product of two bells in j, of variances lam and lam / a.
    step = np.maximum(np.floor(_STEP * np.sqrt(lam / (1 + a)) - 1), 1)
    last = lam + _DEVIATIONS * spread + _EXTRA
    total = np.exp(-lam)
    positive = np.maximum(x, 0.0)
    for i in range(int(((last - first) / step).max(initial=0)) + 1):
        j = first + i * step
        mass = np.exp(special.xlogy(j, lam) - lam - special.gammaln(j + 1))
        mass = np.where(j <= last, mass * step, 0.0)
        total = total + mass * special.gammainc(j * a, positive)
    return np.where(x < 0, 0.0, np.minimum(total, 1.0))
