"""Tensor product smooths: full (``te``) and pure interactions (``ti``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import scipy.sparse as sp

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.terms._factored import Matrix
from semistruct.terms.constraints import absorb_constraint
from semistruct.terms.cubic import CubicSpline, CyclicCubicSpline, ShrinkageCubicSpline
from semistruct.terms.derivative_spline import DerivativeSpline
from semistruct.terms.gaussian_process import GaussianProcess
from semistruct.terms.pspline import CyclicPSpline, PSpline
from semistruct.terms.smooth_base import SmoothTerm, SplineTerm
from semistruct.terms.smooth_basis import RawSmooth, frozen_array
from semistruct.terms.thin_plate import ShrinkageThinPlate, ThinPlate

__all__ = ["MARGINS", "TensorBasis", "TensorSmooth", "row_tensor"]

MARGINS: dict[str, type[SplineTerm]] = {
    "ps": PSpline,
    "cp": CyclicPSpline,
    "bs": DerivativeSpline,
    "cr": CubicSpline,
    "cs": ShrinkageCubicSpline,
    "cc": CyclicCubicSpline,
    "tp": ThinPlate,
    "ts": ShrinkageThinPlate,
    "gp": GaussianProcess,
}

# Margins whose coefficients are already values of the curve.
VALUE_PARAMETRISED = ("cr", "cs", "cc")
# Relative singular value below which a margin cannot be reparametrised to its values.
SINGULAR = np.finfo(float).eps ** 0.66


@dataclass(frozen=True)
class TensorSmooth(SmoothTerm):
    """Tensor product of one-variable smooths, with one penalty per variable.

    Attributes
    ----------
    bs : tuple of str
        Basis of each margin; ``"cr"`` by default.
    k : tuple of int
        Dimension of each margin before any constraint; 5 by default.
    m : tuple
        Order of each margin.
    knots : tuple of (tuple of float, or None)
        Knots of each margin.
    interaction : bool
        False for ``te``: the whole product. True for ``ti``: every margin is centred first, so that
        the term holds no main effects and no lower interactions.

    Notes
    -----
    Margins are reparametrised to have values of the curve as coefficients, so that the penalties
    keep their meaning (Wood 2006, section 2.2), and each margin's penalty is scaled to a largest
    eigenvalue of one, as in mgcv. With ``scaled=False`` neither is done.

    References
    ----------
    Wood, S. N. (2006). Low-rank scale-invariant tensor product smooths for generalized additive
    mixed models. *Biometrics* 62, 1025-1036.

    Examples
    --------
    >>> TensorSmooth(("x", "z"), bs="ps", k=(6, 5)).k
    (6, 5)
    """

    bs: Any = "cr"
    k: Any = None
    m: Any = None
    knots: Any = None
    interaction: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        d = len(self.variables)
        if d < 2 and not self.interaction:
            raise SpecificationError(
                f"{self.label} needs two or more columns; use s({self.variables[0]})."
            )
        object.__setattr__(self, "bs", _per_margin(self, "bs", self.bs, d))
        object.__setattr__(self, "k", _per_margin(self, "k", self.k or 5, d))
        object.__setattr__(self, "m", _per_margin(self, "m", self.m, d))
        knots = self.knots
        if isinstance(knots, Mapping):
            unknown = sorted(set(knots) - set(self.variables))
            if unknown:
                raise SpecificationError(
                    f"knots of {self.label} names {unknown[0]!r}, which is none of its columns "
                    f"{', '.join(self.variables)}."
                )
            knots = [knots.get(name) for name in self.variables]
        elif knots is not None and (
            len(knots) != d or any(isinstance(entry, (int, float)) for entry in knots)
        ):
            raise SpecificationError(
                f"knots of {self.label} must be a mapping from column to knots, or one entry per "
                f"column, got {knots!r}."
            )
        object.__setattr__(self, "knots", tuple(knots or (None,) * d))
        # Building the margins checks their options and puts them in order.
        margins = self.margins
        for name in ("k", "m", "knots"):
            object.__setattr__(self, name, tuple(getattr(margin, name) for margin in margins))

    @property
    def prefix(self) -> str:
        return "ti" if self.interaction else "te"

    @property
    def defaults(self) -> dict[str, Any]:
        d = len(self.variables)
        return {
            "bs": ("cr",) * d,
            "k": (5,) * d,
            "m": (None,) * d,
            "lam": None,
            "select": False,
            "scaled": True,
            "knots": (None,) * d,
            "extrapolate": "linear",
            "label": self._automatic_label(),
        }

    @property
    def margins(self) -> tuple[SplineTerm, ...]:
        """The one-variable terms."""
        return tuple(
            lookup(MARGINS, bs, "margin")((name,), k=k, m=m, knots=knots, label=self.label)
            for name, bs, k, m, knots in zip(
                self.variables, self.bs, self.k, self.m, self.knots, strict=True
            )
        )

    def learn(self, x: np.ndarray) -> TensorBasis:
        raws, transforms, penalties, ranks, null_dims = [], [], [], [], []
        for j, (bs, term) in enumerate(zip(self.bs, self.margins, strict=True)):
            column = x[:, j : j + 1]
            raw = term.learn(column)
            if len(raw.penalties) != 1:
                raise SpecificationError(
                    f"the margin {self.variables[j]} of {self.label} has {len(raw.penalties)} "
                    "penalties; a margin of a tensor product has one."
                )
            by_value = self.scaled and bs not in VALUE_PARAMETRISED
            T, null_dim = _margin_transform(raw, column, by_value, self.interaction)
            S = T.T @ raw.penalties[0] @ T
            raws.append(raw)
            transforms.append(T if raw.transform is None else raw.transform @ T)
            penalties.append(S / np.linalg.eigvalsh(S)[-1] if self.scaled else S)
            ranks.append(min(raw.ranks[0], len(S)))
            null_dims.append(null_dim)
        dims = [len(S) for S in penalties]
        total = int(np.prod(dims))
        return TensorBasis(
            penalties=tuple(
                frozen_array(
                    reduce(
                        np.kron, (S if i == j else np.eye(len(S)) for i, S in enumerate(penalties))
                    )
                )
                for j in range(len(penalties))
            ),
            ranks=tuple(rank * total // dim for rank, dim in zip(ranks, dims, strict=True)),
            null_dim=int(np.prod(null_dims)),
            support=frozen_array(np.vstack([raw.support for raw in raws])),
            transform=frozen_array(reduce(np.kron, transforms)),
            centred=self.interaction,
            margins=tuple(raws),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TensorBasis(RawSmooth):
    """The learned margins; the last variable's index runs fastest."""

    margins: tuple[RawSmooth, ...]

    def features(self, x: np.ndarray) -> Matrix:
        parts = (raw.features(x[:, j : j + 1]) for j, raw in enumerate(self.margins))
        return reduce(row_tensor, parts)


def row_tensor(A: Matrix, B: Matrix) -> Matrix:
    """Kronecker product of each row of ``A`` with the same row of ``B``, ``(n, p q)``.

    Examples
    --------
    >>> row_tensor(np.array([[1.0, 2.0]]), np.array([[10.0, 100.0]]))
    array([[ 10., 100.,  20., 200.]])
    """
    n, p = A.shape
    q = B.shape[1]
    if not (sp.issparse(A) and sp.issparse(B)):
        A, B = (M.toarray() if sp.issparse(M) else M for M in (A, B))
        return (A[:, :, None] * B[:, None, :]).reshape(n, p * q)
    a, b = np.diff(A.indptr), np.diff(B.indptr)
    if n and (a == a[0]).all() and (b == b[0]).all():
        a, b = int(a[0]), int(b[0])
        data = A.data.reshape(n, a, 1) * B.data.reshape(n, 1, b)
        columns = A.indices.reshape(n, a, 1) * q + B.indices.reshape(n, 1, b)
        indptr = np.arange(n + 1) * (a * b)
        return sp.csr_array((data.ravel(), columns.ravel(), indptr), shape=(n, p * q))
    return sp.csr_array(row_tensor(A.toarray(), B.toarray()))


def _margin_transform(
    raw: RawSmooth, column: np.ndarray, by_value: bool, centred: bool
) -> tuple[np.ndarray, int]:
    """Columns of a margin's coefficients: centring, then values of the curve as coefficients."""
    T = np.eye(raw.dim)
    null_dim = raw.null_dim
    if centred:
        T = absorb_constraint(raw.evaluate(column).mean(axis=0))
        null_dim = max(null_dim - 1, 0)
    if by_value:
        grid = np.linspace(column.min(), column.max(), T.shape[1])[:, None]
        U, d, Vt = np.linalg.svd(raw.evaluate(grid) @ T)
        if d[-1] >= SINGULAR * d[0]:
            T = T @ (Vt.T @ (U.T / d[:, None]))
    return T, null_dim


def _per_margin(term: TensorSmooth, name: str, value: Any, d: int) -> tuple[Any, ...]:
    if value is None or isinstance(value, (str, int, float, np.integer)):
        return (value,) * d
    values = tuple(value)
    if len(values) != d:
        raise SpecificationError(
            f"{name} of {term.label} has {len(values)} entries for {d} columns; give one per "
            "column or one for all."
        )
    return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in values)
