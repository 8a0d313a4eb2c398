"""Numbers collected in narrow bins, so that large tables share few distinct rows."""

from __future__ import annotations

import numpy as np

__all__ = ["binned", "is_large", "training_values"]

# From this many rows on a bin is far narrower than what the data can tell apart.
_LARGE = 50_000
_BINS = 500


def is_large(n: int) -> bool:
    """Whether a table of ``n`` rows is fitted at binned values."""
    return n >= _LARGE


def training_values(x: np.ndarray) -> np.ndarray:
    """The values ``(n,)`` at which a curve is fitted: those given, or in large tables binned."""
    return binned(x) if is_large(len(x)) else x


def binned(x: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean of its bin, ``(n,)``.

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
    >>> x = np.linspace(0, 1, 100_001)
    >>> y = binned(x)
    >>> len(np.unique(y)) <= 1000, bool(np.abs(x - y).max() < 0.002)
    (True, True)
    """
    if not np.isfinite(x).all():
        return x
    low, high = x.min(), x.max()
    if not low < high:
        return x
    # Of an ordered sample the equal shares are nearly those of all.
    sample = np.sort(x[:: max(1, len(x) // (20 * _BINS))])
    shares = sample[np.linspace(0, len(sample) - 1, _BINS + 1).astype(int)[1:-1]]
    edges = np.unique(np.concatenate([np.linspace(low, high, _BINS + 1)[1:-1], shares]))
    code = np.searchsorted(edges, x, side="right")
    count = np.bincount(code, minlength=len(edges) + 1)
    mean = np.bincount(code, x, len(edges) + 1) / np.maximum(count, 1)
    return mean[code]
