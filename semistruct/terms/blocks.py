"""Design blocks: dense, sparse, gathered, row-scaled, column-transformed, side by side.

All blocks are frozen and share one arithmetic: each is a row of pieces of the form
``diag(scale) @ M[index] @ T`` (see :mod:`semistruct.terms._factored`), so weighted cross-products
work between any two kinds and cost as much as the smaller description of the rows. A discretised
covariate is exact: rows of equal value share one row of ``M``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from semistruct.terms._factored import (
    TABLE_CELLS,
    Factored,
    Matrix,
    WeightSums,
    cross,
    sum_by_index,
)
from semistruct.terms._row_pairs import RowPairs
from semistruct.terms.base import DesignBlock

__all__ = [
    "ConstrainedBlock",
    "DenseBlock",
    "FactoredBlock",
    "IndexedBlock",
    "ScaledBlock",
    "SparseBlock",
    "StackedBlock",
]

# Columns densified at a time when the other block is not one of this module.
FOREIGN_COLUMNS = 16


@dataclass(frozen=True, eq=False, repr=False)
class FactoredBlock(DesignBlock):
    """A design block given by its pieces side by side; what every other block here builds.

    Attributes
    ----------
    parts : tuple of Factored
        At least one piece; all of ``n`` rows.
    slices : tuple of slice
        Columns of each piece.
    """

    parts: tuple[Factored, ...]
    slices: tuple[slice, ...] = field(init=False)
    pairs: RowPairs = field(default_factory=RowPairs, init=False)

    def __post_init__(self) -> None:
        ends = np.cumsum([0, *(part.p for part in self.parts)]).tolist()
        slices = tuple(slice(a, b) for a, b in pairwise(ends))
        object.__setattr__(self, "slices", slices)

    @property
    def shape(self) -> tuple[int, int]:
        return self.parts[0].n, self.slices[-1].stop

    def matvec(self, beta: np.ndarray) -> np.ndarray:
        beta = np.asarray(beta, dtype=float)
        _check_length(beta, self.shape[1], "coefficients", "columns")
        eta = np.zeros((self.shape[0], *beta.shape[1:]))
        # Pieces gathered by one index are added up before they are.
        gathered: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for part, columns in zip(self.parts, self.slices, strict=True):
            if part.index is None or part.scale is not None:
                eta += part.matvec(beta[columns])
                continue
            own = part.unique_matvec(beta[columns])
            _, before = gathered.get(id(part.index), (part.index, 0.0))
            gathered[id(part.index)] = (part.index, before + own)
        for index, values in gathered.values():
            eta += values[index]
        return eta

    def rmatvec(self, r: np.ndarray) -> np.ndarray:
        r = np.asarray(r, dtype=float)
        _check_length(r, self.shape[0], "values", "rows")
        total = np.empty((self.shape[1], *r.shape[1:]))
        gathered: dict[int, np.ndarray] = {}
        for part, columns in zip(self.parts, self.slices, strict=True):
            if part.index is None or part.scale is not None:
                total[columns] = part.rmatvec(r)
                continue
            if id(part.index) not in gathered:
                gathered[id(part.index)] = sum_by_index(part.index, r, part.M.shape[0])
            total[columns] = part.unique_rmatvec(gathered[id(part.index)])
        return total

    def gram(self, weights: np.ndarray, other: DesignBlock | None = None) -> np.ndarray:
        weights = np.asarray(weights, dtype=float)
        _check_length(weights, self.shape[0], "weights", "rows")
        if other is None or other is self:
            return _own_gram(self, weights)
        if other.shape[0] != self.shape[0]:
            raise ValueError(f"blocks of {self.shape[0]} and {other.shape[0]} rows do not match.")
        if not isinstance(other, FactoredBlock):
            return _foreign_gram(self, weights, other)
        total = np.empty((self.shape[1], other.shape[1]))
        sums = WeightSums(weights)
        for a, rows in zip(self.parts, self.slices, strict=True):
            for b, columns in zip(other.parts, other.slices, strict=True):
                total[rows, columns] = cross(a, b, weights, sums, self.pairs)
        return total

    def take(self, rows: np.ndarray) -> FactoredBlock:
        rows = np.asarray(rows)
        return FactoredBlock(tuple(part.take(rows) for part in self.parts))

    def dense(self) -> np.ndarray:
        X = np.empty(self.shape)
        for part, columns in zip(self.parts, self.slices, strict=True):
            X[:, columns] = part.dense()
        return X

    def readable(self) -> np.ndarray:
        # One plain piece is its own matrix.
        return self.parts[0].dense() if len(self.parts) == 1 else self.dense()

    def row_products(self, M: np.ndarray, other: FactoredBlock) -> np.ndarray | None:
        """``x_i' M y_i`` for every row of two blocks, ``(n,)``; None where that is not cheap.

        It is where all pieces of both are gathered from few unique rows: then it is a sum of
        tables of pairs of unique rows.
        """
        mine, others = _unique_pieces(self), _unique_pieces(other)
        n = self.shape[0]
        if mine is None or others is None:
            return None
        limit = max(TABLE_CELLS, 4 * n)
        pairs = [(a, b) for a in mine for b in others]
        if any(a.index is not b.index and len(a.X) * len(b.X) > limit for a, b in pairs):
            return None
        if other is self:  # the tables of (a, b) and of (b, a) are one
            M = M + M.T
            pairs = [(a, b) for i, a in enumerate(mine) for b in mine[i:]]
        total = np.zeros(n)
        for a, b in pairs:
            left = a.X @ M[np.ix_(a.columns, b.columns)]
            if a.index is b.index:
                own = np.einsum("ij,ij->i", left, b.X)
                total += (0.5 * own if other is self else own)[a.index]
            elif len(a.X) == 1:
                total += (b.X @ left[0])[b.index]
            elif len(b.X) == 1:
                total += (left @ b.X[0])[a.index]
            else:
                total += (left @ b.X.T).take(a.index * len(b.X) + b.index)
        return total

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape})"


@dataclass(frozen=True, eq=False)
class _Unique:
    """Columns of a block that are gathered by one index from the rows of ``X``."""

    index: np.ndarray
    columns: np.ndarray
    X: np.ndarray


def _unique_pieces(block: FactoredBlock) -> list[_Unique] | None:
    """The columns by their index; None where some have none, or unique rows are many."""
    parts = [_gathered_constant(part) for part in block.parts]
    size = sum(part.M.shape[0] * part.p for part in parts)
    if size > max(TABLE_CELLS, block.shape[0] * 4):
        return None
    found: dict[int, tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]] = {}
    for part, at in zip(parts, block.slices, strict=True):
        if part.index is None or part.scale is not None:
            return None
        _, columns, pieces = found.setdefault(id(part.index), (part.index, [], []))
        columns.append(np.arange(at.start, at.stop))
        pieces.append(part.unique_matvec(np.eye(part.p)))
    return [
        _Unique(index, np.concatenate(columns), np.hstack(pieces))
        for index, columns, pieces in found.values()
    ]


def _gathered_constant(part: Factored) -> Factored:
    """An intercept as rows gathered from a single one."""
    if part.index is not None or part.p != 1 or sp.issparse(part.M) or part.T is not None:
        return part
    if len(part.M) == 0 or np.ptp(part.M) != 0:
        return part
    return replace(part, M=part.M[:1], index=np.zeros(part.n, dtype=np.intp))


class DenseBlock(FactoredBlock):
    """Columns held as an ``(n, p)`` array; ``p`` may be zero.

    Examples
    --------
    >>> DenseBlock(np.ones((3, 1))).gram(np.array([1.0, 2.0, 3.0]))
    array([[6.]])
    """

    def __init__(self, X: np.ndarray) -> None:
        X = np.asarray(X, dtype=float).view()
        if X.ndim != 2:
            raise ValueError(f"a dense block needs an (n, p) array, got shape {X.shape}.")
        X.setflags(write=False)
        super().__init__((Factored(X),))


class SparseBlock(FactoredBlock):
    """Columns held as a sparse ``(n, p)`` matrix with few stored elements per row."""

    def __init__(self, X: sp.sparray | sp.spmatrix) -> None:
        super().__init__((Factored(sp.csr_array(X, dtype=float)),))


class IndexedBlock(FactoredBlock):
    """Rows gathered from a block of fewer, unique rows: discretised covariates, factors, subjects.

    Examples
    --------
    >>> IndexedBlock(DenseBlock(np.array([[1.0], [5.0]])), np.array([1, 1, 0])).dense()
    array([[5.],
           [5.],
           [1.]])
    """

    def __init__(self, unique: FactoredBlock, index: np.ndarray) -> None:
        index = np.asarray(index, dtype=np.intp)
        if index.flags.writeable:
            index = index.view()
        u = unique.shape[0]
        if index.size and (index.min() < 0 or index.max() >= u):
            raise ValueError(f"the index must lie between 0 and {u - 1}, the last unique row.")
        index.setflags(write=False)
        super().__init__(tuple(part.gather(index) for part in unique.parts))


class ScaledBlock(FactoredBlock):
    """Every row of a block multiplied by its own number: varying coefficients."""

    def __init__(self, block: FactoredBlock, scale: np.ndarray) -> None:
        scale = np.asarray(scale, dtype=float).view()
        _check_length(scale, block.shape[0], "scales", "rows")
        scale.setflags(write=False)
        super().__init__(tuple(part.scaled(scale) for part in block.parts))


class ConstrainedBlock(FactoredBlock):
    """``X @ Z`` without forming it: an absorbed constraint or another change of basis.

    Parameters
    ----------
    raw : FactoredBlock of shape (n, k)
        Of one piece.
    Z : (k, p) ndarray or sparse array
        ``beta_raw = Z @ beta``.
    """

    def __init__(self, raw: FactoredBlock, Z: Matrix) -> None:
        if len(raw.parts) != 1 or raw.shape[1] != Z.shape[0]:
            raise ValueError(f"cannot transform {raw!r} of {len(raw.parts)} parts by {Z.shape}.")
        super().__init__((raw.parts[0].transform(Z),))


class StackedBlock(FactoredBlock):
    """Columns of several blocks side by side.

    Examples
    --------
    >>> ones = DenseBlock(np.ones((2, 1)))
    >>> StackedBlock([ones, ones]).shape
    (2, 2)
    """

    def __init__(self, blocks: Sequence[FactoredBlock]) -> None:
        rows = {block.shape[0] for block in blocks}
        if len(rows) != 1:
            raise ValueError(f"blocks side by side need equal numbers of rows, got {sorted(rows)}.")
        super().__init__(tuple(part for block in blocks for part in block.parts))


def _check_length(values: np.ndarray, expected: int, what: str, axis: str) -> None:
    if values.ndim not in (1, 2) or values.shape[0] != expected:
        raise ValueError(f"{what} of shape {values.shape} do not match {expected} {axis}.")


def _own_gram(block: FactoredBlock, weights: np.ndarray) -> np.ndarray:
    p = block.shape[1]
    total = np.empty((p, p))
    sums = WeightSums(weights)
    for i, (a, rows) in enumerate(zip(block.parts, block.slices, strict=True)):
        own = cross(a, a, weights, sums, block.pairs)
        total[rows, rows] = (own + own.T) * 0.5
        for b, columns in zip(block.parts[i + 1 :], block.slices[i + 1 :], strict=True):
            total[rows, columns] = cross(a, b, weights, sums, block.pairs)
            total[columns, rows] = total[rows, columns].T
    return total


def _foreign_gram(block: FactoredBlock, weights: np.ndarray, other: DesignBlock) -> np.ndarray:
    p = block.shape[1]
    total = np.empty((p, other.shape[1]))
    for start in range(0, p, FOREIGN_COLUMNS):
        unit = np.eye(p, min(FOREIGN_COLUMNS, p - start), -start)
        total[start : start + FOREIGN_COLUMNS] = other.rmatvec(
            block.matvec(unit) * weights[:, None]
        ).T
    return total
