"""Standard errors of predictions, against statsmodels and written-out derivatives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

import semistruct as ss
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError

N = 300
DIFFERENCES = 1e-5  # of the curvature of a mean over a thousandth of its standard error


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.uniform(size=N), "z": rng.normal(size=N)})
    frame["count"] = rng.poisson(np.exp(0.3 + frame["x"] - 0.2 * frame["z"])).astype(float)
    frame["time"] = rng.weibull(1.5, N) * np.exp(frame["x"])
    frame["event"] = rng.uniform(size=N) < 0.7
    return frame


@pytest.mark.parametrize(("family", "glm"), [("poisson", "Poisson"), ("normal", "Gaussian")])
def test_means_of_a_generalised_linear_model(table, family, glm):
    found = ss.SemiStructuredRegressor("count ~ x + z", family=family).fit(table)
    shown = found.predict(table[:20], se=True)
    np.testing.assert_allclose(shown["mean"], found.predict(table[:20]))
    X = sm.add_constant(table[["x", "z"]])
    theirs = sm.GLM(table["count"], X, getattr(sm.families, glm)()).fit()
    expected = theirs.get_prediction(X[:20]).summary_frame()["mean_se"]
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(shown["se"], expected, rtol=DIFFERENCES)


def test_a_mean_of_two_parameters(table):
    """The mean of the lognormal, exp(loc + scale^2 / 2), has a gradient in both."""
    model = ss.SemiStructuredRegressor({"loc": "time ~ s(x)", "scale": "z"}, family="lognormal")
    model.fit(table)
    shown = model.predict(table[:5], se=True)
    scale = model.predict_params(table[:5])["scale"].to_numpy()
    X = [design.block(table[:5]).dense() for design in model.fit_.problem.designs]
    J = shown["mean"].to_numpy()[:, None] * np.hstack([X[0], X[1] * scale[:, None] ** 2])
    V = model.fit_.marginal.V  # of all coefficients, those of the curve among them
    expected = np.sqrt(np.einsum("ij,jk,ik->i", J, V, J))
    np.testing.assert_allclose(shown["se"], expected, rtol=DIFFERENCES)


def test_band_of_a_lifetime(table):
    """Exponential: ``-log S = t exp(-eta)``, so that the error of ``log S`` is ``H se(eta)``."""
    model = ss.SemiStructuredRegressor("x + z", family="exponential")
    model.fit(table, ss.Surv(table["time"], table["event"]))
    new, times, z = table[:4], [0.5, 2.0], stats.norm.ppf(0.95)
    X = model.fit_.problem.designs[0].block(new).dense()
    se = np.sqrt(np.einsum("ij,jk,ik->i", X, model.cov_params().to_numpy(), X))
    hazard = model.predict_cumulative_hazard(new, times)
    for transform, lower in (
        ("log", np.exp(-hazard - z * hazard * se)),
        ("log-log", np.exp(-hazard * np.exp(z * se))),
        ("plain", np.exp(-hazard) * (1 - z * hazard * se)),
    ):
        band = model.predict_survival_function(new, times, level=0.9, transform=transform)
        np.testing.assert_allclose(band.xs("estimate", axis=1, level=1), np.exp(-hazard))
        np.testing.assert_allclose(band.xs("lower", axis=1, level=1), lower, rtol=DIFFERENCES)
    at_start = model.predict_survival_function(new, [0.0], level=0.9)
    assert (at_start == 1.0).all(axis=None)
    everything = model.predict_survival_function(new)
    np.testing.assert_array_equal(everything.index, np.unique(table["time"][table["event"]]))
    assert model.predict_cumulative_hazard(new).shape == everything.shape


def test_what_has_no_standard_errors(table):
    model = ss.SemiStructuredRegressor("count ~ x").fit(table)
    with pytest.raises(SpecificationError, match="level"):
        model.predict_survival_function(table[:2], [1.0], level=95)
    deep = ss.SemiStructuredRegressor(
        "count ~ x + mlp(z)", n_folds=1, n_repeats=1, max_epochs=1, gate=False, progress=False
    ).fit(table)
    with pytest.raises(UnsupportedCombinationError, match="deep"):
        deep.predict(table[:2], se=True)
