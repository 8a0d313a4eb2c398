"""Comparisons and checks of additive models against mgcv and R's glm."""

from __future__ import annotations

import numpy as np
import pytest
from _fits import fit_formula
from _oracles import load_oracle

import semistruct as ss
from semistruct.inference.criteria import information_criteria
from semistruct.inference.smoothing_uncertainty import smoothing_uncertainty

pytestmark = pytest.mark.oracle

FAMILIES = {"gaussian": "normal", "poisson": "poisson", "binomial": "bernoulli", "Gamma": "gamma"}
SMALL, LARGE = "w + s(z, k=10)", "w + s(x, k=10) + s(z, k=10)"
# edf2 contains a term that depends on the root of the covariance matrix; see its docstring.
EDF2 = 0.025
EDF2_OTHERS = 0.1
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
        # R's Gamma()$aic has the deviance over n for the dispersion, not its maximum likelihood.
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
    assert row["df"] == pytest.approx(expected["df"], abs=EDF2)
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
    # The root again: a part of the correction, which itself is a few percent.
    np.testing.assert_allclose(corrected["se"], expected["se_unconditional"], rtol=0.045)


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


CASES = [
    ("D01_gam_gaussian_mcycle_bases", "ps20_REML", "s(times, k=20)", "accel", "normal"),
    ("D01_gam_gaussian_mcycle_bases", "cr20_ML", "s(times, bs='cr', k=20)", "accel", "normal"),
    (
        "D03_gam_binomial_wesdr",
        "logit_ps",
        "s(dur, k=12) + s(gly, k=12) + s(bmi, bs='cr', k=10)",
        "ret",
        "bernoulli",
    ),
    (
        "D06_gam_nb_re_epil",
        "poisson_re",
        "trt + lbase + lage + V4 + re(subject)",
        "y",
        "poisson",
    ),
]


@pytest.mark.parametrize(("case", "key", "formula", "response", "family"), CASES)
def test_edf2_of_other_data(case, key, formula, response, family):
    oracle = load_oracle(case)
    expected = oracle.expected[key]
    method = {"REML": "reml", "ML": "ml"}[expected["method"]]
    problem, fit = fit_formula(formula, oracle.data, oracle.data[response], family, method=method)
    apart = fit.dispersion_column is not None
    edf2 = smoothing_uncertainty(fit, problem).edf2.sum() - apart
    assert edf2 > expected["edf_total"]
    assert edf2 == pytest.approx(expected["edf2_total"], abs=EDF2_OTHERS)
    aic = information_criteria(fit, problem).aic
    assert aic == pytest.approx(expected["AIC"], abs=2 * EDF2_OTHERS)
