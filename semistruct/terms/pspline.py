"""P-splines: B-splines on equidistant knots with a difference penalty, open and cyclic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from semistruct.exceptions import SpecificationError
from semistruct.terms.bspline import basis_functions, extended_design
from semistruct.terms.smooth_base import SplineTerm, knot_ends
from semistruct.terms.smooth_basis import RawSmooth, frozen_array

__all__ = [
    "CyclicPSpline",
    "CyclicPSplineBasis",
    "PSpline",
    "PSplineBasis",
    "even_knots",
    "shape_rows",
]

# Knots reach beyond the data by this share of their range, as in mgcv.
MARGIN = 0.001
# Order of the derivative that has a sign, and the sign.
SHAPES = {"increasing": (1, 1.0), "decreasing": (1, -1.0), "convex": (2, 1.0), "concave": (2, -1.0)}


@dataclass(frozen=True)
class PSpline(SplineTerm):
    """P-spline, ``bs="ps"``: B-splines of degree ``m[0] + 1`` penalised by differences.

    Notes
    -----
    ``m = (2, 2)`` by default: cubic B-splines and second-order differences; one number stands for
    both. ``k`` is 10 by default. Knots are equidistant over the range of the column extended by
    0.1 % on both sides. ``knots`` may give the two ends or all ``k + m[0] + 2`` knots. Outside the
    range spanned by the inner knots the curve is continued by its tangent.

    ``constraint`` gives the curve a shape: "increasing", "decreasing", "convex", "concave", or one
    of either kind, such as ``("increasing", "concave")``. First or second differences of the
    coefficients (per distance of the knots) then have one sign, which is sufficient, and for the
    curve of a moderate number of knots hardly more than necessary; it holds on the whole real line,
    also beyond the training range.

    References
    ----------
    Pya, N. and Wood, S. N. (2015). Shape constrained additive models. *Statistics and Computing*
    25, 543-559 (the same sufficient conditions, by another parametrisation).
    Eilers, P. H. C. and Marx, B. D. (1996). Flexible smoothing with B-splines and penalties.
    *Statistical Science* 11, 89-121.

    Examples
    --------
    >>> import pandas as pd
    >>> basis = PSpline(("x",), k=8).build(pd.DataFrame({"x": np.linspace(0.0, 1.0, 50)}))
    >>> len(basis.names), basis.ranks, basis.null_dim
    (7, (6,), 1)
    """

    constraint: Any = None

    bs: ClassVar[str] = "ps"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constraint is None:
            return
        shapes = (self.constraint,) if isinstance(self.constraint, str) else self.constraint
        known = isinstance(shapes, (tuple, list)) and set(shapes) <= set(SHAPES)
        if not known or len({SHAPES[shape][0] for shape in shapes}) < len(shapes) or not shapes:
            raise SpecificationError(
                f"constraint of {self.label} must be one of {', '.join(map(repr, SHAPES))}, or one "
                f"of the first two with one of the last two, got {self.constraint!r}."
            )
        if self.df is not None:
            raise SpecificationError(
                f"{self.label} has both df= and constraint=; the shape takes degrees of freedom "
                "away as the data ask, so leave df= out."
            )
        shape = tuple(shapes) if len(shapes) > 1 else shapes[0]
        object.__setattr__(self, "constraint", shape)

    @property
    def defaults(self) -> dict[str, Any]:
        return {**super().defaults, "constraint": None}

    def learn(self, x: np.ndarray) -> PSplineBasis:
        order, difference = spline_orders(self)
        k = self.k or 10
        if k < max(order + 2, difference + 1):
            raise SpecificationError(
                f"k={k} is too small for {self.label} with m=({order}, {difference}); use at least "
                f"{max(order + 2, difference + 1)}."
            )
        self.enough_values(x, k)
        D = np.diff(np.eye(k), n=difference, axis=0)
        knots = even_knots(self, x[:, 0], k, order + 1)
        return PSplineBasis(
            penalties=(frozen_array(D.T @ D),),
            ranks=(k - difference,),
            null_dim=difference,
            support=frozen_array([[x.min(), x.max()]]),
            inequalities=shape_rows(self.constraint, knots, order + 1),
            knots=frozen_array(knots),
            degree=order + 1,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class PSplineBasis(RawSmooth):
    """Learned knots ``(k + degree + 1,)`` of a P-spline."""

    knots: np.ndarray
    degree: int

    def features(self, x: np.ndarray) -> sp.csr_array:
        return extended_design(self.knots, self.degree, x[:, 0])


@dataclass(frozen=True)
class CyclicPSpline(SplineTerm):
    """Cyclic P-spline, ``bs="cp"``: value and derivatives agree at the two ends of the range.

    Notes
    -----
    Orders as for :class:`PSpline`. The period is the range of the column, or what two ``knots``
    span; values outside are wrapped around. All ``k + 1`` knots may be given.

    Examples
    --------
    >>> import pandas as pd
    >>> term = CyclicPSpline(("hour",), k=6, knots=(0, 24))
    >>> basis = term.build(pd.DataFrame({"hour": np.arange(24.0)}))
    >>> X = basis.design(pd.DataFrame({"hour": [1.0, 25.0]})).dense()
    >>> bool(np.array_equal(X[0], X[1]))
    True
    """

    bs: ClassVar[str] = "cp"

    def learn(self, x: np.ndarray) -> CyclicPSplineBasis:
        order, difference = spline_orders(self)
        k = self.k or 10
        degree = order + 1
        if k < max(degree + 1, difference + 1):
            raise SpecificationError(
                f"k={k} is too small for the cyclic {self.label} with m=({order}, {difference}); "
                f"use at least {max(degree + 1, difference + 1)}."
            )
        self.enough_values(x, k)
        if self.knots is None:
            knots = np.linspace(x.min(), x.max(), k + 1)
        elif len(self.knots) == 2:
            knots = np.linspace(*knot_ends(self.knots, x, self.label), k + 1)
        elif len(self.knots) == k + 1:
            knot_ends(self.knots, x, self.label)
            knots = np.array(self.knots)
        else:
            raise SpecificationError(
                f"{self.label} with k={k} takes 2 or {k + 1} knots, got {len(self.knots)}."
            )
        D = np.eye(k)
        for _ in range(difference):
            D = np.roll(D, -1, axis=1) - D
        return CyclicPSplineBasis(
            penalties=(frozen_array(D.T @ D),),
            ranks=(k - (difference > 0),),
            null_dim=int(difference > 0),
            support=frozen_array([[-np.inf, np.inf]]),
            knots=frozen_array(knots),
            degree=degree,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class CyclicPSplineBasis(RawSmooth):
    """Learned knots ``(k + 1,)`` of a cyclic P-spline; the first and the last are one point."""

    knots: np.ndarray
    degree: int

    def features(self, x: np.ndarray) -> sp.csr_array:
        k, degree = self.dim, self.degree
        period = self.knots[-1] - self.knots[0]
        full = np.concatenate(
            [self.knots[-degree - 1 : -1] - period, self.knots, self.knots[1 : degree + 1] + period]
        )
        start, values = basis_functions(full, degree, wrap(x[:, 0], self.knots[0], self.knots[-1]))
        columns = (start[:, None] + np.arange(degree + 1)) % k
        n = len(x)
        return sp.csr_array(
            (values.ravel(), columns.ravel(), np.arange(n + 1) * (degree + 1)), shape=(n, k)
        )


def shape_rows(
    constraint: str | tuple[str, ...] | None, knots: np.ndarray, degree: int
) -> np.ndarray | None:
    """Rows ``c`` with ``c @ beta >= 0``: B-spline coefficients of derivatives that have a sign.

    Examples
    --------
    >>> shape_rows("convex", np.arange(8.0), 3)
    array([[ 1., -2.,  1.,  0.],
           [ 0.,  1., -2.,  1.]])
    """
    if constraint is None:
        return None
    rows = []
    for shape in (constraint,) if isinstance(constraint, str) else constraint:
        order, sign = SHAPES[shape]
        C = np.eye(len(knots) - degree - 1)
        for r in range(order):
            # de Boor (2001), X (16): distances over which the coefficients differ.
            inner = knots[r + 1 : len(knots) - r - 1]
            span = inner[degree - r :] - inner[: len(inner) - degree + r]
            C = np.diff(C, axis=0) * ((degree - r) / span)[:, None]
        rows.append(sign * C)
    return np.vstack(rows)


def wrap(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values outside ``[low, high]`` moved by whole periods into it; the others untouched."""
    outside = (x < low) | (x > high)
    return np.where(outside, low + np.mod(x - low, high - low), x)


def spline_orders(term: SplineTerm) -> tuple[int, int]:
    """``(spline order, penalty order)`` from ``m``: ``(2, 2)`` by default, one number for both."""
    m = term.m or (2, 2)
    if len(m) == 1:
        m = (m[0], m[0])
    if len(m) != 2 or any(value != int(value) or value < 0 for value in m):
        raise SpecificationError(
            f"m of {term.label} must be one or two integers that are not negative, got {term.m!r}; "
            "(2, 2) is a cubic spline with second-order differences."
        )
    return int(m[0]), int(m[1])


def even_knots(term: SplineTerm, x: np.ndarray, k: int, degree: int) -> np.ndarray:
    """``k + degree + 1`` equidistant knots whose inner interval contains ``x``, or the user's."""
    n_knots = k + degree + 1
    inner = k - degree + 1
    if term.knots is not None and len(term.knots) not in (2, n_knots):
        raise SpecificationError(
            f"{term.label} with k={k} takes 2 or {n_knots} knots, got {len(term.knots)}."
        )
    if term.knots is not None and len(term.knots) == n_knots:
        knot_ends(term.knots[degree : degree + inner], x, term.label)
        return np.array(term.knots)
    if term.knots is None:
        low, high = x.min(), x.max()
        margin = (high - low) * MARGIN
        low, high = low - margin, high + margin
    else:
        low, high = knot_ends(term.knots, x, term.label)
    step = (high - low) / (inner - 1)
    return np.linspace(low - step * degree, high + step * degree, n_knots)
