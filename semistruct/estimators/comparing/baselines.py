"""What every comparison needs to be fair: a model of nothing, and of each modality alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pandas as pd
from sklearn.base import clone

from semistruct.estimators._base import SemiStructuredEstimator
from semistruct.estimators._composition import Kind
from semistruct.estimators._fingerprints import fingerprint
from semistruct.estimators._members import core_of
from semistruct.estimators._specification import terms_of
from semistruct.estimators.classifier import SemiStructuredClassifier
from semistruct.estimators.cox import CoxPH
from semistruct.estimators.regressor import SemiStructuredRegressor
from semistruct.exceptions import SpecificationError
from semistruct.terms import DeepTerm, TermList, resolve_columns
from semistruct.terms.measurement import is_tensor

__all__ = ["NULL", "TABLE", "add_baselines"]

NULL = "no covariates"
TABLE = "table only"
_READ_TABLES = ("mlp", "deep")


def add_baselines(
    models: Mapping[str, Any], frame: pd.DataFrame, kind: Kind
) -> tuple[dict[str, Any], dict[str, str]]:
    """The models with baselines before them.

    Parameters
    ----------
    models : mapping of str to unfitted model
    frame : DataFrame
        What they are fitted to.
    kind : {"regressor", "classifier", "survival"}

    Returns
    -------
    models : dict of str to model
        Baselines first. Those that are among the models already are not added again.
    roles : dict of str to str
        Name of a baseline to its role, ``"no covariates"``, ``"table only"`` or ``"only ct"``;
        also of models that were given and are one.

    Raises
    ------
    SpecificationError
        If a model has the name that a baseline would get.

    Notes
    -----
    They are derived from every model with one formula and pictures. *Table only* has its structured
    terms, and networks that read no picture. *Only ct* has the deep terms that read ``ct``; of a
    term that reads several columns at once, a ``cnn`` of this one. Time terms and offsets, which
    are no covariates, stay in all of them.
    """
    given = {_signature(model, frame): name for name, model in models.items()}
    added: dict[str, Any] = {}
    roles: dict[str, str] = {}
    sources = [(name, _semi_structured(model)) for name, model in models.items()]
    known = [(name, model) for name, model in sources if model is not None]
    with_pictures = [
        (name, model) for name, model in known if any(_pictures(model, frame).values())
    ]
    null = _only(known[0][1], frame, _no_term) if known else _default_null(kind)
    proposals = [(NULL, "", null)]
    for name, model in with_pictures:
        proposals.append((TABLE, name, _only(model, frame, _table_terms)))
        for column in _image_columns(model, frame):
            alone = _only(model, frame, partial(_image_terms, column))
            proposals.append((f"only {column}", name, alone))
    for role, source, model in proposals:
        signature = _signature(model, frame)
        if signature in given:
            roles[given[signature]] = role
            continue
        name = role if role not in added else f"{role} ({source})"
        if name in models:
            raise SpecificationError(
                f"{name!r} is the name of a baseline that would be added; rename that model, or "
                "say baselines=False."
            )
        given[signature] = name
        added[name] = model
        roles[name] = role
    return {**added, **models}, roles


def _semi_structured(model: Any) -> SemiStructuredEstimator | None:
    core = core_of(model)
    return core if isinstance(core, SemiStructuredEstimator) else None


def _default_null(kind: Kind) -> SemiStructuredEstimator:
    if kind == "survival":
        return CoxPH("1")
    return SemiStructuredRegressor("1") if kind == "regressor" else SemiStructuredClassifier("1")


def _predictors(model: SemiStructuredEstimator, frame: pd.DataFrame) -> dict[Any, TermList]:
    """The predictors by parameter (None where there is one formula), columns resolved."""
    formula = model.formula
    encoders = tuple(model.encoders or ())
    given = formula if isinstance(formula, Mapping) else {None: formula}
    found = {}
    for name, one in given.items():
        terms, response = terms_of(one, frame, encoders)
        found[name] = resolve_columns(terms, frame, list(getattr(response, "variables", ())))
    return found


def _signature(model: Any, frame: pd.DataFrame) -> str:
    """Equal for models that differ at most in how their formula is written."""
    if not isinstance(model, SemiStructuredEstimator):
        return fingerprint(model)
    read = {str(name): terms.text() for name, terms in _predictors(model, frame).items()}
    networks = any(terms.deep for terms in _predictors(model, frame).values())
    # Options of networks make no difference to a model without any.
    options = model.get_params(deep=False) if networks else {}
    options = {**options, "formula": read}
    for name in ("family", "ties", "cuts", "smoothing", "class_weight"):
        if name in model.get_params(deep=False):
            options[name] = model.get_params(deep=False)[name]
    return fingerprint((type(model).__name__, options))


def _pictures(model: SemiStructuredEstimator, frame: pd.DataFrame) -> dict[Any, list[str]]:
    return {
        name: [c for term in terms.deep for c in _pictures_of(term, frame)]
        for name, terms in _predictors(model, frame).items()
    }


def _image_columns(model: SemiStructuredEstimator, frame: pd.DataFrame) -> list[str]:
    columns = [c for found in _pictures(model, frame).values() for c in found]
    return list(dict.fromkeys(columns))


def _pictures_of(term: Any, frame: pd.DataFrame) -> list[str]:
    """Columns of pictures, or of other tensors, that a deep term reads."""
    return [
        c
        for c in term.variables
        if c in frame.columns and (is_tensor(frame[c]) or term.encoder not in _READ_TABLES)
    ]


def _only(
    model: SemiStructuredEstimator,
    frame: pd.DataFrame,
    keep: Callable[[TermList, pd.DataFrame], list[Any]],
) -> SemiStructuredEstimator:
    """The same model with some of its terms."""
    made = type(model)._made
    reduced: dict[Any, TermList] = {}
    for name, terms in _predictors(model, frame).items():
        of_time = [t for t in terms.structured if set(t.reads) <= set(made)]
        chosen = keep(terms, frame)
        structured = [t for t in terms.structured if t in of_time or t in chosen]
        deep = [t for t in chosen if t not in terms.structured]
        by_table = any(t not in of_time for t in structured)
        reduced[name] = replace(
            TermList.of(*structured, *deep, *terms.offsets, intercept=terms.intercept),
            strata=terms.strata if by_table else (),
            cluster=terms.cluster,
        )
    found = clone(model)
    formula: Any = reduced if isinstance(model.formula, Mapping) else reduced[None]
    return found.set_params(formula=formula)


def _no_term(terms: TermList, frame: pd.DataFrame) -> list[Any]:
    return []


def _table_terms(terms: TermList, frame: pd.DataFrame) -> list[Any]:
    kept: list[Any] = list(terms.structured)
    for term in cast(tuple[DeepTerm, ...], terms.deep):
        pictures = _pictures_of(term, frame)
        if not pictures:
            kept.append(term)
        elif len(pictures) < len(term.variables):
            rest = tuple(c for c in term.variables if c not in pictures)
            kept.append(DeepTerm("mlp", rest, by=term.by))
    return kept


def _image_terms(column: str, terms: TermList, frame: pd.DataFrame) -> list[Any]:
    kept = []
    for term in cast(tuple[DeepTerm, ...], terms.deep):
        if column not in term.variables:
            continue
        alone = len(term.variables) == 1
        kept.append(term if alone else DeepTerm("cnn", (column,), by=term.by))
    return kept
