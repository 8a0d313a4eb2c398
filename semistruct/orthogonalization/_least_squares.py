"""Penalised least squares on a design read in chunks of rows, by orthogonal transformations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from semistruct.exceptions import DataError
from semistruct.linalg import pseudo_root

__all__ = ["LeastSquares", "check_finite", "project"]

# Share of a column's length that must be left after the columns before it, to count as new.
_RANK_TOL = 1e-10
# A column is constant when its length about its mean is below this share of its length.
_CONSTANT_TOL = 1e-12
# Elements of the design held densely at a time: 8 MB.
_CHUNK_ELEMENTS = 1 << 20


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """``G (q, d)`` on the columns read, ``center (d,)``, numerical rank and trace."""

    G: np.ndarray
    center: np.ndarray
    rank: int
    edf: float


def project(
    read: Callable[[np.ndarray], np.ndarray],
    U: np.ndarray,
    weights: np.ndarray,
    rows: np.ndarray,
    n_exact: int,
    S: np.ndarray,
) -> LeastSquares:
    """Penalised least squares of ``U`` on a constant and the columns of ``read(rows) (m, q)``.

    The first ``n_exact`` columns are unpenalised, the others have the penalty ``S``.
    """
    q, d = n_exact + len(S), U.shape[1]
    if not len(rows):
        raise DataError("there are no rows to learn the orthogonalization from.")
    width = q + d
    w = weights[rows]
    total = w.sum()
    sums, squares = np.zeros(q), np.zeros(q)
    for chunk in _chunks(rows, width):
        X = read(chunk)
        sums += weights[chunk] @ X
        squares += weights[chunk] @ X**2
    mean_x, mean_u = sums / total, w @ U[rows] / total

    R, Z = np.zeros((0, q)), np.zeros((0, d))
    for chunk in _chunks(rows, width):
        root = np.sqrt(weights[chunk])[:, None]
        stacked = np.concatenate([R, root * (read(chunk) - mean_x)])
        Q, R = np.linalg.qr(stacked)
        Z = Q.T @ np.concatenate([Z, root * (U[chunk] - mean_u)])

    norms = np.sqrt((R**2).sum(0))
    constant = norms <= _CONSTANT_TOL * np.sqrt(squares)
    R[:, constant] = 0.0
    scale = np.where(constant, 1.0, norms)
    exact = _Triangle.of(R[:, :n_exact] / scale[:n_exact])
    rotated = exact.Q.T @ np.column_stack([R[:, n_exact:], Z])
    r = exact.rank
    curves, smooth_rank, smooth_edf = _smooth(
        rotated[r:, : q - n_exact], rotated[r:, q - n_exact :], S, scale[n_exact:]
    )
    G = np.zeros((q, d))
    G[n_exact:] = curves
    remaining = rotated[:r, q - n_exact :] - rotated[:r, : q - n_exact] @ curves
    G[:n_exact] = exact.solve(remaining) / scale[:n_exact, None]

    center = mean_u - mean_x @ G
    ones = exact.null_direction(mean_x[:n_exact] / scale[:n_exact])
    if ones is not None:
        G[:n_exact] += np.outer(ones / scale[:n_exact], center)
        center = np.zeros(d)
    # Centring took one degree of freedom.
    return LeastSquares(G, center, 1 + r + smooth_rank, 1 + r + smooth_edf)


@dataclass(frozen=True, eq=False)
class _Triangle:
    """Rank-revealing QR of ``A (m, q)``: ``A[:, order] = Q [T; 0]`` up to the tolerance.

    Attributes
    ----------
    Q : (m, m) array
    T : (rank, q) array
        Upper trapezoidal.
    order : (q,) array
    rank : int
    """

    Q: np.ndarray
    T: np.ndarray
    order: np.ndarray
    rank: int

    @classmethod
    def of(cls, A: np.ndarray) -> _Triangle:
        if not A.size:
            return cls(np.eye(len(A)), np.zeros((0, A.shape[1])), np.arange(A.shape[1]), 0)
        Q, T, order = qr(A, pivoting=True)
        rank = int((np.abs(np.diag(T)) > _RANK_TOL).sum())
        return cls(Q, T[:rank], order, rank)

    def solve(self, B: np.ndarray) -> np.ndarray:
        """A basic solution ``(q, d)`` of ``T x[order] = B``, zero on the dependent columns."""
        x = np.zeros((len(self.order), B.shape[1]))
        if self.rank:
            x[self.order[: self.rank]] = solve_triangular(self.T[:, : self.rank], B)
        return x

    def null_direction(self, means: np.ndarray) -> np.ndarray | None:
        """Coefficients ``(q,)`` of the constant one, or None if the columns do not contain it.

        ``A`` holds centred columns, so a combination that is zero in ``A`` is a constant, namely
        the same combination of their ``means``.
        """
        best, clearest = None, 1e-8
        for j in range(self.rank, len(self.order)):
            direction = self.solve(-self.T[:, [j]])[:, 0]
            direction[self.order[j]] = 1.0
            value = direction @ means
            clear = abs(value) / max(np.abs(direction * means).sum(), np.finfo(float).tiny)
            if clear > clearest:
                best, clearest = direction / value, clear
        return best


def _smooth(
    R: np.ndarray, Z: np.ndarray, S: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, int, float]:
    """Penalised least squares of ``Z (m, d)`` on ``R (m, s)``: coefficients, rank, trace.

    ``lengths (s,)`` are those of the columns before the exact ones were projected out: what is
    left of a column that depended on them is rounding error and must not be scaled up.
    """
    s = R.shape[1]
    if not s:
        return np.zeros((0, Z.shape[1])), 0, 0.0
    # At unit diagonal a heavy penalty of one curve does not hide a light one of another.
    sizes = np.sqrt(np.where(np.diag(S) > 0, np.diag(S), 1.0))
    # Large penalty rows come first: Householder steps from top to bottom stay accurate so.
    B = pseudo_root(S / np.outer(sizes, sizes)) * sizes
    stacked = np.concatenate([B, R])
    scale = np.sqrt((B**2).sum(0) + lengths**2)
    triangle = _Triangle.of(stacked / scale)
    Q = triangle.Q[len(B) :, : triangle.rank]
    coefficients = triangle.solve(Q.T @ Z) / scale[:, None]
    return coefficients, _Triangle.of(R / lengths).rank, float((Q**2).sum())


def _chunks(rows: np.ndarray, width: int) -> Iterator[np.ndarray]:
    # A chunk is triangularised together with the triangle so far: at least twice as many rows.
    step = max(2 * width, _CHUNK_ELEMENTS // max(width, 1), 1)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def check_finite(U: np.ndarray, rows: np.ndarray) -> None:
    bad = rows[~np.isfinite(U[rows]).all(1)]
    if bad.size:
        raise DataError(
            f"the latent features of row {bad[0]} ({bad.size} rows in all) are not finite; the "
            "network may have diverged: lower its learning rate or check the inputs."
        )
