"""Deviances against sums over rows, and where there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import semistruct as ss

EXACT = 1e-8


@pytest.fixture
def table(rng):
    x = rng.normal(size=200)
    y = rng.poisson(np.exp(0.3 + 0.6 * x))
    return pd.DataFrame({"x": x, "y": y, "size": rng.uniform(0.5, 2, size=200)})


def poisson_deviance(y: np.ndarray, mu: np.ndarray, weight: np.ndarray) -> float:
    gain = stats.poisson.logpmf(y, np.where(y > 0, y, 1e-300)) - stats.poisson.logpmf(y, mu)
    return 2 * float(weight @ gain)


def test_poisson_with_weights_and_an_offset(table):
    weight = np.arange(200) % 3  # some rows are not there
    model = ss.SemiStructuredRegressor("x + offset(log(size))", "poisson")
    model.fit(table, table["y"], weight)
    found, size = model.deviance(), table["size"].to_numpy()
    y, mu = table["y"].to_numpy(), np.asarray(model.predict(table), dtype=float)
    level = (weight @ y) / (weight @ size)
    np.testing.assert_allclose(found.residual, poisson_deviance(y, mu, weight), rtol=EXACT)
    np.testing.assert_allclose(found.null, poisson_deviance(y, level * size, weight), rtol=EXACT)
    assert 0 < found.explained == 1 - found.residual / found.null


def test_normal_is_r_squared_also_beside_a_modelled_spread(table):
    y = np.log1p(table["y"].to_numpy())
    one = ss.SemiStructuredRegressor("x").fit(table, y)
    mu = np.asarray(one.predict(table), dtype=float)
    np.testing.assert_allclose(one.deviance().residual, ((y - mu) ** 2).sum(), rtol=EXACT)
    np.testing.assert_allclose(one.deviance().null, ((y - y.mean()) ** 2).sum(), rtol=EXACT)
    two = ss.SemiStructuredRegressor({"loc": "x", "scale": "x"}).fit(table, y)
    loc, log_scale = two.fit_.marginal.eta.T
    weight = np.exp(-2 * log_scale)
    level = np.average(y, weights=weight)
    np.testing.assert_allclose(two.deviance().residual, weight @ (y - loc) ** 2, rtol=EXACT)
    np.testing.assert_allclose(two.deviance().null, weight @ (y - level) ** 2, rtol=EXACT)


def test_a_row_may_have_its_optimum_at_infinity(table):
    few = table.iloc[:60]
    hurdle = ss.SemiStructuredRegressor("x", "hurdle_poisson").fit(few, few["y"])
    assert np.isfinite(hurdle.deviance().residual)
    assert 0 < hurdle.deviance().explained < 1


def test_a_partial_likelihood_has_no_saturated_model(table):
    model = ss.CoxPH("x").fit(table, ss.Surv(table["size"], np.ones(200)))
    with pytest.raises(ss.UnsupportedCombinationError, match="no saturated model"):
        model.deviance()
