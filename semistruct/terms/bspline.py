"""B-splines: values, derivatives, and their linear continuation, as sparse row-wise designs."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

__all__ = ["basis_functions", "bspline_design", "extended_design"]


def basis_functions(
    knots: np.ndarray, degree: int, x: np.ndarray, derivative: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The B-splines (or derivatives) that do not vanish at each value.

    Parameters
    ----------
    knots : (q + degree + 1,) array
        Not decreasing.
    degree : int
    x : (n,) array
        Values between ``knots[degree]`` and ``knots[-degree - 1]``; outside, the polynomial of the
        nearest interval is continued.
    derivative : int
        Order of the derivative, 0 for values.

    Returns
    -------
    start : (n,) integer array
        First column whose B-spline does not vanish.
    values : (n, degree + 1) array
        Values of columns ``start`` to ``start + degree``.

    References
    ----------
    de Boor, C. (2001). *A Practical Guide to Splines*, revised ed., chapters IX and X.
    """
    n = len(x)
    if derivative > degree:
        start = _interval(knots, degree, x) - degree
        return start, np.zeros((n, degree + 1))
    j = _interval(knots, degree, x)
    values = np.ones((n, 1))
    low = degree - derivative
    for d in range(1, low + 1):
        raised = np.zeros((n, d + 1))
        for r in range(d):
            left, right = knots[j - d + 1 + r], knots[j + 1 + r]
            share = values[:, r] / (right - left)
            raised[:, r] += (right - x) * share
            raised[:, r + 1] += (x - left) * share
        values = raised
    for d in range(low + 1, degree + 1):
        raised = np.zeros((n, d + 1))
        for r in range(d):
            share = d * values[:, r] / (knots[j + 1 + r] - knots[j - d + 1 + r])
            raised[:, r] -= share
            raised[:, r + 1] += share
        values = raised
    return j - degree, values


def bspline_design(
    knots: np.ndarray, degree: int, x: np.ndarray, derivative: int = 0
) -> sp.csr_array:
    """Sparse ``(n, q)`` design of B-splines or their derivatives, ``q = len(knots) - degree - 1``.

    Examples
    --------
    >>> X = bspline_design(np.arange(6.0), 1, np.array([1.5, 2.25]))
    >>> X.toarray()
    array([[0.5 , 0.5 , 0.  , 0.  ],
           [0.  , 0.75, 0.25, 0.  ]])
    """
    start, values = basis_functions(knots, degree, x, derivative)
    return rows_of(start, values, len(knots) - degree - 1)


def extended_design(knots: np.ndarray, degree: int, x: np.ndarray) -> sp.csr_array:
    """B-splines on ``[knots[degree], knots[-degree - 1]]``, continued by their tangents outside."""
    inside = np.clip(x, knots[degree], knots[len(knots) - degree - 1])
    start, values = basis_functions(knots, degree, inside)
    outside = np.flatnonzero(x != inside)
    if outside.size:
        _, slopes = basis_functions(knots, degree, inside[outside], 1)
        values[outside] += (x[outside] - inside[outside])[:, None] * slopes
    return rows_of(start, values, len(knots) - degree - 1)


def rows_of(start: np.ndarray, values: np.ndarray, q: int) -> sp.csr_array:
    """Sparse ``(n, q)`` matrix whose row ``i`` holds ``values[i]`` from column ``start[i]`` on."""
    n, width = values.shape
    columns = start[:, None] + np.arange(width)
    return sp.csr_array((values.ravel(), columns.ravel(), np.arange(n + 1) * width), shape=(n, q))


def _interval(knots: np.ndarray, degree: int, x: np.ndarray) -> np.ndarray:
    """Position ``j`` with ``knots[j] <= x < knots[j + 1]``, the last interval closed."""
    j = np.searchsorted(knots, x, side="right") - 1
    return np.clip(j, degree, len(knots) - degree - 2)
