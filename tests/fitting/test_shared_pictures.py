"""Rows with the same picture: encoded once for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import semistruct as ss
from semistruct.encoders.cnn import CNNEncoder
from semistruct.fitting.shared_pictures import means_of_others, share_pictures
from semistruct.terms import cnn
from tests._deep import make_deep_problem, picture_table

SAME_NUMBERS = 1e-5  # float32 sums in another order

N, DISTINCT = 120, 30


@pytest.fixture(scope="module")
def frame():
    """Four rows for each of thirty pictures."""
    few = picture_table(DISTINCT)
    rows = np.random.default_rng(0).permutation(np.tile(np.arange(DISTINCT), N // DISTINCT))
    found = few.iloc[rows].reset_index(drop=True)
    return found.assign(y=found["y"] + np.random.default_rng(1).normal(size=N))


def keys_of(problem, frame):
    return [reader.keys(frame) for reader in problem.blueprint.readers.values()]


def test_units_are_distinct_pictures(frame):
    problem = make_deep_problem(frame, [[cnn("scan")], []])
    keys = keys_of(problem, frame)
    shared = share_pictures(problem, keys)
    units = shared.units(np.arange(N))
    assert len(units) == DISTINCT
    rows, place = shared.rows_of(units)
    assert sorted(rows) == list(range(N))
    assert (keys[0][rows] == keys[0][units[place]]).all()


def test_what_is_predicted_is_the_same(frame):
    problem = make_deep_problem(frame, [[cnn("scan")], []])
    shared = share_pictures(problem, keys_of(problem, frame))
    seed = np.random.SeedSequence(3)
    net = problem.blueprint.make(problem.modalities, np.arange(N), problem.scale, seed)
    net.gammas[0].data.fill_(1.0)
    rows = np.arange(5, 80)
    found, expected = shared.scores(net, rows), problem.scores(net, rows)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=SAME_NUMBERS)


def test_rows_of_intervals_read_the_picture_of_their_subject(frame):
    problem = make_deep_problem(frame, [[cnn("scan")], []])
    keys = keys_of(problem, frame)
    subject = np.repeat(np.arange(N), 3)
    shared = share_pictures(replace(problem, unit=subject), keys)
    assert len(shared.unit) == 3 * N
    assert (keys[0][shared.unit] == keys[0][subject]).all()
    assert len(np.unique(shared.unit)) == DISTINCT


def test_missing_pictures_stand_for_themselves(frame):
    some = frame.copy()
    some.loc[some.index[:10], "scan"] = None
    problem = make_deep_problem(some, [[cnn("scan")], []])
    shared = share_pictures(problem, keys_of(problem, some))
    assert (shared.unit[:10] == np.arange(10)).all()
    assert not np.isin(shared.unit[10:], np.arange(10)).any()


def test_where_there_is_little_to_share_nothing_changes(frame):
    few = picture_table(DISTINCT)
    problem = make_deep_problem(few, [[cnn("scan")], []])
    assert share_pictures(problem, keys_of(problem, few)) is problem
    shared = make_deep_problem(frame, [[cnn("scan")], []])
    assert share_pictures(shared, [None, *keys_of(shared, frame)]) is shared
    assert share_pictures(shared, []) is shared


def test_batches_of_risk_sets_stay_as_they_are(frame):
    y = ss.Surv(np.exp(frame["y"]), np.ones(N))
    options = {"n_folds": 2, "n_repeats": 1, "max_epochs": 1, "progress": False}
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        original = CNNEncoder.forward
        patch.setattr(
            CNNEncoder,
            "forward",
            lambda self, x, mask=None: (seen.append(len(x)), original(self, x, mask))[1],
        )
        ss.CoxPH("x + cnn(scan, hflip=False)", random_state=0, **options).fit(frame, y)
        cox = sum(seen)
        del seen[:]
        formula = "tend + x + cnn(scan, hflip=False)"
        ss.PAMM(formula, cuts=5, random_state=0, **options).fit(frame, y)
    # Training, and a look at the held-out half before and after it, for both folds.
    assert cox == N + 2 * N
    assert sum(seen) == DISTINCT + 2 * DISTINCT


def test_means_of_others_with_the_same_picture():
    unit = np.array([0, 0, 0, 1, 1, 2])
    cluster = np.array([5, 5, 6, 7, 8, 9])
    weight = np.array([1.0, 1.0, 2.0, 3.0, 1.0, 4.0])
    value = np.array([4.0, 2.0, 1.0, 2.0, 5.0, 7.0])
    found = means_of_others(unit, cluster, (weight * value)[:, None], weight)[:, 0]
    typical = 12.0 / 5
    expected = [
        2.0 / (2 + typical),
        2.0 / (2 + typical),
        6.0 / (2 + typical),
        5.0 / (1 + typical),
        6.0 / (3 + typical),
        0.0,
    ]
    assert_allclose(found, expected)
