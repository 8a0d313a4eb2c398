"""Comparisons and checks of additive models against mgcv and R's glm."""

from __future__ import annotations

import numpy as np
import pytest
from _oracles import load_oracle

import semistruct as ss
from semistruct.inference.criteria import information_criteria
from semistruct.inference.smoothing_uncertainty import smoothing_uncertainty

pytestmark = pytest.mark.oracle

FAMILIES = {"gaussian": "normal", "poisson": "poisson", "binomial": "bernoulli", "Gamma": "gamma"}
SMALL, LARGE = "w + s(z, k=10)", "w + s(x, k=10) + s(z, k=10)"
EDF2 = 1e-3
# mgcv stops with the smoothing parameter of a straight line at 1e6, where 0.01 edf are left.
STOPPED = 0.011
# Smoothing parameters agree to the flatness of the criterion.
ESTIMATED = 2e-3


@pytest.fixture(scope="module")
def oracle():
    return load_oracle("D07_gam_comparisons")


@pytest.fixture(scope="module")
def models(oracle):
    return {
        name: [
            ss.SemiStructuredRegressor(formula, family).fit(
                oracle.data[["w", "x", "z"]], oracle.data[name].astype(float)
            )
            for formula in (SMALL, LARGE)
        ]
        for name, family in FAMILIES.items()
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_criteria(oracle, models, name):
    expected = oracle.expected[name]
    for i, model in enumerate(models[name]):
        marginal, problem = model.fit_.marginal, model.fit_.problem
        apart = marginal.dispersion_column is not None
        found = information_criteria(marginal, problem)
        edf2 = smoothing_uncertainty(marginal, problem).edf2.sum() - apart
        assert edf2 > expected["edf"][i] + 0.2 or marginal.edf1.sum() - marginal.edf.sum() < 0.01
        assert edf2 == pytest.approx(expected["edf2"][i], abs=EDF2 + STOPPED)
        # mgcv's gamma likelihood has the estimated dispersion, ours that of maximum likelihood.
        if name != "Gamma":
            assert model.aic_ == pytest.approx(expected["AIC"][i], abs=2 * (EDF2 + STOPPED))
            penalty = np.log(len(oracle.data)) * (EDF2 + STOPPED)
            assert model.bic_ == pytest.approx(expected["BIC"][i], abs=penalty)
        assert found.df_test - apart == pytest.approx(
            len(oracle.data) - expected["resid_df"][i], abs=EDF2 + STOPPED
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_anova_of_smooths(oracle, models, name):
    expected = oracle.expected[name]
    dispersion = expected["scale"] if name == "Gamma" else None
    row = ss.anova(*models[name], dispersion=dispersion).loc[2]
    assert row["df"] == pytest.approx(expected["df"], abs=EDF2 + STOPPED)
    # The statistic is a difference of two fits, and over the degrees of freedom above.
    assert row["statistic"] == pytest.approx(expected["statistic"], rel=0.03)
    assert row["p"] == pytest.approx(expected["p"], rel=0.03)


@pytest.mark.parametrize("name", FAMILIES)
def test_anova_without_penalties(oracle, name):
    expected, data = oracle.expected[name], oracle.data.assign(xz=lambda d: d.x * d.z)
    pair = [
        ss.SemiStructuredRegressor(formula, FAMILIES[name]).fit(data, data[name].astype(float))
        for formula in ("x", "x + w + xz")
    ]
    dispersion = expected["glm_dispersion"] if name in ("gaussian", "Gamma") else None
    row = ss.anova(*pair, dispersion=dispersion).loc[2]
    assert row["df"] == pytest.approx(2.0)
    np.testing.assert_allclose(row["statistic"], expected["glm_statistic"], rtol=1e-6)
    np.testing.assert_allclose(row["p"], expected["glm_p"], rtol=1e-6)
    if name == "gaussian":
        np.testing.assert_allclose(ss.anova(*pair).loc[2, "p"], expected["glm_p"], rtol=1e-6)
    if name != "Gamma":
        np.testing.assert_allclose([m.aic_ for m in pair], expected["glm_aic"], rtol=1e-8)
        np.testing.assert_allclose([m.bic_ for m in pair], expected["glm_bic"], rtol=1e-8)


@pytest.mark.parametrize("name", ["gaussian", "poisson", "binomial"])
def test_corrected_standard_errors(oracle, models, name):
    expected, model = oracle.expected[name], models[name][1]
    grid = oracle.data.iloc[:3].assign(w=0.3, x=[0.1, 0.5, 0.9], z=[0.2, 0.4, 0.8])
    one = model.contrast(grid, np.eye(3))
    np.testing.assert_allclose(one["se"], expected["se"], rtol=ESTIMATED)
    corrected = model.contrast(grid, np.eye(3), cov_type="corrected")
    assert (corrected["se"] > one["se"]).all()
    np.testing.assert_allclose(corrected["se"], expected["se_unconditional"], rtol=ESTIMATED)


@pytest.mark.parametrize("name", FAMILIES)
def test_concurvity(oracle, models, name):
    expected = oracle.expected[name]
    full = ss.concurvity(models[name][1])
    param = models[name][1].family_.param_names[0]
    pairs = ss.concurvity(models[name][1], full=False)
    for kind in ("worst", "estimate", "observed"):
        # mgcv's straight lines are not quite straight.
        tolerance = 2e-3 if kind == "observed" else 1e-6
        found = full.loc[param].loc[["s(x)", "s(z)"], kind]
        np.testing.assert_allclose(found, expected[f"concurvity_{kind}"][1:], rtol=tolerance)
        matrix = np.array(expected[f"pairs_{kind}"]).reshape(3, 3).T
        for i, j, first, second in ((1, 2, "s(x)", "s(z)"), (2, 1, "s(z)", "s(x)")):
            assert pairs.loc[(param, first, second), kind] == pytest.approx(
                matrix[j, i], rel=tolerance
            )


def test_basis_check(oracle, models):
    """Of the normal; other families have other residuals than mgcv's."""
    expected = oracle.expected["gaussian"]
    found = ss.check_basis(models["gaussian"][1], n_rep=2000)
    np.testing.assert_allclose(found["edf"], expected["k_edf"], atol=5e-3)
    assert (found["k"] == 9).all()
    np.testing.assert_allclose(found["k_index"], expected["k_index"], rtol=5e-3)
    # Two shares of 2,000 permutations.
    np.testing.assert_allclose(found["p"], expected["k_p"], atol=0.04)
