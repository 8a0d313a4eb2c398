from __future__ import annotations

import lifelines
import numpy as np
import pytest

from semistruct import Surv
from semistruct.exceptions import DataError
from semistruct.metrics import censoring_kaplan_meier, kaplan_meier

EXACT = {"rtol": 1e-10, "atol": 1e-12}  # the same products in another order


def follow_up(rng, n=120, entry=False):
    start = rng.integers(0, 6, n) if entry else None
    end = rng.integers(1, 20, n) + (0 if start is None else start)
    y = Surv(end, rng.random(n) < 0.5, start)
    assert np.unique(y.time).size < n / 2  # many ties
    assert set(y.time[y.event]) & set(y.time[~y.event])  # of events with censoring
    return y


@pytest.mark.parametrize("entry", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_lifelines(rng, entry, weighted):
    y = follow_up(rng, entry=entry)
    weights = rng.integers(1, 4, len(y)) if weighted else None
    theirs = lifelines.KaplanMeierFitter().fit(y.time, y.event, entry=y.entry, weights=weights)
    ours = kaplan_meier(y, sample_weight=weights)
    expected = theirs.survival_function_at_times(ours.time)
    np.testing.assert_allclose(ours.survival, expected, **EXACT)
    table = theirs.event_table.loc[ours.time]
    # lifelines lists those who enter at a time as at risk; neither of us counts them as such.
    at_risk = table["at_risk"] - (table["entrance"] if entry else 0)
    np.testing.assert_allclose(ours.at_risk, at_risk, **EXACT)
    np.testing.assert_allclose(ours.n_events, table["observed"], **EXACT)
    between = np.linspace(0, y.time.max(), 77)
    np.testing.assert_allclose(
        ours.at(between), theirs.survival_function_at_times(between), **EXACT
    )


def test_standard_error_without_censoring_is_that_of_a_fraction(rng):
    y = Surv(rng.integers(1, 20, 50), np.ones(50))
    ours = kaplan_meier(y)
    expected = np.sqrt(ours.survival * (1 - ours.survival) / 50)
    np.testing.assert_allclose(ours.std_error[:-1], expected[:-1], **EXACT)
    assert ours.survival[-1] == 0
    assert np.isnan(ours.std_error[-1])


def test_a_weight_is_a_number_of_rows(rng):
    y = follow_up(rng)
    weights = rng.integers(0, 4, len(y))
    copied = y[np.repeat(np.arange(len(y)), weights)]
    for function in (kaplan_meier, censoring_kaplan_meier):
        ours, expected = function(y, sample_weight=weights), function(copied)
        np.testing.assert_allclose(ours.survival, expected.survival, **EXACT)
        np.testing.assert_allclose(ours.std_error, expected.std_error, **EXACT)


@pytest.mark.parametrize("entry", [False, True])
def test_events_come_before_censoring(rng, entry):
    y = follow_up(rng, entry=entry)
    # Moved a little later, the censored leave after the events of their time, and before entries.
    later = None if y.entry is None else y.entry + 0.5
    moved = Surv(np.where(y.event, y.time, y.time + 0.25), ~y.event, later)
    expected = kaplan_meier(moved)
    ours = censoring_kaplan_meier(y)
    np.testing.assert_allclose(ours.time, expected.time - 0.25)
    np.testing.assert_allclose(ours.survival, expected.survival, **EXACT)
    assert not np.allclose(ours.survival, kaplan_meier(Surv(y.time, ~y.event, y.entry)).survival)


def test_survival_times_censoring_is_the_fraction_under_observation(rng):
    y = follow_up(rng)
    times = np.unique(y.time)
    product = kaplan_meier(y).before(times) * censoring_kaplan_meier(y).before(times)
    np.testing.assert_allclose(product, (y.time >= times[:, None]).mean(axis=1), **EXACT)


def test_steps_are_at_the_times():
    curve = kaplan_meier(Surv([2, 4, 4, 7], [1, 1, 0, 0]))
    np.testing.assert_allclose(curve.at([0, 1.9, 2, 3, 4, 7]), [1, 1, 0.75, 0.75, 0.5, 0.5])
    np.testing.assert_allclose(curve.before([2, 4, 4.1]), [1, 0.75, 0.5])
    np.testing.assert_allclose(curve.std_error_at([1, 2]), [0, np.sqrt(0.75 * 0.25 / 4)])
    assert curve.at(np.array([[1.0, 5.0]])).shape == (1, 2)


def test_nothing_is_known_after_the_follow_up():
    open_ended = kaplan_meier(Surv([2, 4], [1, 0]))
    with pytest.raises(DataError, match=r"known up to 4, the longest follow-up, .* at 5"):
        open_ended.at([1, 5])
    with pytest.raises(DataError, match="NaN"):
        open_ended.at([np.nan])
    assert kaplan_meier(Surv([2, 4], [1, 1])).at(5) == 0
    assert kaplan_meier(Surv([2, 4], [0, 0])).at(4) == 1
    with pytest.raises(DataError, match="no rows"):
        kaplan_meier(Surv([], []))


def test_repr():
    assert repr(kaplan_meier(Surv([2, 4], [0, 0]))) == "KaplanMeier(0 steps to 1, times to 4)"
