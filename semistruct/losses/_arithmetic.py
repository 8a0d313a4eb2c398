"""Sums of positive numbers on the natural and on the logarithmic scale.

The scans over risk sets are written once over these two arithmetics. The natural scale is fast and
exact to rounding as long as every term fits the floating point range; the logarithmic scale is for
predictors spread too widely for that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["LINEAR", "LOG", "Arithmetic", "inner", "take"]


def take(values: Tensor, index: Tensor) -> Tensor:
    """``values[..., index]`` for a 1-dimensional ``index``.

    ``index_select`` is the fastest for one vector, ``gather`` for a batch of them (five times, on
    a CPU).
    """
    if values.dim() == 1:
        return values.index_select(0, index)
    return values.gather(-1, index.expand(*values.shape[:-1], index.shape[0]))


def inner(values: Tensor, coefficients: Tensor) -> Tensor:
    """Inner products along the last dimension, ``(...)``."""
    if coefficients.dim() == 1:
        return values @ coefficients
    return (values * coefficients).sum(-1)


class Arithmetic(ABC):
    """How positive numbers are added when they are held on one of the two scales."""

    zero: float
    one: float

    @abstractmethod
    def cumsum(self, values: Tensor) -> Tensor:
        """Running sums along the last dimension."""

    @abstractmethod
    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Elementwise sum."""

    @abstractmethod
    def bucket_sum(self, values: Tensor, index: Tensor, size: int) -> Tensor:
        """Sums of the entries of ``values`` ``(..., m)`` by ``index`` ``(m,)``, ``(..., size)``."""


class _Linear(Arithmetic):
    zero = 0.0
    one = 1.0

    def cumsum(self, values: Tensor) -> Tensor:
        return values.cumsum(-1)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def bucket_sum(self, values: Tensor, index: Tensor, size: int) -> Tensor:
        sums = values.new_zeros((*values.shape[:-1], size))
        return sums.scatter_add_(-1, index.expand(values.shape), values)


class _Log(Arithmetic):
    zero = -torch.inf
    one = 0.0

    def cumsum(self, values: Tensor) -> Tensor:
        return values.logcumsumexp(-1)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.logaddexp(a, b)

    def bucket_sum(self, values: Tensor, index: Tensor, size: int) -> Tensor:
        index = index.expand(values.shape)
        largest = values.new_full((*values.shape[:-1], size), -torch.inf)
        largest.scatter_reduce_(-1, index, values, "amax")
        largest.masked_fill_(largest == -torch.inf, 0.0)
        scaled = (values - largest.gather(-1, index)).exp_()
        sums = torch.zeros_like(largest).scatter_add_(-1, index, scaled)
        return sums.log_().add_(largest)


LINEAR: Arithmetic = _Linear()
LOG: Arithmetic = _Log()
