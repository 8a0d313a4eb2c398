"""Sizes of steps: how many rows one looks at, and how far it goes."""

from __future__ import annotations

import math

__all__ = ["default_batch_size", "one_cycle"]

_WARM_UP = 0.1


def default_batch_size(n: int) -> int:
    """Rows per step of ``n`` rows: a power of two near ``n / 16``, between 32 and 256.

    Examples
    --------
    >>> default_batch_size(100), default_batch_size(1000), default_batch_size(10**5)
    (32, 64, 256)
    """
    return int(min(256, max(32, 2 ** round(math.log2(n / 16)))))


def one_cycle(step: int, n_steps: int) -> float:
    """Factor of the learning rate: a linear warm-up, then half a cosine down to one hundredth.

    Examples
    --------
    >>> [round(one_cycle(step, 20), 2) for step in (0, 1, 2, 11, 20)]
    [0.5, 1.0, 1.0, 0.51, 0.01]
    """
    warm_up = max(1, round(_WARM_UP * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, n_steps - warm_up)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
