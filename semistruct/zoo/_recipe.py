"""What recipes have in common: columns by name in, a configured estimator out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sklearn.base import BaseEstimator

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.terms import (
    Addend,
    DeepTerm,
    ResponseCall,
    TermList,
    add_terms,
    encoder,
    linear,
    parse_formula,
)

__all__ = [
    "Network",
    "Table",
    "configured",
    "joint",
    "one_each",
    "predictor",
    "required",
    "table_columns",
]

Table = str | Addend | TermList | Sequence[str] | None
Network = Mapping[str, Any] | None
Model = TypeVar("Model", bound=BaseEstimator)


def table_terms(
    table: Table, options: Mapping[str, Any]
) -> tuple[TermList, str | ResponseCall | None]:
    """The structured part of a predictor, and the response where a formula names one.

    Parameters
    ----------
    table : None, str, term, or sequence of names
        A formula or a piece of one, ``"age + s(bmi)"``; names are linear effects.
    options : mapping
        Those of the estimator: the user's ``encoders`` may be named in a formula.
    """
    if table is None:
        return TermList(), None
    if isinstance(table, str):
        parsed = parse_formula(table, encoders=tuple(options.get("encoders") or ()))
        return parsed.terms, parsed.response
    if isinstance(table, (Addend, TermList)):
        return add_terms([table]), None
    if not isinstance(table, Sequence) or not all(isinstance(name, str) for name in table):
        raise SpecificationError(
            "table= is a piece of a formula such as 'age + s(bmi)', a term, or a list of columns "
            f"with linear effects; got {table!r}."
        )
    return add_terms(map(linear, table)), None


def table_columns(table: Table, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns that the structured part reads."""
    return table_terms(table, options)[0].variables


def predictor(
    table: Table, options: Mapping[str, Any], *added: Addend | TermList
) -> str | TermList:
    """The structured part and what is added to it."""
    terms, response = table_terms(table, options)
    total = add_terms([terms, *added])
    return total if response is None else f"{response} ~ {total.text()}"


def one_each(name: str, columns: Sequence[str], network: Network, **published: Any) -> TermList:
    """A network for each column, whose scores add up.

    Parameters
    ----------
    name : str
        Of the encoder, unless ``network`` has another one as ``"encoder"``.
    columns : sequence of str
    network : mapping, optional
        The user's options of the networks.
    **published
        Options of the recipe, which ``network`` replaces.
    """
    return add_terms(_term(name, (column,), network, published) for column in columns)


def joint(
    columns: Sequence[str], network: Network, *, name: str = "deep", **published: Any
) -> DeepTerm:
    """One network that reads all columns."""
    return _term(name, tuple(columns), network, published)


def _term(
    name: str, columns: tuple[str, ...], network: Network, published: Mapping[str, Any]
) -> DeepTerm:
    given = {**published, **_checked_network(network)}
    if "fusion" in given and "encoder" in given:
        raise SpecificationError(
            f"the networks of {', '.join(map(repr, columns))} are fused and chosen by the shape of "
            "a row; 'encoder' names that of a single column."
        )
    return encoder(given.pop("encoder", name), *columns, **given)


def _checked_network(network: Network) -> dict[str, Any]:
    if network is None:
        return {}
    if not isinstance(network, Mapping):
        raise SpecificationError(
            "network= maps options of the network to values, such as {'latent_dim': 8}; got "
            f"{network!r}."
        )
    return dict(network)


def configured(
    kind: type[Model], formula: Any, options: Mapping[str, Any], **published: Any
) -> Model:
    """The estimator with the options of the recipe, those of the user first.

    Raises
    ------
    SpecificationError
        If the estimator has no such option, or the formula is given.
    """
    known = dict.fromkeys(inspect.signature(kind).parameters)
    if "formula" in options:
        raise SpecificationError(
            "a recipe makes the formula itself, from the columns and table=; for another formula "
            f"write {kind.__name__}(formula)."
        )
    for name in options:
        lookup(known, name, f"option of {kind.__name__}")
    return kind(formula, **{**published, **options})


def required(columns: Sequence[str], at_least: int, recipe: str) -> None:
    """Refuse a recipe that got too few columns, or something that is no name."""
    if len(columns) < at_least or not all(isinstance(column, str) for column in columns):
        many = {1: "a column", 2: "two columns or more"}[at_least]
        raise SpecificationError(
            f"{recipe} needs the names of {many} for its networks, got {list(columns)!r}."
        )
