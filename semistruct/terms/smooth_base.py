"""What smooths share: the raw basis, penalty scaling, the absorbed constraint, ``by`` variables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
import scipy.sparse as sp

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms._factored import Matrix, chunks
from semistruct.terms.base import Basis, Term, TermKind
from semistruct.terms.blocks import (
    ConstrainedBlock,
    DenseBlock,
    FactoredBlock,
    IndexedBlock,
    ScaledBlock,
    SparseBlock,
)
from semistruct.terms.constraints import absorb_constraint
from semistruct.terms.reading import (
    group_codes,
    group_levels,
    is_numeric,
    numeric_column,
    numeric_columns,
)

__all__ = ["Extrapolate", "RawSmooth", "SmoothBasis", "SmoothTerm", "SplineTerm", "frozen_array", "knot_ends"]

Extrapolate = Literal["linear", "constant"]

# mgcv's test for a `by` variable that varies.
BY_VARIES = np.finfo(float).eps ** 0.75


def frozen_array(values: Any) -> np.ndarray:
    """A read-only float64 copy."""
    array = np.array(values, dtype=float)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False, kw_only=True)
class RawSmooth(ABC):
    """A basis learned from the training rows, before scaling, constraint and ``by``.

    Attributes
    ----------
    penalties : tuple of (k, k) arrays
        Unscaled.
    ranks : tuple of int
        Rank of each penalty.
    null_dim : int
        Dimension of the space that no penalty sees.
    support : (d, 2) array
        Range of the training values of each variable, where constant extrapolation holds the
        curve; infinite for a cyclic variable.
    transform : (q, k) array or None
        The basis is ``features(x) @ transform``; None means the identity.
    centred : bool
        Whether every column already sums to zero, so that no constraint is needed.
    """

    penalties: tuple[np.ndarray, ...]
    ranks: tuple[int, ...]
    null_dim: int
    support: np.ndarray
    transform: np.ndarray | None = None
    centred: bool = False

    @abstractmethod
    def features(self, x: np.ndarray) -> Matrix:
        """Row-wise features ``(n, q)``, sparse or dense, of values ``x`` ``(n, d)``."""

    @property
    def dim(self) -> int:
        """Number of coefficients ``k``."""
        return self.penalties[0].shape[0]

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """The basis as a dense ``(n, k)`` array, for few rows."""
        F = self.features(x)
        X = F if self.transform is None else F @ self.transform
        return X.toarray() if sp.issparse(X) else np.asarray(X)


@dataclass(frozen=True)
class SmoothTerm(Term, ABC):
    """A smooth as the user wrote it: the options that every basis has.

    Attributes
    ----------
    variables : tuple of str
    by : str or None
        Column that the curve varies with: numbers multiply it, groups have one curve each.
    lam : tuple of float, or None
        Fixed smoothing parameters in mgcv's ``sp`` scale, one per penalty of one curve.
    extrapolate : {"linear", "constant"}
        Beyond the training range the curve goes on linearly (bases of infinite support as their
        formula says) or keeps its value at the end of the range. Cyclic bases wrap instead.
    label : str
        Name in tables; empty for the automatic one.
    """

    variables: tuple[str, ...]
    by: str | None = None
    lam: Any = None
    extrapolate: Extrapolate = "linear"
    label: str = ""

    prefix: ClassVar[str] = "s"

    def __post_init__(self) -> None:
        variables = (self.variables,) if isinstance(self.variables, str) else tuple(self.variables)
        object.__setattr__(self, "variables", variables)
        if not variables or not all(isinstance(name, str) for name in variables):
            raise SpecificationError(
                f"{self.prefix}() needs the names of one or more columns, got {variables!r}."
            )
        if len(set(variables)) != len(variables):
            raise SpecificationError(f"{self.prefix}() names a column twice: {variables!r}.")
        if self.by is not None and not isinstance(self.by, str):
            raise SpecificationError(
                f"by= of {self.prefix}({','.join(variables)}) must be the name of a column, got "
                f"{self.by!r}."
            )
        if not self.label:
            by = "" if self.by is None else f":{self.by}"
            object.__setattr__(self, "label", f"{self.prefix}({','.join(variables)}){by}")
        if self.extrapolate not in get_args(Extrapolate):
            raise SpecificationError(
                f"extrapolate of {self.label} must be 'linear' or 'constant', got "
                f"{self.extrapolate!r}."
            )
        object.__setattr__(self, "lam", _check_lam(self.lam, self.label))

    @abstractmethod
    def learn(self, x: np.ndarray) -> RawSmooth:
        """The raw basis from the training values ``(n, d)``, finite and not constant."""

    def build(self, frame: pd.DataFrame) -> SmoothBasis:
        """Learn knots, penalty scaling and constraint from the training rows."""
        label = self.label
        if len(frame) == 0:
            raise DataError(f"{label} cannot be learned from a table without rows.")
        x = numeric_columns(frame, self.variables, label)
        for j, name in enumerate(self.variables):
            if np.ptp(x[:, j]) == 0.0:
                raise DataError(
                    f"the column {name!r} of {label} is constant ({x[0, j]:g}); a curve needs a "
                    "column that varies, so remove the term."
                )
        raw = self.learn(x)
        levels: tuple[Any, ...] | None = None
        constrained = not raw.centred
        if self.by is not None:
            if is_numeric(frame, self.by, label):
                by = numeric_column(frame, self.by, label)
                constrained = constrained and np.std(by) <= abs(by.mean()) * BY_VARIES
            else:
                levels = group_levels(frame, self.by, label)
        means, largest = _column_summary(raw, x)
        if constrained:
            Z = absorb_constraint(means)
        else:
            Z = np.eye(raw.dim)
        scales = tuple(float(np.abs(S).sum(axis=0).max() / largest**2) for S in raw.penalties)
        single = [_symmetric(Z.T @ (S / c) @ Z) for S, c in zip(raw.penalties, scales, strict=True)]
        n_curves = 1 if levels is None else len(levels)
        lam = self.lam
        if lam is None:
            lam = (None,) * len(single)
        elif len(lam) != len(single):
            raise SpecificationError(
                f"lam of {label} has {len(lam)} values but the term has {len(single)} penalties; "
                "give one value per penalty."
            )
        curves = (label,) if levels is None else tuple(f"{label}{level}" for level in levels)
        p = Z.shape[1]
        return SmoothBasis(
            label=label,
            names=tuple(f"{curve}.{i + 1}" for curve in curves for i in range(p)),
            penalties=tuple(
                frozen_array(_place(S, curve, n_curves)) for curve in range(n_curves) for S in single
            ),
            penalty_scales=scales * n_curves,
            lam=tuple(lam) * n_curves,
            variables=self.variables if self.by is None else (*self.variables, self.by),
            raw=raw,
            Z=frozen_array(Z),
            levels=levels,
            by=self.by,
            extrapolate=self.extrapolate,
            curves=tuple((curve, slice(i * p, (i + 1) * p)) for i, curve in enumerate(curves)),
            ranks=tuple(min(rank, p) for rank in raw.ranks) * n_curves,
            null_dim=max(raw.null_dim - constrained, 0) * n_curves,
        )


@dataclass(frozen=True)
class SplineTerm(SmoothTerm, ABC):
    """A smooth with one basis: its dimension, order and knots.

    Attributes
    ----------
    k : int or None
        Dimension of the basis before the constraint; None for the default of the basis.
    m : tuple or None
        Order, with mgcv's meaning for the basis.
    knots : tuple of float, or None
        The two ends of the range over which knots are spread, or all of the knots.
    """

    k: int | None = None
    m: Any = None
    knots: Any = None

    several: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.variables) > 1 and not self.several:
            raise SpecificationError(
                f"{self.label} has {len(self.variables)} columns but its basis takes one; use "
                f"te({','.join(self.variables)}), or bs='tp' for columns of one common scale."
            )
        if self.k is not None and (not isinstance(self.k, (int, np.integer)) or self.k < 2):
            raise SpecificationError(f"k of {self.label} must be an integer above 1, got {self.k!r}.")
        if self.m is not None:
            m = tuple(np.atleast_1d(self.m).tolist())
            object.__setattr__(self, "m", m)
        if self.knots is not None:
            knots = np.atleast_1d(np.asarray(self.knots, dtype=float))
            if knots.ndim != 1 or not np.isfinite(knots).all() or (np.diff(knots) <= 0).any():
                raise SpecificationError(
                    f"knots of {self.label} must be finite and increasing, got {self.knots!r}."
                )
            object.__setattr__(self, "knots", tuple(knots.tolist()))

    def enough_values(self, x: np.ndarray, k: int) -> None:
        """Raise :class:`DataError` if there are fewer distinct rows of ``x`` than ``k``."""
        distinct = len(np.unique(x, axis=0))
        if distinct < k:
            names = " and ".join(map(repr, self.variables))
            raise DataError(
                f"{self.label} needs at least k={k} distinct values of {names} but there are "
                f"{distinct}; use k={distinct} or fewer, or a linear term or a factor."
            )


@dataclass(frozen=True, eq=False)
class SmoothBasis(Basis):
    """A smooth ready to be evaluated: scaled penalties, absorbed constraint, one or more curves.

    Attributes
    ----------
    raw : RawSmooth
    Z : (k, p) array
        Absorbed constraint of one curve; the identity where none is needed.
    levels : tuple or None
        Groups of the ``by`` column that have a curve each.
    by : str or None
    extrapolate : {"linear", "constant"}
    curves : tuple of (label, slice)
        Columns of each curve.
    ranks : tuple of int
        Rank of each penalty.
    null_dim : int
        Dimension of the unpenalised part.
    """

    label: str
    names: tuple[str, ...]
    penalties: tuple[np.ndarray, ...]
    penalty_scales: tuple[float, ...]
    lam: tuple[float | None, ...]
    variables: tuple[str, ...]
    raw: RawSmooth
    Z: np.ndarray
    levels: tuple[Any, ...] | None
    by: str | None
    extrapolate: Extrapolate
    curves: tuple[tuple[str, slice], ...]
    ranks: tuple[int, ...]
    null_dim: int
    kind: TermKind = "smooth"

    def design(self, frame: pd.DataFrame) -> FactoredBlock:
        """Row-wise design of new rows; rows of equal values are evaluated once."""
        names = self.variables if self.by is None else self.variables[:-1]
        x = numeric_columns(frame, names, self.label)
        if self.extrapolate == "constant":
            x = np.clip(x, self.raw.support[:, 0], self.raw.support[:, 1])
        codes = scale = None
        if self.levels is not None:
            codes = self._codes(frame)
        elif self.by is not None:
            scale = numeric_column(frame, self.by, self.label)
        shared = _shared_rows(x, codes)
        if shared is None:
            block = self._block(x, codes)
        else:
            index, first = shared
            unique = self._block(x[first], None if codes is None else codes[first])
            block = IndexedBlock(unique, index)
        return block if scale is None else ScaledBlock(block, scale)

    def _codes(self, frame: pd.DataFrame) -> np.ndarray:
        codes = group_codes(frame, str(self.by), self.label, self.levels or ())
        unseen = np.flatnonzero(codes < 0)
        if unseen.size:
            level = frame[self.by].iloc[unseen[0]]
            raise DataError(
                f"{self.label} has no curve for the group {level!r} of the column {self.by!r} (row "
                f"{unseen[0]}), which the training rows do not have; it knows "
                f"{', '.join(map(repr, self.levels or ()))}."
            )
        return codes

    def _block(self, x: np.ndarray, codes: np.ndarray | None) -> FactoredBlock:
        F = self.raw.features(x)
        T = self.Z if self.raw.transform is None else self.raw.transform @ self.Z
        if codes is not None:
            n_curves = len(self.curves)
            return ConstrainedBlock(
                SparseBlock(_shift_columns(F, codes, n_curves)), sp.block_diag([T] * n_curves, "csr")
            )
        if sp.issparse(F):
            return ConstrainedBlock(SparseBlock(F), T)
        return DenseBlock(F @ T)


def _check_lam(lam: Any, label: str) -> tuple[float, ...] | None:
    if lam is None:
        return None
    values = np.atleast_1d(np.asarray(lam, dtype=float))
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
        raise SpecificationError(
            f"lam of {label} must be finite and not negative, got {lam!r}; leave it out to estimate."
        )
    return tuple(values.tolist())


def _symmetric(S: np.ndarray) -> np.ndarray:
    return (S + S.T) * 0.5


def _place(S: np.ndarray, curve: int, n_curves: int) -> np.ndarray:
    """``S`` as the block of one curve among several."""
    if n_curves == 1:
        return S
    p = S.shape[0]
    total = np.zeros((p * n_curves, p * n_curves))
    total[curve * p : (curve + 1) * p, curve * p : (curve + 1) * p] = S
    return total


def _column_summary(raw: RawSmooth, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Column means of the raw basis and its largest absolute row sum, in chunks of rows."""
    total = np.zeros(raw.dim)
    largest = 0.0
    for rows in chunks(len(x), raw.dim):
        X = raw.evaluate(x[rows])
        total += X.sum(axis=0)
        largest = max(largest, float(np.abs(X).sum(axis=1).max()))
    return total / len(x), largest


def _shared_rows(
    x: np.ndarray, codes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Index into distinct rows and the first position of each; None when too few rows coincide."""
    n = len(x)
    joint = codes
    for column in x.T:
        index, values = pd.factorize(column)
        if 2 * len(values) > n:
            return None
        joint = index if joint is None else joint * len(values) + index
    index, values = pd.factorize(joint)
    if 2 * len(values) > n:
        return None
    first = np.empty(len(values), dtype=np.intp)
    first[index[::-1]] = np.arange(n - 1, -1, -1)
    return index, first


def _shift_columns(F: Matrix, codes: np.ndarray, n_curves: int) -> sp.csr_array:
    """Features of each row in the columns of its own curve, ``(n, n_curves * q)``."""
    n, q = F.shape
    if sp.issparse(F):
        counts = np.diff(F.indptr)
        data, indices, indptr = F.data, F.indices + np.repeat(codes * q, counts), F.indptr
    else:
        data = F.ravel()
        indices = (codes[:, None] * q + np.arange(q)).ravel()
        indptr = np.arange(0, n * q + 1, q)
    return sp.csr_array((data, indices, indptr), shape=(n, n_curves * q))


def knot_ends(knots: Sequence[float], x: np.ndarray, label: str) -> tuple[float, float]:
    """The ends of the range given as two knots, which has to contain the data."""
    low, high = knots[0], knots[-1]
    if x.min() < low or x.max() > high:
        raise DataError(
            f"the knots of {label} span {low:g} to {high:g} but the column runs from {x.min():g} to "
            f"{x.max():g}; widen the knots or drop those rows."
        )
    return low, high
