"""Folds whose parts share neither a subject nor a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

__all__ = ["make_folds", "row_groups", "split_groups", "stratified_folds"]


def row_groups(n: int, keys: Sequence[Any]) -> np.ndarray:
    """Smallest groups of rows such that rows sharing any key are together.

    Parameters
    ----------
    n : int
        Number of rows.
    keys : sequence of (n,) arrays
        Subjects, keys of identical pictures; missing values tie no rows together.

    Returns
    -------
    (n,) int array
        Group of each row, numbered from 0 in the order of first appearance.

    Examples
    --------
    >>> row_groups(4, [["a", "b", "a", None], [1, 2, 3, 2]])
    array([0, 1, 0, 1])
    """
    rows, nodes, offset = [], [], n
    for key in keys:
        codes, levels = pd.factorize(np.asarray(key, dtype=object))
        known = codes >= 0
        rows.append(np.flatnonzero(known))
        nodes.append(codes[known] + offset)
        offset += len(levels)
    if not rows:
        return np.arange(n)
    i, j = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_matrix((np.ones(len(i), bool), (i, j)), shape=(offset, offset))
    _, labels = connected_components(graph, directed=False)
    return pd.factorize(labels[:n])[0]


def make_folds(groups: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Assign whole groups to folds of nearly equal numbers of rows.

    Parameters
    ----------
    groups : (n,) int array
        Group of each row, from :func:`row_groups`.
    n_folds : int
        At most the number of groups.
    rng : Generator
        Decides which of equally good assignments is taken.

    Returns
    -------
    (n,) int array
        Fold of each row.

    Examples
    --------
    >>> make_folds(np.array([0, 0, 1, 2]), 2, np.random.default_rng(0))
    array([0, 0, 1, 1])
    """
    sizes = np.bincount(groups)
    fold_of_group = np.empty(len(sizes), int)
    load = np.zeros(n_folds, int)
    shuffled = rng.permutation(len(sizes))
    # Largest first, each to the least loaded fold; the shuffle breaks ties among equal sizes.
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold = int(np.argmin(load))
        fold_of_group[group] = fold
        load[fold] += sizes[group]
    return fold_of_group[groups]


def stratified_folds(
    groups: np.ndarray, strata: np.ndarray, n_folds: int, rng: np.random.Generator
) -> np.ndarray:
    """Folds of whole groups that have equal shares of every stratum.

    Parameters
    ----------
    groups : (n,) int array
        Numbered from 0.
    strata : (n,) array of whole numbers
        A group has the largest of its rows.
    n_folds : int
    rng : Generator

    Returns
    -------
    (n,) int array
        Fold of each row. Two groups of one stratum are never in the same fold while another fold
        has none.

    Examples
    --------
    >>> stratified_folds(np.arange(4), np.array([0, 1, 1, 0]), 2, np.random.default_rng(0))
    array([0, 0, 1, 1])
    """
    of_group = np.full(int(groups.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(of_group, groups, strata.astype(np.int64))
    stratum = of_group[groups]
    fold = np.empty(len(groups), dtype=int)
    shift = 0
    for value in np.unique(stratum):
        rows = np.flatnonzero(stratum == value)
        codes = pd.factorize(groups[rows])[0]
        # Each stratum begins at the fold after the last one that got a group more than others.
        fold[rows] = (make_folds(codes, n_folds, rng) + shift) % n_folds
        shift += int(codes.max()) + 1
    return fold


def split_groups(
    rows: np.ndarray, groups: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into a larger and a smaller part without cutting a group.

    Returns
    -------
    rest, part : arrays of row positions, sorted
        ``part`` holds about ``fraction`` of ``rows``, and at least one group where there are two.
    """
    present, codes = np.unique(groups[rows], return_inverse=True)
    sizes = np.bincount(codes)
    order = rng.permutation(len(present))
    taken = np.cumsum(sizes[order]) - sizes[order] < fraction * len(rows)
    if len(present) > 1:
        taken[-1] = False
    chosen = np.zeros(len(present), bool)
    chosen[order[taken]] = True
    inside = chosen[codes]
    return rows[~inside], rows[inside]
