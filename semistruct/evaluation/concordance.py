"""Concordance of risk scores with survival times: Harrell's index, Uno's index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from semistruct._validation import check_sample_weight
from semistruct.evaluation._checks import single_cause
from semistruct.evaluation._ordered_pairs import ordered_pairs, uncensored_before
from semistruct.evaluation._pairs import PairSums, dense_codes, pair_sums, tied_events
from semistruct.evaluation.kaplan_meier import censoring_kaplan_meier
from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses import Surv
from semistruct.responses.base import number_column, plain

__all__ = ["Concordance", "concordance", "concordance_index", "concordance_index_ipcw"]

_TIES = ("harrell", "exclude")
_ROUNDING = 1e-13  # of sums of weights that should cancel


@dataclass(frozen=True, eq=False, repr=False)
class Concordance:
    """A concordance index with its standard error and the pairs it counts.

    Attributes
    ----------
    index : float
        Probability that, of two rows, the one with the higher risk has its event first.
    std_error : float
        Infinitesimal jackknife; rows with one ``id`` count as one.
    concordant, discordant : float
        Weight of the comparable pairs ordered rightly and wrongly.
    tied_risk : float
        Weight of comparable pairs with equal risk.
    tied_time, tied_both : float
        Weight of pairs with events at the same time, whose risks differ, and are equal. They are
        not comparable.
    influence : (n,) array
        Derivative of the index with respect to the weight of each row, times the weight.
    """

    index: float
    std_error: float
    concordant: float
    discordant: float
    tied_risk: float
    tied_time: float
    tied_both: float
    influence: np.ndarray

    def __repr__(self) -> str:
        return f"Concordance({self.index:.4f}, standard error {self.std_error:.4f})"


def concordance(
    y: Any,
    risk: Any,
    *,
    sample_weight: Any = None,
    ties: str = "harrell",
    strata: Any = None,
    y_train: Any = None,
    tau: float | None = None,
) -> Concordance:
    """Concordance index with standard error and counts of pairs.

    Parameters
    ----------
    y : Surv, structured array or DataFrame
        ``n`` rows of follow-up, delayed entry allowed. Rows with one ``id`` are one subject in the
        standard error.
    risk : (n,) array-like
        Higher means an earlier event. Only the order matters.
    sample_weight : (n,) array-like, optional
        A pair counts with the product of its weights.
    ties : {"harrell", "exclude"}
        Pairs with equal risk count one half, or are not compared.
    strata : (n,) array-like, optional
        Pairs are compared within strata only.
    y_train : Surv, structured array or DataFrame, optional
        Where given, Uno's index: pairs are weighted by ``1 / G(t-)^2`` with the Kaplan-Meier
        estimate ``G`` of staying uncensored from these rows, all strata together and each row
        counting once. What is estimated then does not depend on the distribution of censoring.
    tau : float, optional
        Only events up to and including ``tau`` are the first of a pair, as ``ymax`` of R.

    Returns
    -------
    Concordance

    Raises
    ------
    DataError
        If no pair is comparable, lengths differ, a risk is missing, or follow-up of ``y_train``
        ends before an event of ``y`` up to ``tau``.
    SpecificationError
        If ``ties`` or ``tau`` is not allowed.

    Notes
    -----
    Row ``i`` is compared with row ``j`` when ``i`` has its event at ``t_i`` and ``j`` is under
    observation at ``t_i`` and has no event then: ``entry_j < t_i``, and ``t_j > t_i`` or
    ``t_j = t_i`` censored. This is the counting of ``concordance`` in R's survival, ties
    included. Pairs are counted by merging in ``O(n log n)`` time and ``O(n)`` memory.

    Standard error: with ``C = N / D``, both sums over pairs, the influence of row ``k`` is
    ``w_k (dN/dw_k - C dD/dw_k) / D``, and the variance is the sum of squares over subjects. In
    Uno's index ``G`` is taken as known.

    References
    ----------
    Harrell, Lee & Mark (1996), Statistics in Medicine 15, 361-387.
    Uno, Cai, Pencina, D'Agostino & Wei (2011), Statistics in Medicine 30, 1105-1117.
    Therneau & Atkinson (2024), Concordance, vignette of the R package survival.

    Examples
    --------
    >>> y = Surv([5, 3, 8, 9], [1, 1, 1, 0])
    >>> concordance(y, [1.0, 2.0, 1.5, 0.0])
    Concordance(0.8333, standard error 0.1667)
    """
    if ties not in _TIES:
        raise SpecificationError(f"ties must be one of {', '.join(_TIES)}, got {ties!r}.")
    follow_up = single_cause(y)
    n = len(follow_up)
    values = number_column(risk, "risk", n)
    weights = check_sample_weight(sample_weight, n)
    stratum = _stratum_codes(strata, n)
    time_weight = _time_weights(follow_up.time, follow_up.event, y_train, tau)
    return _summarise(follow_up, values, weights, stratum, time_weight, half=ties == "harrell")


def concordance_index(
    y: Any,
    risk: Any,
    *,
    sample_weight: Any = None,
    ties: str = "harrell",
    strata: Any = None,
    tau: float | None = None,
) -> float:
    """Harrell's concordance index.

    Parameters
    ----------
    y : Surv, structured array or DataFrame
        ``n`` rows of follow-up, delayed entry allowed.
    risk : (n,) array-like
        Higher means an earlier event.
    sample_weight : (n,) array-like, optional
        A pair counts with the product of its weights.
    ties : {"harrell", "exclude"}
        Pairs with equal risk count one half, or are not compared.
    strata : (n,) array-like, optional
        Pairs are compared within strata only.
    tau : float, optional
        Only events up to and including ``tau`` are the first of a pair.

    Returns
    -------
    float
        From 0 to 1; 0.5 is no better than chance.

    Raises
    ------
    DataError, SpecificationError
        As :func:`concordance`, which also gives the standard error and takes several times as
        long.

    References
    ----------
    Harrell, Lee & Mark (1996), Statistics in Medicine 15, 361-387.

    Examples
    --------
    >>> concordance_index(Surv([5, 3, 8], [1, 1, 0]), [0.2, 0.9, 0.1])
    1.0
    """
    if sample_weight is None and strata is None:
        return _index_alone(y, risk, ties, None, tau)
    found = concordance(y, risk, sample_weight=sample_weight, ties=ties, strata=strata, tau=tau)
    return found.index


def concordance_index_ipcw(
    y_train: Any,
    y: Any,
    risk: Any,
    tau: float | None = None,
    *,
    sample_weight: Any = None,
    ties: str = "harrell",
) -> float:
    """Uno's concordance index, weighted by the inverse probability of censoring.

    Parameters
    ----------
    y_train : Surv, structured array or DataFrame
        Follow-up from which the distribution of censoring is estimated. Its follow-up has to reach
        the last event of ``y``, or ``tau``.
    y : Surv, structured array or DataFrame
        ``n`` rows of follow-up, on which the risks are judged.
    risk : (n,) array-like
        Higher means an earlier event.
    tau : float, optional
        Only events up to and including ``tau`` are the first of a pair. Choose it where enough are
        under observation: the weights of late events are large.
    sample_weight : (n,) array-like, optional
        A pair counts with the product of its weights.
    ties : {"harrell", "exclude"}
        Pairs with equal risk count one half, or are not compared.

    Returns
    -------
    float

    Raises
    ------
    DataError, SpecificationError
        As :func:`concordance`, which also gives the standard error.

    References
    ----------
    Uno, Cai, Pencina, D'Agostino & Wei (2011), Statistics in Medicine 30, 1105-1117.

    Examples
    --------
    >>> y = Surv([5, 3, 8, 9, 4], [1, 1, 1, 0, 0])
    >>> round(concordance_index_ipcw(y, y, [1.0, 2.0, 1.5, 0.0, 1.0], tau=8), 4)
    0.8095
    """
    if sample_weight is None:
        return _index_alone(y, risk, ties, y_train, tau)
    found = concordance(y, risk, sample_weight=sample_weight, ties=ties, y_train=y_train, tau=tau)
    return found.index


def _index_alone(y: Any, risk: Any, ties: str, y_train: Any, tau: float | None) -> float:
    """The index without the share of every row in it, which is most of the work."""
    follow_up = single_cause(y)
    if follow_up.entry is not None:
        return concordance(y, risk, ties=ties, y_train=y_train, tau=tau).index
    if ties not in _TIES:
        raise SpecificationError(f"ties must be one of {', '.join(_TIES)}, got {ties!r}.")
    values = number_column(risk, "risk", len(follow_up))
    order = np.argsort(follow_up.time)
    time, event = follow_up.time[order], follow_up.event[order]
    weight = _time_weights(time, event, None if y_train is y else y_train, tau)
    if y_train is y:  # sorted already
        uncensored = uncensored_before(time, event)
        weight /= uncensored
        weight /= uncensored
    counts = ordered_pairs(time, event, values[order], weight)
    pairs = counts.comparable - (counts.tied if ties == "exclude" else 0.0)
    if pairs <= _ROUNDING * weight.sum() * order.size:
        raise DataError(_no_pairs(weight, counts.tied))
    credit = 0.5 if ties == "harrell" else 0.0
    return (counts.concordant + credit * counts.tied) / pairs


def _stratum_codes(strata: Any, n: int) -> np.ndarray:
    if strata is None:
        return np.zeros(n, dtype=np.int64)
    column = plain(strata, "strata")
    if column.size != n:
        raise DataError(f"strata has {column.size} rows but y has {n}; give one value per row.")
    codes, _ = pd.factorize(column)
    if (codes < 0).any():
        raise DataError(f"strata is missing in row {int(np.flatnonzero(codes < 0)[0])}.")
    return codes.astype(np.int64)


def _time_weights(
    time: np.ndarray, event: np.ndarray, y_train: Any, tau: float | None
) -> np.ndarray:
    """Weight ``(n,)`` of each row as the first of a pair: zero unless it has an event in time."""
    chosen = event
    if tau is not None:
        if not tau > 0:
            raise SpecificationError(f"tau must be a positive time, got {tau!r}.")
        chosen = event & (time <= tau)
    weights = chosen.astype(np.float64)
    if y_train is None:
        return weights
    censoring = censoring_kaplan_meier(y_train)
    probability = censoring.before(time[chosen])
    if (probability == 0).any():
        first = time[chosen][probability == 0].min()
        raise DataError(
            f"everybody in y_train is censored before time {first:g}, where y has an event; its "
            "weight would be infinite. Give a tau before that time."
        )
    weights[chosen] = 1 / probability**2
    return weights


def _summarise(
    y: Surv,
    risk: np.ndarray,
    weights: np.ndarray,
    stratum: np.ndarray,
    time_weight: np.ndarray,
    half: bool,
) -> Concordance:
    as_event = weights * time_weight
    # Codes of time leave room for what happens at one time: entry after event, censoring after.
    n = len(y)
    moments = dense_codes(y.time if y.entry is None else np.concatenate([y.time, y.entry]))
    time_code, value = moments[:n], dense_codes(risk)
    key = 2 * time_code + ~y.event
    sums = pair_sums(key, value, stratum, as_event, weights)
    right = as_event * sums.after_smaller, weights * sums.before_larger
    wrong = as_event * sums.after_larger, weights * sums.before_smaller
    tied = as_event * sums.after_equal, weights * sums.before_equal
    if y.entry is not None:
        # Of those who leave later, some were not yet there: their entry is at or after the event.
        late = _entries_after(time_code, moments[n:], value, stratum, as_event, weights)
        right = (
            right[0] - as_event * late.after_smaller[:n],
            right[1] - weights * late.before_larger[n:],
        )
        wrong = (
            wrong[0] - as_event * late.after_larger[:n],
            wrong[1] - weights * late.before_smaller[n:],
        )
        tied = (
            tied[0] - as_event * late.after_equal[:n],
            tied[1] - weights * late.before_equal[n:],
        )
    concordant, discordant, tied_risk = (float(pair[0].sum()) for pair in (right, wrong, tied))
    tied_time, tied_both = tied_events(key, value, stratum, y.event, as_event, weights)
    credit = 0.5 * half
    pairs = concordant + discordant + tied_risk * half
    if pairs <= _ROUNDING * as_event.sum() * weights.sum():
        raise DataError(_no_pairs(time_weight, tied_risk))
    index = (concordant + credit * tied_risk) / pairs
    # Each row's share as the first and as the second of its pairs.
    gain = sum(right) + credit * sum(tied)
    compared = sum(right) + sum(wrong) + half * sum(tied)
    influence = (gain - index * compared) / pairs
    per_subject = influence if y.id is None else np.bincount(pd.factorize(y.id)[0], influence)
    return Concordance(
        index=index,
        std_error=float(np.sqrt(np.sum(per_subject**2))),
        concordant=concordant,
        discordant=discordant,
        tied_risk=tied_risk,
        tied_time=tied_time,
        tied_both=tied_both,
        influence=influence,
    )


def _entries_after(
    time_code: np.ndarray,
    entry_code: np.ndarray,
    value: np.ndarray,
    stratum: np.ndarray,
    as_event: np.ndarray,
    weights: np.ndarray,
) -> PairSums:
    """Pairs of an event and an entry at or after it; events in the first ``n`` rows."""
    nothing = np.zeros(time_code.size)
    return pair_sums(
        np.concatenate([2 * time_code, 2 * entry_code + 1]),
        np.concatenate([value, value]),
        np.concatenate([stratum, stratum]),
        np.concatenate([as_event, nothing]),
        np.concatenate([nothing, weights]),
    )


def _no_pairs(time_weight: np.ndarray, tied_risk: float) -> str:
    n_events = int((time_weight > 0).sum())
    if tied_risk > 0:
        reason = 'all comparable rows have equal risk; ties="harrell" gives 0.5 for them'
    elif not n_events:
        reason = f"none of the {time_weight.size} rows has an event up to tau"
    else:
        reason = (
            f"{time_weight.size} rows with {n_events} event(s), and nobody else under observation "
            "beyond an event in the same stratum with positive weight"
        )
    return f"there are no comparable pairs: {reason}. Use more rows, or longer follow-up."
