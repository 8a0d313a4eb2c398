"""Contrasts and marginal means against statsmodels; the delta method against differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

import semistruct as ss
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.inference.marginal import grid_prediction, marginal_prediction

# Slopes in a predictor are central differences.
DELTA = 1e-6


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(2)
    n = 240
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": rng.choice(["a", "b", "c"], n)})
    frame["d"] = rng.integers(0, 2, n)
    frame["y"] = frame.x + (frame.g == "c") + rng.normal(size=n)
    frame["event"] = (rng.uniform(size=n) < 1 / (1 + np.exp(-frame.x - 0.5 * frame.d))) * 1.0
    frame["positive"] = np.exp(frame.y)
    return frame


@pytest.fixture(scope="module")
def normal(table):
    return ss.SemiStructuredRegressor("y ~ x + g").fit(table)


def test_contrasts_are_t_tests(table, normal):
    grid = pd.DataFrame({"x": [0.0, 1.0, 0.0], "g": ["a", "a", "c"]}, index=["base", "up", "c"])
    found = normal.contrast(grid, level=0.9)
    assert list(found.index) == ["up - base", "c - base", "c - up"]
    expected = smf.ols("y ~ x + g", table).fit().t_test(["x = 0", "g[T.c] = 0", "g[T.c] - x = 0"])
    np.testing.assert_allclose(found["estimate"], expected.effect, rtol=1e-8)
    np.testing.assert_allclose(found["se"], expected.sd, rtol=1e-8)
    np.testing.assert_allclose(found["p"], expected.pvalue, rtol=1e-6)
    np.testing.assert_allclose(found[["lower", "upper"]], expected.conf_int(0.1), rtol=1e-7)


def test_contrasts_by_name_and_by_number(table, normal):
    grid = pd.DataFrame({"x": [0.0, 1.0, 2.0], "g": "a"})
    reference = normal.contrast(grid, "reference")
    assert list(reference.index) == ["1 - 0", "2 - 0"]
    mean = normal.contrast(grid, {"mean": [1 / 3, 1 / 3, 1 / 3], "slope": [-0.5, 0, 0.5]})
    assert mean.loc["slope", "estimate"] == pytest.approx(normal.params["loc", "x"])
    one = normal.contrast(grid, [0, 1, 0])
    assert one["estimate"].iloc[0] == pytest.approx(normal.predict(grid)[1])
    sandwich = normal.contrast(grid, "reference", cov_type="sandwich")
    assert (sandwich["se"] != reference["se"]).all()


def test_simultaneous_contrasts_of_a_balanced_layout_are_tukeys():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(list("abcd"), 12)})
    frame["y"] = rng.normal(size=48)
    model = ss.SemiStructuredRegressor("y ~ g").fit(frame)
    found = model.marginal_means("g", contrasts="pairwise", simultaneous=True)
    expected = stats.tukey_hsd(*[frame.y[frame.g == g] for g in "abcd"])
    half = expected.confidence_interval().high[1, 0] - expected.statistic[1, 0]
    # 10,000 simulated draws.
    np.testing.assert_allclose(found["upper"] - found["estimate"], half, rtol=0.02)
    pairs = [(1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2)]
    np.testing.assert_allclose(found["p"], [expected.pvalue[i] for i in pairs], atol=0.02)
    narrow = model.marginal_means("g", contrasts="pairwise")
    assert (narrow["upper"] < found["upper"]).all() and (narrow["p"] < found["p"]).all()


def test_marginal_means_of_probabilities_are_average_effects(table):
    model = ss.SemiStructuredRegressor("event ~ x + d", "bernoulli").fit(table)
    found = model.marginal_means({"d": [0, 1]}, contrasts="pairwise").iloc[0]
    fit = smf.logit("event ~ x + d", table).fit(disp=0)
    effect = fit.get_margeff(at="overall", dummy=True)
    np.testing.assert_allclose(found["estimate"], effect.margeff[1], rtol=DELTA)
    np.testing.assert_allclose(found["se"], effect.margeff_se[1], rtol=DELTA)
    means = model.marginal_means("d")
    for value in (0, 1):
        assert means.loc[value, "estimate"] == pytest.approx(
            fit.predict(table.assign(d=value)).mean(), rel=1e-6
        )
    assert "p" not in means and means.loc[1, "estimate"] - means.loc[0, "estimate"] == (
        pytest.approx(found["estimate"])
    )


def test_marginal_means_weight_rows(table):
    weight = np.where(table.x > 0, 2.0, 0.0)
    model = ss.SemiStructuredRegressor("event ~ x + d", "bernoulli").fit(
        table, sample_weight=weight
    )
    kept = table[table.x > 0]
    found = model.marginal_means({"d": [1]})["estimate"].iloc[0]
    assert found == pytest.approx(model.predict(kept.assign(d=1)).mean())
    given = model.marginal_means({"d": [1]}, X=table)["estimate"].iloc[0]
    assert given == pytest.approx(model.predict(table.assign(d=1)).mean()) and given != found


@pytest.mark.parametrize("scale", ["link", "parameter", "response"])
def test_gradients_are_derivatives(table, scale):
    model = ss.SemiStructuredRegressor(
        {"loc": "positive ~ s(x) + g", "scale": "x"}, "lognormal"
    ).fit(table)
    fit, grid = model.fit_, table.iloc[:7]
    param = None if scale == "response" else "scale"
    found = grid_prediction(fit, grid, scale, param)
    means = marginal_prediction(
        fit, {"g": ["a", "c"]}, fit.frame, fit.problem.sample_weight, scale, param
    )
    beta = fit.marginal.beta
    for j in (0, 2, beta.size - 1):
        h = np.zeros(beta.size)
        h[j] = 1e-5
        up, down = (_moved(fit, beta + side * h) for side in (1, -1))
        slope = (
            grid_prediction(up, grid, scale, param).value
            - grid_prediction(down, grid, scale, param).value
        ) / 2e-5
        np.testing.assert_allclose(found.gradient[:, j], slope, rtol=1e-5, atol=1e-8)
        args = ({"g": ["a", "c"]}, fit.frame, fit.problem.sample_weight, scale, param)
        slope = (
            marginal_prediction(up, *args).value - marginal_prediction(down, *args).value
        ) / 2e-5
        np.testing.assert_allclose(means.gradient[:, j], slope, rtol=1e-5, atol=1e-8)


def _moved(fit, beta):
    return replace(fit, marginal=replace(fit.marginal, beta=beta))


def test_several_columns_and_categories(table):
    frame = table.assign(g=pd.Categorical(table.g, categories=["c", "b", "a"]))
    model = ss.SemiStructuredRegressor("y ~ x + g").fit(frame)
    found = model.marginal_means({"g": ["a", "c"], "x": [0.0, 1.0]})
    assert found.index.names == ["g", "x"] and len(found) == 4
    assert list(model.marginal_means("g").index) == ["c", "b", "a"]
    assert found.loc[("a", 1.0), "estimate"] - found.loc[("a", 0.0), "estimate"] == pytest.approx(
        model.params["loc", "x"]
    )


def test_refusals(table, normal):
    with pytest.raises(DataError, match="'d'"):
        normal.marginal_means("d")
    with pytest.raises(DataError, match="no predictor reads a column 'd'"):
        normal.marginal_means({"d": [1]})
    with pytest.raises(SpecificationError, match="say which"):
        normal.marginal_means("x")
    with pytest.raises(SpecificationError, match="scale must be one of"):
        normal.marginal_means("g", scale="odds")
    with pytest.raises(SpecificationError, match="is the mean of the response"):
        normal.marginal_means("g", param="scale")
    with pytest.raises(SpecificationError, match="contrasts must be 'pairwise'"):
        normal.marginal_means("g", contrasts="all")
    with pytest.raises(SpecificationError, match="each of the 3 predictions"):
        normal.marginal_means("g", contrasts=[1, -1])
    with pytest.raises(SpecificationError, match="got one"):
        normal.contrast(table.iloc[:1])
    with pytest.raises(SpecificationError, match="level"):
        normal.contrast(table.iloc[:2], level=95)
    categories = ss.SemiStructuredRegressor("y ~ g").fit(table.assign(g=pd.Categorical(table.g)))
    with pytest.raises(DataError, match="no level of 'g'"):
        categories.marginal_means({"g": ["z"]})
    cox = ss.CoxPH("x + g").fit(table, ss.Surv(table.positive, np.ones(len(table), dtype=bool)))
    with pytest.raises(UnsupportedCombinationError, match="scale='link'"):
        cox.marginal_means("g")
    log_ratio = cox.marginal_means("g", contrasts="reference", scale="link")
    assert log_ratio["estimate"].iloc[0] == pytest.approx(cox.params["log_hazard", "g[T.b]"])
