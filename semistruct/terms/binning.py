"""Numbers collected in narrow bins, so that large tables share few distinct rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Binned", "Bins", "binned", "collect", "is_large"]

# From this many rows on a bin is far narrower than what the data can tell apart.
_LARGE = 50_000
_BINS = 500
# Equal cells of the range per edge, in which an edge is looked up without a search.
_CELLS_PER_EDGE = 16
_CHUNK = 1 << 14


def is_large(n: int) -> bool:
    """Whether a table of ``n`` rows is fitted at binned values, unless it is told."""
    return n >= _LARGE


@dataclass(frozen=True, eq=False)
class Binned:
    """Numbers ``(n,)`` in ``u`` bins.

    Attributes
    ----------
    index : (n,) integer array
        The bin of each row.
    values : (u,) array
        The mean of each bin, increasing.
    counts : (u,) array
        Rows in each bin, at least one.
    """

    index: np.ndarray
    values: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, eq=False)
class Bins:
    """The columns of one table, each collected in bins once for all terms that read it."""

    _known: dict[str, Binned | None] = field(default_factory=dict)

    def column(self, name: str, x: np.ndarray) -> Binned | None:
        """The bins of the column ``name`` with values ``x`` ``(n,)``; None for a constant."""
        if name not in self._known:
            self._known[name] = collect(x)
        return self._known[name]


def binned(x: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean of its bin, ``(n,)``; see :func:`collect`.

    Examples
    --------
    >>> x = np.linspace(0, 1, 100_001)
    >>> y = binned(x)
    >>> len(np.unique(y)) <= 1000, bool(np.abs(x - y).max() < 0.002)
    (True, True)
    """
    found = collect(x)
    return x if found is None else found.values[found.index]


def collect(x: np.ndarray) -> Binned | None:
    """Collect numbers ``(n,)`` in bins; None where they are constant or not all finite.

    A bin is no wider than a 500th of the range and holds hardly more than a 500th of the
    rows, unless they are equal: there are up to 1,000. Because a bin is represented by its mean, a
    smooth function of the values keeps its sums up to second order in the width. Values that are
    not finite are left for others to find.

    References
    ----------
    Wood, S. N., Li, Z., Shaddick, G. and Augustin, N. H. (2017). Generalized additive models for
    gigadata. JASA 112.

    Examples
    --------
    >>> found = collect(np.array([1.0, 7.0, 1.0]))
    >>> found.values.tolist(), found.index.tolist(), found.counts.tolist()
    ([1.0, 7.0], [0, 1, 0], [2, 1])
    """
    low, high = (x.min(), x.max()) if x.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        return None
    # Of an ordered sample the equal shares are nearly those of all.
    sample = np.sort(x[:: max(1, len(x) // (20 * _BINS))])
    shares = sample[np.linspace(0, len(sample) - 1, _BINS + 1).astype(int)[1:-1]]
    edges = np.unique(np.concatenate([np.linspace(low, high, _BINS + 1)[1:-1], shares]))
    code = _positions(edges, x, low, high)
    count = np.bincount(code, minlength=len(edges) + 1)
    total = np.bincount(code, x, len(edges) + 1)
    used = np.flatnonzero(count)
    if used.size < count.size:
        code = (np.cumsum(count > 0) - 1)[code]
    values = np.clip(total[used] / count[used], low, high)
    code.setflags(write=False)  # so that all blocks share this array itself
    return Binned(code, values, count[used])


def _positions(edges: np.ndarray, x: np.ndarray, low: float, high: float) -> np.ndarray:
    """``searchsorted(edges, x, side="right")`` for ``x`` between ``low`` and ``high``.

    The cell of a number among equal cells does not decrease with it, so that it lies beyond the
    edges in earlier cells and before those in later ones; only rows that share their cell with an
    edge are compared.
    """
    cells = _CELLS_PER_EDGE * (len(edges) + 1)
    with np.errstate(over="ignore"):
        width = high - low
    if not np.isfinite(width) or width < np.finfo(float).tiny * cells:
        return np.searchsorted(edges, x, side="right")
    factor = cells / width
    own = ((edges - low) * factor).astype(np.intp)
    occupied = np.bincount(own, minlength=cells + 1)
    before = np.cumsum(occupied) - occupied
    position = np.empty(len(x), dtype=np.intp)
    for start in range(0, len(x), _CHUNK):  # temporaries of a chunk stay in the cache
        part = x[start : start + _CHUNK]
        cell = ((part - low) * factor).astype(np.intp)
        found = before[cell]
        near = np.flatnonzero(occupied[cell])
        found[near] = np.searchsorted(edges, part[near], side="right")
        position[start : start + _CHUNK] = found
    return position
