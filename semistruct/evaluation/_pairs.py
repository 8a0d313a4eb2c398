"""Weighted counts over all pairs of rows, in the time of a few sorts and without a matrix of pairs.

A row has a *key*, which orders rows in time, a *value*, which is compared, and a *stratum*. A pair
counts when both rows are in one stratum and the key of the first is strictly smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PairSums", "dense_codes", "pair_sums", "tied_events"]


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
    several = bool(stratum.any())
    moment = dense_codes(stratum * (int(key.max(initial=0)) + 1) + key) if several else key
    by_key = np.argsort(moment * n_values + (n_values - 1 - value))
    position = np.empty(n, dtype=np.int64)
    position[by_key] = np.arange(n)
    level = dense_codes((stratum.max() - stratum) * n_values + value) if several else value
    by_value = np.argsort(level * n + (n - 1 - position))
    smaller, larger = _separated_sums(position, by_value, first, second)
    order = by_value[::-1]  # in runs of equal values, now by key
    if _is_first(level[by_value]).all():
        before_equal = after_equal = np.zeros(n)
    else:
        before_equal, after_equal = _run_sums(order, level, moment, first, second)
    if several:
        before, after = _run_sums(by_key, stratum, moment, first, second)
    else:
        before = np.concatenate([[0.0], np.cumsum(np.bincount(key, first))])[key]
        after = second.sum() - np.cumsum(np.bincount(key, second))[key]
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
    """``first`` over rows before in both orders, ``second`` over rows after in both orders.

    Both weights are summed over the rows before, as one number: the halves of an integer where
    they are zeros and ones, else the parts of a complex number. The rows after in both orders are
    all but those not after in one of them, where those before in both have been left out twice.
    """
    n = position.size
    counts = _is_flags(first) and _is_flags(second)
    by_position = np.empty(n, dtype=np.int64)
    by_position[position] = np.arange(n)
    if counts:
        weight = first.astype(np.int64) + (second.astype(np.int64) << 32)
    else:
        weight = first + 1j * second
    before = _sums_before(position[by_value], weight[by_position])[position]
    before_first = (before & 0xFFFFFFFF).astype(np.float64) if counts else before.real
    before_second = (before >> 32).astype(np.float64) if counts else before.imag
    in_one = np.empty(n)
    in_one[by_position] = np.cumsum(second[by_position])
    in_other = np.empty(n)
    in_other[by_value] = np.cumsum(second[by_value])
    after = second.sum() - in_one - in_other + before_second + second
    # What should be zero is, but for rounding, which must not be negative.
    return before_first, np.maximum(after, 0.0)


def _sums_before(order: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sums ``(n,)`` of the weights of smaller numbers that stand before each number.

    Parameters
    ----------
    order : (n,) array
        A permutation of the numbers ``0, ..., n - 1``.
    weight : (n,) array
        Of each number.
    """
    n = order.size
    n_bits = max(int(n - 1).bit_length(), 1)
    size = 1 << n_bits
    # Numbers of weight zero fill up a power of two: then every split is into equal halves.
    current = np.arange(size, dtype=np.int64 if n_bits > 31 else np.int32)
    current[:n] = order
    weight = np.concatenate([weight, np.zeros(size - n, dtype=weight.dtype)])
    sums = np.zeros_like(weight)
    running = np.zeros(size // 2 + 1, dtype=weight.dtype)
    counter = np.arange(size // 2)
    for bit in range(n_bits - 1, -1, -1):
        half = 1 << bit
        goes_right = (current & half) != 0
        # Numbers of rows, since a mask costs ten times as much.
        from_right = np.flatnonzero(goes_right)
        lefts, rights = current[np.flatnonzero(~goes_right)], current[from_right]
        np.cumsum(weight[lefts], out=running[1:])
        # Half of every block goes left, so in both halves a block begins at the same number.
        from_right -= counter
        found = running[from_right].reshape(-1, half)
        found -= running[:-1:half, None]
        sums[rights] += found.ravel()
        blocks = current.reshape(-1, 2, half)
        blocks[:, 0] = lefts.reshape(-1, half)
        blocks[:, 1] = rights.reshape(-1, half)
    return sums[:n]


def _is_flags(weights: np.ndarray) -> bool:
    return bool(((weights == 0.0) | (weights == 1.0)).all())


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


def tied_events(
    key: np.ndarray,
    value: np.ndarray,
    stratum: np.ndarray,
    event: np.ndarray,
    as_event: np.ndarray,
    weights: np.ndarray,
) -> tuple[float, float]:
    """Weight of pairs of events at one time, with different and with equal risk."""
    counted = event & (as_event > 0)
    first, second = as_event[counted], weights[counted]
    if np.bincount(key, counted).max() < 2:
        return 0.0, 0.0
    together = stratum[counted] * (key.max() + 1) + key[counted]
    together = dense_codes(together)
    same_time = _pairs_within(together, first, second)
    same_both = _pairs_within(together * (value.max() + 1) + value[counted], first, second)
    return same_time - same_both, same_both


def _pairs_within(codes: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Sum of products over unordered pairs of rows with equal codes."""
    group = dense_codes(codes)
    products = np.bincount(group, first) * np.bincount(group, second)
    return float((products - np.bincount(group, first * second)).sum() / 2)
