"""Survival curves of a Cox model for rows that lack pictures: averages over what these may say."""

from __future__ import annotations

import numpy as np

from semistruct.fitting.score_nodes import Nodes
from semistruct.inference.survival_curves import SurvivalCurves

__all__ = ["mixed_cumulative_hazard", "mixed_standard_error"]

_NUMBERS = 4 * 10**6  # times by nodes that are held at once


def mixed_cumulative_hazard(
    curves: SurvivalCurves, times: np.ndarray, nodes: Nodes, stratum: np.ndarray
) -> np.ndarray:
    """Minus the logarithm of the mean survival of every row's nodes, ``(m, n)``.

    Parameters
    ----------
    curves : SurvivalCurves
    times : (m,) array
    nodes : Nodes
        Predictors ``(N,)``.
    stratum : (n,) array
        Of the rows.

    Notes
    -----
    The mean of curves and not the curve of a mean: who is at high risk leaves first, so that the
    hazard of a mixture falls relative to the baseline.
    """
    if nodes.is_single:
        return curves.cumulative_hazard(times, nodes.values, stratum)
    found = np.empty((len(times), nodes.n))
    for rows in _parts(nodes, len(times)):
        own = nodes.take(rows)
        hazard = curves.cumulative_hazard(times, own.values, stratum[rows][own.row])
        found[:, rows] = -own.logmean(-hazard.T).T
    return found


def mixed_standard_error(
    curves: SurvivalCurves,
    times: np.ndarray,
    X: np.ndarray,
    nodes: Nodes,
    stratum: np.ndarray,
) -> np.ndarray:
    """Standard errors ``(m, n)`` of :func:`mixed_cumulative_hazard`, design rows ``X`` ``(n, p)``.

    Notes
    -----
    Coefficients and baseline move the cumulative hazards ``H_q`` of all nodes of a row in the same
    proportion, ``dH_q = r_q d``, so that ``d(-log mean exp(-H_q)) = d sum_q pi_q r_q`` where
    ``pi_q`` is the share of node q among the survivors. The law of the scores counts as known, as
    networks do.
    """
    reference = nodes.logmean(nodes.values)
    error = curves.standard_error(times, X, reference, stratum)
    if nodes.is_single:
        return error
    mixed = nodes.mixed
    for rows in _parts(nodes.take(mixed), len(times)):
        at = mixed[rows]
        own = nodes.take(at)
        hazard = curves.cumulative_hazard(times, own.values, stratum[at][own.row])
        ratio = (own.values - reference[at][own.row])[:, None]
        among = own.logmean(-hazard.T + ratio) - own.logmean(-hazard.T)
        error[:, at] *= np.exp(among).T
    return error


def _parts(nodes: Nodes, m: int) -> list[np.ndarray]:
    """Rows in parts whose nodes fit."""
    share = np.cumsum(nodes.count) * m // _NUMBERS
    return [np.flatnonzero(share == number) for number in np.unique(share)]
