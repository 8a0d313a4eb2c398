"""B-splines penalised by integrated squared derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from semistruct.exceptions import SpecificationError
from semistruct.terms.bspline import bspline_design
from semistruct.terms.pspline import PSplineBasis, even_knots
from semistruct.terms.smooth_base import SplineTerm
from semistruct.terms.smooth_basis import frozen_array

__all__ = ["DerivativeSpline", "derivative_penalty"]


@dataclass(frozen=True)
class DerivativeSpline(SplineTerm):
    """B-spline with derivative penalties, ``bs="bs"``.

    Notes
    -----
    ``m = (3, 2)`` by default: a cubic spline with the integral of its squared second derivative
    over the range of the knots as penalty. One number ``m`` stands for ``(m, m - 1)``; further
    numbers add a penalty each, ``(3, 2, 0)`` for example. Knots as for
    :class:`~semistruct.terms.pspline.PSpline`, and possibly uneven.

    References
    ----------
    Wood, S. N. (2017). P-splines with derivative based penalties and tensor product smoothing of
    unevenly distributed data. *Statistics and Computing* 27, 985-989.

    Examples
    --------
    >>> import pandas as pd
    >>> basis = DerivativeSpline(("x",), k=7).build(pd.DataFrame({"x": np.arange(20.0)}))
    >>> basis.ranks, basis.null_dim
    ((5,), 1)
    """

    bs: ClassVar[str] = "bs"

    def learn(self, x: np.ndarray) -> PSplineBasis:
        degree, orders = _orders(self)
        k = self.k or 10
        if k < degree + 1:
            raise SpecificationError(
                f"k={k} is too small for {self.label} of degree {degree}; use at least "
                f"{degree + 1}."
            )
        self.enough_values(x, k)
        knots = even_knots(self, x[:, 0], k, degree)
        return PSplineBasis(
            penalties=tuple(frozen_array(derivative_penalty(knots, degree, r)) for r in orders),
            ranks=tuple(k - r for r in orders),
            null_dim=min(orders),
            support=frozen_array([[x.min(), x.max()]]),
            knots=frozen_array(knots),
            degree=degree,
        )


def derivative_penalty(knots: np.ndarray, degree: int, derivative: int) -> np.ndarray:
    """Integral of products of B-spline derivatives over ``[knots[degree], knots[-degree - 1]]``.

    Gauss-Legendre quadrature between neighbouring knots, which is exact for these polynomials.
    """
    breaks = np.unique(knots[degree : len(knots) - degree])
    nodes, weights = np.polynomial.legendre.leggauss(degree - derivative + 1)
    half = np.diff(breaks) / 2
    points = (breaks[:-1] + half)[:, None] + half[:, None] * nodes
    B = bspline_design(knots, degree, points.ravel(), derivative).toarray()
    return B.T @ (B * (half[:, None] * weights).ravel()[:, None])


def _orders(term: SplineTerm) -> tuple[int, tuple[int, ...]]:
    """Degree and orders of the penalised derivatives."""
    m = term.m or (3, 2)
    if len(m) == 1:
        m = (m[0], max(m[0] - 1, 0))
    degree, orders = m[0], tuple(m[1:])
    if any(v != int(v) or v < 0 for v in m) or degree < 1 or max(orders) > degree:
        raise SpecificationError(
            f"m of {term.label} must be the degree and the orders of the penalised derivatives, "
            f"none above the degree, got {term.m!r}; (3, 2) is a cubic spline with a curvature "
            "penalty."
        )
    if len(set(orders)) != len(orders):
        raise SpecificationError(f"m of {term.label} names a derivative twice: {term.m!r}.")
    return int(degree), tuple(int(order) for order in orders)
