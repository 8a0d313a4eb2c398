"""The parametric part of a predictor: numbers, factors, transformations and their interactions."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError, DataWarning, SpecificationError
from semistruct.terms._nodes import tidied, to_text
from semistruct.terms._syntax import parse_tree
from semistruct.terms._tokens import quote_name
from semistruct.terms.algebra import expand
from semistruct.terms.base import Basis, Term, TermKind
from semistruct.terms.blocks import DenseBlock, FactoredBlock
from semistruct.terms.coding import (
    FUNCTIONS,
    Levels,
    check_finite,
    check_tabular,
    column_blocks,
    distinct_factors,
    is_factor,
    learned_levels,
    materialise,
    named,
    products_of,
    sparse_columns,
)
from semistruct.terms.measurement import check_columns, tabular_columns
from semistruct.terms.selectors import has_selector, placeholder, substitute
from semistruct.terms.term_list import Addend
from semistruct.terms.whitelist import column_names

__all__ = ["Parametric", "ParametricBasis", "linear"]


@dataclass(frozen=True, repr=False)
class Parametric(Term):
    """Columns with one coefficient each, written in the algebra of R's formulas.

    Parameters
    ----------
    formula : str
        Pieces such as ``a*b``, ``a:b``, ``a/b``, ``(a + b + c)**2``, ``C(zip)``,
        ``C(zip, ref="98103")``, ``log(x)``, ``poly(x, 2)``, ``I(x**2)``, ``.`` (all tabular
        columns not used otherwise) and ``cols("gene_*")``, added with ``+`` and removed with
        ``-``. May be empty when ``intercept`` is true.
    intercept : bool
        Whether the first column is the constant, called ``"Intercept"``.
    exclude : tuple of str
        Columns for which ``.`` and ``cols()`` never stand, such as the response.

    Notes
    -----
    Strings, categoricals and bools are factors with treatment contrasts: the first level is the
    reference, in the order of the categories or else sorted. Levels that no training row has are
    left out. Without an intercept the first factor has a column for each level. A factor that is
    not marked with ``C()`` may have at most 1,000 levels and, above 50 levels, at most half as many
    as there are rows: such a column is rather a group (``re(id)``), text, or a path of an image.
    """

    formula: str
    intercept: bool = False
    exclude: tuple[str, ...] = ()

    label = "parametric"

    def __post_init__(self) -> None:
        if not isinstance(self.formula, str):
            raise SpecificationError(
                f"a parametric term is written as a string, got {self.formula!r}."
            )
        if self.formula.strip():
            tree = tidied(parse_tree(self.formula))
            expand(self.formula, placeholder(self.formula, tree), FUNCTIONS)
            object.__setattr__(self, "formula", to_text(tree))
        else:
            object.__setattr__(self, "formula", "")
        if not self.has_selector:
            object.__setattr__(self, "exclude", ())

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """Columns named in the formula; ``.`` and ``cols()`` are known only with a table."""
        return column_names(parse_tree(self.formula)) if self.formula else ()

    @property
    def has_selector(self) -> bool:
        """Whether the formula has a ``.`` or ``cols()`` to be replaced by names."""
        return bool(self.formula) and has_selector(parse_tree(self.formula))

    def text(self) -> str:
        """The formula; with an intercept of its own, after ``1 +``."""
        pieces = (["1"] if self.intercept else []) + ([self.formula] if self.formula else [])
        return " + ".join(pieces) or "0"

    def __repr__(self) -> str:
        return self.text()

    def merged(self, other: Addend) -> Parametric | None:
        """One parametric term of the pieces of both."""
        if not isinstance(other, Parametric):
            return None
        minus = other.formula.startswith("-")
        both = self.formula + (" " if minus else " + ") + other.formula
        return Parametric(
            both if self.formula and other.formula else self.formula or other.formula,
            self.intercept or other.intercept,
            tuple(dict.fromkeys((*self.exclude, *other.exclude))),
        )

    def resolved(self, frame: pd.DataFrame, used: Sequence[str] = ()) -> Parametric:
        """The term with column names in place of ``.`` and ``cols()``.

        Parameters
        ----------
        frame : DataFrame
            The table whose tabular columns are meant.
        used : sequence of str
            Columns that other terms use, for which ``.`` does not stand.

        Raises
        ------
        DataError
            If a selector stands for no column.
        """
        if not self.has_selector:
            return self
        columns = [name for name in tabular_columns(frame) if name not in self.exclude]
        taken = {*self.variables, *used}
        rest = [name for name in columns if name not in taken]
        tree = substitute(self.formula, parse_tree(self.formula), columns, rest)
        return replace(self, formula=to_text(tidied(tree)))

    def build(self, frame: pd.DataFrame) -> ParametricBasis:
        """Learn levels, contrasts and transformations from the training rows.

        Raises as :meth:`build_with_columns` does.
        """
        return self.build_with_columns(frame)[0]

    def build_with_columns(self, frame: pd.DataFrame) -> tuple[ParametricBasis, Any]:
        """The basis, and what :meth:`ParametricBasis.block` makes the training rows' design of.

        Raises
        ------
        DataError
            If a column is missing, has missing or infinite values, is neither numbers nor groups,
            or is a factor with too many levels.
        SpecificationError
            If an image column is used as a number.
        """
        term = self.resolved(frame)
        if len(frame) == 0:
            raise DataError("the table has no rows; a model needs at least one.")
        products = products_of(term.formula)
        factors = distinct_factors(products)
        check_tabular(frame, term.variables)
        check_columns(frame, term.variables, named(term.formula))
        levels = tuple(
            (text, learned_levels(frame, node, text))
            for text, node in factors.items()
            if is_factor(frame, node, text)
        )
        constant = [f"{text} ({known[0]!r})" for text, known in levels if len(known) == 1]
        if constant:
            warnings.warn(
                f"factors with one level only have no effect and are dropped: "
                f"{', '.join(constant)}.",
                DataWarning,
                stacklevel=2,
            )
        state: dict[str, Any] = {}
        X, columns = materialise(term.formula, term.intercept, frame, levels, state)
        names = tuple(name for _, own in columns for name in own)
        check_finite(X, names)
        ends = np.cumsum([0, *(len(own) for _, own in columns)]).tolist()
        basis = ParametricBasis(
            formula=term.formula,
            intercept=term.intercept,
            levels=levels,
            state=state,
            all_names=names,
            term_columns=tuple(
                (label, tuple(range(a, b)))
                for (label, _), a, b in zip(columns, ends[:-1], ends[1:], strict=True)
            ),
            sparse=sparse_columns(X),
            kept=tuple(range(len(names))),
        )
        return basis, X


@dataclass(frozen=True, eq=False)
class ParametricBasis(Basis):
    """What a parametric term learned: plain values, replayed row by row.

    Attributes
    ----------
    formula : str
        Without selectors.
    intercept : bool
    levels : tuple of (factor, levels)
        For each factor as written, ``"sex"`` or ``"C(zip)"``, the levels, reference first.
    state : dict
        What ``center``, ``scale`` and ``poly`` learned, by the text of the call.
    all_names : tuple of str
        Columns before aliased ones were dropped.
    term_columns : tuple of (label, columns)
        For each product of the formula the positions of its columns among ``all_names``.
    sparse : tuple of bool
        Which of all columns are kept sparse.
    kept : tuple of int
        Positions of the columns in use.
    """

    formula: str
    intercept: bool
    levels: Levels
    state: dict[str, Any]
    all_names: tuple[str, ...]
    term_columns: tuple[tuple[str, tuple[int, ...]], ...]
    sparse: tuple[bool, ...]
    kept: tuple[int, ...]

    label = "parametric"
    kind: ClassVar[TermKind] = "parametric"  # type: ignore[misc]
    penalties = ()
    penalty_scales = ()
    lam = ()
    ranks = ()

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the columns in use."""
        return tuple(self.all_names[j] for j in self.kept)

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """Columns of the frame that the design reads."""
        return Parametric(self.formula).variables

    @property
    def term_slices(self) -> tuple[tuple[str, slice], ...]:
        """For each product of the formula with columns in use, where these are."""
        where = {column: position for position, column in enumerate(self.kept)}
        slices = []
        for label, columns in self.term_columns:
            own = [where[j] for j in columns if j in where]
            if own:
                slices.append((label, slice(own[0], own[-1] + 1)))
        return tuple(slices)

    def without(self, columns: Sequence[int]) -> ParametricBasis:
        """The basis without the given positions among its columns in use."""
        gone = set(columns)
        kept = tuple(c for position, c in enumerate(self.kept) if position not in gone)
        return replace(self, kept=kept)

    def design(self, frame: pd.DataFrame) -> FactoredBlock:
        """Row-wise design of new rows.

        Raises
        ------
        DataError
            If a column is missing or not of the kind it was, has missing or infinite values, or
            has a level that no training row had.
        """
        variables = self.variables
        check_columns(frame, variables, named(self.formula))
        if len(frame) == 0 or not self.kept:
            return DenseBlock(np.zeros((len(frame), len(self.kept))))
        state = copy.deepcopy(self.state)
        X, columns = materialise(self.formula, self.intercept, frame, self.levels, state)
        names = tuple(name for _, own in columns for name in own)
        if names != self.all_names:
            raise DataError(
                f"the columns of {named(self.formula)} are of another kind than in training: the "
                f"design has the columns {names}, expected {self.all_names}."
            )
        check_finite(X, names)
        return self.block(X)

    def block(self, X: Any) -> FactoredBlock:
        """The columns in use of all columns ``X``, as a formula gives them."""
        if not self.kept:
            return DenseBlock(np.zeros((X.shape[0], 0)))
        return column_blocks(X, self.sparse, self.kept)


def linear(name: str) -> Parametric:
    """A column with one coefficient, or one per level but the first where it holds groups.

    Examples
    --------
    >>> linear("age") + linear("living area")
    age + `living area`
    """
    return Parametric(quote_name(name))
