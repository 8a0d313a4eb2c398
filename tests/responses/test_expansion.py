"""Piecewise-exponential rows: what is conserved, exact integrals, and refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad

from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses import PiecewiseExpansion, Surv, TimeIntervals

SEEDS = range(6)
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def follow_up(seed, n_causes=1):
    """Integer times, so that events, entries and cut points coincide."""
    rng = np.random.default_rng(seed)
    n = 80
    entry = rng.integers(0, 6, n).astype(float)
    time = entry + rng.integers(1, 9, n)
    event = rng.integers(0, n_causes + 1, n)
    event[:n_causes] = np.arange(1, n_causes + 1)
    entry[:n_causes], time[:n_causes] = 0.0, 1.0
    return Surv(time, event, entry, n_causes=n_causes)


def cut_points(seed):
    rng = np.random.default_rng(100 + seed)
    return np.unique(rng.choice(np.arange(2, 30) / 2, 7, replace=False))


@pytest.mark.parametrize("seed", SEEDS)
def test_exposure_and_events_are_conserved(seed):
    y, cuts = follow_up(seed), cut_points(seed)
    expansion = PiecewiseExpansion.from_surv(y, cuts)
    seen = np.minimum(y.time, cuts[-1]) - np.minimum(y.entry, cuts[-1])
    assert_allclose(np.bincount(expansion.row, expansion.exposure, len(y)), seen, **EXACT)
    within = y.event & (y.time <= cuts[-1])
    assert_array_equal(np.bincount(expansion.row, expansion.event, len(y)), within)
    assert (expansion.exposure > 0).all()
    # Every piece lies in its interval, and an event at a cut point in the interval it ends.
    assert (expansion.exposure <= expansion.tend - expansion.tstart + 1e-12).all()
    at = expansion.event == 1
    time = y.time[expansion.row[at]]
    assert (time > expansion.tstart[at]).all() and (time <= expansion.tend[at]).all()
    assert_allclose(expansion.offset, np.log(expansion.exposure))


@st.composite
def anything(draw):
    """Follow-up and cut points on a coarse grid, where they coincide, or anywhere."""
    step = draw(st.sampled_from([0.5, 0.01, 1e-6]))
    n = draw(st.integers(2, 12))
    whole = st.integers(0, 40)
    entry = np.array(draw(st.lists(whole, min_size=n, max_size=n))) * step
    length = np.array(draw(st.lists(st.integers(1, 40), min_size=n, max_size=n))) * step
    event = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    entry[0], length[0], event[0] = 0.0, step, True
    cuts = np.unique(draw(st.lists(st.integers(1, 60), min_size=1, max_size=8))) * step
    assume(len(cuts) == 1 or cuts[0] <= (entry + length).max())
    return Surv(entry + length, event, entry), cuts


@settings(max_examples=200, deadline=None)
@given(anything())
def test_exposure_and_events_are_conserved_for_any_cuts(drawn):
    y, cuts = drawn
    expansion = PiecewiseExpansion.from_surv(y, cuts)
    seen = np.minimum(y.time, cuts[-1]) - np.minimum(y.entry, cuts[-1])
    assert_allclose(
        np.bincount(expansion.row, expansion.exposure, len(y)), seen, rtol=1e-9, atol=1e-12
    )
    within = y.event & (y.time <= cuts[-1])
    assert_array_equal(np.bincount(expansion.row, expansion.event, len(y)), within)
    assert (expansion.exposure > 0).all()
    # Adding up over all rows keeps the totals of every interval.
    total = expansion.aggregate_by(np.zeros(len(y), dtype=int))
    assert_allclose(total.exposure.sum(), expansion.exposure.sum(), rtol=1e-9)
    assert total.event.sum() == expansion.event.sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_finer_cut_points_change_no_likelihood_of_the_same_hazard(seed):
    y, cuts = follow_up(seed), cut_points(seed)
    hazard = np.random.default_rng(seed).uniform(0.1, 1.0, len(cuts))
    coarse = PiecewiseExpansion.from_surv(y, cuts)
    fine = PiecewiseExpansion.from_surv(y, np.union1d(cuts, np.arange(0.25, cuts[-1], 0.75)))
    of_fine = hazard[coarse.at(fine.tend)]
    logliks = [
        (e.event * np.log(h) - e.exposure * h).sum()
        for e, h in ((coarse, hazard[coarse.interval]), (fine, of_fine[...]))
    ]
    assert_allclose(logliks[0], logliks[1], rtol=1e-12)


def test_competing_causes_are_stacked():
    y, cuts = follow_up(3, n_causes=3), [2, 5, 20]
    stacked = PiecewiseExpansion.from_surv(y, cuts)
    assert stacked.causes == (1, 2, 3)
    for cause in stacked.causes:
        alone = PiecewiseExpansion.from_surv(y, cuts, cause=cause)
        own = stacked.cause == cause
        assert_array_equal(stacked.event[own], alone.event)
        assert_array_equal(stacked.exposure[own], alone.exposure)
        same = PiecewiseExpansion.from_surv(y.of_cause(cause), cuts)
        assert_array_equal(same.event, alone.event)


def test_take_expand_and_frame_go_together():
    y = follow_up(1, n_causes=2)
    expansion = PiecewiseExpansion.from_surv(y, [3, 6, 20])
    rows = np.array([7, 2, 2, 40])
    taken = expansion.take(rows)
    again = expansion.expand(y[rows])
    for name in ("row", "interval", "exposure", "event", "cause"):
        assert_array_equal(getattr(taken, name), getattr(again, name))
    X = pd.DataFrame({"x": np.arange(80.0)}, index=np.arange(80) + 5)
    table = taken.frame(X.iloc[rows])
    assert table.columns.tolist() == [
        "x", "tstart", "tend", "interval", "offset", "event", "cause",
    ]  # fmt: skip
    assert_array_equal(table["x"], rows[taken.row])
    with pytest.raises(DataError, match="80 were expanded"):
        expansion.frame(X[:3])
    with pytest.raises(DataError, match="already has"):
        expansion.frame(X.assign(tend=1.0))


def test_aggregated_rows_have_the_same_sums():
    y = follow_up(2, n_causes=2)
    expansion = PiecewiseExpansion.from_surv(y, [3, 6, 20])
    codes = np.arange(80) % 3
    small = expansion.aggregate_by(codes)
    assert len(small) <= 3 * 3 * 2 and small.n_original == 3
    key = ["cause", "code", "interval"]
    whole = pd.DataFrame(
        {
            "cause": expansion.cause,
            "code": codes[expansion.row],
            "interval": expansion.interval,
            "exposure": expansion.exposure,
            "event": expansion.event,
        }
    )
    sums = whole.groupby(key).sum().reset_index()
    assert_array_equal(small.row, sums["code"])
    assert_array_equal(small.interval, sums["interval"])
    assert_allclose(small.exposure, sums["exposure"], **EXACT)
    assert_array_equal(small.event, sums["event"])
    with pytest.raises(DataError, match="one per row"):
        expansion.aggregate_by(codes[1:])
    with pytest.raises(DataError, match="codes must be from 0"):
        expansion.aggregate_by(codes - 1)


def test_cut_points_by_events_and_quantiles():
    y = follow_up(0)
    events = np.unique(y.time[y.event])
    assert_array_equal(PiecewiseExpansion.from_surv(y).cuts, [0, *events])
    assert_array_equal(PiecewiseExpansion.from_surv(y, "events").cuts, [0, *events])
    four = PiecewiseExpansion.from_surv(y, 4)
    assert len(four.intervals) == 4 and four.cuts[-1] == events[-1]
    assert set(four.cuts[1:]) <= set(events)
    capped = PiecewiseExpansion.from_surv(y, max_intervals=4)
    assert_array_equal(capped.cuts, four.cuts)


def test_gap_time_starts_anew_after_each_event():
    y = Surv([3, 7, 9, 4], [1, 0, 1, 0], [0, 3, 7, 1], id=["a", "a", "a", "b"])
    gap = PiecewiseExpansion.from_surv(y, [2, 10], gap_time=True)
    # The second and third row of a are one spell: from 0 to 4 and from 4 to 6 after the event.
    assert_array_equal(gap.row, [0, 0, 1, 1, 2, 3, 3])
    assert_array_equal(gap.interval, [0, 1, 0, 1, 1, 0, 1])
    assert_allclose(gap.exposure, [2, 1, 2, 2, 2, 2, 1])
    assert_array_equal(gap.event, [0, 1, 0, 0, 1, 0, 0])


def test_integrals_are_exact():
    intervals = TimeIntervals([1.0, 2.5, 6.0])
    hazards = np.array([[[0.3, 0.0, 1.2]], [[0.1, 0.0, 0.4]]])
    times = np.array([0.0, 0.4, 1.0, 2.0, 3.3, 6.0])
    total = intervals.cumulative_hazard(hazards.sum(axis=0), times)[0]
    incidence = intervals.cumulative_incidence(hazards, times)[:, 0]
    assert_allclose(incidence.sum(axis=0) + np.exp(-total), 1.0, rtol=1e-14)

    def density(t, k):
        survival = np.exp(-intervals.cumulative_hazard(hazards.sum(axis=0), [t])[0, 0])
        return hazards[k, 0, intervals.at([t])[0]] * survival

    for k in range(2):
        for t, found in zip(times, incidence[k], strict=True):
            pieces = [p for p in (1.0, 2.5) if p < t]
            wanted = quad(density, 0, t, args=(k,), points=pieces or None, epsabs=1e-12)[0]
            assert found == pytest.approx(wanted, abs=1e-10)
    with pytest.raises(DataError, match="between 0 and the last cut point"):
        intervals.at([7.0])
    with pytest.raises(DataError, match="not negative"):
        intervals.cumulative_hazard([[-0.1, 0.0, 0.0]], [1.0])
    with pytest.raises(DataError, match="shape"):
        intervals.cumulative_hazard([[0.1, 0.0]], [1.0])


@pytest.mark.parametrize(
    ("cuts", "error", "words"),
    [
        ([3, 2], SpecificationError, "strictly increasing; 3 is followed by 2"),
        ([2, 2, 4], SpecificationError, "2 is repeated"),
        ([-1, 4], SpecificationError, "not be negative"),
        ([1, np.nan], SpecificationError, "finite"),
        ([0], SpecificationError, "positive cut point"),
        (0, SpecificationError, "whole number of 1 or more"),
        ("deaths", SpecificationError, "'events'"),
        ([100, 200], DataError, "outside follow-up"),
    ],
)
def test_cut_points_that_make_no_sense(cuts, error, words):
    with pytest.raises(error, match=words):
        PiecewiseExpansion.from_surv(follow_up(0), cuts)


def test_follow_up_that_cannot_be_expanded():
    with pytest.raises(DataError, match="time is zero"):
        PiecewiseExpansion.from_surv(Surv([0, 2], [1, 1]))
    with pytest.raises(DataError, match="overlap"):
        PiecewiseExpansion.from_surv(Surv([4, 6], [0, 1], [0, 3], id=["a", "a"]), [5, 7])
    with pytest.raises(DataError, match="cause 2 never occurs"):
        PiecewiseExpansion.from_surv(Surv([4, 6], [1, 1], n_causes=2))
    with pytest.raises(DataError, match="cause must be a whole number"):
        PiecewiseExpansion.from_surv(follow_up(0), cause=2)
    with pytest.raises(SpecificationError, match="gap_time=True needs"):
        PiecewiseExpansion.from_surv(Surv([4, 6], [1, 1]), gap_time=True)
    with pytest.raises(SpecificationError, match="says nothing"):
        PiecewiseExpansion.from_surv(follow_up(0), [2, 4], max_intervals=3)
    with pytest.raises(DataError, match="n_causes"):
        PiecewiseExpansion.from_surv(follow_up(0), [2, 4]).expand(follow_up(0, n_causes=2))
