"""From what the user wrote to one list of terms per distribution parameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.terms import (
    Addend,
    DeepTerm,
    ResponseCall,
    TermList,
    add_terms,
    default_terms,
    foreign_terms,
    parse_formula,
    resolve_columns,
)
from semistruct.terms.measurement import is_tensor

__all__ = ["Formula", "Specification", "formula_terms", "named_response", "specify", "terms_of"]

# Encoders of the table's columns; a text column read by another one holds paths of pictures.
_READ_TABLES = ("mlp", "deep")

Formula = str | Addend | TermList | None


@dataclass(frozen=True)
class Specification:
    """The predictors of a model, with columns resolved against a table.

    Attributes
    ----------
    terms : tuple of K TermList
    response : str, ResponseCall or None
        The left-hand side, where the formula has one.
    """

    terms: tuple[TermList, ...]
    response: str | ResponseCall | None

    @property
    def variables(self) -> tuple[str, ...]:
        """Every column that some predictor reads."""
        return tuple(dict.fromkeys(name for terms in self.terms for name in terms.variables))

    def tabular(self, frame: pd.DataFrame) -> tuple[str, ...]:
        """The columns with one value per row that some term reads: these must not be missing."""
        read = [
            name
            for terms in self.terms
            for term in (*terms.structured, *terms.offsets)
            for name in term.reads
        ]
        read += self.strata
        for term in (term for terms in self.terms for term in terms.deep):
            if isinstance(term, DeepTerm) and term.encoder in _READ_TABLES:
                read += [c for c in term.variables if c in frame and not is_tensor(frame[c])]
        return tuple(dict.fromkeys(read))

    @property
    def strata(self) -> tuple[str, ...]:
        """The columns named by ``strata()``."""
        return tuple(dict.fromkeys(name for terms in self.terms for name in terms.strata))

    @property
    def cluster(self) -> str | None:
        """The column named by ``cluster()`` in any predictor."""
        return next((terms.cluster for terms in self.terms if terms.cluster is not None), None)


def named_response(
    formula: Formula | Mapping[str, Formula], frame: pd.DataFrame, encoders: Collection[str] = ()
) -> str | ResponseCall | None:
    """The left-hand side of a formula, or of the first of several that has one.

    Raises
    ------
    SpecificationError
        If two formulas name different responses.
    """
    response: str | ResponseCall | None = None
    for one in formula.values() if isinstance(formula, Mapping) else [formula]:
        _, left = terms_of(one, frame, encoders)
        if left is not None and response is not None and left != response:
            raise SpecificationError(
                f"two formulas name different responses, {response} and {left}; name it once."
            )
        response = response or left
    return response


def formula_terms(formula: Formula, encoders: Collection[str] = ()) -> TermList:
    """The terms of a formula as written, selectors unresolved."""
    return terms_of(formula, pd.DataFrame(), encoders)[0]


def specify(
    formula: Formula | Mapping[str, Formula],
    frame: pd.DataFrame,
    param_names: Sequence[str],
    *,
    encoders: Collection[str] = (),
    strata: bool = False,
) -> Specification:
    """Resolve a formula, a term, or a mapping of them by parameter, against the table.

    Parameters
    ----------
    formula : None, str, Term, TermList, or mapping from parameter names to these
        None is every column: tabular ones linear, pictures by a ``cnn``. Parameters that are not
        named have an intercept only.
    frame : DataFrame
    param_names : sequence of K str
    encoders : collection of str
        Names of the user's own encoders.
    strata : bool
        Whether the model has baselines that ``strata()`` can separate.

    Raises
    ------
    SpecificationError
        If a parameter is unknown, two formulas name a response, or a formula does not parse.
    """
    given: dict[str, Any]
    if isinstance(formula, Mapping):
        if not formula:
            raise SpecificationError(
                f"the mapping of formulas is empty; name at least one of {', '.join(param_names)}."
            )
        for name in formula:
            lookup(dict.fromkeys(param_names), name, "distribution parameter")
        given = dict(formula)
    else:
        given = {param_names[0]: formula}
    lists: dict[str, TermList] = {}
    response: str | ResponseCall | None = None
    for name, one in given.items():
        terms, left = terms_of(one, frame, encoders)
        response = response or left
        lists[name] = terms
    if isinstance(response, ResponseCall):
        exclude = list(response.variables)
    else:
        exclude = [response] if response else []
    resolved = tuple(
        resolve_columns(lists.get(name, TermList()), frame, exclude) for name in param_names
    )
    for name, terms in zip(param_names, resolved, strict=True):
        if terms.strata and not strata:
            raise SpecificationError(
                f"strata() in the predictor of {name!r} belongs to survival models with a baseline "
                "hazard; use C() for a factor."
            )
    return Specification(resolved, response)


def terms_of(
    formula: Any, frame: pd.DataFrame, encoders: Collection[str]
) -> tuple[TermList, str | ResponseCall | None]:
    """The terms of one formula, selectors unresolved, and its left-hand side."""
    if formula is None:
        return default_terms(frame), None
    if isinstance(formula, str):
        parsed = parse_formula(formula, encoders=encoders)
        return parsed.terms, parsed.response
    if isinstance(formula, (Addend, TermList)):
        return add_terms([formula]), None
    if foreign_terms(formula):
        return TermList() + formula, None
    raise SpecificationError(
        "a formula is a string, a term, a sum of terms, None, or a mapping from parameter names to "
        f"these; got {formula!r} of type {type(formula).__name__}."
    )
