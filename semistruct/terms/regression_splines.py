"""Unpenalised regression splines with clamped ends: B-splines and natural cubic splines."""

from __future__ import annotations

import numpy as np

from semistruct.exceptions import SpecificationError
from semistruct.terms.bspline import bspline_design

__all__ = ["clamped_bspline", "clamped_knots", "natural_spline"]


def clamped_knots(x: np.ndarray, n_inner: int, degree: int = 3) -> np.ndarray:
    """Knots at quantiles of ``x``, with the two ends repeated ``degree + 1`` times.

    Examples
    --------
    >>> clamped_knots(np.arange(5.0), 1, degree=1)
    array([0., 0., 2., 4., 4.])
    """
    inner = np.quantile(x, np.linspace(0.0, 1.0, n_inner + 2)[1:-1])
    return np.concatenate([np.full(degree + 1, x.min()), inner, np.full(degree + 1, x.max())])


def clamped_bspline(
    x: np.ndarray, df: int, *, degree: int = 3, intercept: bool = False
) -> np.ndarray:
    """B-splines with quantile knots, ``(n, df)``; as ``bs()`` of R.

    Parameters
    ----------
    x : (n,) array
    df : int
        Number of columns.
    degree : int
    intercept : bool
        Whether the first B-spline is kept, so that constants are in the span.

    Examples
    --------
    >>> clamped_bspline(np.array([0.0, 1.0, 2.0]), 3, degree=2, intercept=True)
    array([[1.  , 0.  , 0.  ],
           [0.25, 0.5 , 0.25],
           [0.  , 0.  , 1.  ]])
    """
    n_inner = df - degree - intercept
    if n_inner < 0:
        raise SpecificationError(
            f"df={df} is too small for B-splines of degree {degree}; use at least "
            f"{degree + intercept}."
        )
    B = bspline_design(clamped_knots(x, n_inner, degree), degree, x).toarray()
    return B if intercept else B[:, 1:]


def natural_spline(x: np.ndarray, df: int, *, intercept: bool = False) -> np.ndarray:
    """Natural cubic splines with quantile knots, ``(n, df)``; as ``ns()`` of R.

    The two conditions of vanishing second derivative at the ends are absorbed by Householder
    reflections of the clamped cubic B-splines.

    Examples
    --------
    >>> natural_spline(np.arange(10.0), 4).shape
    (10, 4)
    """
    n_inner = df - 1 - intercept
    if n_inner < 0:
        raise SpecificationError(
            f"df={df} is too small for a natural spline; use at least {1 + intercept}."
        )
    knots = clamped_knots(x, n_inner)
    first = 0 if intercept else 1
    ends = np.array([x.min(), x.max()])
    conditions = bspline_design(knots, 3, ends, derivative=2).toarray()[:, first:]
    Q = np.linalg.qr(conditions.T, mode="complete")[0]
    return bspline_design(knots, 3, x).toarray()[:, first:] @ Q[:, 2:]
