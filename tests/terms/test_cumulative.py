"""Cumulative effects: sums by hand, windows, bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import semistruct as ss
from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms import Cumulative, parse_formula

AT = (1.0, 2.0, 4.0)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"t": rng.integers(0, 9, 40).astype(float), "dose": ss.TensorArray(rng.random((40, 3)))}
    )


@pytest.mark.parametrize("window", [(0, np.inf), (1, 3), (2, 2)])
def test_rows_are_sums_over_the_window(frame, window):
    basis = Cumulative("dose", AT, "t", window, k=6).build(frame)
    X, doses = basis.design(frame).dense(), frame["dose"].array.batch()
    for i in range(40):
        expected = np.zeros(6)
        for j, (a, step) in enumerate(zip(AT, (1, 1, 2), strict=True)):
            lag = frame["t"][i] - a
            if window[0] <= lag <= window[1]:
                expected += doses[i, j] * step * basis.weights([lag])[0]
        assert_allclose(X[i], expected, atol=1e-12)


def test_a_constant_weight_is_the_total_exposure(frame):
    basis = Cumulative("dose", AT, "t", k=6).build(frame)
    total = (frame["dose"].array.batch() * (1, 1, 2) * (frame[["t"]].to_numpy() >= AT)).sum(axis=1)
    assert_allclose(basis.design(frame).matvec(np.ones(6)), total)
    assert_allclose(basis.penalties[0] @ np.ones(6), 0.0, atol=1e-12)


def test_a_known_weight_function_is_found():
    rng = np.random.default_rng(1)
    n, at = 3000, np.arange(12.0)
    doses = rng.exponential(size=(n, 12))
    frame = pd.DataFrame({"t": rng.integers(4, 15, n).astype(float), "dose": ss.TensorArray(doses)})
    lags = frame[["t"]].to_numpy() - at
    h = np.where(lags >= 0, np.exp(-0.4 * np.maximum(lags, 0)), 0.0)
    y = (h * doses).sum(axis=1) + rng.normal(0, 0.3, n)
    model = ss.SemiStructuredRegressor(ss.cumulative("dose", at=tuple(at), time="t", k=10)).fit(
        frame, y
    )
    basis = model.fit_.problem.designs[0].bases[-1]
    beta = model.fit_.marginal.beta[model.fit_.problem.designs[0].slices[basis.label]]
    grid = np.arange(0.0, 12.0)
    assert_allclose(basis.weights(grid) @ beta, np.exp(-0.4 * grid), atol=0.06)


def test_the_formula_says_the_same():
    text = "cumulative(dose, at=(1.0, 2.0, 4.0), time='t', window=(1.0, 1e300), k=6)"
    term = parse_formula(text).terms.structured[0]
    assert parse_formula(term.text()).terms.structured[0] == term


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"at": (2, 1)}, "increasing"),
        ({"at": ()}, "increasing"),
        ({"at": AT, "window": (3, 1)}, "shortest"),
        ({"at": AT, "window": 3}, "shortest"),
        ({"at": AT, "lam": -1}, "lam"),
    ],
)
def test_options_that_make_no_sense(options, match):
    with pytest.raises(SpecificationError, match=match):
        ss.cumulative("dose", time="t", **options)


def test_histories_that_cannot_be_used(frame):
    term = Cumulative("dose", AT, "t")
    with pytest.raises(DataError, match="does not have"):
        term.build(frame.drop(columns="dose"))
    with pytest.raises(DataError, match="TensorArray"):
        term.build(frame.assign(dose=1.0))
    with pytest.raises(DataError, match="3 times"):
        term.build(frame.assign(dose=ss.TensorArray(np.ones((40, 2)))))
    with pytest.raises(DataError, match="zero in every row"):
        Cumulative("dose", AT, "t", (50, 60)).build(frame)
    holes = frame.copy()
    holes.loc[3, "dose"] = None
    with pytest.raises(DataError, match="row 3"):
        term.build(holes)
