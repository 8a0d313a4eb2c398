"""Canonical correlation of two views, as a loss."""

from __future__ import annotations

import torch
from torch import Tensor

from semistruct.exceptions import DataError, SpecificationError

__all__ = ["canonical_correlations", "correlation_loss"]

_RIDGE = 1e-4


def canonical_correlations(
    first: Tensor, second: Tensor, *, present: Tensor | None = None, ridge: float = _RIDGE
) -> Tensor:
    """Canonical correlations of two views, from the largest down.

    The singular values of ``S11^(-1/2) S12 S22^(-1/2)``, where the covariances are over ``n - 1``
    with ``ridge`` times their mean diagonal added to ``S11`` and ``S22``.

    Parameters
    ----------
    first, second : (n, p) and (n, q) tensors
        Rows are the same subjects.
    present : (n,) bool tensor, optional
        Rows that have both views; the others take no part, whatever they hold.
    ridge : float
        Relative to the mean variance of each view, so that units do not matter.

    Returns
    -------
    (min(p, q),) tensor

    Raises
    ------
    SpecificationError
        If the ridge is negative.
    DataError
        If the views have other shapes, or no more rows than columns: correlations are then perfect
        whatever the views are.

    References
    ----------
    Andrew, G., Arora, R., Bilmes, J. and Livescu, K. (2013). Deep canonical correlation analysis.
    ICML, section 2. Hotelling, H. (1936). Relations between two sets of variates. Biometrika 28.

    Examples
    --------
    >>> x = torch.tensor([[1.0], [2.0], [4.0]])
    >>> canonical_correlations(x, -2 * x, ridge=0.0)
    tensor([1.])
    """
    if not ridge >= 0:
        raise SpecificationError(f"ridge must not be negative, got {ridge}.")
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise DataError(
            "canonical correlations need two tables with the same rows, got shapes "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    if present is not None:
        first, second = first[present], second[present]
    n, p, q = len(first), first.shape[1], second.shape[1]
    if n <= max(p, q):
        raise DataError(
            f"canonical correlations of {p} and {q} columns need more than {max(p, q)} rows with "
            f"both views, got {n}; use larger batches or smaller latent dimensions."
        )
    A, B = (view - view.mean(0) for view in (first, second))
    L, M = (_factor(view, ridge) for view in (A, B))
    cross = A.mT @ B / (n - 1)
    # Any square roots will do: Cholesky factors differ from symmetric ones by a rotation.
    left = torch.linalg.solve_triangular(L, cross, upper=False)
    K = torch.linalg.solve_triangular(M, left.mT, upper=False)
    return torch.linalg.svdvals(K)


def correlation_loss(
    first: Tensor, second: Tensor, *, present: Tensor | None = None, ridge: float = _RIDGE
) -> Tensor:
    """Minus the sum of the canonical correlations; see :func:`canonical_correlations`.

    What DeepCorrSurv (Yao et al. 2017) minimises before the Cox loss.

    References
    ----------
    Yao, J., Zhu, X., Zhu, F. and Huang, J. (2017). Deep correlational learning for survival
    prediction from multi-modality data. MICCAI, equation (1).
    """
    return -canonical_correlations(first, second, present=present, ridge=ridge).sum()


def _factor(centred: Tensor, ridge: float) -> Tensor:
    """Cholesky factor of the covariance with its ridge."""
    S = centred.mT @ centred / (len(centred) - 1)
    weight = ridge * S.diagonal().mean() + torch.finfo(S.dtype).tiny
    return torch.linalg.cholesky(S + weight * torch.eye(len(S), dtype=S.dtype, device=S.device))
