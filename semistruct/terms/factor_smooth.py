"""Factor-smooth interactions: a curve per group, all of one smoothness, shrunken altogether."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.linalg import null_space

from semistruct._registry import lookup
from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms._tokens import quote_name
from semistruct.terms.base import Term
from semistruct.terms.binning import Bins
from semistruct.terms.reading import group_levels, numeric_column
from semistruct.terms.smooth_base import check_lam
from semistruct.terms.smooth_basis import (
    Curves,
    Extrapolate,
    RawSmooth,
    SmoothBasis,
    column_summary,
    frozen_array,
)
from semistruct.terms.tensor import MARGINS

__all__ = ["FactorSmooth"]


@dataclass(frozen=True)
class FactorSmooth(Term):
    """A random curve per group, ``bs="fs"``.

    Parameters
    ----------
    variables : tuple of str
        ``(x, group)``.
    k, m, knots
        Of the curve, as for its basis.
    base : str
        Basis of the curves, a one-variable basis with one penalty; ``"tp"`` by default, as in mgcv.
    lam : float or tuple of float, optional
        Fixed smoothing parameters: of the wiggliness, then of each unpenalised function; None to
        estimate them.
    extrapolate : {"linear", "constant"}
    label : str

    Notes
    -----
    All groups share their smoothing parameters: one for the penalty of the basis, and one for each
    function that this penalty does not see (constant, then linear). The component of a curve along
    such a function is its projection in the metric of the training rows, as in a Demmler-Reinsch
    basis. mgcv takes the same metric, but its functions are a rotation of the null space, mixtures
    of constant and slope, by an angle that depends on rounding; ours are separated.

    So every curve is penalised to zero, no constraint is needed, and a group that was not seen in
    training gets the curve zero, which is the mean of the random curves.

    References
    ----------
    Pedersen, E. J., Miller, D. L., Simpson, G. L. and Ross, N. (2019). Hierarchical generalized
    additive models in ecology: an introduction with mgcv. *PeerJ* 7, e6876 (models GS and S).
    Baayen, R. H., van Rij, J., de Cat, C. and Wood, S. N. (2018). Autocorrelated errors in
    experimental data in the language sciences. In *Mixed-Effects Regression Models in Linguistics*.

    Examples
    --------
    >>> table = pd.DataFrame({"t": np.tile(np.arange(8.0), 2), "id": np.repeat(["a", "b"], 8)})
    >>> basis = FactorSmooth(("t", "id"), k=5).build(table)
    >>> len(basis.names), basis.ranks, basis.null_dim
    (10, (6, 2, 2), 0)
    """

    variables: tuple[str, ...]
    k: int | None = None
    m: Any = None
    knots: Any = None
    base: str = "tp"
    lam: Any = None
    extrapolate: Extrapolate = "linear"
    label: str = ""

    bs: ClassVar[str] = "fs"

    def __post_init__(self) -> None:
        variables = tuple(self.variables)
        object.__setattr__(self, "variables", variables)
        if len(variables) != 2 or not all(isinstance(name, str) for name in variables):
            raise SpecificationError(
                "s(..., bs='fs') takes a numeric column and a column of groups, s(x, g, bs='fs'); "
                f"got {variables!r}."
            )
        if not self.label:
            object.__setattr__(self, "label", self._automatic_label())
        object.__setattr__(self, "lam", check_lam(self.lam, self.label))
        # The curve's own term checks the other options and puts them in order.
        for name in ("k", "m", "knots", "extrapolate"):
            object.__setattr__(self, name, getattr(self._curve, name))

    def _automatic_label(self) -> str:
        return f"s({','.join(self.variables)})"

    @property
    def _curve(self) -> Any:
        return lookup(MARGINS, self.base, "basis of a factor smooth")(
            self.variables[:1],
            k=self.k,
            m=self.m,
            knots=self.knots,
            extrapolate=self.extrapolate,
            label=self.label,
        )

    def text(self) -> str:
        """The term as it is written in a formula."""
        pieces = [*map(quote_name, self.variables), "bs='fs'"]
        defaults = {"k": None, "m": None, "knots": None, "base": "tp", "lam": None}
        defaults |= {"extrapolate": "linear", "label": self._automatic_label()}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                pieces.append(f"{name}={getattr(self, name)!r}")
        return f"s({', '.join(pieces)})"

    def build(self, frame: pd.DataFrame, bins: Bins | None = None) -> SmoothBasis:
        name, group = self.variables
        if not len(frame):
            raise DataError(f"{self.label} cannot be learned from a table without rows.")
        levels = group_levels(frame, group, self.label)
        if len(levels) < 2:
            raise DataError(
                f"{self.label} needs at least two groups in the column {group!r} but there is one: "
                f"{levels[0]!r}; use s({name})."
            )
        x = numeric_column(frame, name, self.label)[:, None]
        if np.ptp(x) == 0.0:
            raise DataError(
                f"the column {name!r} of {self.label} is constant ({x[0, 0]:g}); a curve needs a "
                f"column that varies, so use re({group})."
            )
        raw = self._curve.learn(x)
        if len(raw.penalties) != 1:
            raise SpecificationError(
                f"the basis of {self.label} has {len(raw.penalties)} penalties; a factor smooth "
                "needs one."
            )
        single = (raw.penalties[0], *null_penalties(raw, x))
        own = None if bins is None else bins.column(name, x[:, 0])
        largest = column_summary(raw, x, own)[1]
        scales = tuple(float(np.abs(S).sum(axis=0).max() / largest**2) for S in single)
        lam = self.lam or (None,) * len(single)
        if len(lam) != len(single):
            raise SpecificationError(
                f"lam of {self.label} has {len(lam)} values but the term has {len(single)} "
                "penalties; give one value per penalty."
            )
        by, k, L = Curves(group, levels, unseen="zero"), raw.dim, len(levels)
        curves = by.labels(self.label)
        return SmoothBasis(
            label=self.label,
            names=tuple(f"{curve}.{i + 1}" for curve in curves for i in range(k)),
            penalties=tuple(
                frozen_array(np.kron(np.eye(L), S / scale))
                for S, scale in zip(single, scales, strict=True)
            ),
            penalty_scales=scales,
            lam=lam,
            variables=self.variables,
            raw=raw,
            Z=frozen_array(np.eye(k)),
            by=by,
            extrapolate=self.extrapolate,
            curves=tuple((curve, slice(i * k, (i + 1) * k)) for i, curve in enumerate(curves)),
            ranks=(raw.ranks[0] * L, *(L for _ in single[1:])),
            null_dim=0,
        )


def null_penalties(raw: RawSmooth, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Squared projections on each function the penalty does not see: constant, linear, ...

    Returns
    -------
    tuple of (k, k) arrays of rank one
    """
    if not raw.null_dim:
        return ()
    X = raw.evaluate(x)
    N = null_space(raw.penalties[0], rcond=1e-9)
    z = (x[:, 0] - x.mean()) / np.ptp(x)
    # The functions are polynomials; orthogonalised in the order of their degrees.
    coefficients = np.linalg.lstsq(X @ N, np.vander(z, N.shape[1], increasing=True))[0]
    Q, _ = np.linalg.qr(X @ N @ coefficients)
    projections = X.T @ Q / np.sqrt(len(x))
    return tuple(np.outer(v, v) for v in projections.T)
