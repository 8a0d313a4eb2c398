"""Scores of predicted cumulative incidences of one of several competing causes."""

from __future__ import annotations

from typing import Any

import numpy as np

from semistruct._validation import check_sample_weight
from semistruct.evaluation._censoring import CensoringWeights
from semistruct.evaluation._checks import check_survival
from semistruct.evaluation._pairs import dense_codes, pair_sums
from semistruct.evaluation.auc import check_risk, risk_orders
from semistruct.evaluation.brier import squared_errors
from semistruct.evaluation.kaplan_meier import censoring_kaplan_meier
from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses import Surv, as_surv
from semistruct.responses.base import number_column

__all__ = [
    "incidence_auc",
    "incidence_brier_score",
    "incidence_concordance",
    "integrated_incidence_brier_score",
]

_CONTROLS = ("all", "event_free")


def incidence_brier_score(
    y_train: Any,
    y: Any,
    incidence: Any,
    times: Any = None,
    *,
    cause: int = 1,
    sample_weight: Any = None,
) -> np.ndarray:
    """Mean squared error of the predicted probability of a cause up to given times.

    Parameters
    ----------
    y_train : Surv
        Follow-up from which the distribution of censoring is estimated, by Kaplan-Meier.
    y : Surv
        ``n`` rows of right-censored follow-up with causes.
    incidence : (n, T) array-like, or DataFrame
        Predicted probabilities that the cause has happened by each time, a row per row of ``y``; or
        the table of one cause that ``predict_cumulative_incidence`` returns, with times as rows.
    times : (T,) array-like, optional
        Strictly increasing, up to the longest follow-up; of a table by default its times.
    cause : int
        Which of the causes.
    sample_weight : (n,) array-like, optional
        Weights of the rows of ``y`` in the mean.

    Returns
    -------
    (T,) array
        With one cause :func:`brier_score` of one minus the incidence.

    Raises
    ------
    DataError
        As :func:`brier_score`, or if there is no such cause.

    Notes
    -----
    ``mean_i W_i(t) {1[T_i <= t, cause] - F_i(t)}^2`` with the weights ``1 / G(T_i-)`` of rows with
    an event of any cause up to ``t``, ``1 / G(t)`` of rows under observation after ``t``, and zero
    of rows censored before.

    References
    ----------
    Gerds & Schumacher (2006), Biometrical Journal 48, 1029-1040. Schoop, Beyersmann, Schumacher &
    Binder (2011), Biometrical Journal 53, 88-112.

    Examples
    --------
    >>> y = Surv([2, 4, 6, 8], [1, 2, 1, 0], n_causes=2)
    >>> incidence_brier_score(y, y, [[0.5], [0.2], [0.4], [0.1]], times=[5]).round(4)
    array([0.115])
    """
    follow_up, of_cause, other = _causes(y, cause)
    incidence, times = check_survival(incidence, len(follow_up), times, "incidence")
    rows = check_sample_weight(sample_weight, len(follow_up))
    weights = CensoringWeights(_any_cause(y_train), _any_cause(follow_up), times)
    happened = rows * weights.of_event
    of_survivor = weights.of_survivor
    # The squared error of S = 1 - F where the cause is what ends survival, of F where another does.
    ended = squared_errors(
        follow_up.time, 1 - incidence, times, happened * of_cause, rows, of_survivor
    )
    elsewhere = squared_errors(
        follow_up.time, incidence, times, happened * other, np.zeros_like(rows), of_survivor
    )
    return (ended + elsewhere) / rows.sum()


def integrated_incidence_brier_score(
    y_train: Any,
    y: Any,
    incidence: Any,
    times: Any = None,
    *,
    cause: int = 1,
    sample_weight: Any = None,
) -> float:
    """Mean of :func:`incidence_brier_score` over the time from ``times[0]`` to ``times[-1]``.

    Parameters
    ----------
    y_train, y, incidence, times, cause, sample_weight
        As in :func:`incidence_brier_score`, with two times or more. Between them the score is a
        straight line.

    Returns
    -------
    float

    Examples
    --------
    >>> y = Surv([2, 4, 6, 8], [1, 2, 1, 0], n_causes=2)
    >>> incidence = [[0.3, 0.5], [0.1, 0.2], [0.2, 0.4], [0.0, 0.1]]
    >>> round(integrated_incidence_brier_score(y, y, incidence, times=[3, 5]), 4)
    0.125
    """
    incidence, times = check_survival(incidence, len(as_surv(y)), times, "incidence")
    if times.size < 2:
        raise SpecificationError(
            f"a score is integrated over two times or more, got only {times[0]:g}."
        )
    scores = incidence_brier_score(
        y_train, y, incidence, times, cause=cause, sample_weight=sample_weight
    )
    return float((scores[:-1] + scores[1:]) / 2 @ np.diff(times) / (times[-1] - times[0]))


def incidence_auc(
    y_train: Any,
    y: Any,
    risk: Any,
    times: Any = None,
    *,
    cause: int = 1,
    controls: str = "all",
    sample_weight: Any = None,
) -> np.ndarray:
    """Probability that who has the cause up to a time has a higher risk than who has not.

    Parameters
    ----------
    y_train, y : Surv
        As in :func:`incidence_brier_score`.
    risk : (n,) or (n, T) array-like, or DataFrame
        Higher means an earlier event of the cause, such as its incidence; a table has times as
        rows.
    times : (T,) array-like, optional
        Strictly increasing, before the longest follow-up.
    cause : int
    controls : {"all", "event_free"}
        Whether rows that had another cause up to the time are controls, as they do not have this
        one, or are left out.
    sample_weight : (n,) array-like, optional

    Returns
    -------
    (T,) array

    Raises
    ------
    DataError
        As :func:`cumulative_dynamic_auc`.
    SpecificationError
        If ``controls`` is not one of the two.

    References
    ----------
    Blanche, Dartigues & Jacqmin-Gadda (2013), Statistics in Medicine 32, 5381-5397; definitions 1
    ("event_free") and 2 ("all") of controls.

    Examples
    --------
    >>> y = Surv([2, 4, 6, 8], [1, 2, 1, 0], n_causes=2)
    >>> incidence_auc(y, y, [0.5, 0.6, 0.4, 0.1], times=[5])
    array([0.66666667])
    >>> incidence_auc(y, y, [0.5, 0.6, 0.4, 0.1], times=[5], controls="event_free")
    array([1.])
    """
    if controls not in _CONTROLS:
        raise SpecificationError(
            f"controls must be one of {', '.join(_CONTROLS)}, got {controls!r}."
        )
    follow_up, of_cause, other = _causes(y, cause)
    columns, times = check_risk(risk, len(follow_up), times)
    rows = check_sample_weight(sample_weight, len(follow_up))
    weights = CensoringWeights(_any_cause(y_train), _any_cause(follow_up), times)
    happened = rows * weights.of_event
    until = np.where(follow_up.event, np.inf, follow_up.time)
    areas = np.empty(times.size)
    for k, order in enumerate(risk_orders(columns, times, until)):
        past = follow_up.time <= times[k]
        cases = happened * (past & of_cause)
        compared = rows * ~past * weights.of_survivor[k]
        if controls == "all":
            compared = compared + happened * (past & other)
        areas[k] = order.area(cases, compared)
        if np.isnan(areas[k]):
            who = f"has had cause {cause} by" if not cases.any() else "is a control at"
            raise DataError(f"nobody in y {who} time {times[k]:g}; leave out that time.")
    return areas


def incidence_concordance(
    y_train: Any, y: Any, risk: Any, *, cause: int = 1, tau: float | None = None
) -> float:
    """Concordance with a cause: who has it earlier than others have it, if ever, is riskier.

    Parameters
    ----------
    y_train, y : Surv
        As in :func:`incidence_brier_score`.
    risk : (n,) array-like
        Higher means an earlier event of the cause, such as its incidence at a fixed time.
    cause : int
    tau : float, optional
        Only events up to and including ``tau`` are the first of a pair.

    Returns
    -------
    float
        Equal risks count one half. With one cause and other weights it is Uno's index.

    Raises
    ------
    DataError
        If no pair is comparable, or everybody is censored before an event.

    Notes
    -----
    A row ``i`` with the cause at ``T_i`` is compared with the rows that are under observation after
    ``T_i``, weighted by ``1 / {G(T_i-) G(T_i)}``, and with those that had another cause up to
    ``T_i``, by ``1 / {G(T_i-) G(T_j-)}``: these will never have it. ``O(n log n)``.

    References
    ----------
    Wolbers, Blanche, Koller, Witteman & Gerds (2014), Biostatistics 15, 526-539.

    Examples
    --------
    >>> y = Surv([2, 4, 6, 8], [1, 2, 1, 0], n_causes=2)
    >>> incidence_concordance(y, y, [0.5, 0.6, 0.4, 0.1])
    0.6
    """
    follow_up, of_cause, other = _causes(y, cause)
    values = number_column(risk, "risk", len(follow_up))
    if tau is not None and not tau > 0:
        raise SpecificationError(f"tau must be a positive time, got {tau!r}.")
    time = follow_up.time
    first = of_cause & (time <= (np.inf if tau is None else tau))
    judged = first | other
    censoring = censoring_kaplan_meier(_any_cause(y_train))
    last = time[first].max(initial=0.0)
    judged &= time <= last
    before, at = np.ones(len(time)), np.ones(len(time))
    before[judged], at[judged] = censoring.before(time[judged]), censoring.at(time[judged])
    needed = np.where(first, before, 1.0) * np.where(other & judged, before, 1.0)
    if (needed <= 0).any():
        raise DataError(
            f"everybody in y_train is censored before time {time[needed <= 0].min():g}, where y "
            "has an event; give a tau before that time."
        )
    moment, level, none = (
        dense_codes(time),
        dense_codes(values),
        np.zeros(len(time), dtype=np.int64),
    )
    # Later rows: those censored at the time of the event are under observation after it.
    later = _pairs(
        2 * moment + ~follow_up.event,
        level,
        none,
        _inverse(first & (at > 0), before * at),
        np.ones(len(time)),
        first_is_event=True,
    )
    # Rows with another cause up to that time, those of the same time included.
    earlier = _pairs(
        2 * moment + of_cause,
        level,
        none,
        _inverse(other & judged, before),
        _inverse(first, before),
        first_is_event=False,
    )
    concordant, tied, pairs = (a + b for a, b in zip(later, earlier, strict=True))
    if not pairs > 0:
        raise DataError(
            f"there are no comparable pairs: {int(first.sum())} rows have cause {cause} in time, "
            "and nobody else outlasts one of them or has another cause before."
        )
    return float((concordant + tied / 2) / pairs)


def _pairs(
    key: np.ndarray,
    level: np.ndarray,
    stratum: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    first_is_event: bool,
) -> tuple[float, float, float]:
    """Weights of pairs in which the event has the higher risk, the same, and of all."""
    sums = pair_sums(key, level, stratum, first, second)
    smaller, equal, larger = (
        float(first @ part) for part in (sums.after_smaller, sums.after_equal, sums.after_larger)
    )
    return (smaller if first_is_event else larger), equal, smaller + equal + larger


def _inverse(chosen: np.ndarray, probability: np.ndarray) -> np.ndarray:
    found = np.zeros(chosen.size)
    found[chosen] = 1 / probability[chosen]
    return found


def _causes(y: Any, cause: int) -> tuple[Surv, np.ndarray, np.ndarray]:
    """Follow-up from time zero, rows with the cause, rows with another one."""
    follow_up = as_surv(y)
    if not 1 <= cause <= follow_up.n_causes:
        raise DataError(f"cause must be between 1 and {follow_up.n_causes}, got {cause!r}.")
    of_cause = follow_up.cause == cause
    return follow_up, of_cause, follow_up.event & ~of_cause


def _any_cause(y: Any) -> Surv:
    """Follow-up until an event of whichever cause."""
    follow_up = as_surv(y)
    return Surv(follow_up.time, follow_up.event, follow_up.entry)
