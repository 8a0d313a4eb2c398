"""Weights that make up for the rows that were censored before their outcome was known."""

from __future__ import annotations

from typing import Any

import numpy as np

from semistruct.evaluation._checks import right_censored
from semistruct.evaluation.kaplan_meier import censoring_kaplan_meier
from semistruct.exceptions import DataError
from semistruct.responses import Surv

__all__ = ["CensoringWeights"]


class CensoringWeights:
    """Inverse probabilities of not being censored, for the state of every row at a time.

    Attributes
    ----------
    of_event : (n,) array
        Weight of a row once it has had its event; zero of rows that have none up to the last time.
    of_survivor : (T,) array
        Weight at each time of the rows that are under observation after it.

    Parameters
    ----------
    y_train : Surv, structured array or DataFrame
        Follow-up from which the distribution of censoring is estimated.
    y : Surv
        ``n`` rows that are judged.
    times : (T,) array
        Increasing.

    Raises
    ------
    DataError
        If a time is after the follow-up of ``y`` or of ``y_train``, or if everybody in ``y_train``
        is censored before a time at which ``y`` is still under observation.

    Notes
    -----
    At time ``t`` a row that had its event at ``T <= t`` has weight ``1 / G(T-)``, a row that is
    under observation after ``t`` has ``1 / G(t)``, and a row censored up to ``t`` has zero.
    """

    def __init__(self, y_train: Any, y: Surv, times: np.ndarray) -> None:
        late = times[times > y.time.max()]
        if late.size:
            raise DataError(
                f"times must not be after the longest follow-up of y, {y.time.max():g}; "
                f"{late.size} are, the first is {late[0]:g}. Leave them out."
            )
        censoring = censoring_kaplan_meier(right_censored(y_train, "y_train"))
        self.of_event = np.zeros(len(y))
        happened = y.event & (y.time <= times[-1])
        self.of_event[happened] = _inverse(
            censoring.before(y.time[happened]), y.time[happened], "y has an event"
        )
        # At the last time nobody may be left, and then nobody's probability is needed.
        left = times < y.time.max()
        self.of_survivor = np.zeros(times.size)
        self.of_survivor[left] = _inverse(
            censoring.at(times[left]), times[left], "y is still under observation"
        )


def _inverse(probability: np.ndarray, times: np.ndarray, what: str) -> np.ndarray:
    gone = probability <= 0
    if gone.any():
        raise DataError(
            f"everybody in y_train is censored before time {times[gone].min():g}, when {what}; the "
            "weight would be infinite. Leave out later times, or estimate the censoring from rows "
            "with longer follow-up."
        )
    return 1 / probability
