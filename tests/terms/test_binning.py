"""Bins are narrow where the data are and where they are not, and keep their means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import semistruct as ss
from semistruct.terms import binning
from semistruct.terms.binning import Bins, binned, collect


@pytest.mark.parametrize("draw", ["uniform", "normal", "lognormal", "standard_cauchy"])
def test_bins_are_narrow_and_light(draw):
    x = getattr(np.random.default_rng(0), draw)(size=100_000)
    y = binned(x)
    values, index, count = np.unique(y, return_inverse=True, return_counts=True)
    assert 400 < len(values) <= 1000
    for number in (0, len(values) // 2, len(values) - 1):
        own = x[index == number]
        assert np.ptp(own) <= np.ptp(x) / 500 * (1 + 1e-9)
        assert own.mean() == pytest.approx(values[number], rel=1e-9)
    assert count.max() <= 2.2 * len(x) / 500
    assert y.mean() == pytest.approx(x.mean())


def test_what_there_is_nothing_to_bin_in():
    few = np.repeat([1.0, 2.0, 7.0], 20_000)
    np.testing.assert_array_equal(binned(few), few)
    np.testing.assert_array_equal(binned(np.full(5, 3.0)), np.full(5, 3.0))
    bad = np.array([1.0, np.nan, 2.0])
    assert binned(bad) is bad


@pytest.mark.parametrize("family", ["normal", "poisson"])
def test_large_tables_give_the_same_curves(monkeypatch, family):
    """The curves move by a small part of their standard errors."""
    rng = np.random.default_rng(1)
    n = 20_000
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": rng.choice(list("ab"), n)})
    eta = np.sin(2 * frame["x"]) * np.where(frame["g"] == "a", 1.0, 0.5)
    noise = rng.normal(size=n)
    frame["y"] = eta + noise if family == "normal" else rng.poisson(np.exp(eta)).astype(float)
    fits = []
    for limit in (n + 1, n):
        monkeypatch.setattr(binning, "_LARGE", limit)
        model = ss.SemiStructuredRegressor("y ~ g + s(x, by=g, k=12)", family=family)
        fits.append(model.fit(frame))
    exact, quick = fits
    assert np.abs(exact.params - quick.params).max() > 0
    assert (np.abs(exact.params - quick.params) < 0.2 * exact.bse).all()
    np.testing.assert_allclose(exact.edf_, quick.edf_, rtol=0.02)
    np.testing.assert_allclose(exact.bse, quick.bse, rtol=0.02)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("draw", ["uniform", "lognormal", "standard_cauchy"])
def test_bins_are_where_a_search_finds_them(draw, scale):
    x = getattr(np.random.default_rng(3), draw)(size=60_000)
    x = np.clip(x, -1e6, 1e6) * min(scale, 1e300 / np.abs(x).max())
    x[::7] = np.round(x[::7] / scale, 1) * scale  # many rows on or near edges
    found = collect(x)
    order = np.argsort(x, kind="stable")
    assert (np.diff(found.index[order]) >= 0).all()
    assert (np.diff(found.values) >= 0).all()
    np.testing.assert_array_equal(np.bincount(found.index), found.counts)
    assert found.counts.min() > 0
    gaps = np.flatnonzero(np.diff(found.index[order]))
    assert (x[order][gaps] < x[order][gaps + 1]).all()  # equal values share a bin


def test_a_column_is_binned_once():
    x = np.random.default_rng(0).normal(size=1000)
    bins = Bins()
    assert bins.column("x", x) is bins.column("x", x)
    assert bins.column("constant", np.ones(5)) is None


def test_curves_at_bins_share_their_rows():
    """Two predictors that read one column are gathered by one index."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60_000)})
    frame["y"] = frame["x"] + np.exp(0.3 * frame["x"]) * rng.normal(size=60_000)
    model = ss.SemiStructuredRegressor({"loc": "y ~ s(x)", "scale": "s(x)"}).fit(frame)
    first, second = (block.parts[-1].index for block in model.fit_.problem.blocks)
    assert first is second
