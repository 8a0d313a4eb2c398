"""Transition probabilities: against integrals and differential equations, and their own laws."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad, solve_ivp

import semistruct as ss
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError

# Numerical integrals are asked for this much, and the exponentials are exact to rounding.
INTEGRAL = 1e-8


@pytest.fixture(scope="module")
def illness():
    """An illness-death process with recovery: two models of two causes."""
    rng = np.random.default_rng(0)
    n = 600
    frame = pd.DataFrame({"age": rng.normal(size=n)})
    ill = rng.exponential(np.exp(-0.5 * frame["age"]))
    dead = rng.exponential(2.0, n)
    first = ss.Surv(np.minimum(ill, dead), np.where(ill < dead, 1, 2), n_causes=2)
    leave = ss.PAMM("s(tend, k=5) + age", cuts=[0.2, 0.5, 0.9, 1.4, 2.0]).fit(frame, first)
    sick = ill < dead
    entry = ill[sick]
    stay = rng.exponential(0.7, (sick.sum(), 2))
    later = ss.Surv(entry + stay.min(axis=1), stay.argmin(axis=1) + 1, entry, n_causes=2)
    back = ss.PAMM("s(tend, k=4) + age", cuts=[0.3, 0.6, 1.0, 1.8]).fit(frame[sick], later)
    return frame, {("well", ("ill", "dead")): leave, ("ill", ("well", "dead")): back}


def test_competing_causes_are_integrals_of_hazards(illness):
    frame, models = illness
    model = models["well", ("ill", "dead")]
    row, start, end = frame[:1], 0.37, 1.7
    found = model.predict_transition_probability(row, [end], start=start)
    survival = model.predict_survival_function(row, [start]).iloc[0, 0]

    def density(t, cause):
        hazard = model.predict_hazard(row, [t], cause=cause).iloc[0, 0]
        return hazard * model.predict_survival_function(row, [t]).iloc[0, 0] / survival

    cuts = model.intervals_.cuts
    pieces = np.concatenate([[start], cuts[(cuts > start) & (cuts < end)], [end]])
    for cause in (1, 2):
        total = sum(quad(density, a, b, args=(cause,))[0] for a, b in pairwise(pieces))
        assert 0.05 < total < 0.9
        assert_allclose(found[cause].iloc[0, 0], total, rtol=INTEGRAL)


def test_from_zero_they_are_incidences_and_survival(illness):
    frame, models = illness
    model = models["well", ("ill", "dead")]
    times = [0.0, 0.1, 0.5, 1.33, 2.0]
    found = model.predict_transition_probability(frame[:5], times)
    survival = model.predict_survival_function(frame[:5], times)
    assert_allclose(found[0], survival, rtol=1e-12)
    for cause in (1, 2):
        exact = model.predict_cumulative_incidence(frame[:5], times, cause=cause)
        assert_allclose(found[cause], exact, rtol=1e-10, atol=1e-14)
    single = ss.PAMM("age", cuts=4).fit(frame, ss.Surv(np.arange(1, 601), np.ones(600)))
    assert list(single.predict_transition_probability(frame[:1]).columns.levels[0]) == [0, 1]


def test_recovery_solves_the_forward_equation(illness):
    frame, models = illness
    row, start, end = frame[3:4], 0.25, 1.65
    found = ss.transition_probabilities(models, row, [end], start=start)
    states = ["well", "ill", "dead"]
    P = found.to_numpy().reshape(3, 3)

    def intensity(t):
        Q = np.zeros((3, 3))
        for (origin, to), model in models.items():
            for cause, state in enumerate(to, start=1):
                hazard = model.predict_hazard(row, [t], cause=cause).iloc[0, 0]
                Q[states.index(origin), states.index(state)] = hazard
        return Q - np.diag(Q.sum(axis=1))

    expected = np.eye(3)
    points = {start, end, *(c for m in models.values() for c in m.intervals_.cuts)}
    for a, b in pairwise(sorted(t for t in points if start <= t <= end)):
        Q = intensity((a + b) / 2)
        solved = solve_ivp(
            lambda t, p, Q=Q: (p.reshape(3, 3) @ Q).ravel(),
            (a, b),
            expected.ravel(),
            rtol=1e-11,
            atol=1e-13,
        )
        expected = solved.y[:, -1].reshape(3, 3)
    assert P[0, 1] > 0.05 and P[1, 0] > 0.05
    assert_allclose(P, expected, rtol=INTEGRAL)


def test_chapman_kolmogorov_and_rows_that_add_up(illness):
    frame, models = illness
    rows = frame[:4]

    def matrix(s, t):
        found = ss.transition_probabilities(models, rows, [t], start=s)
        return found.to_numpy().reshape(3, 3, 4).transpose(2, 0, 1)

    assert_allclose(matrix(0.1, 0.7) @ matrix(0.7, 1.5), matrix(0.1, 1.5), rtol=1e-12)
    assert_allclose(matrix(0.1, 1.5).sum(axis=2), 1.0, rtol=1e-12)
    assert_allclose(matrix(0.1, 1.5)[:, 2], [[0, 0, 1]] * 4, atol=1e-15)


def test_times_and_labels(illness):
    frame, models = illness
    found = ss.transition_probabilities(models, frame[7:9], start=0.5)
    assert list(found.index) == [0.6, 0.9, 1.0, 1.4, 1.8]
    assert list(found["well"]["dead"].columns) == [7, 8]
    unsorted = ss.transition_probabilities(models, frame[7:9], [1.4, 0.6, 0.5], start=0.5)
    assert_allclose(unsorted.loc[1.4], found.loc[1.4])
    assert unsorted.loc[0.5]["well"]["well"].tolist() == [1.0, 1.0]


def test_bad_models_and_times(illness):
    frame, models = illness
    leave = models["well", ("ill", "dead")]
    call = ss.transition_probabilities
    with pytest.raises(DataError, match=r"between start=0.5 and the last cut point, 1.8"):
        call(models, frame[:1], [0.4], start=0.5)
    with pytest.raises(DataError, match="start must be"):
        call(models, frame[:1], start=2.0)
    with pytest.raises(SpecificationError, match="2 cause"):
        call({("well", "ill"): leave}, frame[:1])
    with pytest.raises(SpecificationError, match="leads to where it begins"):
        call({("well", ("ill", "well")): leave}, frame[:1])
    with pytest.raises(SpecificationError, match="is given twice"):
        call({("well", ("ill", "ill")): leave}, frame[:1])
    with pytest.raises(SpecificationError, match="a pair"):
        call({"well": leave}, frame[:1])
    with pytest.raises(SpecificationError, match="no transitions"):
        call({}, frame[:1])
    with pytest.raises(SpecificationError, match="fitted PAMM"):
        call({(0, 1): ss.CoxPH()}, frame[:1])
    y = ss.Surv([1.0, 2.0, 3.0, 4.0] * 150, [1] * 600, entry=[0.0, 1.0, 2.0, 3.0] * 150)
    gap = ss.PAMM("age", cuts=[0.5, 1.0], gap_time=True).fit(frame, y)
    with pytest.raises(UnsupportedCombinationError, match="gap_time"):
        call({("a", "b"): gap, ("b", "c"): gap}, frame[:1])
    assert call({("a", "b"): gap}, frame[:1]).shape == (2, 4)
