"""Predictors of new rows from stored coefficients and projections, against sums written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.design import build_design
from semistruct.predictor import Predictor, ScoreColumn
from semistruct.terms import parse_formula

EXACT = 1e-12  # the same sum in another order

N = 50


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "z": rng.uniform(size=N),
            "g": rng.choice(list("ab"), N),
            "w": rng.uniform(1, 2, N),
        },
        index=np.arange(N)[::-1],
    )
    assert frame["x"].std() > 0
    return frame


@pytest.fixture
def scores():
    return np.random.default_rng(1).normal(size=(N, 3))


@pytest.fixture
def predictor(frame):
    rng = np.random.default_rng(2)
    designs = tuple(
        build_design(parse_formula(text).terms, frame)
        for text in ("x + g + s(z, k=6) + offset(w)", "x - 1")
    )
    columns = tuple(
        ScoreColumn(label, k, rng.normal(size=(designs[k].p, 1)), center, gamma)
        for label, k, center, gamma in [
            ("cnn(a)", 0, 0.0, 0.7),
            ("cnn(b)", 1, 0.3, 1.1),
            ("cnn(c)", 0, 0.0, 0.0),
        ]
    )
    return Predictor(designs, tuple(rng.normal(size=design.p) for design in designs), columns)


def by_hand(predictor, frame, scores):
    eta = []
    for k, design in enumerate(predictor.designs):
        X = design.block(frame).dense()
        value = X @ predictor.beta[k] + (frame["w"].to_numpy() if k == 0 else 0.0)
        for t, column in enumerate(predictor.columns):
            if column.param == k:
                own = scores[:, t] - X @ column.G[:, 0] - column.center
                value = value + column.gamma * np.where(np.isnan(scores[:, t]), 0.0, own)
        eta.append(value)
    return np.column_stack(eta)


def test_the_formula(predictor, frame, scores):
    got = predictor.eta(frame, scores)
    np.testing.assert_allclose(got, by_hand(predictor, frame, scores), rtol=EXACT, atol=EXACT)
    assert (got.std(axis=0) > 0).all()


def test_contributions_sum_to_the_predictors(predictor, frame, scores):
    parts = predictor.contributions(frame, ("loc", "scale"), scores)
    assert parts.index.equals(frame.index)
    assert list(parts["loc"]) == ["Intercept", "x", "g", "s(z)", "offset", "cnn(a)", "cnn(c)"]
    assert list(parts["scale"]) == ["x", "cnn(b)"]
    eta = predictor.eta(frame, scores)
    for k, param in enumerate(("loc", "scale")):
        np.testing.assert_allclose(parts[param].sum(axis=1), eta[:, k], rtol=1e-10, atol=EXACT)


def test_a_missing_picture_contributes_nothing(predictor, frame, scores):
    holes = scores.copy()
    holes[[3, 9], 0] = np.nan
    holes[4] = np.nan
    got = predictor.eta(frame, holes)
    np.testing.assert_allclose(got, by_hand(predictor, frame, holes), rtol=EXACT, atol=EXACT)
    parts = predictor.contributions(frame, ("loc", "scale"), holes)
    assert (parts["loc", "cnn(a)"].iloc[[3, 4, 9]] == 0).all()
    assert parts["scale", "cnn(b)"].iloc[4] == 0 and parts["scale", "cnn(b)"].iloc[3] != 0
    full = predictor.eta(frame, scores)
    others = np.setdiff1d(np.arange(N), [3, 4, 9])
    np.testing.assert_array_equal(got[others], full[others])


def test_without_scores_the_deep_terms_contribute_nothing(predictor, frame):
    nothing = np.full((N, 3), np.nan)
    np.testing.assert_array_equal(predictor.eta(frame), predictor.eta(frame, nothing))
    assert not predictor.contributions(frame, ("loc", "scale"))["loc", "cnn(a)"].any()


def test_rows_stand_alone(predictor, frame, scores):
    together = predictor.eta(frame, scores)
    order = np.random.default_rng(3).permutation(N)
    shuffled = predictor.eta(frame.iloc[order], scores[order])
    np.testing.assert_allclose(shuffled, together[order], rtol=EXACT, atol=EXACT)
    alone = np.vstack([predictor.eta(frame.iloc[[i]], scores[[i]]) for i in range(N)])
    np.testing.assert_allclose(alone, together, rtol=EXACT, atol=EXACT)
    assert predictor.eta(frame.iloc[:0], scores[:0]).shape == (0, 2)
