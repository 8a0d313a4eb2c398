"""The arithmetic of design blocks: rows scaled, gathered and transformed from a small matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from semistruct.terms._row_pairs import RowPairs

__all__ = ["Factored", "WeightSums", "chunks", "cross", "sum_by_index"]

# An ndarray or a scipy csr_array; scipy has no stubs to say so.
Matrix: TypeAlias = Any

# A dense (CHUNK_ELEMENTS,) temporary of 2 MB stays in a core's cache.
CHUNK_ELEMENTS = 1 << 18
# Joint tables of two gathered blocks stay dense up to this many cells or 4 n, whichever is more.
TABLE_CELLS = 1 << 20
# Measured costs of one multiplication in units of one in a dense product: of two sparse matrices,
# of a sparse and a dense one; and of making one dense element.
SPARSE_COST = 23.0
TRANSFORM_COST = 7.0
DENSE_ROW_COST = 4.0


def chunks(n: int, width: int) -> list[slice]:
    """Row slices such that ``rows * width`` elements fit a cache-sized temporary."""
    step = max(64, CHUNK_ELEMENTS // max(width, 1))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


@dataclass(frozen=True, eq=False)
class Factored:
    """``X = diag(scale) @ M[index] @ T``, the normal form of every design block.

    Attributes
    ----------
    M : (u, q) ndarray or csr_array
    index : (n,) integer array or None
        Row of ``M`` for each row of ``X``; None means ``u = n`` rows in order.
    T : (q, p) ndarray or csr_array, or None
        Transformation of the columns; None means the identity.
    scale : (n,) array or None
        Factor of each row; None means ones.
    """

    M: Matrix
    index: np.ndarray | None = None
    T: Matrix | None = None
    scale: np.ndarray | None = None

    @property
    def n(self) -> int:
        return self.M.shape[0] if self.index is None else len(self.index)

    @property
    def p(self) -> int:
        return self.M.shape[1] if self.T is None else self.T.shape[1]

    def unique_matvec(self, beta: np.ndarray) -> np.ndarray:
        """``M @ T @ beta``, before rows are gathered and scaled."""
        return self.M @ (beta if self.T is None else self.T @ beta)

    def matvec(self, beta: np.ndarray) -> np.ndarray:
        """``X @ beta``."""
        eta = self.unique_matvec(beta)
        if self.index is not None:
            eta = eta[self.index]
        if self.scale is not None:
            eta = eta * (self.scale if eta.ndim == 1 else self.scale[:, None])
        return eta

    def rmatvec(self, r: np.ndarray) -> np.ndarray:
        """``X.T @ r``."""
        if self.scale is not None:
            r = r * (self.scale if r.ndim == 1 else self.scale[:, None])
        if self.index is not None:
            r = sum_by_index(self.index, r, self.M.shape[0])
        return self.unique_rmatvec(r)

    def unique_rmatvec(self, r: np.ndarray) -> np.ndarray:
        """``T.T @ M.T @ r`` for sums ``r`` over the rows gathered from each unique row."""
        total = self.M.T @ r
        return total if self.T is None else self.T.T @ total

    def take(self, rows: np.ndarray) -> Factored:
        """The form of the given rows."""
        scale = None if self.scale is None else self.scale[rows]
        if self.index is not None:
            return replace(self, index=self.index[rows], scale=scale)
        return replace(self, M=self.M[rows], scale=scale)

    def gather(self, index: np.ndarray) -> Factored:
        """``X[index]`` without copying rows of ``M``."""
        return replace(
            self,
            index=index if self.index is None else self.index[index],
            scale=None if self.scale is None else self.scale[index],
        )

    def transform(self, T: Matrix) -> Factored:
        """``X @ T``."""
        return replace(self, T=T if self.T is None else self.T @ T)

    def scaled(self, scale: np.ndarray) -> Factored:
        """``diag(scale) @ X``."""
        return replace(self, scale=scale if self.scale is None else self.scale * scale)

    def dense(self) -> np.ndarray:
        """The full ``(n, p)`` array."""
        X = self.M if self.T is None else self.M @ self.T
        X = X.toarray() if sp.issparse(X) else np.asarray(X)
        if self.index is not None:
            X = X[self.index]
        if self.scale is not None:
            X = X * self.scale[:, None]
        return X


def sum_by_index(index: np.ndarray, r: np.ndarray, u: int) -> np.ndarray:
    """Sums of the rows of ``r`` ``(n,)`` or ``(n, m)`` that share an index, ``u`` of them."""
    if r.ndim == 1:
        return np.bincount(index, r, u)
    return gather_matrix(index, np.ones(len(index)), u).T @ r


def gather_matrix(index: np.ndarray, weights: np.ndarray, u: int) -> sp.csr_array:
    """Sparse ``(n, u)`` matrix with ``weights[i]`` in column ``index[i]`` of row ``i``."""
    n = len(index)
    return sp.csr_array((weights, index, np.arange(n + 1)), shape=(n, u))


class WeightSums:
    """Sums of weights ``(n,)`` over rows with the same index, each computed once.

    Many pieces of a design are gathered by the same few indices.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights
        # The indices are kept as well, so that no other array takes the identity of one.
        self._known: dict[tuple[int, ...], tuple[Any, np.ndarray]] = {}

    def by(self, index: np.ndarray, u: int) -> np.ndarray:
        """``(u,)`` sums by one index."""
        if (id(index),) not in self._known:
            self._known[id(index),] = (index, np.bincount(index, self.weights, u))
        return self._known[id(index),][1]

    def table(self, a: np.ndarray, u: int, b: np.ndarray, v: int) -> np.ndarray:
        """``(u, v)`` sums by two indices."""
        if (id(b), id(a)) in self._known:
            return self._known[id(b), id(a)][1].T
        if (id(a), id(b)) not in self._known:
            sums = np.bincount(a * v + b, self.weights, u * v).reshape(u, v)
            self._known[id(a), id(b)] = ((a, b), sums)
        return self._known[id(a), id(b)][1]


def cross(
    a: Factored,
    b: Factored,
    weights: np.ndarray,
    sums: WeightSums | None = None,
    pairs: RowPairs | None = None,
) -> np.ndarray:
    """``A.T @ diag(weights) @ B`` as a dense ``(p_a, p_b)`` array.

    ``sums`` are those of the weights, for several products with the same weights; ``pairs`` are
    kept for products with other weights.
    """
    w = np.asarray(weights, dtype=float)
    for scale in (a.scale, b.scale):
        if scale is not None:
            w = w * scale
    if sums is None or w is not sums.weights:
        sums = WeightSums(w)
    core: Matrix = None
    if a.index is None and b.index is None:
        core = None if pairs is None else pairs.product(a.M, b.M, w)
        if core is None and _denser_is_faster(a, b):
            return _chunked_cross(a, b, w)
    core = _core(a, b, sums) if core is None else core
    if b.T is not None:
        core = core @ b.T
    if a.T is not None:
        core = a.T.T @ core
    return core.toarray() if sp.issparse(core) else np.asarray(core)


def _denser_is_faster(a: Factored, b: Factored) -> bool:
    """Whether transforming chunks of sparse rows beats the product of the stored elements."""
    if not (sp.issparse(a.M) and sp.issparse(b.M)) or a.n == 0:
        return False
    per_row_a, per_row_b = a.M.nnz / a.n, b.M.nnz / b.n
    transform = 0.0 if a.T is None else per_row_a * a.p
    if b is not a and b.T is not None:
        transform += per_row_b * b.p
    sparse = SPARSE_COST * per_row_a * per_row_b
    return sparse > TRANSFORM_COST * transform + a.p * b.p + DENSE_ROW_COST * (a.p + b.p)


def _chunked_cross(a: Factored, b: Factored, w: np.ndarray) -> np.ndarray:
    total = np.zeros((a.p, b.p))
    for rows in chunks(len(w), max(a.p, b.p)):
        A = _dense_rows(a, rows)
        B = A if b is a else _dense_rows(b, rows)
        total += A.T @ (B * w[rows, None])
    return total


def _dense_rows(part: Factored, rows: slice) -> np.ndarray:
    """Unscaled rows of a piece without index."""
    X = part.M[rows] if part.T is None else part.M[rows] @ part.T
    return X.toarray() if sp.issparse(X) else X


def _core(a: Factored, b: Factored, sums: WeightSums) -> Matrix:
    """``M_a[index_a].T @ diag(w) @ M_b[index_b]``."""
    w = sums.weights
    if a.index is None and b.index is None:
        return _weighted_product(a.M, b.M, w)
    if a.index is None:
        return _core(b, a, sums).T
    u = a.M.shape[0]
    if b.index is None:
        return a.M.T @ (gather_matrix(a.index, w, u).T @ b.M)
    if a.index is b.index:
        return _weighted_product(a.M, b.M, sums.by(a.index, u))
    v = b.M.shape[0]
    if u * v <= max(TABLE_CELLS, 4 * len(w)):
        table = sums.table(a.index, u, b.index, v)
    else:
        table = sp.coo_array((w, (a.index, b.index)), shape=(u, v)).tocsr()
    if not sp.issparse(table) and not table.flags.c_contiguous:
        return _between(b.M, table.T, a.M).T
    return _between(a.M, table, b.M)


def _between(A: Matrix, table: Matrix, B: Matrix) -> Matrix:
    """``A.T @ table @ B``; a dense table, in rows, is read once and never copied."""
    if sp.issparse(table) and A.shape[1] * table.shape[1] > B.shape[1] * table.shape[0]:
        return A.T @ (table @ B)
    return (A.T @ table) @ B


def _weighted_product(A: Matrix, B: Matrix, w: np.ndarray) -> Matrix:
    """``A.T @ diag(w) @ B``."""
    if A.shape[1] == 1 and not sp.issparse(A):
        return (B.T @ (w * A[:, 0]))[None, :]
    if B.shape[1] == 1 and not sp.issparse(B):
        return (A.T @ (w * B[:, 0]))[:, None]
    if sp.issparse(A):
        if sp.issparse(B):
            weighted = sp.csr_array(
                (B.data * np.repeat(w, np.diff(B.indptr)), B.indices, B.indptr), shape=B.shape
            )
            return A.T @ weighted
        return _sparse_dense(A, B, w)
    if sp.issparse(B):
        return _sparse_dense(B, A, w).T
    total = np.zeros((A.shape[1], B.shape[1]))
    parts = chunks(A.shape[0], B.shape[1])
    buffer = np.empty((parts[0].stop if parts else 0, B.shape[1]))
    for rows in parts:
        weighted = buffer[: rows.stop - rows.start]
        np.multiply(B[rows], w[rows, None], out=weighted)
        total += A[rows].T @ weighted
    return total


def _sparse_dense(A: sp.csr_array, B: np.ndarray, w: np.ndarray) -> np.ndarray:
    """``A.T @ diag(w) @ B`` for sparse ``A`` and dense ``B``, weighting the stored elements."""
    weighted = sp.csr_array(
        (A.data * np.repeat(w, np.diff(A.indptr)), A.indices, A.indptr), shape=A.shape
    )
    return weighted.T @ B
