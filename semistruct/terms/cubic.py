"""Cubic regression splines, parametrised by their values at the knots: natural and cyclic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from semistruct.exceptions import SpecificationError
from semistruct.terms.pspline import wrap
from semistruct.terms.smooth_base import SplineTerm, knot_ends
from semistruct.terms.smooth_basis import RawSmooth, frozen_array

__all__ = [
    "CubicSpline",
    "CubicSplineBasis",
    "CyclicCubicSpline",
    "ShrinkageCubicSpline",
    "quantile_knots",
    "shrink_null_space",
]

# Weight of a shrunken null space relative to the smallest penalised direction.
SHRINKAGE = 0.1


@dataclass(frozen=True)
class CubicSpline(SplineTerm):
    """Natural cubic regression spline, ``bs="cr"``.

    Notes
    -----
    ``k`` (10 by default) knots at quantiles of the distinct values; ``knots`` gives the two ends or
    all ``k``. The penalty is the integrated squared second derivative. Linear beyond the end knots.

    References
    ----------
    Wood, S. N. (2017). *Generalized Additive Models*, 2nd ed., section 5.3.1.

    Examples
    --------
    >>> import pandas as pd
    >>> basis = CubicSpline(("x",), k=6).build(pd.DataFrame({"x": np.arange(30.0)}))
    >>> basis.ranks, basis.null_dim
    ((4,), 1)
    """

    bs: ClassVar[str] = "cr"

    def learn(self, x: np.ndarray) -> CubicSplineBasis:
        return natural_basis(self, x)


@dataclass(frozen=True)
class ShrinkageCubicSpline(SplineTerm):
    """Cubic regression spline that can be penalised to zero, ``bs="cs"``.

    Notes
    -----
    The linear functions, which the penalty of ``"cr"`` does not see, get a tenth of the weight of
    the smallest penalised direction. mgcv gives two directions among them a tenth and a hundredth,
    and which directions these are depends on rounding: curves agree to about 1e-5 of their size,
    restricted likelihoods differ by a constant of the data.

    Examples
    --------
    >>> import pandas as pd
    >>> ShrinkageCubicSpline(("x",), k=6).build(pd.DataFrame({"x": np.arange(30.0)})).null_dim
    0
    """

    bs: ClassVar[str] = "cs"

    def learn(self, x: np.ndarray) -> CubicSplineBasis:
        basis = natural_basis(self, x)
        return CubicSplineBasis(
            penalties=(frozen_array(shrink_null_space(basis.penalties[0], basis.null_dim)),),
            ranks=(basis.dim,),
            null_dim=0,
            support=basis.support,
            transform=basis.transform,
            knots=basis.knots,
            cyclic=False,
        )


@dataclass(frozen=True)
class CyclicCubicSpline(SplineTerm):
    """Cyclic cubic regression spline, ``bs="cc"``: the two ends meet smoothly.

    Notes
    -----
    ``k`` knots, of which the first and the last are one point, so ``k - 1`` coefficients. The
    period is the range of the column, or what two ``knots`` span; values outside are wrapped.

    References
    ----------
    Wood, S. N. (2017). *Generalized Additive Models*, 2nd ed., section 5.3.2.

    Examples
    --------
    >>> import pandas as pd
    >>> term = CyclicCubicSpline(("hour",), k=6, knots=(0, 24))
    >>> len(term.build(pd.DataFrame({"hour": np.arange(24.0)})).names)
    4
    """

    bs: ClassVar[str] = "cc"

    def learn(self, x: np.ndarray) -> CubicSplineBasis:
        knots = quantile_knots(self, x, smallest=4)
        h = np.diff(knots)
        k = len(h)
        B, D = np.zeros((k, k)), np.zeros((k, k))
        for i in range(k):
            before, after = (i - 1) % k, (i + 1) % k
            B[i, i] += (h[before] + h[i]) / 3
            B[i, before] += h[before] / 6
            B[i, after] += h[i] / 6
            D[i, i] -= 1 / h[before] + 1 / h[i]
            D[i, before] += 1 / h[before]
            D[i, after] += 1 / h[i]
        F = np.linalg.solve(B, D)
        S = D.T @ F
        return CubicSplineBasis(
            penalties=(frozen_array((S + S.T) / 2),),
            ranks=(k - 1,),
            null_dim=1,
            support=frozen_array([[-np.inf, np.inf]]),
            transform=frozen_array(np.vstack([np.eye(k), F])),
            knots=frozen_array(knots),
            cyclic=True,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class CubicSplineBasis(RawSmooth):
    """Learned knots; the features are weights of values and second derivatives at the knots."""

    knots: np.ndarray
    cyclic: bool

    def features(self, x: np.ndarray) -> sp.csr_array:
        knots, n = self.knots, len(x)
        k = self.dim
        value = x[:, 0]
        if self.cyclic:
            inside = value = wrap(value, knots[0], knots[-1])
        else:
            inside = np.clip(value, knots[0], knots[-1])
        j = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
        h = knots[j + 1] - knots[j]
        right, left = knots[j + 1] - inside, inside - knots[j]
        weights = np.empty((n, 4))
        weights[:, 0] = right / h
        weights[:, 1] = left / h
        weights[:, 2] = (right**3 / h - h * right) / 6
        weights[:, 3] = (left**3 / h - h * left) / 6
        outside = np.flatnonzero(value != inside)
        if outside.size:
            beyond, width = value[outside] - inside[outside], h[outside]
            weights[outside, 0] -= beyond / width
            weights[outside, 1] += beyond / width
            weights[outside, 2] += beyond * (width / 6 - right[outside] ** 2 / (2 * width))
            weights[outside, 3] += beyond * (left[outside] ** 2 / (2 * width) - width / 6)
        after = (j + 1) % k if self.cyclic else j + 1
        columns = np.stack([j, after, k + j, k + after], axis=1)
        return sp.csr_array(
            (weights.ravel(), columns.ravel(), np.arange(n + 1) * 4), shape=(n, 2 * k)
        )


def natural_basis(term: SplineTerm, x: np.ndarray) -> CubicSplineBasis:
    """Natural cubic spline basis on the knots of the term."""
    knots = quantile_knots(term, x, smallest=3)
    k = len(knots)
    h = np.diff(knots)
    D = np.zeros((k - 2, k))
    rows = np.arange(k - 2)
    D[rows, rows] = 1 / h[:-1]
    D[rows, rows + 1] = -1 / h[:-1] - 1 / h[1:]
    D[rows, rows + 2] = 1 / h[1:]
    B = np.diag((h[:-1] + h[1:]) / 3) + np.diag(h[1:-1] / 6, 1) + np.diag(h[1:-1] / 6, -1)
    inner = np.linalg.solve(B, D)
    F = np.zeros((k, k))
    F[1:-1] = inner
    S = D.T @ inner
    return CubicSplineBasis(
        penalties=(frozen_array((S + S.T) / 2),),
        ranks=(k - 2,),
        null_dim=2,
        support=frozen_array([[x.min(), x.max()]]),
        transform=frozen_array(np.vstack([np.eye(k), F])),
        knots=frozen_array(knots),
        cyclic=False,
    )


def quantile_knots(term: SplineTerm, x: np.ndarray, smallest: int) -> np.ndarray:
    """The user's ``k`` knots, or quantiles of the distinct values (and of the user's two ends)."""
    k = term.k or 10
    if k < smallest:
        raise SpecificationError(f"k={k} is too small for {term.label}; use at least {smallest}.")
    if term.m is not None:
        raise SpecificationError(
            f"{term.label} takes no m: it is cubic with a second-derivative penalty. Use bs='bs' "
            "for other orders."
        )
    term.enough_values(x, k)
    values = np.unique(x)
    if term.knots is not None:
        if len(term.knots) not in (2, k):
            raise SpecificationError(
                f"{term.label} with k={k} takes 2 or {k} knots, got {len(term.knots)}."
            )
        ends = knot_ends(term.knots, x, term.label)
        if len(term.knots) == k:
            return np.array(term.knots)
        values = np.unique([*ends, *values])
    return np.quantile(values, np.linspace(0.0, 1.0, k))


def shrink_null_space(S: np.ndarray, null_dim: int) -> np.ndarray:
    """``S`` with a small weight on its null space, so that a large ``lam`` leaves nothing."""
    values, vectors = np.linalg.eigh(S)
    values[:null_dim] = values[null_dim] * SHRINKAGE
    return (vectors * values) @ vectors.T
