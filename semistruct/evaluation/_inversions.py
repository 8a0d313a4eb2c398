"""Weighted number of inversions of a permutation, in passes that are vector instructions."""

from __future__ import annotations

import numpy as np

__all__ = ["weighted_inversions"]

_SMALL = 32  # numbers that are compared all with all
_DIGITS = 64  # parts that a block is split into
_SLAB = _SMALL * _DIGITS * 4  # worked on at a time: what is in the cache, and no fresh pages
_BELOW = np.tri(_DIGITS, k=-1, dtype=np.float32)


def weighted_inversions(order: np.ndarray, weight: np.ndarray) -> float:
    """``sum_i weight[i] * #{j > i: order[j] < order[i]}``.

    Parameters
    ----------
    order : (n,) array
        A permutation of ``0, ..., n - 1``.
    weight : (n,) array
        Of the first of a pair.

    Notes
    -----
    Positions are split into blocks of 64 blocks of 64 ... of 32. A pair is counted at the one level
    where its positions are in two parts of the same block. There the numbers of a block stand in
    increasing order, in chunks of 32; for each the numbers before it that are in later parts are
    those of earlier chunks, from a table of counts by chunk and part whose running sums are two
    products with triangles of ones, and those of its own chunk, found by comparing bytes. At the
    last level all pairs of 32 are compared. Sums are exact where weights are whole numbers. The
    time is that of a few sorts: ``O(n log n)``, with passes over memory in ``log n / 6`` of them.

    Examples
    --------
    >>> weighted_inversions(np.array([2, 0, 1]), np.array([1.0, 5.0, 5.0]))
    2.0
    """
    n = order.size
    if n < 2:
        return 0.0
    n_levels = 1
    while _SMALL * _DIGITS**n_levels < n:
        n_levels += 1
    width = _SMALL * _DIGITS ** (n_levels - 1)
    size = -(-n // width) * width
    kind = np.int32 if size * width < 1 << 31 else np.int64
    # What fills up the last block is larger than everything before it, and of weight zero.
    values = np.arange(size, dtype=kind)
    values[:n] = order
    first = np.zeros(size)
    first[:n] = weight
    places = np.empty(size, dtype=kind)
    places[values] = np.arange(size, dtype=kind)
    total = _between_parts(places, size, width, first)
    while width > _SMALL:
        block, width = width, width // _DIGITS
        inside = np.arange(block, dtype=kind)
        together = max(block, _SLAB)
        for start in range(0, size, together):
            keyed = values[start : start + together].reshape(-1, block) * kind(block) + inside
            keyed.sort(axis=1)
            keyed &= kind(block - 1)
            own = first[start : start + together]
            if len(keyed) > 1:
                keyed += np.arange(0, own.size, block, dtype=kind)[:, None]
            total += _between_parts(keyed.ravel(), block, width, own)
    for start in range(0, size, _SLAB):
        columns = np.ascontiguousarray(values[start : start + _SLAB].reshape(-1, _SMALL).T)
        own = first[start : start + _SLAB].reshape(-1, _SMALL)
        total += float(np.vdot(own, _smaller_after(columns).T.astype(float)))
    return total


def _smaller_after(columns: np.ndarray) -> np.ndarray:
    """For every entry the entries below it in its column that are smaller, ``(32, m)`` bytes."""
    counts = np.zeros(columns.shape, dtype=np.uint8)
    for step in range(1, len(columns)):
        counts[:-step] += columns[:-step] > columns[step:]
    return counts


def _larger_before(columns: np.ndarray) -> np.ndarray:
    """For every entry the entries above it in its column that are larger, ``(32, m)`` bytes."""
    counts = np.zeros(columns.shape, dtype=np.uint8)
    for step in range(1, len(columns)):
        counts[step:] += columns[:-step] > columns[step:]
    return counts


def _between_parts(places: np.ndarray, block: int, width: int, first: np.ndarray) -> float:
    """Pairs in different parts of one block, weighted.

    Parameters
    ----------
    places : (m,) array
        Places of the numbers of each block in increasing order, block after block.
    block, width : int
        Size of a block and of one of its parts.
    first : (m,) array
        Weights by place.
    """
    bits = width.bit_length() - 1
    total = 0.0
    before = np.zeros(_DIGITS)  # numbers of the block in earlier slabs, that are in later parts
    for start in range(0, places.size, _SLAB):
        own = places[start : start + _SLAB]
        part = ((own >> bits) & (_DIGITS - 1)).astype(np.uint8).reshape(-1, _SMALL)
        chunks = len(part)
        cell = np.arange(0, chunks * _DIGITS, _DIGITS, dtype=np.intp)[:, None] + part
        counts = np.bincount(cell.ravel(), minlength=chunks * _DIGITS).astype(np.float32)
        group = min(chunks, _DIGITS)
        later = counts.reshape(-1, group, _DIGITS) @ _BELOW  # of each chunk, in later parts
        earlier = (_BELOW[:group, :group] @ later).astype(float)  # of earlier chunks of the group
        if block > _SMALL * group:
            groups = later.sum(axis=1, dtype=float)
            so_far = np.cumsum(groups, axis=0)
            earlier += (before + so_far - groups)[:, None]
            before = before + so_far[-1]
        found = np.take(earlier.ravel(), cell)
        found += _larger_before(np.ascontiguousarray(part.T)).T
        total += float(np.vdot(np.take(first, own), found))
    return total
