"""Products of the stored elements of two sparse designs, kept for many weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

__all__ = ["RowPairs"]

# Products kept for one pair of matrices; beyond, their traffic costs more than the arithmetic.
_LARGEST = 1 << 19


@dataclass(eq=False)
class RowPairs:
    """``A' diag(w) B`` of sparse matrices as a matrix times ``w``, from the second time on.

    The matrix has a row for each entry of the product, ``a_ij b_ik`` in row ``(j, k)`` and column
    ``i``: a Khatri-Rao product. With four elements in a row of each it takes 16 multiplications
    per row of weights, without the bookkeeping of a sparse product.
    """

    _known: dict[tuple[int, int], list[Any]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: copies and saved models make their own."""
        return {"_known": {}}

    def product(self, A: Any, B: Any, w: np.ndarray) -> np.ndarray | None:
        """The ``(p_a, p_b)`` array; None where another way is better."""
        key = (id(A), id(B))
        if key not in self._known:
            # The matrices are kept as well, so that no other takes the identity of one.
            self._known[key] = [A, B, None, True]
            return None
        known = self._known[key]
        if known[2] is None and known[3]:
            known[2], known[3] = _pair_matrix(A, B), False
        if known[2] is None:
            return None
        return np.asarray(known[2] @ w).reshape(A.shape[1], B.shape[1])


def _pair_matrix(A: Any, B: Any) -> sp.csc_array | None:
    if not (sp.issparse(A) and sp.issparse(B)) or not len(A.indptr) > 1:
        return None
    n = A.shape[0]
    widths = [np.diff(M.indptr) for M in (A, B)]
    wide_a, wide_b = (int(width[0]) for width in widths)
    if any((width != width[0]).any() for width in widths) or not wide_a or not wide_b:
        return None
    if n * wide_a * wide_b > _LARGEST:
        return None
    a, b = (M.data.reshape(n, -1) for M in (A, B))
    products = (a[:, :, None] * b[:, None, :]).ravel()
    columns = (M.indices.reshape(n, -1) for M in (A, B))
    j, k = columns
    entries = (j[:, :, None] * np.int32(B.shape[1]) + k[:, None, :]).ravel()
    ends = np.arange(n + 1) * (wide_a * wide_b)
    return sp.csc_array((products, entries, ends), shape=(A.shape[1] * B.shape[1], n))
