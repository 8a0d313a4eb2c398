"""A raw smooth made ready for a model: scaled penalties, absorbed constraint, ``by`` curves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from semistruct.exceptions import SpecificationError
from semistruct.terms._factored import Matrix, chunks
from semistruct.terms.base import Basis, TermKind
from semistruct.terms.binning import Binned
from semistruct.terms.blocks import (
    ConstrainedBlock,
    DenseBlock,
    FactoredBlock,
    IndexedBlock,
    ScaledBlock,
    SparseBlock,
)
from semistruct.terms.by_curves import Curves, curve_codes, shift_columns
from semistruct.terms.constraints import absorb_constraint
from semistruct.terms.df import lambda_for_df
from semistruct.terms.reading import numeric_column, numeric_columns

__all__ = [
    "Curves",
    "Extrapolate",
    "RawSmooth",
    "SmoothBasis",
    "column_summary",
    "frozen_array",
    "prepare",
]

Extrapolate = Literal["linear", "constant"]

# Eigenvalues of a penalty below this share of the largest are zero.
RANK_TOLERANCE = 1e-9


def frozen_array(values: Any) -> np.ndarray:
    """A read-only float64 copy."""
    array = np.array(values, dtype=float)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
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
        Whether the basis leaves constants out by itself (its margins are centred), so that no
        constraint is needed.
    inequalities : (m, k) array or None
        Rows ``c`` with ``c @ beta >= 0`` that give the curve its shape.
    """

    penalties: tuple[np.ndarray, ...]
    ranks: tuple[int, ...]
    null_dim: int
    support: np.ndarray
    transform: np.ndarray | None = None
    centred: bool = False
    inequalities: np.ndarray | None = None

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


@dataclass(frozen=True, eq=False)
class SmoothBasis(Basis):
    """A smooth ready to be evaluated.

    Attributes
    ----------
    raw : RawSmooth
    Z : (k, p) array
        Absorbed constraint of one curve; the identity where none is needed.
    by : Curves
    extrapolate : {"linear", "constant"}
    curves : tuple of (label, slice)
        Columns of each curve.
    ranks : tuple of int
        Rank of each penalty.
    null_dim : int
        Dimension of the unpenalised part.
    kept : tuple of int or None
        Columns that are left beside terms with functions in common; None for all.
    df : float or None
        Effective degrees of freedom that each curve shall have in the fit; ``lam`` then has them
        for rows of equal weight and no other terms.
    inequalities : (m, p) array or None
        Rows ``c`` with ``c @ beta >= 0`` that give the curves their shape.
    """

    label: str
    names: tuple[str, ...] = field(repr=False)
    penalties: tuple[np.ndarray, ...] = field(repr=False)
    penalty_scales: tuple[float, ...]
    lam: tuple[float | None, ...]
    variables: tuple[str, ...]
    raw: RawSmooth = field(repr=False)
    Z: np.ndarray = field(repr=False)
    by: Curves
    extrapolate: Extrapolate
    curves: tuple[tuple[str, slice], ...]
    ranks: tuple[int, ...]
    null_dim: int
    kept: tuple[int, ...] | None = field(default=None, repr=False)
    df: float | None = None
    inequalities: np.ndarray | None = field(default=None, repr=False)
    kind: TermKind = "smooth"

    def design(self, frame: pd.DataFrame, bins: Binned | None = None) -> FactoredBlock:
        """Row-wise design of new rows; rows of equal values are evaluated once.

        With ``bins`` of the one variable, the rows are taken to have the values of their bins.
        """
        by = self.by.by
        names = self.variables if by is None else self.variables[:-1]
        x = numeric_columns(frame, names, self.label) if bins is None else bins.values[:, None]
        if self.extrapolate == "constant":
            x = np.clip(x, self.raw.support[:, 0], self.raw.support[:, 1])
        codes = scale = None
        if self.by.levels is not None:
            codes = curve_codes(frame, self.by, self.label)
        elif by is not None:
            scale = numeric_column(frame, by, self.label)
        if bins is not None:
            index = bins.index
            if codes is not None:
                groups = int(codes.max(initial=0)) + 1
                index, cells = pd.factorize(index * groups + codes)
                x, codes = x[cells // groups], cells % groups
            block: FactoredBlock = IndexedBlock(self._block(x, codes), index)
        elif (shared := _shared_rows(x, codes)) is None:
            block = self._block(x, codes)
        else:
            index, first = shared
            unique = self._block(x[first], None if codes is None else codes[first])
            block = IndexedBlock(unique, index)
        return block if scale is None else ScaledBlock(block, scale)

    def without(self, columns: Sequence[int]) -> SmoothBasis:
        """The basis without these columns."""
        if not columns:
            return self
        if self.inequalities is not None:
            raise SpecificationError(
                f"{self.label} has a shape, but another term of the same column shares its "
                "straight lines, so that the shape of either alone says nothing; remove that term."
            )
        p = len(self.names)
        left = np.setdiff1d(np.arange(p), columns)
        before = np.arange(p) if self.kept is None else np.array(self.kept)
        ends = np.concatenate([[0], np.cumsum(np.isin(np.arange(p), left))]).tolist()
        penalties = tuple(frozen_array(S[np.ix_(left, left)]) for S in self.penalties)
        return replace(
            self,
            names=tuple(self.names[j] for j in left),
            penalties=penalties,
            curves=tuple(
                (curve, slice(ends[own.start], ends[own.stop])) for curve, own in self.curves
            ),
            ranks=tuple(map(_rank, penalties)),
            null_dim=len(left) - _rank(sum(S / np.abs(S).max() for S in penalties if S.any())),
            kept=tuple(before[left].tolist()),
        )

    def unscaled(self) -> SmoothBasis:
        """The basis whose fixed smoothing parameters are in the units of the raw penalties."""
        lam = zip(self.lam, self.penalty_scales, strict=True)
        return replace(self, lam=tuple(x if x is None else x * scale for x, scale in lam))

    def with_df(self, df: float, frame: pd.DataFrame) -> SmoothBasis:
        """The basis with given degrees of freedom per curve, learned from the training rows."""
        if len(self.penalties) != len(self.curves):
            raise SpecificationError(
                f"{self.label} has {len(self.penalties) // len(self.curves)} penalties, whose "
                "smoothing parameters degrees of freedom do not determine; give lam= instead."
            )
        block = self.design(frame)
        gram = block.gram(np.ones(len(frame)))
        lam = []
        for (curve, own), S in zip(self.curves, self.penalties, strict=True):
            try:
                rows = np.linalg.cholesky(gram[own, own]).T
            except np.linalg.LinAlgError as error:
                raise SpecificationError(
                    f"df={df:g} does not determine the smoothness of {curve}, whose design has "
                    "linearly dependent columns; lower k, or give lam= instead."
                ) from error
            try:
                lam.append(lambda_for_df(rows, S[own, own], df))
            except SpecificationError as error:
                raise SpecificationError(f"{curve}: {error}") from error
        return replace(self, lam=tuple(lam), df=df)

    def _block(self, x: np.ndarray, codes: np.ndarray | None) -> FactoredBlock:
        F = self.raw.features(x)
        T = self.Z if self.raw.transform is None else self.raw.transform @ self.Z
        if codes is None and self.kept is not None:
            T = T[:, self.kept]
        if codes is not None:
            n_curves = len(self.curves)
            # The last group of columns stands for the reference, whose curve is zero.
            zero = sp.csr_array((F.shape[1], n_curves * T.shape[1]))
            T = sp.csr_array(sp.vstack([sp.block_diag([T] * n_curves), zero]))
            if self.kept is not None:
                T = T[:, self.kept]
            return ConstrainedBlock(SparseBlock(shift_columns(F, codes, n_curves + 1)), T)
        if sp.issparse(F):
            return ConstrainedBlock(SparseBlock(F), T)
        return DenseBlock(F @ T)


def _rank(S: np.ndarray) -> int:
    values = np.linalg.eigvalsh(S)
    return int((values > RANK_TOLERANCE * values[-1]).sum())


def prepare(
    raw: RawSmooth,
    x: np.ndarray,
    *,
    label: str,
    variables: tuple[str, ...],
    by: Curves,
    constrained: bool,
    select: bool,
    lam: tuple[float | None, ...],
    extrapolate: Extrapolate,
    bins: Binned | None = None,
) -> SmoothBasis:
    """Scale the penalties, absorb the sum-to-zero constraint, and repeat for the curves.

    Parameters
    ----------
    raw : RawSmooth
    x : (n, d) array
        Training values; the curve sums to zero over all of them, also where it is one of several.
    label, variables, lam, extrapolate
        Of the term; ``lam`` has one entry per penalty.
    by : Curves
    constrained : bool
        Whether the constraint is needed.
    bins : Binned, optional
        The curve sums to zero at the values of the bins instead of at those of the rows.
    select : bool
        Whether there is a last penalty for what the others do not see, the squared length of its
        coefficients (Marra and Wood 2011, section 2.1).

    Notes
    -----
    Each penalty is divided by ``norm1(S) / normInf(X)^2``, as in mgcv, so that smoothing parameters
    of different bases are comparable.

    References
    ----------
    Marra, G. and Wood, S. N. (2011). Practical variable selection for generalized additive models.
    *Computational Statistics and Data Analysis* 55, 2372-2387.
    """
    means, largest = column_summary(raw, x, bins)
    Z = absorb_constraint(means) if constrained else np.eye(raw.dim)
    scales = tuple(float(np.abs(S).sum(axis=0).max() / largest**2) for S in raw.penalties)
    single = []
    for S, scale in zip(raw.penalties, scales, strict=True):
        absorbed = Z.T @ (S / scale) @ Z
        single.append((absorbed + absorbed.T) / 2)
    ranks = tuple(min(rank, Z.shape[1]) for rank in raw.ranks)
    null_dim = max(raw.null_dim - constrained, 0)
    if select:
        _, vectors = np.linalg.eigh(sum(S / np.abs(S).max() for S in single))
        single.append(vectors[:, :null_dim] @ vectors[:, :null_dim].T)
        scales, ranks, null_dim = (*scales, 1.0), (*ranks, null_dim), 0
    curves = by.labels(label)
    n_curves, p = len(curves), Z.shape[1]
    return SmoothBasis(
        label=label,
        names=tuple(f"{curve}.{i + 1}" for curve in curves for i in range(p)),
        penalties=tuple(
            frozen_array(_place(S, curve, n_curves)) for curve in range(n_curves) for S in single
        ),
        penalty_scales=scales * n_curves,
        lam=lam * n_curves,
        variables=variables if by.by is None else (*variables, by.by),
        raw=raw,
        Z=frozen_array(Z),
        by=by,
        extrapolate=extrapolate,
        curves=tuple((curve, slice(i * p, (i + 1) * p)) for i, curve in enumerate(curves)),
        ranks=ranks * n_curves,
        null_dim=null_dim * n_curves,
        inequalities=None
        if raw.inequalities is None
        else frozen_array(np.kron(np.eye(n_curves), raw.inequalities @ Z)),
    )


def _place(S: np.ndarray, curve: int, n_curves: int) -> np.ndarray:
    """``S`` as the block of one curve among several."""
    p = S.shape[0]
    columns = slice(curve * p, (curve + 1) * p)
    total = np.zeros((p * n_curves, p * n_curves))
    total[columns, columns] = S
    return total


def column_summary(
    raw: RawSmooth, x: np.ndarray, bins: Binned | None = None
) -> tuple[np.ndarray, float]:
    """Column means of the raw basis and its largest absolute row sum, in chunks of rows."""
    total = np.zeros(raw.dim)
    largest = 0.0
    counts = None
    if bins is not None:
        x, counts = bins.values[:, None], bins.counts
    elif (shared := _shared_rows(x, None)) is not None:
        index, first = shared
        x, counts = x[first], np.bincount(index)
    for rows in chunks(len(x), raw.dim):
        X = raw.evaluate(x[rows])
        total += X.sum(axis=0) if counts is None else X.T @ counts[rows].astype(float)
        largest = max(largest, float(np.abs(X).sum(axis=1).max()))
    return total / (len(x) if counts is None else counts.sum()), largest


def _shared_rows(x: np.ndarray, codes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
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
