"""Transition probabilities of multi-state models with hazards that are constant in intervals."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import expm
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators._hazard import HazardEstimator
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError

__all__ = ["transition_probabilities"]

State = Hashable


def transition_probabilities(
    models: Mapping[tuple[State, Any], HazardEstimator],
    X: Any,
    times: Any = None,
    *,
    start: float = 0.0,
) -> pd.DataFrame:
    """Probability of being in each state at each time, by the state at ``start``.

    Parameters
    ----------
    models : mapping of (from, to) to PAMM
        Fitted hazards of every possible transition, for example of an illness-death model
        ``{("well", "ill"): a, ("well", "dead"): b, ("ill", "dead"): c}``, where the rows of ``c``
        enter when they fall ill, ``Surv(time, event, entry=...)``. A model of K competing causes
        is given once, with the K states that they lead to: ``{("well", ("ill", "dead")): ab,
        ("ill", "dead"): c}``. All models share one time scale.
    X : DataFrame or array of n rows
        With the columns that any of the models reads.
    times : (m,) array-like, optional
        From ``start`` to the earliest last cut point of a model; by default all cut points after
        ``start`` up to there.
    start : float

    Returns
    -------
    DataFrame
        Times as rows, columns ``(from, to, subject)``; states are in the order in which ``models``
        names them. Over ``to`` the probabilities add up to one.

    Raises
    ------
    SpecificationError
        If a transition is no pair, leads to where it begins, is given twice, or a model has another
        number of causes than states are given.
    UnsupportedCombinationError
        If a model of gap times meets transitions from several states: what comes then depends on
        when a state was entered.
    DataError
        If a time lies before ``start`` or after the last cut point.

    Notes
    -----
    For a Markov process with intensity matrices ``Q_j`` constant in intervals, the transition
    matrix is the product of matrix exponentials

        ``P(s, t) = prod_j expm(Q_j |(a_j, b_j] ∩ (s, t]|)``,

    the product integral whose nonparametric counterpart is the estimator of Aalen and Johansen. No
    numerical integration is involved.

    References
    ----------
    Aalen & Johansen (1978), Scandinavian Journal of Statistics 5, 141-150. Andersen & Keiding
    (2002), Statistical Methods in Medical Research 11, 91-115.

    Examples
    --------
    >>> from semistruct import PAMM, Surv
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"age": rng.normal(size=500)})
    >>> ill, dead = rng.exponential(2.0, 500), rng.exponential(4.0, 500)
    >>> first = Surv(np.minimum(ill, dead), np.where(ill < dead, 1, 2), n_causes=2)
    >>> leave = PAMM("age", cuts=[1.0, 2.0, 3.0]).fit(table, first)
    >>> sick = ill < dead
    >>> later = Surv(ill[sick] + rng.exponential(1.0, sick.sum()), np.ones(sick.sum()), ill[sick])
    >>> die = PAMM("age", cuts=[1.0, 2.0, 3.0]).fit(table[sick], later)
    >>> models = {("well", ("ill", "dead")): leave, ("ill", "dead"): die}
    >>> found = transition_probabilities(models, table[:1], [3.0])
    >>> found["well"].round(2).to_numpy()
    array([[0.1 , 0.11, 0.79]])
    """
    transitions = _transitions(models)
    states = list(dict.fromkeys(state for part in transitions for state in (part.origin, *part.to)))
    end = min(part.model.intervals_.cuts[-1] for part in transitions)
    if not 0 <= start < end:
        raise DataError(
            f"start must be at least 0 and before the last cut point, {end:g}; got {start!r}."
        )
    cuts = np.unique(np.concatenate([part.model.intervals_.cuts for part in transitions]))
    cuts = cuts[(cuts > start) & (cuts <= end)]
    grid = cuts if times is None else np.atleast_1d(np.asarray(times, dtype=float))
    bad = np.flatnonzero(~((grid >= start) & (grid <= end)))
    if bad.size:
        raise DataError(
            f"times must lie between start={start:g} and the last cut point, {end:g}; "
            f"{bad.size} do not, the first is {grid[bad[0]]:g}."
        )
    frames = [part.model._new_rows(X) for part in transitions]
    hazards = [
        part.model._cause_hazards(frame) for part, frame in zip(transitions, frames, strict=True)
    ]
    index = frames[0].index
    points = np.unique(np.concatenate([[start], grid, cuts[cuts <= grid.max(initial=start)]]))
    number = {state: place for place, state in enumerate(states)}
    n, S = len(index), len(states)
    reached = np.broadcast_to(np.eye(S), (n, S, S))
    found = np.empty((len(grid), S, S, n))
    found[grid == start] = np.eye(S)[..., None]
    for a, b in itertools.pairwise(points):
        Q = np.zeros((n, S, S))
        for part, hazard in zip(transitions, hazards, strict=True):
            j = part.model.intervals_.at([b])[0]
            for k, state in enumerate(part.to):
                Q[:, number[part.origin], number[state]] = hazard[k, :, j]
        Q[:, np.arange(S), np.arange(S)] = -Q.sum(axis=2)
        reached = reached @ expm(Q * (b - a))
        found[grid == b] = np.moveaxis(reached, 0, -1)
    columns = pd.MultiIndex.from_product([states, states, index], names=["from", "to", None])
    return pd.DataFrame(found.reshape(len(grid), -1), pd.Index(grid, name="time"), columns)


@dataclass(frozen=True, eq=False)
class _Transition:
    """Hazards of leaving one state for others, one for each cause of a model."""

    origin: State
    to: Sequence[State]
    model: HazardEstimator


def _transitions(models: Mapping[tuple[State, Any], HazardEstimator]) -> list[_Transition]:
    found, seen = [], set()
    for key, model in models.items():
        if not (isinstance(key, tuple) and len(key) == 2):
            raise SpecificationError(
                f"a transition is a pair (from, to) of states, got {key!r}; for a model of K "
                "causes to is a tuple of K states."
            )
        if not isinstance(model, HazardEstimator):
            raise SpecificationError(
                f"the transition {key!r} needs a fitted PAMM, got {type(model).__name__}."
            )
        check_is_fitted(model)
        origin, to = key[0], key[1] if isinstance(key[1], tuple) else (key[1],)
        if len(to) != len(model.causes_):
            raise SpecificationError(
                f"the model of {key!r} has {len(model.causes_)} cause(s) but {len(to)} state(s) "
                "are given that they lead to."
            )
        for state in to:
            if state == origin or (origin, state) in seen:
                reason = "leads to where it begins" if state == origin else "is given twice"
                raise SpecificationError(f"the transition {origin!r} to {state!r} {reason}.")
            seen.add((origin, state))
        found.append(_Transition(origin, to, model))
    if not found:
        raise SpecificationError("there are no transitions; give at least one (from, to): model.")
    if len({part.origin for part in found}) > 1 and any(p.model.expansion_.gap_time for p in found):
        raise UnsupportedCombinationError(
            "with gap_time=True time starts anew in every state, so that what comes next depends "
            "on when a state was entered; fit the transitions on one time scale, with entry=."
        )
    return found
