"""Absorbing linear constraints on the coefficients of a smooth."""

from __future__ import annotations

import numpy as np

__all__ = ["absorb_constraint", "null_space_of_rows"]


def absorb_constraint(c: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the vectors orthogonal to one constraint row.

    Parameters
    ----------
    c : (k,) array
        The constraint ``c @ beta = 0``; the column means of a basis make its curve sum to zero.

    Returns
    -------
    Z : (k, k - 1) array
        ``beta = Z @ b`` satisfies the constraint for every ``b``.

    Notes
    -----
    The last columns of the Householder reflection that maps ``c`` to the first axis, so that the
    reparametrised basis is the one of Wood (2017), section 5.4.1, and equals mgcv's.

    References
    ----------
    Wood, S. N. (2017). *Generalized Additive Models: An Introduction with R*, 2nd ed.

    Examples
    --------
    >>> Z = absorb_constraint(np.array([3.0, 4.0]))
    >>> bool(np.allclose(np.array([3.0, 4.0]) @ Z, 0.0))
    True
    """
    v = np.array(c, dtype=float)
    norm = np.linalg.norm(v)
    if norm == 0.0:
        return np.eye(len(v))[:, 1:]
    v[0] += np.copysign(norm, v[0])
    Z = np.eye(len(v))[:, 1:]
    return Z - np.outer(v, v[1:]) * (2.0 / (v @ v))


def null_space_of_rows(A: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the null space of the rows of ``A``, by reflections from the right.

    Parameters
    ----------
    A : (r, k) array of full row rank, ``r < k``

    Returns
    -------
    Z : (k, k - r) array
        ``A @ Z == 0``. Row ``i`` is reflected onto position ``k - i - 1``: the "QT" form, whose
        leading columns span the null space. Changing the sign of a column of ``A`` changes the
        sign of the matching row of ``Z`` (and of columns of ``Z``) and nothing else.
    """
    R = np.array(A, dtype=float)
    r, k = R.shape
    Q = np.eye(k)
    for i in range(r):
        end = k - i
        v = R[i, :end].copy()
        norm = np.linalg.norm(v)
        if norm == 0.0:
            continue
        v[-1] += np.copysign(norm, v[-1])
        scale = 2.0 / (v @ v)
        R[:, :end] -= np.outer(R[:, :end] @ v, v) * scale
        Q[:, :end] -= np.outer(Q[:, :end] @ v, v) * scale
    return Q[:, : k - r]
