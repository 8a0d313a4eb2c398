"""Standard errors of functions of a row's predictors, by the delta method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from semistruct.terms import DesignBlock

__all__ = ["delta_errors", "predictor_covariance"]

# Numbers of dense design rows that are held at once.
_NUMBERS = 1 << 22
# Differences are taken over this share of a standard error: a function is straight over it, and
# its rounding error small beside.
_SHARE = 1e-3


def predictor_covariance(blocks: Sequence[DesignBlock], V: np.ndarray) -> np.ndarray:
    """``x_ik' V_kl x_il`` for every row, ``(n, K, K)``.

    Parameters
    ----------
    blocks : sequence of K DesignBlock
        Of ``n`` rows and ``p_k`` columns.
    V : (P, P) array
        Covariance of the stacked coefficients.
    """
    n, K = blocks[0].shape[0], len(blocks)
    ends = np.cumsum([0, *(block.shape[1] for block in blocks)])
    covariance = np.empty((n, K, K))
    step = max(1, _NUMBERS // max(1, V.shape[0]))
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        X = [block.take(rows).dense() for block in blocks]
        for k in range(K):
            for j in range(k, K):
                own = V[ends[k] : ends[k + 1], ends[j] : ends[j + 1]]
                covariance[rows, k, j] = np.einsum("np,np->n", X[k] @ own, X[j])
                covariance[rows, j, k] = covariance[rows, k, j]
    return covariance


def delta_errors(
    function: Callable[[torch.Tensor], torch.Tensor], eta: torch.Tensor, covariance: np.ndarray
) -> np.ndarray:
    """Standard errors ``(..., n)`` of a function of each row's predictors.

    Parameters
    ----------
    function : callable
        From predictors ``(n, K)`` to values ``(..., n)``, row by row.
    eta : (n, K) tensor
    covariance : (n, K, K) array
        Of the predictors of each row.

    Notes
    -----
    ``sqrt(g' C g)`` with the gradient ``g`` by central differences in units of each predictor's own
    standard error, which every family has, differentiable in torch or not.

    Examples
    --------
    >>> delta_errors(lambda eta: 2 * eta[:, 0], torch.zeros(1, 1), np.full((1, 1, 1), 9.0)).round(6)
    array([6.])
    """
    spread = np.sqrt(np.einsum("nkk->nk", covariance).clip(min=0.0))
    slopes = []
    for k in range(eta.shape[1]):
        shift = torch.zeros_like(eta)
        shift[:, k] = torch.from_numpy(_SHARE * spread[:, k]).to(eta)
        change = (function(eta + shift) - function(eta - shift)).numpy()
        slopes.append(change / (2 * _SHARE))
    g = np.stack(slopes, axis=-1)
    unit = np.where(spread > 0, spread, 1.0)
    correlation = covariance / (unit[:, :, None] * unit[:, None, :])
    return np.sqrt(np.einsum("...nk,nkl,...nl->...n", g, correlation, g).clip(min=0.0))
