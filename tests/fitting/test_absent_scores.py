"""The law of scores without their pictures: mean, spread and shape are those of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.fitting.absent_pictures import absence_patterns
from semistruct.fitting.absent_scores import learn_absent_scores

N = 2000
# Errors of moments of 2,000 rows.
MOMENT = 0.1


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    return pd.DataFrame({"age": rng.normal(50, 10, N), "sex": rng.choice(["f", "m"], N)})


def learn(deviation, frame, known=None, columns=("age", "sex"), weight=None):
    deviation = np.asarray(deviation, dtype=float).reshape(len(frame), -1)
    known = np.full((len(frame), 3), np.nan) if known is None else known
    weight = np.ones(len(frame)) if weight is None else weight
    A = deviation.shape[1]
    everyone = np.isfinite(deviation).all(axis=1)
    return learn_absent_scores(
        ("ct",), range(A), deviation, known, everyone, weight, frame, columns
    )


def possible(law, frame, known=None):
    known = np.full((len(frame), 3), np.nan) if known is None else known
    return law.deviations(frame, known)


def test_a_law_that_depends_on_nothing(frame, rng):
    u = rng.gamma(2.0, size=N) - 2
    law = learn(u, frame)
    assert not law.mean[:, 1:].any()
    found = possible(law, frame.iloc[:3])
    np.testing.assert_array_equal(found[0], found[2])
    nodes = found[0, :, 0]
    # Exactly the moments of the rows; quantiles as well as 24 nodes can.
    np.testing.assert_allclose([nodes.mean(), nodes.std()], [u.mean(), u.std()])
    levels = (np.arange(24) + 0.5) / 24
    np.testing.assert_allclose(np.sort(nodes), np.quantile(u, levels), atol=2 * MOMENT)


def test_mean_and_spread_follow_the_table(frame, rng):
    z = (frame["age"].to_numpy() - 50) / 10
    male = (frame["sex"] == "m").to_numpy()
    u = 0.5 * z**2 + np.where(male, 2.0, 0.5) * rng.normal(size=N)
    law = learn(u, frame)
    new = pd.DataFrame({"age": [50.0, 70.0, 50.0], "sex": ["f", "f", "m"]})
    found = possible(law, new)[:, :, 0]
    np.testing.assert_allclose(found.mean(axis=1), [0, 2, 0], atol=3 * MOMENT)
    np.testing.assert_allclose(found.std(axis=1)[[0, 2]], [0.5, 2], rtol=0.15)
    nothing = learn(u, frame, columns=())
    assert np.ptp(possible(nothing, new).mean(axis=1)) == 0


def test_what_other_scores_say_is_used(frame, rng):
    other = rng.normal(size=N)
    u = 0.8 * other + 0.6 * rng.normal(size=N)
    known = np.column_stack([np.full(N, np.nan), other, np.full(N, np.nan)])
    law = learn(u, frame, known)
    assert law.known == (1,)
    found = possible(law, frame.iloc[:2], np.array([[np.nan, -1.0, np.nan], [np.nan, 1.0, np.nan]]))
    np.testing.assert_allclose(found.mean(axis=1)[:, 0], [-0.8, 0.8], atol=MOMENT)
    np.testing.assert_allclose(found.std(axis=1)[:, 0], 0.6, atol=MOMENT)


def test_scores_that_are_missing_together_keep_their_dependence(frame, rng):
    u = rng.normal(size=(N, 2)) @ np.array([[1.0, 0.9], [0.0, 0.4]])
    found = possible(learn(u, frame), frame.iloc[:1])[0]
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.cov(u.T, bias=True), rtol=1e-8)


def test_where_no_row_has_all_pictures_they_are_independent(frame, rng):
    u = rng.normal(size=(N, 2)) * [1.0, 3.0]
    u[: N // 2, 0] = np.nan
    u[N // 2 :, 1] = np.nan
    found = possible(learn(u, frame), frame.iloc[:1])[0]
    np.testing.assert_allclose(found.std(axis=0), [1, 3], rtol=0.1)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.35  # 64 nodes in a random order


def test_nobody_to_learn_from(frame):
    u = np.full((N, 1), np.nan)
    assert not possible(learn(u, frame), frame.iloc[:2]).any()


def test_case_weights(frame, rng):
    u, weight = rng.normal(size=N), (np.arange(N) % 2).astype(float)
    weighted = possible(learn(u, frame, weight=weight), frame.iloc[:1])
    odd = np.flatnonzero(weight)
    # The parts of the cross-validation differ, and decide for a constant in both.
    np.testing.assert_allclose(weighted, possible(learn(u[odd], frame.iloc[odd]), frame.iloc[:1]))


def test_sets_of_columns():
    assert absence_patterns(["a"]) == (("a",),)
    assert len(absence_patterns("abc")) == 7
    found = absence_patterns("abcde")
    assert len(found) == 5 + 5 + 1 and found[-1] == tuple("abcde")
