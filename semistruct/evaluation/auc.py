"""Area under the receiver operating characteristic of survival up to a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from semistruct._validation import check_sample_weight
from semistruct.evaluation._censoring import CensoringWeights
from semistruct.evaluation._checks import curves_and_times, right_censored, single_cause
from semistruct.evaluation.kaplan_meier import kaplan_meier
from semistruct.exceptions import DataError

__all__ = ["check_risk", "cumulative_dynamic_auc", "integrated_auc", "risk_orders"]


def cumulative_dynamic_auc(
    y_train: Any, y: Any, risk: Any, times: Any = None, *, sample_weight: Any = None
) -> np.ndarray:
    """Probability that who has the event up to a time has a higher risk than who survives it.

    Parameters
    ----------
    y_train : Surv, structured array or DataFrame
        Follow-up from which the distribution of censoring is estimated, by Kaplan-Meier.
    y : Surv, structured array or DataFrame
        ``n`` rows of right-censored follow-up, on which the risks are judged.
    risk : (n,) or (n, T) array-like, or DataFrame
        Higher means an earlier event; one column per time if risks change with time; or a table
        with times as rows, as ``predict_cumulative_hazard`` returns it.
    times : (T,) array-like, optional
        Strictly increasing, before the longest follow-up of ``y`` and ``y_train``. Of a table some
        of its times, by default all.
    sample_weight : (n,) array-like, optional
        A pair counts with the product of its weights.

    Returns
    -------
    (T,) array
        Equal risks count one half.

    Raises
    ------
    DataError
        If nobody has had the event by a time or nobody is under observation after it, times are
        out of order or beyond the follow-up, shapes do not match, or a risk is missing.

    Notes
    -----
    Cases are rows with an event up to ``t``, weighted by ``1 / G(T_i-)``; controls are rows under
    observation after ``t``. All controls of a time have the same weight of censoring,
    ``1 / G(t)``, which cancels. Cost: one sort; with a column of risks per time one per time, which
    is cheap where the order changes little from time to time.

    References
    ----------
    Uno, Cai, Tian & Wei (2007), Journal of the American Statistical Association 102, 527-537.
    Hung & Chiang (2010), Canadian Journal of Statistics 38, 8-26.

    Examples
    --------
    >>> from semistruct import Surv
    >>> y = Surv([2, 4, 6, 8, 9], [1, 1, 0, 1, 0])
    >>> cumulative_dynamic_auc(y, y, [3.0, 1.0, 2.0, 0.5, 0.5], times=[3, 5]).round(4)
    array([1.    , 0.8333])
    """
    follow_up = right_censored(y, "y")
    n = len(follow_up)
    columns, times = check_risk(risk, n, times)
    rows = check_sample_weight(sample_weight, n)
    weights = CensoringWeights(y_train, follow_up, times)
    happened = rows * weights.of_event
    until = np.where(follow_up.event, np.inf, follow_up.time)
    areas = np.empty(times.size)
    for k, order in enumerate(risk_orders(columns, times, until)):
        past = follow_up.time <= times[k]
        cases, controls = happened * past, rows * ~past
        areas[k] = order.area(cases, controls)
        if np.isnan(areas[k]):
            who = "has had the event by" if not cases.any() else "is under observation after"
            raise DataError(
                f"nobody in y {who} time {times[k]:g}, so there is nobody to compare; leave out "
                "that time."
            )
    return areas


def integrated_auc(
    y_train: Any, y: Any, risk: Any, times: Any = None, *, sample_weight: Any = None
) -> float:
    """Mean of :func:`cumulative_dynamic_auc` over times, weighted by when the events happen.

    Parameters
    ----------
    y_train, y, risk, times, sample_weight
        As in :func:`cumulative_dynamic_auc`.

    Returns
    -------
    float

    Raises
    ------
    DataError
        As :func:`cumulative_dynamic_auc`.

    Notes
    -----
    ``sum_k AUC(t_k) {S(t_{k-1}) - S(t_k)} / {1 - S(t_T)}`` with ``S`` the Kaplan-Meier estimate of
    survival in ``y`` and ``S(t_0) = 1``: a time stands for the events since the time before.

    References
    ----------
    Lambert & Chevret (2016), Statistical Methods in Medical Research 25, 2088-2102.

    Examples
    --------
    >>> from semistruct import Surv
    >>> y = Surv([2, 4, 6, 8, 9], [1, 1, 0, 1, 0])
    >>> round(integrated_auc(y, y, [3.0, 1.0, 2.0, 0.5, 0.5], times=[3, 5]), 4)
    0.9167
    """
    risk, times = check_risk(risk, len(single_cause(y)), times)
    areas = cumulative_dynamic_auc(y_train, y, risk, times, sample_weight=sample_weight)
    survival = kaplan_meier(y, sample_weight=sample_weight).at(times)
    falls = -np.diff(np.concatenate([[1.0], survival]))
    return float(areas @ falls / falls.sum())


def check_risk(risk: Any, n: int, times: Any) -> tuple[np.ndarray, np.ndarray]:
    """Risks as ``(n, 1)`` or ``(n, T)``, and the times ``(T,)``."""
    columns, times = curves_and_times(risk, times, n, "risk")
    n_times = times.size
    if columns.ndim == 1:
        columns = columns[:, None]
    if columns.ndim != 2 or columns.shape[0] != n or columns.shape[1] not in (1, n_times):
        raise DataError(
            f"risk must have shape ({n},) or ({n}, {n_times}), a row per row of y and a column per "
            f"time, got {np.shape(risk)}."
        )
    if np.isnan(columns.min()):
        missing = np.flatnonzero(np.isnan(columns).any(axis=1))
        raise DataError(
            f"risk is missing in {missing.size} row(s), first in row {missing[0]}; drop these rows."
        )
    return np.asfortranarray(columns), times


def risk_orders(columns: np.ndarray, times: np.ndarray, until: np.ndarray) -> Iterator[RiskOrder]:
    """The order of risks at each time, found once where there is one column for all times.

    Parameters
    ----------
    columns : (n, 1) or (n, T) array
    times : (T,) array
    until : (n,) array
        Time from which on a row counts no more; infinity for those that always do.

    Notes
    -----
    A merge sort goes on from the order of the time before. It is many times faster where nothing
    changed, as under proportional hazards, and no slower than a new sort where little did.
    """
    order = np.argsort(columns[:, 0])
    ranked = RiskOrder(columns[:, 0], order)
    yield ranked
    for k in range(1, times.size):
        if columns.shape[1] > 1:
            risk = columns[:, k]
            order = order.compress(until.take(order) > times[k])
            order = order.take(risk.take(order).argsort(kind="stable"))
            ranked = RiskOrder(risk, order)
        yield ranked


class RiskOrder:
    """Rows in the order of their risks, for all pairs of groups that are compared by them.

    Parameters
    ----------
    risk : (n,) array
    order : (m,) array of int
        The rows that count, by increasing risk.
    """

    def __init__(self, risk: np.ndarray, order: np.ndarray) -> None:
        self._order = order
        ordered = risk.take(order)
        new = ordered[1:] != ordered[:-1]
        self._begins: np.ndarray | None = None
        if not new.all():
            self._begins = np.concatenate([[0], np.flatnonzero(new) + 1])

    def area(self, cases: np.ndarray, controls: np.ndarray) -> float:
        """Weighted fraction of pairs in which the case has the higher risk; ties count half.

        NaN where there are no pairs. No row is both.
        """
        cases, controls = cases.take(self._order), controls.take(self._order)
        if self._begins is None:
            below = controls.cumsum()
        else:
            cases = np.add.reduceat(cases, self._begins)
            controls = np.add.reduceat(controls, self._begins)
            below = controls.cumsum() - controls / 2
        n_pairs = cases.sum() * controls.sum()
        return float(cases @ below / n_pairs) if n_pairs else np.nan
