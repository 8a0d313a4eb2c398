"""Weighted counts over all pairs of rows, in the time of a few sorts and without a matrix of pairs.

A row has a *key*, which orders rows in time, a *value*, which is compared, and a *stratum*. A pair
counts when both rows are in one stratum and the key of the first is strictly smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PairSums", "dense_codes", "pair_sums"]


@dataclass(frozen=True)
class PairSums:
    """Sums over the partners of each row, all ``(n,)`` float64.

    Attributes
    ----------
    before_smaller, before_equal, before_larger : (n,) array
        Sum of ``first`` over the rows with a smaller key, by whether their value is smaller than,
        equal to or larger than the value of the row itself.
    after_smaller, after_equal, after_larger : (n,) array
        Sum of ``second`` over the rows with a larger key, likewise.
    """

    before_smaller: np.ndarray
    before_equal: np.ndarray
    before_larger: np.ndarray
    after_smaller: np.ndarray
    after_equal: np.ndarray
    after_larger: np.ndarray


def pair_sums(
    key: np.ndarray,
    value: np.ndarray,
    stratum: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> PairSums:
    """Sums over all pairs of rows with different keys in one stratum.

    Parameters
    ----------
    key, value, stratum : (n,) array of int
        Codes: only their order matters, and for strata their equality. Not negative.
    first, second : (n,) array
        Weight of a row where it is the one with the smaller, with the larger key.

    Notes
    -----
    Rows are put in the order of their values and split again and again into the halves of smaller
    and larger keys, as in a wavelet matrix. A pair is separated at exactly one level, where the
    smaller key goes left and the larger goes right; the rows that went left before a row in the
    order of values are counted by a cumulative sum. With ``log2 n`` levels of a few passes each,
    this is merge counting without a loop over rows. Ties are broken in both orders so that tied
    pairs, and pairs from two strata, are never counted; equal values have sums of their own.

    References
    ----------
    Knight (1966), Journal of the American Statistical Association 61, 436-439, counted by merging.
    """
    n = key.size
    # Codes of composites instead of np.lexsort: sorting integers is many times faster.
    n_values = int(value.max(initial=0)) + 1
    moment = dense_codes(stratum * (int(key.max(initial=0)) + 1) + key)
    by_key = np.argsort(moment * n_values + (n_values - 1 - value))
    position = np.empty(n, dtype=np.int64)
    position[by_key] = np.arange(n)
    level = dense_codes((stratum.max(initial=0) - stratum) * n_values + value)
    by_value = np.argsort(level * n + (n - 1 - position))
    smaller, larger = _separated_sums(position, by_value, first, second)
    order = by_value[::-1]  # in runs of equal values, now by key
    before_equal, after_equal = _run_sums(order, level, moment, first, second)
    before, after = _run_sums(by_key, stratum, moment, first, second)
    return PairSums(
        before_smaller=smaller,
        before_equal=before_equal,
        before_larger=before - before_equal - smaller,
        after_smaller=after - after_equal - larger,
        after_equal=after_equal,
        after_larger=larger,
    )


def _separated_sums(
    position: np.ndarray, by_value: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``first`` over rows before in both orders, ``second`` over rows after in both orders."""
    n = position.size
    n_bits = max(int(n - 1).bit_length(), 1)
    size = 1 << n_bits
    # Rows of weight zero fill up a power of two: then every split is into equal halves.
    current = np.concatenate([position[by_value], np.arange(n, size)])
    weight_first, weight_second = np.zeros(size), np.zeros(size)
    weight_first[position], weight_second[position] = first, second
    before, after = np.zeros(size), np.zeros(size)
    sums_left, sums_right = np.zeros(size // 2 + 1), np.zeros(size // 2 + 1)
    counter = np.arange(size // 2)
    for bit in range(n_bits - 1, -1, -1):
        half = 1 << bit
        goes_right = (current & half) != 0
        from_left, from_right = np.flatnonzero(~goes_right), np.flatnonzero(goes_right)
        lefts, rights = current[from_left], current[from_right]
        np.cumsum(weight_first[lefts], out=sums_left[1:])
        np.cumsum(weight_second[rights], out=sums_right[1:])
        # Half of every block goes left, so in both halves a block begins at the same number.
        block = counter & -half
        before[rights] += sums_left[from_right - counter] - sums_left[block]
        after[lefts] += sums_right[block + half] - sums_right[from_left - counter]
        current = np.concatenate([lefts.reshape(-1, half), rights.reshape(-1, half)], axis=1)
        current = current.ravel()
    return before[position], after[position]


def dense_codes(values: np.ndarray) -> np.ndarray:
    """Rank ``0, 1, ...`` of each value among the distinct values, ``(n,)`` int64."""
    order = np.argsort(values)
    codes = np.empty(values.size, dtype=np.int64)
    codes[order] = np.cumsum(_is_first(values[order])) - 1
    return codes


def _is_first(runs: np.ndarray) -> np.ndarray:
    """Whether each value differs from the one before."""
    first = np.ones(runs.size, dtype=bool)
    np.not_equal(runs[1:], runs[:-1], out=first[1:])
    return first


def _run_sums(
    order: np.ndarray,
    group: np.ndarray,
    moment: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """``first`` over the rows of the same group at smaller moments, ``second`` at larger ones."""
    n = order.size
    new_group = _is_first(group[order])
    new_moment = new_group | _is_first(moment[order])
    sums_first = np.concatenate([[0.0], np.cumsum(first[order])])
    sums_second = np.concatenate([[0.0], np.cumsum(second[order])])
    before, after = np.empty(n), np.empty(n)
    before[order] = sums_first[_starts(new_moment)] - sums_first[_starts(new_group)]
    after[order] = sums_second[_ends(new_group)] - sums_second[_ends(new_moment)]
    return before, after


def _starts(new: np.ndarray) -> np.ndarray:
    """Index of the first row of the run that each row is in."""
    return np.maximum.accumulate(np.where(new, np.arange(new.size), 0))


def _ends(new: np.ndarray) -> np.ndarray:
    """One after the last row of the run that each row is in."""
    return new.size - _starts(np.append(new[1:], True)[::-1])[::-1]
