"""Weighted quantiles of a response and the inversion of a distribution function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["invert_cdf", "weighted_quantile"]

_BISECTIONS = 64  # a bracket of any length ends at the spacing of float64


def weighted_quantile(y: Tensor, weight: Tensor, level: float) -> Tensor:
    """The smallest of ``y`` ``(n,)`` up to which a share ``level`` of the weight lies."""
    order = y.argsort()
    below = weight[order].cumsum(0)
    return y[order[torch.searchsorted(below, level * below[-1:])[0]]]


def invert_cdf(
    cdf: Callable[[np.ndarray, np.ndarray], np.ndarray],
    q: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Where a distribution function reaches ``q``, by secants inside a shrinking bracket.

    Parameters
    ----------
    cdf : callable
        Responses ``(m,)`` and indices ``(m,)`` of the elements they belong to -> ``(m,)``.
    q, low, high : (n,) arrays
        Levels; brackets with ``cdf(low) <= q <= cdf(high)``.

    Notes
    -----
    The Illinois variant of regula falsi, Dowell and Jarratt (1971), BIT 11, 168-174, with a
    bisection every third step; elements leave when their bracket is at rounding error.
    """
    low, high = low.astype(float).copy(), high.astype(float).copy()
    active = np.arange(q.size)
    f_low, f_high = cdf(low, active) - q, cdf(high, active) - q
    for step in range(3 * _BISECTIONS):
        width = high[active] - low[active]
        active = active[width > 4 * np.spacing(np.abs(low[active]) + np.abs(high[active]))]
        if not active.size:
            break
        a, b = low[active], high[active]
        drop = f_high[active] - f_low[active]
        share = np.where(drop > 0, -f_low[active] / np.where(drop > 0, drop, 1.0), 0.5)
        middle = (a + b) / 2
        guess = middle if step % 3 == 2 else a + share.clip(0, 1) * (b - a)
        guess = np.where((guess <= a) | (guess >= b), middle, guess)
        f = cdf(guess, active) - q[active]
        up = f < 0
        # The end that stays has its value halved, so that the next secant leans towards it.
        f_low[active] = np.where(up, f, f_low[active] / 2)
        f_high[active] = np.where(up, f_high[active] / 2, f)
        low[active] = np.where(up, guess, a)
        high[active] = np.where(up, b, guess)
        done = active[f == 0]
        low[done] = high[done]
    return high
