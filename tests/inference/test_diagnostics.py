"""Concurvity in limits where it is known; bases that are too small, and those that are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import semistruct as ss
from semistruct.exceptions import DataError, SpecificationError
from semistruct.inference.diagnostics import basis_check, standardised_scores


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(12)
    n = 400
    frame = pd.DataFrame({"x": rng.uniform(size=n), "w": rng.normal(size=n)})
    frame["z"] = rng.uniform(size=n)
    frame["near"] = frame.x + 0.01 * rng.normal(size=n)
    frame["g"] = rng.choice(["a", "b"], n)
    frame["y"] = np.sin(14 * frame.x) + 0.3 * rng.normal(size=n)
    frame["count"] = rng.poisson(np.exp(1 + np.sin(14 * frame.x)))
    return frame


def fitted(formula, table, family="normal"):
    return ss.SemiStructuredRegressor(formula, family).fit(table)


def test_concurvity_of_near_copies_and_of_strangers(table):
    found = ss.concurvity(fitted("y ~ s(x) + s(near) + s(z)", table)).loc["loc"]
    assert (found.loc[["s(x)", "s(near)"], "worst"] > 0.99).all()
    assert found.loc["s(z)", "worst"] < 0.4
    assert ((found >= 0) & (found <= 1)).all(axis=None)
    assert (found["observed"] <= found["worst"] + 1e-12).all()
    pairs = ss.concurvity(fitted("y ~ s(x) + s(near) + s(z)", table), full=False)
    assert pairs.loc[("loc", "s(x)", "s(near)"), "worst"] > 0.99
    assert pairs.loc[("loc", "s(x)", "s(z)"), "worst"] < 0.4
    assert len(pairs) == 6


def test_concurvity_of_a_line_is_a_squared_correlation(table):
    """A straight column beside one smooth: the share that least squares on its columns explains."""
    model = fitted("y ~ w + s(x, k=6)", table)
    X = model.fit_.problem.blocks[0].dense()
    own, rest = X[:, 1], X[:, [0, *range(2, X.shape[1])]]
    expected = rest @ np.linalg.lstsq(rest, own, rcond=None)[0]
    found = ss.concurvity(model).loc[("loc", "parametric")]
    np.testing.assert_allclose(found, (expected @ expected) / (own @ own), rtol=1e-9)


def test_concurvity_takes_the_predictors_apart(table):
    found = ss.concurvity(fitted({"loc": "y ~ s(x) + s(near)", "scale": "s(x)"}, table))
    assert found.loc[("scale", "s(x)"), "worst"] < 1e-12  # nothing but the intercept beside it
    assert ss.concurvity(fitted("y ~ x", table)).empty
    with pytest.raises(SpecificationError, match="got int"):
        ss.concurvity(3)


@pytest.mark.parametrize(("response", "family"), [("y", "normal"), ("count", "poisson")])
def test_a_basis_that_is_too_small(table, response, family):
    small = ss.check_basis(fitted(f"{response} ~ s(x, k=4) + s(z)", table, family))
    large = ss.check_basis(fitted(f"{response} ~ s(x, k=25) + s(z)", table, family))
    name = small.index[0][0]
    assert small.loc[(name, "s(x)"), "p"] < 0.01 and small.loc[(name, "s(x)"), "k_index"] < 0.9
    assert large.loc[(name, "s(x)"), "p"] > 0.05 and small.loc[(name, "s(z)"), "p"] > 0.05
    assert small.loc[(name, "s(x)"), "k"] == 3


def test_the_scale_has_residuals_of_its_own():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.uniform(size=600)})
    frame["y"] = rng.normal(size=600) * np.exp(np.sin(14 * frame.x))
    model = fitted({"loc": "y ~ s(x)", "scale": "s(x, k=4)"}, frame)
    found = ss.check_basis(model)
    assert found.loc[("scale", "s(x)"), "p"] < 0.01 < found.loc[("loc", "s(x)"), "p"]


def test_surfaces_groups_and_survival(table):
    model = fitted("y ~ te(x, z, k=4) + s(w, by=g) + re(g)", table)
    found = ss.check_basis(model, n_rep=200).loc["loc"]
    assert list(found.index[:1]) == ["te(x,z)"] and len(found) == 3
    assert found.loc["te(x,z)", "p"] < 0.05
    assert found["k_index"].iloc[1:].between(0.7, 1.3).all()
    time = np.random.default_rng(0).exponential(np.exp(-2 * np.sin(14 * table.x)))
    cox = ss.CoxPH("s(x, k=4) + s(z)").fit(table, ss.Surv(time, np.ones(len(table), dtype=bool)))
    found = ss.check_basis(cox).loc["log_hazard"]
    assert found.loc["s(x)", "p"] < 0.05 < found.loc["s(z)", "p"]


def test_scores_of_the_normal_are_residuals(table):
    weight = np.where(table.z < 0.9, 2.0, 0.0)
    model = ss.SemiStructuredRegressor("y ~ s(x)").fit(table, sample_weight=weight)
    marginal, problem = model.fit_.marginal, model.fit_.problem
    found = standardised_scores(model.fit_)[:, 0]
    sigma = np.sqrt(marginal.dispersion)
    expected = np.sqrt(2) * (problem.y - marginal.eta[:, 0]) / sigma
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_seed_subsample_and_missing_rows(table):
    model = fitted("y ~ s(x, k=4)", table)
    one, two, other = (ss.check_basis(model, random_state=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, two)
    assert one["k_index"].iloc[0] != other["k_index"].iloc[0]
    few = ss.check_basis(model, subsample=100)
    assert few["k_index"].iloc[0] != one["k_index"].iloc[0]
    assert ss.check_basis(fitted("y ~ x", table)).empty
    with pytest.raises(DataError, match="training rows"):
        basis_check(replace(model.fit_, frame=None))
