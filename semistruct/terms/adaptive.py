"""P-splines whose smoothness changes along the variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from semistruct.exceptions import SpecificationError
from semistruct.terms.bspline import bspline_design
from semistruct.terms.pspline import MARGIN, PSplineBasis, even_knots
from semistruct.terms.smooth_base import SplineTerm
from semistruct.terms.smooth_basis import frozen_array

__all__ = ["AdaptiveSpline"]

_PENALTIES = 5
_DIFFERENCE, _DEGREE = 2, 3
# A weight below it counts for nothing, and would blur the rank of its penalty.
_NEGLIGIBLE = 1e-7


@dataclass(frozen=True)
class AdaptiveSpline(SplineTerm):
    """Adaptive P-spline, ``bs="ad"``: the weight of the roughness penalty is itself a spline.

    Notes
    -----
    Cubic B-splines on equidistant knots, ``k = 40`` by default. The squared second difference at
    position ``r`` has the weight ``sum_j lam_j B_j(r)``, where the ``m = 5`` B-splines ``B_j``
    (cubic from ``m = 4`` on) are spread over the positions; every ``lam_j`` is estimated. Of use
    where a curve is calm in one place and violent in another, and only with enough rows: five
    smoothing parameters need more of them than one.

    References
    ----------
    Ruppert, D. and Carroll, R. J. (2000). Spatially-adaptive penalties for spline fitting.
    *Australian & New Zealand Journal of Statistics* 42, 205-223. Wood, S. N. (2011). Fast stable
    restricted maximum likelihood. *JRSS B* 73, 3-36 (the same basis in mgcv).

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"x": np.linspace(0.0, 1.0, 90)})
    >>> basis = AdaptiveSpline(("x",), k=20).build(frame)
    >>> len(basis.penalties), basis.null_dim
    (5, 1)
    """

    bs: ClassVar[str] = "ad"

    def learn(self, x: np.ndarray) -> PSplineBasis:
        n_penalties = self._n_penalties()
        k = self.k or 40
        if k < n_penalties + _DIFFERENCE:
            raise SpecificationError(
                f"k={k} is too small for {self.label} with {n_penalties} penalties; use at least "
                f"{n_penalties + _DIFFERENCE}, or fewer penalties by m=."
            )
        self.enough_values(x, k)
        D = np.diff(np.eye(k), n=_DIFFERENCE, axis=0)
        weights = _spread(k - _DIFFERENCE, n_penalties)
        knots = even_knots(self, x[:, 0], k, _DEGREE)
        return PSplineBasis(
            penalties=tuple(frozen_array(D.T @ (w[:, None] * D)) for w in weights.T),
            ranks=tuple(int(np.count_nonzero(w)) for w in weights.T),
            null_dim=_DIFFERENCE,
            support=frozen_array([[x.min(), x.max()]]),
            knots=frozen_array(knots),
            degree=_DEGREE,
        )

    def _n_penalties(self) -> int:
        if self.m is None:
            return _PENALTIES
        if len(self.m) != 1 or self.m[0] != int(self.m[0]) or self.m[0] < 1:
            raise SpecificationError(
                f"m of {self.label} is the number of its penalties, a whole number of 1 or more, "
                f"got {self.m!r}."
            )
        return int(self.m[0])


def _spread(positions: int, count: int) -> np.ndarray:
    """Values ``(positions, count)`` of B-splines over ``1, ..., positions``; rows sum to 1."""
    degree = min(_DEGREE, count - 1)
    if degree == 0:
        return np.ones((positions, 1))
    at = np.arange(1.0, positions + 1)
    margin = MARGIN * (positions - 1)
    low, high = 1 - margin, positions + margin
    step = (high - low) / (count - degree)
    knots = np.linspace(low - degree * step, high + degree * step, count + degree + 1)
    values = bspline_design(knots, degree, at).toarray()
    return np.where(values > _NEGLIGIBLE, values, 0.0)
