"""Concordance of predicted survival curves with survival times."""

from __future__ import annotations

from typing import Any

import numpy as np

from semistruct._validation import check_sample_weight
from semistruct.evaluation._checks import check_survival, single_cause
from semistruct.exceptions import DataError, SpecificationError

__all__ = ["antolini_concordance"]

_BLOCK = 1 << 21  # comparisons held at a time


def antolini_concordance(
    y: Any,
    survival: Any,
    times: Any = None,
    *,
    tau: float | None = None,
    sample_weight: Any = None,
) -> float:
    """Time-dependent concordance of survival curves, which may cross.

    Parameters
    ----------
    y : Surv, structured array or DataFrame
        ``n`` rows of follow-up, delayed entry allowed.
    survival : (n, T) array-like, or DataFrame
        Predicted probabilities of surviving beyond each time, a row per row of ``y``; or the table
        that ``predict_survival_function`` returns, with times as rows.
    times : (T,) array-like, optional
        Strictly increasing; of a table by default all of its times. Between them a curve stays as
        it was at the time before, and before the first it is one. The distinct event times of
        ``y`` lose nothing.
    tau : float, optional
        Only events up to and including ``tau`` are the first of a pair.
    sample_weight : (n,) array-like, optional
        A pair counts with the product of its weights.

    Returns
    -------
    float
        From 0 to 1. With curves that do not cross it is Harrell's index.

    Raises
    ------
    DataError
        If no pair is comparable, an event to be judged is after ``times[-1]``, shapes do not match,
        or a probability is missing or outside of 0 to 1.
    SpecificationError
        If ``tau`` is not positive.

    Notes
    -----
    Among the pairs of :func:`concordance_index`, the fraction with ``S_i(t_i) < S_j(t_i)``, where
    ``t_i`` is the event that comes first; equal probabilities count one half. Takes time in
    proportion to ``n`` times the number of events; memory beyond the curves does not grow with it.

    References
    ----------
    Antolini, Boracchi & Biganzoli (2005), Statistics in Medicine 24, 3927-3944.

    Examples
    --------
    >>> from semistruct import Surv
    >>> y = Surv([2, 4, 6], [1, 1, 0])
    >>> antolini_concordance(y, [[0.5, 0.4], [0.9, 0.3], [0.8, 0.2]], times=[2, 4])
    0.6666666666666666
    """
    follow_up = single_cause(y)
    curves, times = check_survival(survival, len(follow_up), times)
    weights = check_sample_weight(sample_weight, len(follow_up))
    if tau is not None and not tau > 0:
        raise SpecificationError(f"tau must be a positive time, got {tau!r}.")
    order = np.lexsort((~follow_up.event, follow_up.time))
    time, event, weights = follow_up.time[order], follow_up.event[order], weights[order]
    entry = None if follow_up.entry is None else follow_up.entry[order]
    judged = np.flatnonzero(event & (weights > 0) & (time <= (np.inf if tau is None else tau)))
    if judged.size and time[judged[-1]] > times[-1]:
        raise DataError(
            f"survival is given up to time {times[-1]:g}, but y has events up to "
            f"{time[judged[-1]]:g}; predict at later times, or set tau={times[-1]:g}."
        )
    # Row by time, with a first row of ones for what is before the first time.
    by_time = np.concatenate([np.ones((1, len(order))), curves.T[:, order]])
    column = np.searchsorted(times, time, side="right")
    # In this order, those who outlast an event follow all the events of its time.
    code = 2 * np.searchsorted(np.unique(time), time) + ~event
    outlasting = np.searchsorted(code, code, side="right")
    concordant = pairs = 0.0
    n = len(order)
    start = 0
    while start < judged.size:
        size = max(1, _BLOCK // (n - judged[start]))
        rows = judged[start : start + size]
        others = np.arange(rows[0], n)
        comparable = others >= outlasting[rows, None]
        if entry is not None:
            comparable &= entry[others] < time[rows, None]
        theirs = by_time[column[rows], rows[0] :]
        own = by_time[column[rows], rows][:, None]
        credit = (theirs > own) + 0.5 * (theirs == own)
        pair_weights = weights[rows, None] * weights[others]
        pairs += float(np.sum(pair_weights, where=comparable))
        concordant += float(np.sum(pair_weights * credit, where=comparable))
        start += size
    if not pairs:
        raise DataError(
            f"there are no comparable pairs: {n} rows with {judged.size} event(s), and nobody else "
            "under observation beyond an event. Use more rows, or longer follow-up."
        )
    return concordant / pairs
