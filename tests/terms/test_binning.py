"""Bins are narrow where the data are and where they are not, and keep their means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import semistruct as ss
from semistruct.terms import binning
from semistruct.terms.binning import binned


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
