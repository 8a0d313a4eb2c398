"""From a table to parametric columns: levels, coding, crossing, and what is kept sparse."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp
from formulaic import ModelSpec, SimpleFormula
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor
from formulaic.parser.types import Term as FormulaicTerm

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms._factored import Matrix
from semistruct.terms._nodes import Call, Name, Node, to_text, walk
from semistruct.terms._syntax import parse_tree
from semistruct.terms._tokens import quote_name
from semistruct.terms.algebra import Product, expand
from semistruct.terms.blocks import DenseBlock, FactoredBlock, SparseBlock, StackedBlock
from semistruct.terms.measurement import column_floats, is_tensor, measurement
from semistruct.terms.whitelist import ELEMENTWISE, STATEFUL, column_names, evaluate, literal

__all__ = [
    "FUNCTIONS",
    "Levels",
    "check_finite",
    "check_tabular",
    "column_blocks",
    "distinct_factors",
    "is_factor",
    "learned_levels",
    "materialise",
    "named",
    "products_of",
    "sparse_columns",
]

FUNCTIONS: tuple[str, ...] = ("C", *ELEMENTWISE, *STATEFUL)

MAX_LEVELS = 1_000  # of a factor that was not marked with C()
FEW_LEVELS = 50  # up to here a factor may have as many levels as it likes
SPARSE_SHARE = 0.2  # columns with a smaller share of non-zeros are kept sparse ...
FEW_COLUMNS = 16  # ... unless there are only so few of them
_ROWS = 2048  # written at a time

# A factor "`1`" of a product, not the "`1`" within a call.
_KEY_OF_ONE = re.compile(r"(?<![^:])`1`(?![^:\[])")

Levels: TypeAlias = tuple[tuple[str, tuple[Any, ...]], ...]


@lru_cache(maxsize=256)
def products_of(formula: str) -> tuple[Product, ...]:
    """The products that a formula without selectors expands to, in the order as written."""
    if not formula:
        return ()
    return tuple(expand(formula, parse_tree(formula), FUNCTIONS).values())


def distinct_factors(products: Sequence[Product]) -> dict[str, Node]:
    """The distinct factors by the text that names their columns."""
    factors: dict[str, Node] = {}
    for product in products:
        for node in product:
            earlier = factors.setdefault(_column_text(node), node)
            if type(earlier) is not type(node):
                raise SpecificationError(
                    f"two columns of the design are called {_column_text(node)!r}, one from the "
                    "table and one computed; rename the column of the table."
                )
    return factors


def _column_text(node: Node) -> str:
    """How a factor is called in the names of columns: as written, plain names without backticks."""
    return node.name if isinstance(node, Name) else to_text(node)


def _lookup_key(text: str) -> str:
    """Under what formulaic finds a factor; "1" is its intercept, so a column "1" gets backticks."""
    return "`1`" if text == "1" else text


def _without_key(label: str) -> str:
    return _KEY_OF_ONE.sub("1", label)


def named(formula: str) -> str:
    """How errors call the parametric part."""
    return f"the formula {formula!r}" if len(formula) <= 80 else "the parametric part"


def check_tabular(frame: pd.DataFrame, variables: Sequence[str]) -> None:
    """Raise :class:`SpecificationError` if a column holds a tensor per row."""
    for name in variables:
        if name in frame.columns and isinstance(frame[name], pd.Series) and is_tensor(frame[name]):
            raise SpecificationError(
                f"the column {name!r} holds a tensor per row ({frame[name].dtype}) and cannot have "
                f"one coefficient; let a network read it: cnn({quote_name(name)})."
            )


def _is_categorical_call(node: Node) -> bool:
    return isinstance(node, Call) and node.function == "C"


def is_factor(frame: pd.DataFrame, node: Node, text: str) -> bool:
    """Whether a factor of the formula is categorical in this table."""
    if isinstance(node, Name):
        return measurement(frame[node.name], node.name, text) == "factor"
    return _is_categorical_call(node)


def learned_levels(frame: pd.DataFrame, node: Node, text: str) -> tuple[Any, ...]:
    """The levels that the rows have, reference first: in the order of categories, else sorted.

    Raises
    ------
    DataError
        If there are too many for a column that was not marked with ``C()``, or no such ``ref``.
    """
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
        level = column.iloc[unseen[:1]].tolist()[0]
        raise DataError(
            f"{text}: the level {level!r} of the column {name!r} (row {unseen[0]}, {unseen.size} "
            f"rows in all) was not among the training rows, so it has no coefficient; the known "
            f"levels are {_abbreviated(levels)}."
        )
    return codes


def materialise(
    formula: str, intercept: bool, frame: pd.DataFrame, levels: Levels, state: dict[str, Any]
) -> tuple[Matrix, list[tuple[str, tuple[str, ...]]]]:
    """Evaluate the factors ourselves and let formulaic code, cross and name them.

    formulaic is handed values under the text of each factor, never an expression to evaluate. A
    formula of numbers alone has nothing to code: its columns are products, written in place.
    """
    products = products_of(formula)
    known = dict(levels)
    values: dict[str, Any] = {}
    matrices: dict[str, Any] = {}
    floats: dict[str, np.ndarray] = {}
    for text, node in distinct_factors(products).items():
        if text in known:
            codes = _codes(frame, column_names(node)[0], text, known[text])
            values[_lookup_key(text)] = pd.Categorical.from_codes(
                codes, categories=list(known[text])
            )
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
            values[_lookup_key(text)] = np.broadcast_to(value, len(frame))
    if not known and not matrices:
        return _products(products, intercept, values, len(frame))
    spec = ModelSpec(
        formula=SimpleFormula(
            [FormulaicTerm([Factor("1", eval_method="literal")])] * intercept
            + [
                FormulaicTerm(
                    [Factor(_lookup_key(_column_text(f)), eval_method="lookup") for f in product]
                )
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
        (
            "Intercept" if str(piece.term) == "1" else _without_key(str(piece.term)),
            tuple(_without_key(name) for name in piece.columns),
        )
        for piece in matrix.model_spec.structure
    ]
    return sp.csc_array(matrix.__wrapped__, dtype=float), columns


def _products(
    products: Sequence[Sequence[Any]], intercept: bool, values: Mapping[str, Any], n: int
) -> tuple[np.ndarray, list[tuple[str, tuple[str, ...]]]]:
    """Columns that are products of numbers, with an intercept before them where asked for."""
    X = np.empty((n, intercept + len(products)))
    if intercept:
        X[:, 0] = 1.0
    texts = [[_column_text(factor) for factor in product] for product in products]
    factors = [[values[_lookup_key(text)] for text in own] for own in texts]
    # A column at a time would fetch every line of memory once for each of its columns.
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        part = X[rows]
        for j, own in enumerate(factors, start=int(intercept)):
            part[:, j] = own[0][rows]
            for factor in own[1:]:
                part[:, j] *= factor[rows]
    names = ["Intercept"] * intercept + [":".join(own) for own in texts]
    return X, [(name, (name,)) for name in names]


def check_finite(X: Matrix, names: Sequence[str]) -> None:
    """Raise :class:`DataError` naming the first column with a value that is not finite."""
    if not sp.issparse(X):
        if np.isfinite(X).all():
            return
        X = sp.csc_array(X)
    bad = np.flatnonzero(~np.isfinite(X.data))
    if bad.size:
        column = int(np.searchsorted(X.indptr, bad[0], side="right")) - 1
        rows = X.indices[bad[(bad >= X.indptr[column]) & (bad < X.indptr[column + 1])]]
        raise DataError(
            f"{names[column]} is not finite in {rows.size} of {X.shape[0]} rows, the first is row "
            f"{rows.min()}; check the values that the function is applied to (log of zero or less, "
            "scale of a constant column, overflow)."
        )


def sparse_columns(X: Matrix) -> tuple[bool, ...]:
    """Which columns of the training design are worth keeping sparse."""
    stored = np.diff(X.indptr) if sp.issparse(X) else np.count_nonzero(X, axis=0)
    sparse = stored < SPARSE_SHARE * X.shape[0]
    if sparse.sum() <= FEW_COLUMNS:
        sparse[:] = False
    return tuple(sparse.tolist())


def column_blocks(X: Matrix, sparse: Sequence[bool], kept: Sequence[int]) -> FactoredBlock:
    """The kept columns in their order: runs of dense and of sparse ones side by side."""
    blocks: list[FactoredBlock] = []
    start = 0
    for stop in range(1, len(kept) + 1):
        if stop < len(kept) and sparse[kept[stop]] == sparse[kept[start]]:
            continue
        own = list(kept[start:stop])
        if sparse[kept[start]]:
            blocks.append(SparseBlock(sp.csr_array(X[:, own])))
        elif sp.issparse(X):
            blocks.append(DenseBlock(X[:, own].toarray()))
        else:
            whole = own == list(range(own[0], own[-1] + 1))
            blocks.append(DenseBlock(X[:, own[0] : own[-1] + 1] if whole else X[:, own]))
        start = stop
    return blocks[0] if len(blocks) == 1 else StackedBlock(blocks)
