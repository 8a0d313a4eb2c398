"""One model on one fold: fit, predict, score, with a clock and a record of what failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from semistruct._validation import is_positive_whole
from semistruct.estimators._members import (
    fit_model_of_any_kind,
    fresh,
    reads_tensors,
    rows_of,
)
from semistruct.estimators.comparing.checkpoint import Outcome
from semistruct.estimators.comparing.held_out import HeldOut
from semistruct.estimators.comparing.measures import Measure
from semistruct.estimators.late.cross_predictions import fold_pairs
from semistruct.exceptions import UnsupportedCombinationError
from semistruct.terms.measurement import tabular_columns

__all__ = ["Data", "Fold", "evaluate"]


@dataclass(frozen=True)
class Data:
    """What is compared on.

    Attributes
    ----------
    X : DataFrame of n rows
    y : Surv or (n,) array
    sample_weight : (n,) array or None
    groups : (n,) array or None
        As they were given: passed on to models that take them.
    shared : (n,) int array
        Rows that stay together: of one group, subject or picture.
    strata : (n,) int array
    times : (T,) array
        At which survival is judged.
    """

    X: pd.DataFrame
    y: Any
    sample_weight: np.ndarray | None
    groups: np.ndarray | None
    shared: np.ndarray
    strata: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class Fold:
    """Rows trained on and held out in one fold of one cross-validation."""

    repeat: int
    number: int
    train: np.ndarray
    test: np.ndarray


def evaluate(
    key: str,
    name: str,
    model: Any,
    fold: Fold,
    data: Data,
    measures: Sequence[Measure],
    random_state: int,
) -> Outcome:
    """Fit a model to the training rows and score it on the held-out ones.

    Parameters
    ----------
    key, name : str
    model : unfitted model of any package
    fold : Fold
    data : Data
    measures : sequence of Measure
    random_state : int
        Seeds the model where it leaves its own open, by its name and the fold, so that the result
        does not depend on what ran before.

    Returns
    -------
    Outcome
        With the error where the fit failed. A score that failed is missing and has a note.
    """
    blank = Outcome(key, name, fold.repeat, fold.number, len(fold.train), len(fold.test))
    start = time.perf_counter()
    try:
        fitted = _fitted(name, model, fold, data, random_state)
    except Exception as error:  # of any package; it is in the record and in the warning
        return replace(blank, error=_told(error), fit_seconds=time.perf_counter() - start)
    fit_seconds = time.perf_counter() - start
    start = time.perf_counter()
    weight = np.ones(len(fold.test))
    if data.sample_weight is not None:
        weight = data.sample_weight[fold.test]
    held = HeldOut(
        fitted,
        _seen(model, data.X).iloc[fold.test],
        rows_of(data.y, fold.test),
        rows_of(data.y, fold.train),
        weight,
        data.times,
    )
    scores, notes = {}, {}
    for measure in measures:
        scores[measure.name] = np.nan
        try:
            scores[measure.name] = measure.function(held)
        except UnsupportedCombinationError as error:
            notes[measure.name] = str(error)
        except Exception as error:  # one failed score must not cost the others
            notes[measure.name] = _told(error)
    return replace(
        blank,
        scores=scores,
        notes=notes,
        fit_seconds=fit_seconds,
        score_seconds=time.perf_counter() - start,
        chosen=_chosen(fitted),
    )


def _fitted(name: str, model: Any, fold: Fold, data: Data, random_state: int) -> Any:
    found = fresh(model)
    _settle(found, _seed(random_state, name, fold))
    if isinstance(found, BaseSearchCV):
        _keep_groups_together(found, fold, data, _seed(random_state, "folds of searches", fold))
    fit_model_of_any_kind(
        found,
        _seen(model, data.X).iloc[fold.train],
        rows_of(data.y, fold.train),
        None if data.sample_weight is None else data.sample_weight[fold.train],
        None if data.groups is None else data.groups[fold.train],
    )
    return found


def _seen(model: Any, X: pd.DataFrame) -> pd.DataFrame:
    """The table without pictures, for a model that reads none."""
    return X if reads_tensors(model) else X[list(tabular_columns(X))]


def _seed(random_state: int, name: str, fold: Fold) -> int:
    text = f"{random_state} {name} {fold.repeat} {fold.number}"
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") >> 1


def _settle(model: Any, seed: int) -> None:
    """Seed what is open, and silence the progress bars inside."""
    if not callable(getattr(model, "get_params", None)):
        return
    settings: dict[str, Any] = {}
    for name, value in model.get_params().items():
        last = name.rsplit("__", 1)[-1]
        if last == "random_state" and value is None:
            settings[name] = seed
        elif last == "progress" and value is True:
            settings[name] = False
    if settings:
        model.set_params(**settings)


def _keep_groups_together(search: BaseSearchCV, fold: Fold, data: Data, seed: int) -> None:
    """Give a search with a number of folds ones that cut no group and no picture."""
    if search.cv is not None and not is_positive_whole(search.cv):
        return
    groups = pd.factorize(data.shared[fold.train])[0]
    rows = np.arange(len(fold.train))
    n_folds = 5 if search.cv is None else search.cv
    search.set_params(cv=fold_pairs(n_folds, groups, data.strata[fold.train], seed, rows))


def _chosen(model: Any) -> dict[str, str]:
    found: dict[str, Any] = {}
    if isinstance(model, BaseSearchCV):
        found = model.best_params_
    elif isinstance(model, Pipeline) and isinstance(model[-1], BaseSearchCV):
        found = model[-1].best_params_
    return {name: repr(value) for name, value in found.items()}


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
