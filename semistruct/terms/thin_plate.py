"""Low-rank thin plate regression splines of one or several variables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import comb, factorial, gamma, pi
from typing import ClassVar

import numpy as np
from scipy.sparse.linalg import eigsh
from scipy.spatial.distance import cdist

from semistruct.exceptions import SpecificationError
from semistruct.terms._factored import chunks
from semistruct.terms.constraints import null_space_of_rows
from semistruct.terms.cubic import shrink_null_space
from semistruct.terms.smooth_base import SplineTerm, distinct_rows
from semistruct.terms.smooth_basis import RawSmooth, frozen_array

__all__ = [
    "ShrinkageThinPlate",
    "ThinPlate",
    "ThinPlateBasis",
    "leading_eigenvectors",
    "representative_rows",
]

# Radial functions at most; more distinct points are represented by an even subset of them.
MAX_POINTS = 2000
# Below this size a full eigendecomposition is as fast as an iterative one.
FULL_EIGEN = 300


@dataclass(frozen=True)
class ThinPlate(SplineTerm):
    """Thin plate regression spline, ``bs="tp"``: isotropic, in any number of variables.

    Notes
    -----
    Of the full thin plate spline with a radial function at every distinct point, the ``k - M``
    leading eigenvectors are kept, and the ``M`` polynomials that the penalty does not see. ``m`` is
    the order of the penalised derivatives, the smallest with ``2 m > d + 1`` by default. ``k`` is
    10 for one variable, ``M + 27`` for two and ``M + 100`` for more. With more than 2000 distinct
    points, 2000 of them (evenly spread in lexicographic order) carry the radial functions. The
    variables must share one scale.

    References
    ----------
    Wood, S. N. (2003). Thin plate regression splines. *JRSS B* 65, 95-114.

    Examples
    --------
    >>> import pandas as pd
    >>> basis = ThinPlate(("x",), k=6).build(pd.DataFrame({"x": np.arange(30.0)}))
    >>> basis.ranks, basis.null_dim
    ((4,), 1)
    """

    bs: ClassVar[str] = "tp"
    several: ClassVar[bool] = True

    def learn(self, x: np.ndarray) -> ThinPlateBasis:
        return thin_plate_basis(self, x)


@dataclass(frozen=True)
class ShrinkageThinPlate(SplineTerm):
    """Thin plate regression spline that can be penalised to zero, ``bs="ts"``.

    Notes
    -----
    As :class:`ThinPlate`; its polynomials get a tenth of the smallest penalty of the others.

    Examples
    --------
    >>> import pandas as pd
    >>> ShrinkageThinPlate(("x",), k=6).build(pd.DataFrame({"x": np.arange(30.0)})).null_dim
    0
    """

    bs: ClassVar[str] = "ts"
    several: ClassVar[bool] = True

    def learn(self, x: np.ndarray) -> ThinPlateBasis:
        basis = thin_plate_basis(self, x)
        S = shrink_null_space(basis.penalties[0], basis.null_dim)
        return replace(basis, penalties=(frozen_array(S),), ranks=(basis.dim,), null_dim=0)


@dataclass(frozen=True, eq=False, kw_only=True)
class ThinPlateBasis(RawSmooth):
    """Learned centres and weights of the radial functions.

    Attributes
    ----------
    centre : (d,) array
        Subtracted from the variables.
    points : (u, d) array
        Centres of the radial functions, shifted.
    weights : (u, k - M) array
    powers : tuple of tuple of int
        Exponents of the ``M`` polynomials.
    column_scale : (k,) array
        Every column is divided by its own, so that all are of one size on the training rows.
    order : int
    """

    centre: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    powers: tuple[tuple[int, ...], ...]
    column_scale: np.ndarray
    order: int

    def features(self, x: np.ndarray) -> np.ndarray:
        z = x - self.centre
        r = self.weights.shape[1]
        F = np.empty((len(x), r + len(self.powers)))
        for rows in chunks(len(x), len(self.points)):
            E = radial(cdist(z[rows], self.points), self.order, z.shape[1])
            np.matmul(E, self.weights, out=F[rows, :r])
        F[:, r:] = monomials(z, self.powers)
        F /= self.column_scale
        return F


def thin_plate_basis(term: SplineTerm, x: np.ndarray) -> ThinPlateBasis:
    """Eigen-truncated thin plate basis for the training values ``(n, d)``."""
    n, d = x.shape
    order = _order(term, d)
    null_dim = comb(order + d - 1, d)
    k = term.k or null_dim + (8, 27, 100)[min(d, 3) - 1]
    if k <= null_dim:
        raise SpecificationError(
            f"k={k} is too small for {term.label}, which has {null_dim} unpenalised polynomials; "
            f"use at least {null_dim + 1}."
        )
    if term.knots is not None:
        raise SpecificationError(f"{term.label} takes no knots: its centres are the data points.")
    term.enough_values(x, k)
    centre = x.mean(axis=0)
    points = representative_rows(x, MAX_POINTS) - centre
    powers = tuple(
        sorted(
            (power for power in product(range(order), repeat=d) if sum(power) < order),
            key=lambda power: (sum(power), tuple(-p for p in power)),
        )
    )
    values, U = leading_eigenvectors(radial(cdist(points, points), order, d), k)
    Z = null_space_of_rows(monomials(points, powers).T @ U)
    basis = ThinPlateBasis(
        penalties=(np.zeros((k, k)),),
        ranks=(k - null_dim,),
        null_dim=null_dim,
        support=frozen_array(np.stack([x.min(axis=0), x.max(axis=0)], axis=1)),
        centre=frozen_array(centre),
        points=frozen_array(points),
        weights=frozen_array(U @ Z),
        powers=powers,
        column_scale=np.ones(k),
        order=order,
    )
    total = np.zeros(k)
    for rows in chunks(n, len(points)):
        total += np.square(basis.features(x[rows])).sum(axis=0)
    size = np.sqrt(total / n)
    S = np.zeros((k, k))
    S[: k - null_dim, : k - null_dim] = (Z.T * values) @ Z
    S = S / np.outer(size, size)
    return replace(basis, penalties=(frozen_array((S + S.T) / 2),), column_scale=frozen_array(size))


def radial(distance: np.ndarray, order: int, d: int) -> np.ndarray:
    """Radial function of the thin plate spline in ``d`` dimensions (Wood 2003, section 2)."""
    power = 2 * order - d
    values = distance.copy()
    for _ in range(power - 1):
        # Repeated products: pow() costs several times as much.
        values *= distance
    if d % 2:
        constant = gamma(d / 2 - order) / (2 ** (2 * order) * pi ** (d / 2) * factorial(order - 1))
    else:
        constant = (-1) ** (order + 1 + d // 2) / (
            2 ** (2 * order - 1) * pi ** (d / 2) * factorial(order - 1) * factorial(order - d // 2)
        )
        # r^power log r vanishes at zero.
        values *= np.log(np.where(distance > 0.0, distance, 1.0))
    values *= constant
    return values


def monomials(z: np.ndarray, powers: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Products of powers of the variables, ``(n, M)``."""
    T = np.ones((len(z), len(powers)))
    for column, power in enumerate(powers):
        for j, exponent in enumerate(power):
            if exponent:
                T[:, column] *= z[:, j] ** exponent
    return T


def representative_rows(x: np.ndarray, limit: int) -> np.ndarray:
    """The distinct rows, or ``limit`` of them evenly spread in lexicographic order."""
    distinct = distinct_rows(x)
    if len(distinct) <= limit:
        return distinct
    return distinct[np.linspace(0, len(distinct) - 1, limit).round().astype(int)]


def leading_eigenvectors(E: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` eigenvalues of largest magnitude, descending, and their eigenvectors."""
    if len(E) <= FULL_EIGEN or k > len(E) // 4:
        values, U = np.linalg.eigh(E)
    else:
        # A fixed start makes the result a function of the data alone.
        values, U = eigsh(E, k, which="LM", v0=np.ones(len(E)))
    largest = np.argsort(-np.abs(values), kind="stable")[:k]
    largest = largest[np.argsort(-values[largest], kind="stable")]
    return values[largest], U[:, largest]


def _order(term: SplineTerm, d: int) -> int:
    if term.m is None:
        return (d + 1) // 2 + 1
    if len(term.m) != 1 or term.m[0] != int(term.m[0]) or 2 * term.m[0] <= d:
        raise SpecificationError(
            f"m of {term.label} must be one integer with 2 m > {d}, the number of variables, got "
            f"{term.m!r}."
        )
    return int(term.m[0])
