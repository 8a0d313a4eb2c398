"""Pictures that many rows have in common: encoded once for all of them in a step of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from semistruct.fitting.members import DeepProblem

__all__ = ["is_shared", "means_of_others", "share_pictures"]

_WORTH_IT = 0.8  # distinct pictures per row that reads one, at most


def share_pictures(problem: DeepProblem, keys: Sequence[Any]) -> DeepProblem:
    """The problem whose units are distinct pictures, where many rows have the same ones.

    An epoch then costs what the distinct pictures cost, and a step sees all that is known about
    those of its batch. The likelihood, the rows and their folds stay as they are.

    Parameters
    ----------
    problem : DeepProblem
        Its inputs have m rows.
    keys : sequence of (m,) arrays or None
        For every input texts that are equal for equal pictures, None for missing ones; None for an
        input that has no keys, such as tabular columns.

    Returns
    -------
    DeepProblem
        The same one where fewer than a fifth of the pictures would be saved, where an input has no
        keys, or where the likelihood asks for batches of its own (risk sets, strata of classes).
    """
    family = problem.structured.family
    apart = not family.separable or family.batch_strata(problem.structured.y) is not None
    if not keys or apart or any(key is None for key in keys):
        return problem
    m = len(keys[0])
    codes = np.column_stack([pd.factorize(np.asarray(key, dtype=object))[0] for key in keys])
    # A row without a picture stands for itself.
    alone = np.any(codes < 0, axis=1)
    codes = np.column_stack([np.where(alone[:, None], -1, codes), np.where(alone, np.arange(m), 0)])
    _, first, of_row = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    rows = np.arange(m) if problem.unit is None else problem.unit
    if len(first) > _WORTH_IT * len(np.unique(rows)):
        return problem
    return replace(problem, unit=first[of_row.reshape(-1)][rows])


def is_shared(unit: np.ndarray, cluster: np.ndarray | None) -> bool:
    """Whether independent rows read the same pictures."""
    rows = np.arange(len(unit)) if cluster is None else cluster
    pairs = pd.DataFrame({"unit": unit, "cluster": rows}).drop_duplicates()
    return bool(pairs["unit"].duplicated().any())


def means_of_others(
    unit: np.ndarray, cluster: np.ndarray | None, weighted: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Weighted means ``(n, q)`` over the other clusters of rows that read the same unit.

    They are shrunken to zero as by one more cluster of average weight.

    Parameters
    ----------
    unit, cluster : (n,) arrays
    weighted : (n, q) array
        Weight times value.
    weight : (n,) array
    """
    rows = np.arange(len(unit)) if cluster is None else cluster
    table = pd.DataFrame(np.column_stack([weighted, weight]))
    together = table.groupby(unit).transform("sum").to_numpy()
    own = table.groupby([unit, rows]).transform("sum").to_numpy()
    sums = together - own
    typical = weight.sum() / len(np.unique(rows))
    return sums[:, :-1] / (sums[:, -1:].clip(min=0.0) + typical)
