"""Scores of incidences: every pair and every row by the definition, and one cause as usual."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semistruct import Surv
from semistruct.exceptions import DataError, SpecificationError
from semistruct.metrics import (
    brier_score,
    censoring_kaplan_meier,
    cumulative_dynamic_auc,
    incidence_auc,
    incidence_brier_score,
    incidence_concordance,
    integrated_brier_score,
    integrated_incidence_brier_score,
)

EXACT = {"rtol": 1e-10, "atol": 1e-12}


@st.composite
def cases(draw):
    n = draw(st.integers(3, 20))
    column = lambda values: np.array(draw(st.lists(values, min_size=n, max_size=n)))  # noqa: E731
    # The last row is censored after all others, so that every time is within the follow-up.
    time = np.append(column(st.integers(1, 6)), 9)
    cause = np.append(column(st.integers(0, 2)), 0)
    return Surv(time, cause, n_causes=2), np.append(column(st.integers(0, 4)), 1) / 4


def censored(y):
    return censoring_kaplan_meier(Surv(y.time, y.event))


@given(cases(), st.sampled_from([1, 2]))
def test_squared_errors_row_by_row(case, cause):
    y, incidence = case
    times = np.array([2.0, 3.5, 5.0])
    curves = np.outer(incidence, [0.5, 0.8, 1.0])
    G = censored(y)
    expected = np.zeros(3)
    for k, t in enumerate(times):
        for i in range(len(y)):
            if y.time[i] > t:
                expected[k] += curves[i, k] ** 2 / G.at(t)
            elif y.event[i]:
                hit = y.cause[i] == cause
                expected[k] += (hit - curves[i, k]) ** 2 / G.before(y.time[i])
    found = incidence_brier_score(y, y, curves, times, cause=cause)
    np.testing.assert_allclose(found, expected / len(y), **EXACT)
    mean = integrated_incidence_brier_score(y, y, curves, times, cause=cause)
    np.testing.assert_allclose(mean, np.trapezoid(found, times) / 3, **EXACT)


@given(cases(), st.sampled_from(["all", "event_free"]))
def test_areas_pair_by_pair(case, controls):
    y, risk = case
    G = censored(y)
    for t in (2.0, 5.0):
        won = pairs = 0.0
        for i in np.flatnonzero((y.cause == 1) & (y.time <= t)):
            for j in range(len(y)):
                if y.time[j] > t:
                    weight = 1 / G.at(t)
                elif y.cause[j] == 2 and controls == "all":
                    weight = 1 / G.before(y.time[j])
                else:
                    continue
                weight = weight / G.before(y.time[i])
                pairs += weight
                won += weight * ((risk[i] > risk[j]) + (risk[i] == risk[j]) / 2)
        if not pairs:
            with pytest.raises(DataError, match="nobody in y has had cause 1"):
                incidence_auc(y, y, risk, [t], controls=controls)
            continue
        found = incidence_auc(y, y, risk, [t], controls=controls)
        np.testing.assert_allclose(found, won / pairs, **EXACT)


@given(cases(), st.sampled_from([None, 4.0]))
def test_concordance_pair_by_pair(case, tau):
    y, risk = case
    G = censored(y)
    won = pairs = 0.0
    for i in np.flatnonzero((y.cause == 1) & (y.time <= (tau or np.inf))):
        for j in range(len(y)):
            outlasts = y.time[j] > y.time[i] or (y.time[j] == y.time[i] and not y.event[j])
            if outlasts:
                weight = 1 / (G.before(y.time[i]) * G.at(y.time[i]))
            elif y.cause[j] == 2 and y.time[j] <= y.time[i]:
                weight = 1 / (G.before(y.time[i]) * G.before(y.time[j]))
            else:
                continue
            pairs += weight
            won += weight * ((risk[i] > risk[j]) + (risk[i] == risk[j]) / 2)
    if not pairs:
        with pytest.raises(DataError, match="no comparable pairs"):
            incidence_concordance(y, y, risk, tau=tau)
        return
    found = incidence_concordance(y, y, risk, tau=tau)
    np.testing.assert_allclose(found, won / pairs, **EXACT)


def test_one_cause_is_survival(rng):
    y = Surv(rng.integers(1, 30, 60), rng.random(60) < 0.6)
    times = [5.0, 10.0, 20.0]
    survival = np.sort(rng.random((60, 3)), axis=1)[:, ::-1]
    assert survival.std() > 0.1
    np.testing.assert_allclose(
        incidence_brier_score(y, y, 1 - survival, times),
        brier_score(y, y, survival, times),
        **EXACT,
    )
    np.testing.assert_allclose(
        integrated_incidence_brier_score(y, y, 1 - survival, times),
        integrated_brier_score(y, y, survival, times),
        **EXACT,
    )
    risk = rng.normal(size=60)
    np.testing.assert_allclose(
        incidence_auc(y, y, risk, times), cumulative_dynamic_auc(y, y, risk, times), **EXACT
    )


def test_tables_and_weights(rng):
    y = Surv(np.arange(1.0, 31), rng.integers(0, 3, 30), n_causes=2)
    curves = np.sort(rng.random((30, 2)), axis=1)
    table = pd.DataFrame(curves.T, pd.Index([5.0, 12.0], name="time"))
    expected = incidence_brier_score(y, y, curves, [5, 12], cause=2)
    np.testing.assert_array_equal(incidence_brier_score(y, y, table, cause=2), expected)
    np.testing.assert_array_equal(incidence_auc(y, y, table), incidence_auc(y, y, curves, [5, 12]))
    weights = rng.integers(0, 3, 30)
    twice = np.repeat(np.arange(30), weights)
    np.testing.assert_allclose(
        incidence_brier_score(y, y, table, sample_weight=weights),
        incidence_brier_score(y, y[twice], curves[twice], [5, 12]),
        **EXACT,
    )
    np.testing.assert_allclose(
        incidence_auc(y, y, curves, [5, 12], sample_weight=weights),
        incidence_auc(y, y[twice], curves[twice], [5, 12]),
        **EXACT,
    )


MISUSE = {
    "cause": (lambda y: incidence_brier_score(y, y, [[0.5]] * 4, [3], cause=3), "between 1 and 2"),
    "controls": (lambda y: incidence_auc(y, y, [1] * 4, [3], controls="none"), "all, event_free"),
    "one_time": (lambda y: integrated_incidence_brier_score(y, y, [[0.5]] * 4, [3]), "two times"),
    "range": (lambda y: incidence_brier_score(y, y, [[1.5]] * 4, [3]), "incidence must be prob"),
    "tau": (lambda y: incidence_concordance(y, y, [1] * 4, tau=0), "tau must be a positive time"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_told(case):
    call, message = MISUSE[case]
    with pytest.raises((DataError, SpecificationError), match=message):
        call(Surv([2, 4, 6, 8], [1, 2, 1, 0], n_causes=2))
