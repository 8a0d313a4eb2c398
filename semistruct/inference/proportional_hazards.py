"""Is a hazard ratio constant over time? The score test for an interaction with time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from scipy import stats

from semistruct.evaluation.kaplan_meier import kaplan_meier
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families.cox import ENTRY, EVENT, TIME, BoundCox
from semistruct.fitting.model import ModelFit
from semistruct.losses import cox_hessian, cox_schoenfeld_residuals
from semistruct.responses import Surv

__all__ = ["TimeTransform", "proportional_hazards_test"]

TimeTransform = Literal["km", "rank", "identity", "log"]


def proportional_hazards_test(fit: ModelFit, transform: TimeTransform = "km") -> pd.DataFrame:
    """Score test, for each parametric term, of a coefficient that changes with time.

    Parameters
    ----------
    fit : ModelFit
        Of a Cox model; its table model is tested.
    transform : {"km", "rank", "identity", "log"}
        The function ``g`` of time: one minus the Kaplan-Meier estimate just before, the rank among
        all follow-up times, time itself or its logarithm.

    Returns
    -------
    DataFrame
        Indexed by term and ``"GLOBAL"``: ``chisq``, ``df``, ``p``.

    Notes
    -----
    The model with ``beta + theta g(t)`` has at ``theta = 0`` the score ``sum_k g(t_k) s_k`` of
    Schoenfeld residuals ``s_k`` and the information ``sum_k (1, g, g^2) V_k`` of the covariances in
    the risk sets. Unlike the original test of Grambsch and Therneau (1994), it does not take
    ``V_k`` as constant. The columns of smooths and random effects are in the information as
    nuisance, with their penalties. It is the test of R's survival since version 3.

    References
    ----------
    Grambsch & Therneau (1994), Biometrika 81, 515-526. Therneau & Grambsch (2000), Modeling
    Survival Data, chapter 6.
    """
    if transform not in get_args(TimeTransform):
        raise SpecificationError(
            f"transform must be one of {', '.join(map(repr, get_args(TimeTransform)))}, got "
            f"{transform!r}."
        )
    problem, marginal = fit.problem, fit.marginal
    bound = cast(BoundCox, problem.bind())
    X, eta = problem.blocks[0].dense(), marginal.eta[:, 0]
    tested = np.flatnonzero(problem.designs[0].kinds == "parametric")
    if not tested.size:
        raise SpecificationError("the model has no parametric term whose hazard ratio to test.")
    options: dict[str, Any] = {"weights": bound.weight, "ties": bound.ties}
    residuals = cox_schoenfeld_residuals(eta, X, bound.risk_sets, **options)
    if len(np.unique(residuals.time)) < 2:
        raise DataError("the test needs events at two times at least; there is one.")
    g_event = _transformed(transform, problem.y, residuals.time)
    g = _at_event_times(bound, residuals.time, g_event)
    lowest = g.min()
    g, g_event = g - lowest, g_event - lowest
    score = (problem.sample_weight[residuals.rows] * g_event) @ residuals.residuals[:, tested]
    b, t = slice(0, X.shape[1]), slice(X.shape[1], X.shape[1] + len(tested))
    information = np.zeros((t.stop, t.stop))
    information[b, b] = marginal.S_lam
    for power, first, second in ((0, b, b), (1, b, t), (2, t, t)):
        hessian = cox_hessian(eta, bound.risk_sets, time_weights=g**power, **options)
        gram = hessian.gram(X).numpy()
        gram = gram if first is second and first is b else gram[:, tested]
        information[first, second] += gram[tested] if first is t else gram
    information[t, b] = information[b, t].T
    # Profile the coefficients out: their score is zero.
    left = information[t, t] - information[t, b] @ np.linalg.solve(
        information[b, b], information[b, t]
    )
    found = {}
    place = {int(j): i for i, j in enumerate(tested)}
    for label, columns in problem.designs[0].slices.items():
        own = [place[j] for j in range(columns.start, columns.stop) if j in place]
        if own:
            found[label] = _chi_square(score[own], left[np.ix_(own, own)])
    found["GLOBAL"] = _chi_square(score, left)
    return pd.DataFrame.from_dict(found, orient="index", columns=["chisq", "df", "p"])


def _chi_square(score: np.ndarray, information: np.ndarray) -> tuple[float, int, float]:
    value = float(score @ np.linalg.solve(information, score))
    return value, len(score), float(stats.chi2.sf(value, len(score)))


def _transformed(transform: str, y: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``g`` at the time of every event, ``(d,)``."""
    if transform == "log" and (times <= 0).any():
        raise DataError("transform='log' needs positive event times; there is an event at time 0.")
    simple: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "identity": lambda t: t,
        "log": np.log,
        "rank": lambda t: _ranks(t, y[:, TIME]),
    }
    if transform in simple:
        return np.asarray(simple[transform](times), dtype=float)
    delayed = np.isfinite(y[:, ENTRY]).any()
    follow_up = Surv(y[:, TIME], y[:, EVENT], y[:, ENTRY] if delayed else None)
    return 1 - kaplan_meier(follow_up).before(times)


def _ranks(times: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Mean ranks of ``times`` among sorted values that contain them."""
    ordered = np.sort(among)
    first = np.searchsorted(ordered, times, side="left")
    return 0.5 * (first + np.searchsorted(ordered, times, side="right") + 1)


def _at_event_times(bound: BoundCox, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values of events at the event times of the risk sets, ``(K,)``."""
    order = np.argsort(times, kind="stable")
    at = np.searchsorted(times[order], bound.risk_sets.time)
    return values[order][np.minimum(at, len(order) - 1)]
