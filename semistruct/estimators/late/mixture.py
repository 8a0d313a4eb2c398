"""Mixtures of the predictive distributions of several regressions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from semistruct.exceptions import UnsupportedCombinationError
from semistruct.families import Family

__all__ = ["mixture_cdf", "mixture_log_prob", "mixture_quantile"]

_HALVINGS = 200


def mixture_cdf(
    families: Sequence[Family], etas: Sequence[np.ndarray], weights: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """``sum_m w_m F_m(y)``, ``(n,)``, from predictors ``(n, K_m)`` and values ``(n,)``."""
    at = torch.from_numpy(np.array(y, dtype=float))
    parts = [
        f.cdf(torch.from_numpy(eta), at).numpy() for f, eta in zip(families, etas, strict=True)
    ]
    return np.tensordot(weights, np.stack(parts), axes=1)


def mixture_log_prob(log_probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``log sum_m w_m f_m``, ``(n,)``, from the members' ``(M, n)``."""
    with np.errstate(divide="ignore"):
        terms = torch.from_numpy(log_probs + np.log(weights)[:, None])
    return torch.logsumexp(terms, dim=0).numpy()


def mixture_quantile(
    families: Sequence[Family], etas: Sequence[np.ndarray], weights: np.ndarray, q: float
) -> np.ndarray:
    """Quantile of the mixture, ``(n,)``, by bisection between the members' quantiles.

    Raises
    ------
    UnsupportedCombinationError
        If some families are discrete and others are not.

    Notes
    -----
    Every member's distribution function is at most ``q`` below the smallest of their quantiles and
    at least ``q`` at the largest, and so is that of the mixture.
    """
    discrete = {family.discrete for family in families}
    if len(discrete) > 1:
        raise UnsupportedCombinationError(
            "some members have a discrete response and others a continuous one; such a mixture has "
            "no quantiles here. Use families of one kind."
        )
    used = np.flatnonzero(weights > 0).tolist()
    families, etas = [families[m] for m in used], [etas[m] for m in used]
    weights = weights[used]
    level = torch.tensor([[q]], dtype=torch.float64)
    ends = np.stack(
        [
            f.quantile(torch.from_numpy(e), level).numpy()[0]
            for f, e in zip(families, etas, strict=True)
        ]
    )
    low, high = ends.min(axis=0), ends.max(axis=0)
    if discrete == {True}:
        low = low - 1.0
        while (high - low > 1).any():
            middle = np.floor((low + high) / 2)
            reached = mixture_cdf(families, etas, weights, middle) >= q
            open_ = high - low > 1
            high = np.where(open_ & reached, middle, high)
            low = np.where(open_ & ~reached, middle, low)
        return high
    for _ in range(_HALVINGS):
        middle = low + (high - low) / 2
        if not ((low < middle) & (middle < high)).any():
            break
        reached = mixture_cdf(families, etas, weights, middle) >= q
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return low + (high - low) / 2
