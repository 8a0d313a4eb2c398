"""Predictive distributions of rows, mixtures where a row lacks a picture."""

from __future__ import annotations

import numpy as np
import torch

from semistruct.families import Family
from semistruct.fitting.score_nodes import Nodes

__all__ = ["mixed_quantiles", "mixed_sample"]

_BISECTIONS = 200  # of doubles; the interval has no room left before


def mixed_quantiles(family: Family, nodes: Nodes, levels: np.ndarray) -> np.ndarray:
    """Quantiles ``(m, n)`` of the mixture of every row's nodes, predictors ``(N, K)``.

    Parameters
    ----------
    family : Family
    nodes : Nodes
    levels : (m,) array

    Notes
    -----
    A quantile of a mixture lies between the smallest and the largest of its parts'; it is found
    there by bisection of the distribution function, to the last digit.

    Examples
    --------
    >>> from semistruct.families import Normal
    >>> nodes = Nodes(1, np.array([0, 0]), np.array([[-1.0, 0.0], [1.0, 0.0]]))
    >>> bool(np.abs(mixed_quantiles(Normal(), nodes, np.array([0.5]))).max() < 1e-12)
    True
    """
    q = torch.from_numpy(np.asarray(levels, dtype=float))[:, None]
    eta = torch.from_numpy(nodes.values)
    parts = family.quantile(eta, q).numpy()
    if nodes.is_single:
        return parts
    found = parts[:, nodes.start].copy()
    rows = nodes.mixed
    own = nodes.take(rows)
    at = torch.from_numpy(own.values)
    mine = family.quantile(at, q).numpy()
    low = np.minimum.reduceat(mine, own.start, axis=1)
    high = np.maximum.reduceat(mine, own.start, axis=1)

    def below(values: np.ndarray) -> np.ndarray:
        """Whether the distribution function has not reached the level there."""
        F = family.cdf(at, torch.from_numpy(np.ascontiguousarray(values[:, own.row]))).numpy()
        reached: np.ndarray = np.asarray(levels)[:, None] > own.mean(F.T).T
        return reached

    low_is_it = ~below(low)
    if family.discrete:  # isolated values: whole numbers
        low = low - 1
    for _ in range(_BISECTIONS):
        middle = np.floor((low + high) / 2) if family.discrete else low + (high - low) / 2
        if ((middle <= low) | (middle >= high)).all():
            break
        under = below(middle)
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    found[:, rows] = high if family.discrete else np.where(low_is_it, _smallest(mine, own), high)
    return found


def _smallest(values: np.ndarray, nodes: Nodes) -> np.ndarray:
    found: np.ndarray = np.minimum.reduceat(values, nodes.start, axis=1)
    return found


def mixed_sample(family: Family, nodes: Nodes, size: int, generator: torch.Generator) -> np.ndarray:
    """Draws ``(size, n, ...)``: of every row and draw one of its nodes, then its response."""
    eta = torch.from_numpy(nodes.values)
    if nodes.is_single:
        return family.sample(eta, size, generator).numpy()
    picked = torch.rand((size, nodes.n), generator=generator, dtype=torch.float64).numpy()
    place = nodes.start + np.minimum((picked * nodes.count).astype(int), nodes.count - 1)
    drawn = [family.sample(eta[torch.from_numpy(one)], 1, generator).numpy()[0] for one in place]
    return np.stack(drawn) if drawn else family.sample(eta[nodes.start], 0, generator).numpy()
