"""Plots of residuals: bands that cover, shares that add up, panels that do not overlap."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from _plot_models import check_nothing_overlaps
from scipy import stats

import semistruct as ss
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.inference.quantile_residuals import ProbabilityInterval
from semistruct.plots import (
    plot_diagnostics,
    plot_pit,
    plot_quantiles,
    plot_residuals,
    plot_rootogram,
)
from semistruct.plots.diagnostics import pit_shares, quantile_band, rootogram_counts


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"x": rng.uniform(size=300)})
    frame["y"] = np.sin(6 * frame.x) + rng.normal(size=300)
    frame["count"] = rng.poisson(np.exp(1 + frame.x))
    frame["yes"] = (rng.uniform(size=300) < frame.x) * 1.0
    cases = {"normal": "y", "poisson": "count", "bernoulli": "yes"}
    return {
        family: ss.SemiStructuredRegressor(f"{y} ~ s(x)", family).fit(frame)
        for family, y in cases.items()
    }


@pytest.mark.parametrize("n", [30, 800])
def test_band_covers_whole_samples(n):
    expected, lower, upper = quantile_band(n)
    ranks = np.round(stats.norm.cdf(expected) * n + 0.5).astype(int)
    rng = np.random.default_rng(9)
    ordered = np.sort(rng.normal(size=(1000, n)), axis=1)[:, ranks - 1]
    inside = ((ordered > lower) & (ordered < upper)).all(axis=1).mean()
    # Two simulations, of 1,000 and 2,000 samples.
    assert inside == pytest.approx(0.95, abs=0.025)
    wider = quantile_band(n, 0.99)
    assert (wider[1] < lower).all() and (wider[2] > upper).all()
    with pytest.raises(SpecificationError, match="level"):
        quantile_band(n, 95)


def test_shares_of_transforms():
    u = np.random.default_rng(0).uniform(size=500)
    found = pit_shares(ProbabilityInterval(u, u), 10)
    np.testing.assert_allclose(found, np.histogram(u, 10, (0, 1))[0] / 500)
    one = pit_shares(ProbabilityInterval(np.array([0.1]), np.array([0.6])), 10)
    np.testing.assert_allclose(one, [0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0, 0, 0], atol=1e-12)


def test_rootogram_counts(models):
    values, observed, expected = rootogram_counts(models["poisson"].fit_)
    problem, eta = models["poisson"].fit_.problem, models["poisson"].fit_.marginal.eta
    np.testing.assert_array_equal(observed, np.bincount(problem.y.astype(int)))
    mass = stats.poisson.pmf(values[:, None], np.exp(eta[:, 0]))
    np.testing.assert_allclose(expected, mass.sum(axis=1), rtol=1e-10)
    with pytest.raises(UnsupportedCombinationError, match="for counts"):
        rootogram_counts(models["normal"].fit_)


def test_large_counts_are_joined():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"y": rng.poisson(60, 100)})
    model = ss.SemiStructuredRegressor("y ~ 1", "poisson").fit(frame)
    values, observed, expected = rootogram_counts(model.fit_)
    assert values[-1] == 40 and observed.sum() == 100 and expected.sum() == pytest.approx(100)
    assert "40 stands for all" in plot_rootogram(model.fit_).texts[0].get_text().replace("\n", " ")


@pytest.mark.parametrize("family", ["normal", "poisson", "bernoulli"])
def test_the_page(models, family):
    before = dict(mpl.rcParams)
    axes = models[family].plot_diagnostics(random_state=1)
    assert dict(mpl.rcParams) == before
    assert axes.shape == (2, 2)
    titles = [ax.get_title(loc="left") for ax in axes.ravel()]
    third = "rootogram" if family == "poisson" else "probability transform"
    assert titles == ["normal quantiles", "worm plot", third, "residuals against fitted"]
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in axes.ravel())
    check_nothing_overlaps(axes[0, 0].figure)
    again = plot_diagnostics(models[family].fit_, random_state=1)
    dots = [page[1, 1].lines[1].get_ydata() for page in (axes, again)]
    np.testing.assert_array_equal(*dots)
    if family != "normal":
        other = plot_diagnostics(models[family].fit_, random_state=2)
        assert (other[1, 1].lines[1].get_ydata() != dots[0]).any()


def test_quantiles_of_large_samples_and_of_none():
    residuals = np.random.default_rng(1).normal(size=20_000)
    ax = plot_quantiles(residuals)
    dots = ax.lines[-1].get_ydata()
    assert len(dots) == 5000 and dots.min() == residuals.min() and dots.max() == residuals.max()
    with pytest.raises(SpecificationError, match="two or more"):
        plot_quantiles(np.array([np.nan, 1.0]))


def test_axes_given_are_drawn_on(models):
    _, ax = mpl.pyplot.subplots()
    u = np.linspace(0.01, 0.99, 50)
    assert plot_pit(ProbabilityInterval(u, u), bins=5, ax=ax) is ax and len(ax.patches) == 5
    _, other = mpl.pyplot.subplots()
    assert plot_residuals(u, u, name="fitted mean", ax=other) is other
    assert other.get_xlabel() == "fitted mean"


def test_models_of_hazards_are_refused(models):
    frame = models["normal"].fit_.frame
    y = ss.Surv(np.arange(1.0, 301.0), np.ones(300, dtype=bool))
    with pytest.raises(UnsupportedCombinationError, match="no distribution function"):
        ss.CoxPH("x").fit(frame, y).plot_diagnostics()
