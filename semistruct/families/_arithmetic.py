"""Numerical pieces that several families share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "elementwise",
    "log_minus_digamma",
    "stirling_error",
    "symmetric",
    "trigamma",
    "trigamma_excess",
    "weighted_mean",
]

_LARGE = 15.0  # from here on the asymptotic series below are exact to double precision
_HALF_LOG_2PI = 0.9189385332046727  # log(2 pi) / 2

# Below _LARGE the functions are taken at a + 1 by their recurrences: their poles at 0 cancel on
# paper, so that no infinity arises for the tiny ``a`` of a huge dispersion.


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """``sum(w v) / sum(w)`` over ``(n,)``; rows of weight zero count as absent."""
    return torch.where(weight > 0, weight * values, torch.zeros_like(values)).sum() / weight.sum()


def symmetric(entries: dict[tuple[int, int], Tensor], K: int) -> Tensor:
    """A symmetric ``(..., n, K, K)`` tensor from its upper triangle; absent entries are zero."""
    shape = torch.broadcast_shapes(*(entry.shape for entry in entries.values()))
    zero = next(iter(entries.values())).new_zeros(()).expand(shape)
    cells = {ij: entry.expand(shape) for ij, entry in entries.items()}
    rows = [
        torch.stack([cells.get((min(i, j), max(i, j)), zero) for j in range(K)], dim=-1)
        for i in range(K)
    ]
    return torch.stack(rows, dim=-2)


def elementwise(function: Callable[..., Any], *tensors: Tensor) -> Tensor:
    """Apply a scipy function in float64 on the CPU; the result goes back to the inputs' device.

    For functions outside of likelihoods that torch lacks, or has with fewer digits (its incomplete
    gamma function is right to 1e-9 only): the result carries no gradient.
    """
    arrays = [tensor.detach().cpu().double().numpy() for tensor in tensors]
    dtype = torch.result_type(tensors[0], tensors[-1])
    return torch.as_tensor(function(*arrays)).to(device=tensors[0].device, dtype=dtype)


def _series(a: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """``sum_j c_j a^-j``, by Horner's rule in ``1 / a``."""
    inverse = a.reciprocal()
    total = torch.zeros_like(a)
    for coefficient in reversed(coefficients):
        total = total * inverse + coefficient
    return total


def _split(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where ``a`` is large, and ``a`` with the other branch's rows replaced by a harmless value."""
    large = a > _LARGE
    return large, a.clamp(min=_LARGE), torch.where(large, torch.full_like(a, _LARGE), a)


def stirling_error(a: Tensor) -> Tensor:
    """``lgamma(a) - [(a - 1/2) log a - a + log(2 pi) / 2]`` without cancellation for large ``a``.

    References
    ----------
    Abramowitz and Stegun (1964), 6.1.41.
    """
    large, big, small = _split(a)
    tail = _series(
        big,
        (0.0, 1 / 12, 0.0, -1 / 360, 0.0, 1 / 1260, 0.0, -1 / 1680, 0.0, 1 / 1188, 0.0,
         -691 / 360360, 0.0, 1 / 156),
    )  # fmt: skip
    body = torch.lgamma(small + 1) - (small + 0.5) * small.log() + small - _HALF_LOG_2PI
    return torch.where(large, tail, body)


def log_minus_digamma(a: Tensor) -> Tensor:
    """``a (log a - digamma(a))``, which tends to 1/2 for large ``a`` and to 1 for small ``a``.

    References
    ----------
    Abramowitz and Stegun (1964), 6.3.18.
    """
    large, big, small = _split(a)
    tail = _series(
        big,
        (1 / 2, 1 / 12, 0.0, -1 / 120, 0.0, 1 / 252, 0.0, -1 / 240, 0.0, 1 / 132, 0.0,
         -691 / 32760, 0.0, 1 / 12),
    )  # fmt: skip
    return torch.where(large, tail, 1 + small * (small.log() - torch.digamma(small + 1)))


def trigamma_excess(a: Tensor) -> Tensor:
    """``a (a trigamma(a) - 1)``, which tends to 1/2 for large ``a`` and to 1 for small ``a``.

    References
    ----------
    Abramowitz and Stegun (1964), 6.4.12.
    """
    large, big, small = _split(a)
    body = 1 - small + small**2 * trigamma(small + 1)
    return torch.where(large, _trigamma_series(big), body)


def trigamma(a: Tensor) -> Tensor:
    """Second derivative of ``lgamma`` for ``a`` not close to 0; torch's own has ten digits only."""
    steps = int(_LARGE)
    total = sum((a + k) ** -2 for k in range(steps))
    shifted = a + steps
    return total + (_trigamma_series(shifted) + shifted) / shifted**2


def _trigamma_series(a: Tensor) -> Tensor:
    return _series(
        a,
        (1 / 2, 1 / 6, 0.0, -1 / 30, 0.0, 1 / 42, 0.0, -1 / 30, 0.0, 5 / 66, 0.0,
         -691 / 2730, 0.0, 7 / 6),
    )  # fmt: skip
