"""Responses known up to censoring, and what is predicted of lifetimes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from semistruct.estimators._bands import banded, check_level
from semistruct.estimators._follow_up import checked_times
from semistruct.families import Family
from semistruct.fitting.score_nodes import Nodes
from semistruct.inference.delta import delta_errors
from semistruct.inference.survival_curves import BandTransform, survival_band
from semistruct.responses import Interval, Surv, as_surv

__all__ = ["as_censored", "banded_survival", "event_times", "hazard_frame", "survival_frame"]

_TINY = 1e-6  # below, the digits of 1 - F(t) are few


def as_censored(y: Any) -> Surv | Interval | None:
    """A response with censoring, in any of the forms in use; None where it is plain numbers."""
    if isinstance(y, Surv | Interval):
        return y
    fields = getattr(getattr(y, "dtype", None), "names", None)
    return None if fields is None else as_surv(y)


def survival_frame(family: Family, nodes: Nodes, times: Any, index: pd.Index) -> pd.DataFrame:
    """``P(Y > t)`` with times as rows and subjects as columns, as lifelines has it.

    Of predictors ``(N, K)``, averaged over the nodes of every row.
    """
    given = checked_times(times, lowest=-np.inf)
    eta = torch.from_numpy(nodes.values)
    rows = [1 - family.cdf(eta, torch.full((len(eta),), float(t)).to(eta)).numpy() for t in given]
    return pd.DataFrame(
        np.array([nodes.mean(row) for row in rows]).reshape(len(given), len(index)),
        pd.Index(given, name="time"),
        index,
    )


def event_times(y: np.ndarray) -> np.ndarray:
    """Distinct responses that are known exactly, of ``(n,)`` or encoded ``(n, 4)``, or bounds."""
    if y.ndim == 1:
        return np.unique(y)
    exact = y[:, 0] == y[:, 1]
    ends = y[exact, 0] if exact.any() else y[:, :2].ravel()
    return np.unique(ends[np.isfinite(ends)])


def banded_survival(
    family: Family,
    eta: torch.Tensor,
    covariance: np.ndarray,
    survival: pd.DataFrame,
    level: float,
    transform: BandTransform,
) -> pd.DataFrame:
    """A survival frame with pointwise limits, from the covariance ``(n, K, K)`` of predictors."""
    check_level(level)

    def beyond(at: torch.Tensor, t: float) -> torch.Tensor:
        return -family.cdf(at, torch.full((len(at),), t).to(at))

    S = survival.to_numpy()
    errors = [delta_errors(partial(beyond, t=float(t)), eta, covariance) for t in survival.index]
    # Where all or none survive there is nothing to be unsure of.
    known = (S <= 0) | (S >= 1)
    kept = np.where(known, 0.5, S)
    se = np.where(known, 0.0, np.array(errors).reshape(S.shape)) / kept
    lower, upper = survival_band(-np.log(kept), se, level, transform)
    lower, upper = (np.where(known, S, side) for side in (lower, upper))
    return banded(S, lower, upper, survival.index, survival.columns)


def hazard_frame(family: Family, nodes: Nodes, times: Any, index: pd.Index) -> pd.DataFrame:
    """``-log P(Y > t)``, where that probability is tiny by the family's own tail."""
    survival = survival_frame(family, nodes, times, index)
    with np.errstate(divide="ignore"):
        hazard = -np.log(survival)
    for at, t in enumerate(survival.index):
        tiny = np.flatnonzero(survival.iloc[at] < _TINY)
        if tiny.size:
            own = nodes.take(tiny)
            eta = torch.from_numpy(own.values)
            tail = family.log_sf(eta, torch.full((len(eta),), float(t)).to(eta)).numpy()
            hazard.iloc[at, tiny] = -own.logmean(tail)
    return hazard
