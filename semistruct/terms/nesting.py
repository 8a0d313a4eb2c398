"""Smooths that contain others: which of their functions are left out so that all are identified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import qr, solve_triangular

from semistruct.terms._factored import chunks
from semistruct.terms.base import Basis, DesignBlock, Term

__all__ = ["common_directions", "shared_columns"]

# Two spaces have a direction in common when the angle between them is below this, as in mgcv.
DEPENDENT = np.finfo(float).eps ** 0.5
# Eigenvalues of a penalty below this share of the largest are zero.
NULL = 1e-9


def shared_columns(basis: Basis, beside: Sequence[Term], frame: pd.DataFrame) -> tuple[int, ...]:
    """Columns of ``basis`` to leave out beside the terms ``beside``, ascending.

    Parameters
    ----------
    basis : Basis
    beside : sequence of Term
        Identified among themselves.
    frame : DataFrame
        The training rows.

    Notes
    -----
    A function that both sides can represent, and that no penalty of either sees, could move between
    them at no cost. Of ``s(x) + s(z) + te(x, z)`` with second-order penalties these are the linear
    functions of ``x`` and ``z``. For each of them one column of the later term is left out, which
    changes neither the functions of the model nor the penalty of any of them. Functions that are
    penalised on one side stay on both: the penalties divide them. A smoothing parameter fixed at
    zero counts as no penalty.

    The rows enter through the triangular factor of their QR decomposition, made chunk by chunk.

    References
    ----------
    Wood, S. N. (2017). *Generalized Additive Models*, 2nd ed., section 5.6.3.
    """
    N = _unpenalised(basis)
    if not N.shape[1]:
        return ()
    pieces = []
    for term in beside:
        other = term.build(frame)
        M = _unpenalised(other)
        if M.shape[1]:
            pieces.append((other.design(frame), M))
    pieces.append((basis.design(frame), N))
    R = _triangle(pieces, len(frame))
    p = R.shape[1] - N.shape[1]
    directions = N @ common_directions(R[:, :p], R[:, p:])
    # Without the leading pivots, no direction is left.
    _, _, order = qr(directions.T, mode="economic", pivoting=True)
    return tuple(sorted(order[: directions.shape[1]].tolist()))


def common_directions(A: np.ndarray, B: np.ndarray, tolerance: float = DEPENDENT) -> np.ndarray:
    """Combinations of the columns of ``B`` that the columns of ``A`` span as well.

    Parameters
    ----------
    A : (n, p) array
        May be of deficient rank.
    B : (n, q) array
        Of full column rank.
    tolerance : float
        Sine of the angle below which a direction counts as common.

    Returns
    -------
    (q, r) array
        ``B`` times it is a basis of the common space.

    Examples
    --------
    >>> A = np.array([[1.0], [1.0], [1.0]])
    >>> common_directions(A, np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])).shape
    (2, 1)
    """
    length = np.linalg.norm(A, axis=0)
    U, R, _ = qr(A / np.where(length > 0.0, length, 1.0), mode="economic", pivoting=True)
    left = np.abs(np.diag(R))
    U = U[:, : len(left)][:, left > tolerance * left[0]]
    Q, R, order = qr(B / np.linalg.norm(B, axis=0), mode="economic", pivoting=True)
    rest = Q - U @ (U.T @ Q)
    _, sines, Vt = np.linalg.svd(rest - U @ (U.T @ rest), full_matrices=False)
    found = solve_triangular(R, Vt[sines <= tolerance].T)
    back = np.empty_like(found)
    back[order] = found
    return back / np.linalg.norm(B, axis=0)[:, None]


def _unpenalised(basis: Basis) -> np.ndarray:
    """Orthonormal basis ``(p, d)`` of the coefficients that no penalty sees."""
    total = np.zeros((len(basis.names),) * 2)
    for S, lam in zip(basis.penalties, basis.lam, strict=True):
        if lam != 0.0:
            total += S / max(np.abs(S).max(), np.finfo(float).tiny)
    if not total.any():
        return np.eye(len(total))
    values, vectors = np.linalg.eigh(total)
    return vectors[:, values <= NULL * values[-1]]


def _triangle(pieces: Sequence[tuple[DesignBlock, np.ndarray]], n: int) -> np.ndarray:
    """Triangular factor of ``[1, X_1 M_1, X_2 M_2, ...]``."""
    width = 1 + sum(M.shape[1] for _, M in pieces)
    R: Any = np.zeros((0, width))
    for rows in chunks(n, width):
        index = np.arange(rows.start, rows.stop)
        functions = [block.take(index).matvec(M) for block, M in pieces]
        R = np.linalg.qr(np.vstack([R, np.hstack([np.ones((len(index), 1)), *functions])]), "r")
    return R
