"""Folds for predictions of rows that a model has not seen: no subject, no picture in two folds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from semistruct._validation import is_positive_whole
from semistruct.columns import TensorArray
from semistruct.exceptions import DataError, SpecificationError
from semistruct.fitting.folds import row_groups, stratified_folds

__all__ = ["fold_pairs", "shared_rows"]


def shared_rows(frame: pd.DataFrame, *subjects: Any) -> np.ndarray:
    """Groups ``(n,)`` of rows that share a subject or a picture."""
    keys = [np.asarray(one, dtype=object) for one in subjects if one is not None]
    for name in frame.columns:
        if isinstance(frame[name].array, TensorArray):
            column = frame[name].array
            of_rows = column.content_keys().astype(object)
            of_rows[column.isna()] = None
            keys.append(of_rows)
    return row_groups(len(frame), keys)


def fold_pairs(
    cv: Any, groups: np.ndarray, strata: np.ndarray, random_state: Any, rows: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out rows of every fold.

    Parameters
    ----------
    cv : int, splitter of scikit-learn, or sequence of pairs of arrays
        Of a number, whole groups are dealt to folds that have equal shares of every stratum.
    groups : (n,) int array
        From :func:`shared_rows`.
    strata : (n,) int array
        Class, or whether there was an event; a group has the largest of its rows.
    random_state : int, RandomState or None
    rows : (n,) int array
        Where the rows that are used stand in the table that a sequence of pairs is about.

    Raises
    ------
    SpecificationError
        If ``cv`` is neither, does not hold out every row once, or cuts a group.
    DataError
        If there are fewer groups than folds.
    """
    n = len(groups)
    if is_positive_whole(cv) and int(cv) > 1:
        fold = _stratified(int(cv), groups, strata, random_state)
        every = np.arange(n)
        return [(every[fold != k], every[fold == k]) for k in range(int(cv))]
    if isinstance(cv, (list, tuple)) and all(len(pair) == 2 for pair in cv):
        at = np.full(rows.max() + 1, -1)
        at[rows] = np.arange(n)
        cv = _Given([tuple(_found(at, part) for part in pair) for pair in cv])
    if not callable(getattr(cv, "split", None)):
        raise SpecificationError(
            "cv must be a whole number of 2 or more, a splitter of scikit-learn, or a list of "
            f"pairs of rows, got {cv!r}."
        )
    with warnings.catch_warnings():
        # Splitters without groups say so; whether they cut any is checked below.
        warnings.filterwarnings("ignore", message="The groups parameter is ignored")
        pairs = [(np.asarray(a), np.asarray(b)) for a, b in cv.split(np.zeros(n), strata, groups)]
    held_out = np.bincount(np.concatenate([b for _, b in pairs]), minlength=n)
    if not (held_out == 1).all():
        raise SpecificationError(
            f"{cv!r} must hold out every row exactly once; row {int(np.argmax(held_out != 1))} is "
            f"held out {held_out[held_out != 1][0]} times."
        )
    for train, test in pairs:
        cut = np.isin(groups[test], groups[train])
        if cut.any():
            raise SpecificationError(
                f"{cv!r} holds out row {test[np.argmax(cut)]} and trains on rows of the same "
                "subject or picture; use GroupKFold, or a number of folds."
            )
    return pairs


@dataclass(frozen=True)
class _Given:
    """Folds that were made before."""

    pairs: list[Any]

    def split(self, X: Any, y: Any, groups: Any) -> list[Any]:
        return self.pairs


def _found(at: np.ndarray, rows: Any) -> np.ndarray:
    """Positions among the rows that are used; the others are left out."""
    rows = np.asarray(rows, dtype=int)
    found = at[rows[rows < len(at)]]
    return found[found >= 0]


def _stratified(
    n_folds: int, groups: np.ndarray, strata: np.ndarray, random_state: Any
) -> np.ndarray:
    n_groups = int(groups.max()) + 1
    if n_groups < n_folds:
        raise DataError(
            f"cv={n_folds} folds need as many groups of rows that share no subject and no picture; "
            f"there are {n_groups} (n_samples={len(groups)})."
        )
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    return stratified_folds(groups, strata, n_folds, rng)
