"""Log-masses of counts and their zero-truncated parts, for the families built from them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families.negative_binomial import NegativeBinomial
from semistruct.families.poisson import Poisson
from semistruct.links import bounded_exp

__all__ = [
    "log_one_minus_exp",
    "negative_binomial_log_mass",
    "negative_binomial_log_zero",
    "poisson_log_mass",
]

_SMALL = 0.1  # below it the series of log_one_minus_exp is exact to double precision


def poisson_log_mass(log_rate: Tensor, y: Tensor) -> Tensor:
    """``log P(y)`` of a Poisson count."""
    return Poisson().log_density(log_rate[..., None], y)


def negative_binomial_log_mass(log_mean: Tensor, log_dispersion: Tensor, y: Tensor) -> Tensor:
    """``log P(y)`` of a count with variance ``mean + dispersion mean^2``, Poisson in the limit."""
    return NegativeBinomial().log_density(torch.stack([log_mean, log_dispersion], dim=-1), y)


def negative_binomial_log_zero(log_mean: Tensor, log_dispersion: Tensor) -> Tensor:
    """``log(-log P(0))`` of the same count, the logarithm of its mean where that is small."""
    # Below this it is the Poisson distribution to the last digit.
    log_dispersion = log_dispersion.clamp(min=2 * math.log(torch.finfo(log_mean.dtype).eps))
    log_product = log_mean + log_dispersion
    # log(softplus(x)) is x for small x, where the softplus itself may underflow.
    tiny = log_product < -37
    safe = torch.where(tiny, torch.zeros_like(log_product), log_product)
    return torch.where(tiny, log_product, (-logsigmoid(-safe)).log()) - log_dispersion


def log_one_minus_exp(log_t: Tensor) -> Tensor:
    """``log(1 - exp(-t))`` for positive ``t = exp(log_t)``, with smooth derivatives.

    Notes
    -----
    For small ``t`` by ``log((1 - exp(-t)) / t) = -t/2 + t^2/24 - t^4/2880 + ...``, the series of
    the Bernoulli numbers, Abramowitz and Stegun (1964), 4.5.65.
    """
    t = bounded_exp(log_t)
    small = t < _SMALL
    near = torch.where(small, t, torch.full_like(t, _SMALL))
    far = torch.where(small, torch.full_like(t, _SMALL), t)
    square = near**2
    even = square * (1 / 24 + square * (-1 / 2880 + square * (1 / 181440 - square / 9676800)))
    return torch.where(small, log_t - near / 2 + even, (-torch.expm1(-far)).log())
