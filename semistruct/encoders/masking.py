"""Arithmetic on rows of varying length: what is beyond the end of a row has no say."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = [
    "MaskedGroupNorm",
    "coarse_grid",
    "existing_elements",
    "full_mask",
    "masked_max",
    "masked_mean",
]

_EPS = 1e-5


def full_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """``mask`` ``(b, L)``, or one that is True everywhere."""
    if mask is not None:
        return mask
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


def existing_elements(x: Tensor, mask: Tensor | None) -> Tensor:
    """All elements ``(m, ...)`` of rows ``(b, L, ...)`` that exist."""
    return x.flatten(0, 1) if mask is None else x[mask]


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the existing elements of ``x`` ``(b, L, d)``, zero where there is none.

    Examples
    --------
    >>> x = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> masked_mean(x, torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    weight = mask.to(x.dtype)
    total = (x * weight[..., None]).sum(1)
    return total / weight.sum(1, keepdim=True).clamp_min(1.0)


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Largest value over the existing elements of ``x`` ``(b, L, d)``, zero where there is none.

    Examples
    --------
    >>> x = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> masked_max(x, torch.tensor([[True, True, False]]))
    tensor([[3.]])
    """
    largest = x.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return torch.where(mask.any(1)[:, None], largest, 0.0)


def coarse_grid(lengths: Tensor, grid: int, longest: int) -> Tensor:
    """Which elements lie in which of ``grid`` parts of every row, ``(b, grid, longest)`` bool.

    The parts of a row of length n are those of adaptive pooling: from ``floor(i n / grid)`` up to
    ``ceil((i + 1) n / grid)``, so that none is empty, also in rows shorter than the grid.

    Examples
    --------
    >>> coarse_grid(torch.tensor([4, 1]), 2, 4).int()
    tensor([[[1, 1, 0, 0],
             [0, 0, 1, 1]],
    <BLANKLINE>
            [[1, 0, 0, 0],
             [1, 0, 0, 0]]], dtype=torch.int32)
    """
    part = torch.arange(grid, device=lengths.device)
    n = lengths[:, None]
    start = part * n // grid
    end = -(-(part + 1) * n // grid)
    at = torch.arange(longest, device=lengths.device)
    return (at >= start[..., None]) & (at < end[..., None])


class MaskedGroupNorm(nn.Module):
    """Group normalisation over the existing elements of ``(b, channels, L)``.

    As ``torch.nn.GroupNorm`` where all exist. Zero where none does; what does not exist is zero
    afterwards.

    Parameters
    ----------
    n_channels : int
        In groups of about eight.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.n_groups = math.gcd(n_channels, max(1, n_channels // 8))
        self.weight = nn.Parameter(torch.ones(n_channels, 1))
        self.bias = nn.Parameter(torch.zeros(n_channels, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalised ``x`` ``(b, channels, L)`` for a mask ``(b, L)``."""
        b, n_channels, length = x.shape
        exists = mask[:, None].to(x.dtype)
        per_group = n_channels // self.n_groups
        grouped = (b, self.n_groups, per_group * length)
        count = (mask.sum(1) * per_group).clamp_min(1)[:, None, None]
        groups = (x * exists).reshape(grouped)
        mean = groups.sum(2, keepdim=True) / count
        centred = (groups - mean).view(x.shape) * exists
        variance = centred.square().view(grouped).sum(2, keepdim=True) / count
        scaled = centred.view(grouped) * (variance + _EPS).rsqrt()
        return (scaled.view(x.shape) * self.weight + self.bias) * exists
