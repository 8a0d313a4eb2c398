# Longer than 400 lines because what a design learns and which columns it drops are one decision.
"""The structured design of one distribution parameter: learned bases side by side."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from semistruct._validation import check_sample_weight
from semistruct.exceptions import DataError, DataWarning, SpecificationError
from semistruct.terms import (
    Basis,
    DenseBlock,
    DesignBlock,
    Offset,
    Parametric,
    ParametricBasis,
    StackedBlock,
    Term,
    TermKind,
    TermList,
    resolve_columns,
)
from semistruct.terms.binning import Bins
from semistruct.terms.training_block import training_basis, training_block

__all__ = ["Design", "Penalty", "aliased_columns", "build_design", "design_with_block"]

# A column is aliased when less than this share of its length is left after the columns before it,
# the tolerance of R's lm().
ALIAS_TOLERANCE = 1e-7
# Below this share of the squared length the cross-products are too coarse to decide, and the
# residual is computed from the rows. (Cancellation leaves about 1e-16 of absolute error.)
GRAM_TOLERANCE = 1e-8
_REFINEMENTS = 3


@dataclass(frozen=True, eq=False)
class Penalty:
    """One quadratic penalty of a design, with its own smoothing parameter.

    Attributes
    ----------
    label : str
        ``"s(area)"``; numbered where a term has several: ``"te(x,z)1"``, ``"te(x,z)2"``.
    columns : slice
        The ``p_j`` columns it applies to, within the design.
    S : (p_j, p_j) array
        Positive semi-definite, scaled.
    rank : int
    lam : float or None
        A smoothing parameter fixed by the user; None to estimate it.
    scale : float
        The raw penalty is ``S * scale``.
    """

    label: str
    columns: slice
    S: np.ndarray
    rank: int
    lam: float | None
    scale: float


@dataclass(frozen=True, eq=False)
class Design:
    """The structured part of the predictor of one distribution parameter, learned.

    Attributes
    ----------
    bases : tuple of Basis
        The parametric one first, then smooths and random effects as written.
    slices : mapping from str to slice
        Columns of each term by its label: ``"Intercept"``, ``"age"``, ``"C(zip)"``, ``"s(area)"``.
    names : tuple of str
        Of the ``p`` columns.
    kinds : (p,) array of str
        ``"parametric"``, ``"smooth"`` or ``"random"`` for each column.
    penalties : tuple of Penalty
    offsets : tuple of Offset
    dropped : tuple of str
        Names of aliased parametric columns, which are in no block.
    """

    bases: tuple[Basis, ...]
    slices: Mapping[str, slice]
    names: tuple[str, ...]
    kinds: np.ndarray
    penalties: tuple[Penalty, ...]
    offsets: tuple[Offset, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def p(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns of the frame that the design and the offsets read."""
        read = [name for basis in self.bases for name in basis.variables]
        read += [name for piece in self.offsets for name in piece.variables]
        return tuple(dict.fromkeys(read))

    def block(self, frame: pd.DataFrame) -> DesignBlock:
        """The ``(n, p)`` design of new rows; a row is the same alone or among others.

        Raises
        ------
        DataError
            If the rows lack a column, or have values that the terms cannot use.
        """
        blocks = [basis.design(frame) for basis in self.bases if basis.names]
        if not blocks:
            return DenseBlock(np.zeros((len(frame), 0)))
        return StackedBlock(blocks)  # type: ignore[arg-type]

    def offset(self, frame: pd.DataFrame) -> np.ndarray:
        """The sum of the offsets, ``(n,)``; zero where there is none."""
        total = np.zeros(len(frame))
        for piece in self.offsets:
            total += piece.values(frame)
        return total


def build_design(
    terms: TermList,
    frame: pd.DataFrame,
    sample_weight: np.ndarray | None = None,
    *,
    intercept: bool = True,
) -> Design:
    """Learn the structured design of one parameter from the training rows.

    See :func:`design_with_block`, which also gives the design of these rows.
    """
    return design_with_block(terms, frame, sample_weight, intercept=intercept, make_block=False)[0]


def design_with_block(
    terms: TermList,
    frame: pd.DataFrame,
    sample_weight: np.ndarray | None = None,
    *,
    intercept: bool = True,
    make_block: bool = True,
    bins: Bins | None = None,
) -> tuple[Design, DesignBlock | None]:
    """Learn the structured design of one parameter from the training rows, and evaluate it.

    A formula is evaluated once for both.

    Parameters
    ----------
    terms : TermList
        Deep terms and marks are left to others.
    frame : DataFrame
        The training rows.
    sample_weight : (n,) array, optional
        Case weights. Rows of weight zero take no part: levels, knots and aliasing are learned
        from the others. The size of a positive weight has no influence here.
    intercept : bool
        False where a constant in the predictor means nothing (a free baseline hazard): factors are
        coded and constant columns dropped as beside an intercept, which then is left out.
    make_block : bool
        Whether the design of the rows is wanted; if not, None stands for it.
    bins : Bins, optional
        Bins of the columns of ``frame``, at whose values curves are learned and evaluated. They
        are not used where rows have no weight.

    Returns
    -------
    (Design, DesignBlock or None)

    Raises
    ------
    DataError
        If the table is empty, or a column cannot be used as its term asks.
    SpecificationError
        If two terms have the same label.

    Warns
    -----
    DataWarning
        Naming parametric columns that are linear combinations of those before them (a constant
        column is one of the intercept). They are dropped, here and on new rows.

    Examples
    --------
    >>> from semistruct.terms import linear
    >>> table = pd.DataFrame({"age": [1.0, 2.0, 4.0], "sex": ["f", "m", "m"]})
    >>> design = build_design(linear("age") + linear("sex"), table)
    >>> design.names
    ('Intercept', 'age', 'sex[T.m]')
    >>> design.block(table).shape
    (3, 3)
    """
    counted = _counted_rows(frame, sample_weight)
    terms = resolve_columns(terms, frame)
    if not intercept:
        terms = replace(terms, intercept=True)
    offsets = tuple(piece for piece in terms.offsets if isinstance(piece, Offset))
    for piece in offsets:
        piece.values(counted)
    bases: list[Basis] = []
    blocks: list[DesignBlock] = []
    dropped: tuple[str, ...] = ()
    parametric = _parametric_term(terms)
    if parametric.formula or parametric.intercept:
        basis, X = parametric.build_with_columns(counted)
        basis, dropped = _identified(basis, X)
        basis = basis if intercept else basis.without([0])
        bases.append(basis)
        if basis.names:
            blocks.append(basis.block(X))
    bins = bins if len(counted) == len(frame) else None
    curves = [
        training_basis(term, counted, bins)
        for term in terms.structured
        if isinstance(term, Term) and not isinstance(term, Parametric)
    ]
    design = _assembled([*bases, *curves], offsets, dropped)
    if not make_block:
        return design, None
    if len(counted) < len(frame):
        return design, design.block(frame)
    blocks += [training_block(basis, frame, bins) for basis in curves if basis.names]
    if not blocks:
        return design, DenseBlock(np.zeros((len(frame), 0)))
    return design, StackedBlock(blocks)  # type: ignore[arg-type]


def _counted_rows(frame: pd.DataFrame, sample_weight: np.ndarray | None) -> pd.DataFrame:
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"the table must be a pandas DataFrame, got {type(frame).__name__}.")
    if not len(frame.columns):
        raise DataError("the table has no columns; a model needs at least one.")
    if not len(frame):
        raise DataError("the table has no rows; a model needs at least one.")
    weights = check_sample_weight(sample_weight, len(frame))
    return frame if weights.all() else frame.iloc[np.flatnonzero(weights)]


def _parametric_term(terms: TermList) -> Parametric:
    for term in terms.structured:
        if isinstance(term, Parametric):
            return Parametric(term.formula, terms.intercept, term.exclude)
    return Parametric("", terms.intercept)


def _identified(basis: ParametricBasis, X: Any) -> tuple[ParametricBasis, tuple[str, ...]]:
    aliased = aliased_columns(basis.block(X))
    if not aliased:
        return basis, ()
    names = tuple(basis.names[j] for j in aliased)
    shown = ", ".join(map(repr, names[:10]))
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    warnings.warn(
        f"the columns {shown}{more} are linear combinations of the columns before them (a constant "
        "column is a multiple of the intercept) and are dropped from the model.",
        DataWarning,
        stacklevel=4,
    )
    return basis.without(aliased), names


def aliased_columns(block: DesignBlock, tolerance: float = ALIAS_TOLERANCE) -> tuple[int, ...]:
    """Columns that are linear combinations of earlier ones, decided in their order as in R.

    Parameters
    ----------
    block : DesignBlock of shape (n, p)
    tolerance : float
        A column is aliased when the part of it that is orthogonal to the columns kept before has
        less than this share of its length.

    Returns
    -------
    tuple of int

    Notes
    -----
    A Cholesky factorisation of the cross-products of unit columns, in order, with a decision per
    column. Cross-products resolve a relative residual of about 1e-8 only, so that a column which
    comes near is judged by its residual in the rows, solved for with iterative refinement. Costs
    ``O(p^3)`` and needs neither the dense ``(n, p)`` array nor its QR.
    """
    n, p = block.shape
    gram = block.gram(np.ones(n))
    length = np.sqrt(np.diag(gram).clip(min=0.0))
    unit = np.divide(1.0, length, out=np.zeros(p), where=length > 0)
    gram = gram * unit[:, None] * unit
    if _clearly_independent(gram):
        return ()
    factor = np.zeros((p, p))
    kept: list[int] = []
    aliased: list[int] = []
    for j in range(p):
        m = len(kept)
        if length[j] == 0.0:
            aliased.append(j)
            continue
        row = solve_triangular(factor[:m, :m], gram[kept, j], lower=True) if m else np.zeros(0)
        left = 1.0 - row @ row
        if left < GRAM_TOLERANCE:
            left = _residual_share(block, unit, factor[:m, :m], kept, j) if m < n else 0.0
            if left <= tolerance**2:
                aliased.append(j)
                continue
        factor[m, :m] = row
        factor[m, m] = np.sqrt(left)
        kept.append(j)
    return tuple(aliased)


def _clearly_independent(gram: np.ndarray) -> bool:
    try:
        factor = np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        return False
    return bool(np.all(np.diag(factor) ** 2 >= GRAM_TOLERANCE))


def _residual_share(
    block: DesignBlock, unit: np.ndarray, factor: np.ndarray, kept: Sequence[int], j: int
) -> float:
    """Squared length of what the kept columns leave of unit column ``j``, from the rows."""
    p = block.shape[1]
    direction = np.zeros(p)
    direction[j] = unit[j]
    residual = block.matvec(direction)
    for _ in range(_REFINEMENTS):
        right = (unit * block.rmatvec(residual))[list(kept)]
        step = solve_triangular(
            factor, solve_triangular(factor, right, lower=True), lower=True, trans="T"
        )
        direction = np.zeros(p)
        direction[list(kept)] = unit[list(kept)] * step
        residual = residual - block.matvec(direction)
    return float(residual @ residual)


def _assembled(
    bases: Sequence[Basis], offsets: tuple[Offset, ...], dropped: tuple[str, ...]
) -> Design:
    slices: dict[str, slice] = {}
    penalties: list[Penalty] = []
    kinds: list[TermKind] = []
    names: list[str] = []
    for basis in bases:
        start = len(names)
        names += basis.names
        kinds += [basis.kind] * len(basis.names)
        if isinstance(basis, ParametricBasis):
            own = basis.term_slices
        else:
            own = ((basis.label, slice(0, len(basis.names))),)
        for label, columns in own:
            if label in slices:
                raise SpecificationError(
                    f"two terms are called {label!r}; remove one, or give it another name with "
                    "label=."
                )
            slices[label] = slice(start + columns.start, start + columns.stop)
        penalties += _penalties(basis, start)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecificationError(
            f"two columns of the design are called {twice!r}; give one of the terms another name "
            "with label=."
        )
    return Design(
        tuple(bases),
        slices,
        tuple(names),
        np.array(kinds, dtype=object),
        tuple(penalties),
        offsets,
        dropped,
    )


def _penalties(basis: Basis, start: int) -> list[Penalty]:
    """The penalties of one basis; each is cut to the columns that it touches."""
    found = []
    several = len(basis.penalties) > 1
    learned = zip(basis.penalties, basis.lam, basis.penalty_scales, basis.ranks, strict=True)
    for number, (S, lam, scale, rank) in enumerate(learned, start=1):
        touched = np.flatnonzero(np.any(S != 0.0, axis=0))
        first, stop = (int(touched[0]), int(touched[-1]) + 1) if touched.size else (0, S.shape[0])
        found.append(
            Penalty(
                label=f"{basis.label}{number}" if several else basis.label,
                columns=slice(start + first, start + stop),
                S=S[first:stop, first:stop],
                rank=rank,
                lam=lam,
                scale=float(scale),
            )
        )
    return found
