"""Box-Cox powers and their inverse, smooth through the power 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["expm1_ratio", "log1p_ratio"]

_NEAR_EXP = 0.5
_NEAR_LOG = 0.25
# 1 / (k + 1)!; the first left out, 0.5^15 / 16!, is 1e-18.
_EXP_SERIES = tuple(1 / math.factorial(k + 1) for k in range(15))
# 1 / (2 k + 1); |x / (2 + x)| <= 1/7, and 7^-20 / 21 is 6e-19.
_ATANH_SERIES = tuple(1 / (2 * k + 1) for k in range(10))


def expm1_ratio(x: Tensor) -> Tensor:
    """``(exp(x) - 1) / x``, 1 at 0; all derivatives are smooth.

    Saturates, instead of overflowing, at half the logarithm of the dtype's largest number.
    """
    near = x.abs() < _NEAR_EXP
    small = torch.where(near, x, torch.zeros_like(x))
    large = torch.where(near, torch.ones_like(x), x)
    upper = 0.5 * math.log(torch.finfo(x.dtype).max) - 20.0
    return torch.where(
        near, _polynomial(small, _EXP_SERIES), torch.expm1(large.clamp(max=upper)) / large
    )


def log1p_ratio(x: Tensor) -> Tensor:
    """``log(1 + x) / x`` for ``x > -1``, 1 at 0; all derivatives are smooth.

    Near 0 by ``log(1 + x) = 2 atanh(x / (2 + x))``, Abramowitz and Stegun (1964), 4.1.27.
    """
    near = x.abs() < _NEAR_LOG
    small = torch.where(near, x, torch.zeros_like(x))
    large = torch.where(near, torch.ones_like(x), x)
    share = small / (2 + small)
    series = _polynomial(share**2, _ATANH_SERIES) * 2 / (2 + small)
    return torch.where(near, series, large.log1p() / large)


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    total = torch.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total
