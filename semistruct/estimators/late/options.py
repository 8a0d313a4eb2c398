"""Options of a late fusion, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from semistruct.estimators._members import reads_tensors
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.terms.measurement import is_tensor, tabular_columns

__all__ = ["check_combine", "given_weights", "seen_columns"]

_COMBINE = ("mean", "median", "vote", "rank", "stack", "weighted")


def check_combine(combine: Any, kind: str) -> None:
    """Refuse what is unknown, and votes on what are no classes."""
    if combine not in _COMBINE:
        raise SpecificationError(
            f"combine must be one of {', '.join(map(repr, _COMBINE))}, got {combine!r}."
        )
    if combine == "vote" and kind != "classifier":
        raise UnsupportedCombinationError(
            f"combine='vote' counts classes, and these members are {kind} models; use 'mean', "
            "'median' or 'rank'."
        )


def given_weights(combine: str, weights: Any, names: Sequence[str]) -> np.ndarray | None:
    """Weights ``(M,)`` with sum one that are known before fitting.

    Raises
    ------
    SpecificationError
        If they are missing, given where they would change nothing, do not belong to the members, or
        are negative.
    """
    if weights is None:
        if combine == "weighted":
            raise SpecificationError(
                f"combine='weighted' needs weights=, one for each of {', '.join(names)}."
            )
        return np.full(len(names), 1 / len(names)) if combine in ("mean", "vote") else None
    if combine not in ("weighted", "vote"):
        raise SpecificationError(
            f"weights= belong to combine='weighted' or 'vote'; combine={combine!r} has no use for "
            "them."
        )
    if isinstance(weights, Mapping):
        if set(weights) != set(names):
            raise SpecificationError(
                f"weights= are for {', '.join(map(repr, weights))} and the members are "
                f"{', '.join(map(repr, names))}."
            )
        weights = [weights[name] for name in names]
    values = np.asarray(weights, dtype=float)
    if values.shape != (len(names),):
        raise SpecificationError(
            f"weights= must be {len(names)} numbers, one for each member, got {weights!r}."
        )
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise SpecificationError(
            f"weights= must be finite, not negative and not all zero, got {weights!r}."
        )
    return values / values.sum()


def seen_columns(
    members: Mapping[str, Any],
    columns: Mapping[str, Sequence[str]] | None,
    frame: pd.DataFrame,
) -> dict[str, list[str]]:
    """The columns that each member sees.

    Raises
    ------
    SpecificationError
        If columns are given for what is no member.
    DataError
        If the table lacks one, or a member would see none.
    """
    given = dict(columns or {})
    for name, listed in given.items():
        if name not in members:
            raise SpecificationError(
                f"columns= are given for {name!r}, which is no member; members are "
                f"{', '.join(map(repr, members))}."
            )
        if isinstance(listed, str):
            raise SpecificationError(f"columns= of {name!r} must be a list, got {listed!r}.")
        for column in listed:
            if column not in frame.columns:
                raise DataError(f"the table has no column {column!r}, meant for {name!r}.")
    seen = {}
    for name, model in members.items():
        if name in given:
            seen[name] = list(given[name])
        elif reads_tensors(model) or not any(is_tensor(frame[one]) for one in frame.columns):
            seen[name] = list(frame.columns)
        else:
            seen[name] = list(tabular_columns(frame))
        if not seen[name]:
            raise DataError(f"the member {name!r} has no column to see.")
    return seen
