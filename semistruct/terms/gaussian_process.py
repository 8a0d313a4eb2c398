"""Gaussian process smooths with a fixed correlation function, of one or several variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.spatial.distance import cdist, pdist

from semistruct.exceptions import SpecificationError
from semistruct.terms._factored import chunks
from semistruct.terms.smooth_base import SplineTerm
from semistruct.terms.smooth_basis import RawSmooth, frozen_array
from semistruct.terms.thin_plate import leading_eigenvectors, representative_rows

__all__ = ["GaussianProcess", "GaussianProcessBasis", "correlation"]

# Correlation functions at most; more distinct points are represented by an even subset of them.
MAX_POINTS = 2000


@dataclass(frozen=True)
class GaussianProcess(SplineTerm):
    """Gaussian process smooth, ``bs="gp"``: kriging as a penalised regression.

    Notes
    -----
    ``m = (kind, range, power)``, all but the first optional. Kinds: 1 spherical, 2 power
    exponential, 3 Matern 1.5 (default), 4 Matern 2.5, 5 Matern 3.5. A range that is absent or not
    positive means the largest distance between two points. An unpenalised linear trend is part of
    the smooth; a negative kind leaves it out, for a stationary process. ``k`` is 10 plus the trend
    for one variable, 30 plus for two, 100 plus for more. Far outside the data the curve returns to
    its trend. The variables must share one scale.

    References
    ----------
    Kammann, E. E. and Wand, M. P. (2003). Geoadditive models. *JRSS C* 52, 1-18.

    Examples
    --------
    >>> import pandas as pd
    >>> basis = GaussianProcess(("x",), k=6).build(pd.DataFrame({"x": np.arange(30.0)}))
    >>> basis.ranks, basis.null_dim
    ((4,), 1)
    """

    bs: ClassVar[str] = "gp"
    several: ClassVar[bool] = True

    def learn(self, x: np.ndarray) -> GaussianProcessBasis:
        d = x.shape[1]
        kind, reach, power, trend = _definition(self)
        null_dim = 1 + d * trend
        k = self.k or null_dim + (10, 30, 100)[min(d, 3) - 1]
        if k <= null_dim:
            raise SpecificationError(
                f"k={k} is too small for {self.label}, whose trend has {null_dim} columns; use at "
                f"least {null_dim + 1}."
            )
        if self.knots is not None:
            raise SpecificationError(f"{self.label} takes no knots: its centres are data points.")
        self.enough_values(x, k)
        centre = x.mean(axis=0)
        points = representative_rows(x, MAX_POINTS) - centre
        if reach <= 0.0:
            reach = float(pdist(points).max())
        E = correlation(cdist(points, points) / reach, kind, power)
        values, U = leading_eigenvectors(E, k - null_dim)
        return GaussianProcessBasis(
            penalties=(frozen_array(np.diag([*values, *np.zeros(null_dim)])),),
            ranks=(k - null_dim,),
            null_dim=null_dim,
            support=frozen_array(np.stack([x.min(axis=0), x.max(axis=0)], axis=1)),
            centre=frozen_array(centre),
            points=frozen_array(points),
            weights=frozen_array(U),
            kind=kind,
            reach=reach,
            power=power,
            trend=trend,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class GaussianProcessBasis(RawSmooth):
    """Learned centres ``(u, d)`` and weights ``(u, k - M)`` of the correlation functions."""

    centre: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    kind: int
    reach: float
    power: float
    trend: bool

    def features(self, x: np.ndarray) -> np.ndarray:
        z = x - self.centre
        r = self.weights.shape[1]
        F = np.empty((len(x), self.dim))
        for rows in chunks(len(x), len(self.points)):
            E = correlation(cdist(z[rows], self.points) / self.reach, self.kind, self.power)
            np.matmul(E, self.weights, out=F[rows, :r])
        F[:, r] = 1.0
        if self.trend:
            F[:, r + 1 :] = z
        return F


def correlation(distance: np.ndarray, kind: int, power: float = 1.0) -> np.ndarray:
    """Correlation at distances in units of the range; kinds as in :class:`GaussianProcess`."""
    r = distance
    if kind == 1:
        return np.where(r < 1.0, 1.0 - 1.5 * r + 0.5 * r**3, 0.0)
    if kind == 2:
        return np.exp(-(r**power))
    decay = np.exp(-r)
    if kind == 3:
        return (1.0 + r) * decay
    if kind == 4:
        return (1.0 + r + r**2 / 3.0) * decay
    return (1.0 + r + 0.4 * r**2 + r**3 / 15.0) * decay


def _definition(term: SplineTerm) -> tuple[int, float, float, bool]:
    """Kind, range, power and whether there is a linear trend, from ``m``."""
    m = (*(term.m or (3,)), 0.0, 1.0) if len(term.m or (3,)) == 1 else (*term.m, 1.0)
    kind, reach, power = m[:3]
    if abs(kind) not in (1, 2, 3, 4, 5) or len(term.m or ()) > 3 or not 0.0 < power <= 2.0:
        raise SpecificationError(
            f"m of {term.label} must be (kind, range, power) with kind one of 1 to 5, negative for "
            f"no linear trend, and 0 < power <= 2; got {term.m!r}."
        )
    return abs(int(kind)), float(reach), float(power), kind > 0
