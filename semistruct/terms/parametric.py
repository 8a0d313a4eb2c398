"""The parametric part of a predictor: numbers, factors, transformations and their interactions."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp
from formulaic import ModelSpec, SimpleFormula
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor
from formulaic.parser.types import Term as FormulaicTerm

from semistruct.exceptions import DataError, DataWarning, SpecificationError
from semistruct.terms._syntax import Call, Name, Node, parse_tree, to_text, walk
from semistruct.terms._tokens import quote_name
from semistruct.terms.algebra import Product, expand
from semistruct.terms.base import Basis, Term, TermKind
from semistruct.terms.blocks import DenseBlock, FactoredBlock, SparseBlock, StackedBlock
from semistruct.terms.measurement import (
    check_columns,
    column_floats,
    is_tensor,
    measurement,
    tabular_columns,
)
from semistruct.terms.selectors import has_selector, placeholder, substitute
from semistruct.terms.term_list import Addend
from semistruct.terms.whitelist import ELEMENTWISE, STATEFUL, column_names, evaluate, literal

__all__ = ["FUNCTIONS", "Parametric", "ParametricBasis", "linear"]

FUNCTIONS: tuple[str, ...] = ("C", *ELEMENTWISE, *STATEFUL)

MAX_LEVELS = 1_000  # of a factor that was not marked with C()
FEW_LEVELS = 50  # up to here a factor may have as many levels as it likes
SPARSE_SHARE = 0.2  # columns with a smaller share of non-zeros are kept sparse ...
FEW_COLUMNS = 16  # ... unless there are only so few of them

Levels: TypeAlias = tuple[tuple[str, tuple[Any, ...]], ...]


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
            tree = parse_tree(self.formula)
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
        return replace(self, formula=to_text(tree))

    def build(self, frame: pd.DataFrame) -> ParametricBasis:
        """Learn levels, contrasts and transformations from the training rows.

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
        products = _products(term.formula)
        factors = _factors(products)
        _check_tabular(frame, term.variables)
        check_columns(frame, term.variables, _named(term.formula))
        levels = tuple(
            (text, _learned_levels(frame, node, text))
            for text, node in factors.items()
            if _is_factor(frame, node, text)
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
        X, columns = _materialise(term.formula, term.intercept, frame, levels, state)
        names = tuple(name for _, own in columns for name in own)
        _check_finite(X, names)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SpecificationError(
                f"two columns of the design are called {twice!r}; rename a column of the table."
            )
        ends = np.cumsum([0, *(len(own) for _, own in columns)]).tolist()
        return ParametricBasis(
            formula=term.formula,
            intercept=term.intercept,
            levels=levels,
            state=state,
            all_names=names,
            term_columns=tuple(
                (label, tuple(range(a, b)))
                for (label, _), a, b in zip(columns, ends[:-1], ends[1:], strict=True)
            ),
            sparse=_sparse_columns(X),
            kept=tuple(range(len(names))),
        )


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
        check_columns(frame, variables, _named(self.formula))
        if len(frame) == 0 or not self.kept:
            return DenseBlock(np.zeros((len(frame), len(self.kept))))
        state = copy.deepcopy(self.state)
        X, columns = _materialise(self.formula, self.intercept, frame, self.levels, state)
        names = tuple(name for _, own in columns for name in own)
        if names != self.all_names:
            raise DataError(
                f"the columns of {_named(self.formula)} are of another kind than in training: the "
                f"design has the columns {names}, expected {self.all_names}."
            )
        _check_finite(X, names)
        return _blocks(X, self.sparse, self.kept)


def linear(name: str) -> Parametric:
    """A column with one coefficient, or one per level but the first where it holds groups.

    Examples
    --------
    >>> linear("age") + linear("living area")
    age + `living area`
    """
    return Parametric(quote_name(name))


@lru_cache(maxsize=256)
def _products(formula: str) -> tuple[Product, ...]:
    if not formula:
        return ()
    return tuple(expand(formula, parse_tree(formula), FUNCTIONS).values())


def _factors(products: Sequence[Product]) -> dict[str, Node]:
    return {_column_text(node): node for product in products for node in product}


def _column_text(node: Node) -> str:
    """How a factor is called in the names of columns: as written, plain names without backticks."""
    return node.name if isinstance(node, Name) else to_text(node)


def _named(formula: str) -> str:
    return f"the formula {formula!r}" if len(formula) <= 80 else "the parametric part"


def _check_tabular(frame: pd.DataFrame, variables: Sequence[str]) -> None:
    for name in variables:
        if name in frame.columns and isinstance(frame[name], pd.Series) and is_tensor(frame[name]):
            raise SpecificationError(
                f"the column {name!r} holds a tensor per row ({frame[name].dtype}) and cannot have "
                f"one coefficient; let a network read it: cnn({quote_name(name)})."
            )


def _is_categorical_call(node: Node) -> bool:
    return isinstance(node, Call) and node.function == "C"


def _is_factor(frame: pd.DataFrame, node: Node, text: str) -> bool:
    if isinstance(node, Name):
        return measurement(frame[node.name], node.name, text) == "factor"
    return _is_categorical_call(node)


def _learned_levels(frame: pd.DataFrame, node: Node, text: str) -> tuple[Any, ...]:
    name = column_names(node)[0]
    column = frame[name]
    measurement(column, name, text)
    if isinstance(column.dtype, pd.CategoricalDtype):
        present = np.unique(column.cat.codes.to_numpy())
        levels = column.cat.categories[present].tolist()
    else:
        levels = sorted(pd.unique(column).tolist())
    n = len(frame)
    if isinstance(node, Name) and (
        len(levels) > MAX_LEVELS or (len(levels) > FEW_LEVELS and 2 * len(levels) >= n)
    ):
        quoted = quote_name(name)
        raise DataError(
            f"the column {name!r} has {len(levels)} levels in {n} rows, too many for a coefficient "
            f"each; write re({quoted}) for a random intercept per level, C({quoted}) to have all "
            f"the coefficients nevertheless, or cnn({quoted}) if it holds paths of images."
        )
    if isinstance(node, Call) and node.keywords:
        reference = literal(text, node.keywords[0][1], "ref=")
        if reference not in levels:
            raise DataError(
                f"{text}: the column {name!r} has no level {reference!r}; its levels are "
                f"{_abbreviated(levels)}."
            )
        levels.remove(reference)
        levels.insert(0, reference)
    return tuple(levels)


def _abbreviated(levels: Sequence[Any]) -> str:
    shown = ", ".join(repr(level) for level in levels[:10])
    return shown + (f", ... ({len(levels)} in all)" if len(levels) > 10 else "")


def _codes(frame: pd.DataFrame, name: str, text: str, levels: Sequence[Any]) -> np.ndarray:
    column = frame[name]
    values = pd.Index(levels)
    if isinstance(column.dtype, pd.CategoricalDtype):
        known = values.get_indexer(pd.Index(column.cat.categories.tolist()))
        codes = known[column.cat.codes.to_numpy()] if len(known) else np.empty(0, dtype=np.intp)
    else:
        distinct, which = pd.factorize(column)[::-1]
        codes = values.get_indexer(pd.Index(distinct.tolist()))[which]
    unseen = np.flatnonzero(codes < 0)
    if unseen.size:
        level = column.iloc[unseen[0]]
        raise DataError(
            f"{text}: the level {level!r} of the column {name!r} (row {unseen[0]}, {unseen.size} "
            f"rows in all) was not among the training rows, so it has no coefficient; the known "
            f"levels are {_abbreviated(levels)}."
        )
    return codes


def _materialise(
    formula: str, intercept: bool, frame: pd.DataFrame, levels: Levels, state: dict[str, Any]
) -> tuple[sp.csc_array, list[tuple[str, tuple[str, ...]]]]:
    """Evaluate the factors ourselves and let formulaic code, cross and name them.

    formulaic is handed values under the text of each factor, never an expression to evaluate.
    """
    products = _products(formula)
    known = dict(levels)
    values: dict[str, Any] = {}
    matrices: dict[str, Any] = {}
    floats: dict[str, np.ndarray] = {}
    for text, node in _factors(products).items():
        if text in known:
            codes = _codes(frame, column_names(node)[0], text, known[text])
            values[text] = pd.Categorical.from_codes(codes, categories=list(known[text]))
            continue
        for piece in walk(node):
            if isinstance(piece, Name) and piece.name not in floats:
                floats[piece.name] = column_floats(frame[piece.name], piece.name, text)
        with np.errstate(all="ignore"):
            value = evaluate(node, floats, state)
        if np.ndim(value) == 2:
            numbers = tuple(str(j + 1) for j in range(value.shape[1]))
            matrices[text] = FactorValues(value, kind="numerical", column_names=numbers)
        else:
            values[text] = np.broadcast_to(value, len(frame))
    spec = ModelSpec(
        formula=SimpleFormula(
            [FormulaicTerm([Factor("1", eval_method="literal")])] * intercept
            + [
                FormulaicTerm([Factor(_column_text(f), eval_method="lookup") for f in product])
                for product in products
            ]
        ),
        output="sparse",
        ensure_full_rank=True,
        na_action="ignore",
    )
    index = pd.RangeIndex(len(frame))
    if not products and not intercept:
        return sp.csc_array((len(frame), 0)), []
    matrix = spec.get_model_matrix(pd.DataFrame(values, index=index), context=matrices)
    columns = [
        ("Intercept" if str(piece.term) == "1" else str(piece.term), tuple(piece.columns))
        for piece in matrix.model_spec.structure
    ]
    return sp.csc_array(matrix.__wrapped__, dtype=float), columns


def _check_finite(X: sp.csc_array, names: Sequence[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(X.data))
    if bad.size:
        column = int(np.searchsorted(X.indptr, bad[0], side="right")) - 1
        rows = X.indices[bad[(bad >= X.indptr[column]) & (bad < X.indptr[column + 1])]]
        raise DataError(
            f"{names[column]} is not finite in {rows.size} of {X.shape[0]} rows, the first is row "
            f"{rows.min()}; check the values that the function is applied to (log of zero or less, "
            "scale of a constant column, overflow)."
        )


def _sparse_columns(X: sp.csc_array) -> tuple[bool, ...]:
    sparse = np.diff(X.indptr) < SPARSE_SHARE * X.shape[0]
    if sparse.sum() <= FEW_COLUMNS:
        sparse[:] = False
    return tuple(sparse.tolist())


def _blocks(X: sp.csc_array, sparse: Sequence[bool], kept: Sequence[int]) -> FactoredBlock:
    blocks: list[FactoredBlock] = []
    start = 0
    for stop in range(1, len(kept) + 1):
        if stop < len(kept) and sparse[kept[stop]] == sparse[kept[start]]:
            continue
        run = X[:, list(kept[start:stop])]
        is_sparse = sparse[kept[start]]
        blocks.append(SparseBlock(run.tocsr()) if is_sparse else DenseBlock(run.toarray()))
        start = stop
    return blocks[0] if len(blocks) == 1 else StackedBlock(blocks)
