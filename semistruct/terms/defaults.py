"""What a term list becomes once the table is known: default terms, selectors replaced by names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from semistruct.exceptions import DataError
from semistruct.terms._tokens import quote_name
from semistruct.terms.deep import DeepTerm, default_encoder, encoder
from semistruct.terms.measurement import is_tensor, tabular_columns
from semistruct.terms.parametric import Parametric
from semistruct.terms.pygam_terms import translated
from semistruct.terms.selectors import matching_columns
from semistruct.terms.smooth_base import SmoothTerm
from semistruct.terms.term_list import Addend, TermList

__all__ = ["default_terms", "resolve_columns", "with_lower_terms"]


def default_terms(frame: pd.DataFrame) -> TermList:
    """Every tabular column linear (strings and categoricals as factors), every image a ``cnn``.

    Other tensors are read by the network that suits their shape; see
    :func:`~semistruct.terms.deep.default_encoder`.

    Raises
    ------
    DataError
        If the table has no columns.

    Examples
    --------
    >>> default_terms(pd.DataFrame({"age": [1.0], "living area": [2.0]}))
    age + `living area`
    """
    if not len(frame.columns):
        raise DataError("the table has no columns; a model needs at least one.")
    tabular = tabular_columns(frame)
    addends: list[Addend] = []
    if tabular:
        addends.append(Parametric(" + ".join(map(quote_name, tabular))))
    for name in frame.columns:
        if is_tensor(frame[name]):
            shape = frame[name].dtype.shape
            addends.append(encoder(default_encoder(shape), name))
    return TermList.of(*addends)


def resolve_columns(terms: TermList, frame: pd.DataFrame, exclude: Sequence[str] = ()) -> TermList:
    """Replace ``.``, ``cols()`` and positions by names; smooths learn what they stand beside.

    Parameters
    ----------
    terms : TermList
    frame : DataFrame
        The table whose columns are meant.
    exclude : sequence of str
        Columns that are not explanatory, such as the response.

    Raises
    ------
    DataError
        If a selector stands for no column.

    Examples
    --------
    >>> from semistruct.terms import parse_formula
    >>> table = pd.DataFrame(columns=["y", "a", "b", "c"], dtype=float)
    >>> resolve_columns(parse_formula("y ~ . + mlp(b)").terms, table)
    a + c + mlp(b)
    """
    terms = translated(terms, frame, exclude)
    deep = tuple(_selected(term, frame, exclude) for term in terms.deep)
    named = replace(terms, deep=deep)
    structured = tuple(
        replace(term, exclude=tuple(dict.fromkeys((*term.exclude, *exclude)))).resolved(
            frame, named.variables
        )
        if isinstance(term, Parametric) and term.has_selector
        else term
        for term in terms.structured
    )
    return with_lower_terms(replace(named, structured=structured))


def with_lower_terms(terms: TermList) -> TermList:
    """The list in which every smooth knows the terms that it may contain.

    Notes
    -----
    The parametric part comes first, then smooths by the number of columns they read (``by``
    included), in the order in which they were written. A smooth is identified beside all terms
    before it that share a column with it.

    Examples
    --------
    >>> from semistruct.terms import parse_formula
    >>> terms = with_lower_terms(parse_formula("te(x, z) + s(x) + s(v)").terms)
    >>> [len(term.beside) for term in terms.structured]
    [1, 0, 0]
    """
    linear = tuple(
        replace(term, intercept=terms.intercept)
        for term in terms.structured
        if isinstance(term, Parametric)
    )
    smooths = [term for term in terms.structured if isinstance(term, SmoothTerm)]
    smooths.sort(key=lambda term: len(term.reads))
    placed: dict[Addend, SmoothTerm] = {}
    for term in smooths:
        before = (*linear, *placed.values())
        beside = tuple(one for one in before if set(one.reads) & set(term.reads))
        placed[term] = term if term.beside == beside else replace(term, beside=beside)
    return replace(terms, structured=tuple(placed.get(term, term) for term in terms.structured))


def _selected(term: Addend, frame: pd.DataFrame, exclude: Sequence[str]) -> Addend:
    if not isinstance(term, DeepTerm) or not term.selectors:
        return term
    columns = [name for name in frame.columns if name not in exclude]
    found = [name for pattern in term.selectors for name in matching_columns(pattern, columns)]
    return replace(term, variables=tuple(dict.fromkeys((*term.variables, *found))), selectors=())
