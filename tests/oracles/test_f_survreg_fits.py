"""Accelerated failure time models against survreg() of R's survival."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _oracles import load_oracle

import semistruct as ss

FAMILIES = {
    "weibull": "weibull",
    "exponential": "exponential",
    "lognormal": "lognormal",
    "loglogistic": "log_logistic",
    "gaussian": "normal",
    "logistic": "logistic",
}
LOG_SCALE = ("lognormal", "normal", "logistic")  # parametrised by the scale, not by its inverse


def compare(model, expected, family):
    """Coefficients, scale, covariances, p-values and the two log-likelihoods."""
    first = model.family_.param_names[0]
    np.testing.assert_allclose(model.params[first], list(expected["coef"].values()), rtol=1e-6)
    null, last = expected["loglik"]
    assert model.loglik_ == pytest.approx(last, abs=1e-7)
    sign = np.ones(len(model.params))
    if family in ("weibull", "log_logistic"):  # the shape is the inverse of R's scale
        sign[model.params.index.get_level_values(0) != first] = -1.0
    if len(sign) > len(expected["coef"]):
        scales = (sign * model.params)[len(expected["coef"]) :]
        theirs = np.log(np.atleast_1d(expected["scale"]))
        np.testing.assert_allclose(np.cumsum(scales), theirs, rtol=1e-6, atol=1e-7)
    V = model.cov_params().to_numpy() * np.outer(sign, sign)
    J = cumulated(len(expected["coef"]), len(sign))
    np.testing.assert_allclose(J @ V @ J.T, expected["vcov"], rtol=2e-5, atol=1e-10)
    se = np.sqrt(np.diag(J @ V @ J.T))
    np.testing.assert_allclose(se, expected["se_coef_logscale"], rtol=1e-5)
    if J.trace() == J.sum():
        assert model.loglik_null_ == pytest.approx(null, abs=1e-7)
        np.testing.assert_allclose(model.bse, expected["table"]["se"], rtol=1e-5)
        np.testing.assert_allclose(model.pvalues, expected["table"]["p"], rtol=1e-4)
    assert model.fit_.marginal.eta.shape[0] == expected["n"]


def cumulated(first, P):
    """From log scales of the first stratum and a difference, to those of both strata."""
    J = np.eye(P)
    if first + 1 < P:
        J[first + 1, first] = 1.0
    return J


def fitted(formula, family, frame, y, **options):
    return ss.SemiStructuredRegressor(formula, family=family).fit(frame, y, **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_f01_right_censored(name):
    oracle = load_oracle("F01_aft_lung")
    data, expected = oracle.data, oracle.expected[name]
    y = ss.Surv(data["time"], data["status"])
    model = fitted(FORMULA, FAMILIES[name], *named(data, y))
    compare(model, expected, FAMILIES[name])
    new = pd.DataFrame(expected["newdata"]).rename(columns=plain)
    compare_predictions(model, new, expected)
    if name == "weibull":
        curves = oracle.expected["weibull_survival"]
        survival = model.predict_survival_function(new, curves["times"])
        np.testing.assert_allclose(survival, curves["surv"], rtol=1e-6)


def compare_predictions(model, new, expected):
    """Predictors, their errors and quantiles; R's response is the location on the time scale."""
    quantiles = model.predict_quantile(new, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, expected["quantiles"], rtol=1e-6)
    fit, design = model.fit_.marginal, model.fit_.problem.designs[0]
    X = design.block(new).dense()
    lp = X @ fit.beta[fit.slices[0]]
    se = np.sqrt(np.einsum("ij,jk,ik->i", X, fit.V[fit.slices[0], fit.slices[0]], X))
    np.testing.assert_allclose(lp, expected["lp"], rtol=1e-6)
    np.testing.assert_allclose(se, expected["lp_se"], rtol=1e-5)
    response = lp if expected["dist"] in ("gaussian", "logistic") else np.exp(lp)
    np.testing.assert_allclose(response, expected["response"], rtol=2e-6)


def test_f01_weights():
    oracle = load_oracle("F01_aft_lung")
    data = oracle.data
    frame, y = named(data, ss.Surv(data["time"], data["status"]))
    model = fitted("age + sex + ph_ecog", "weibull", frame, y, sample_weight=data["w"])
    expected = oracle.expected["weibull_weights"]
    compare(model, expected, "weibull")
    compare_predictions(model, pd.DataFrame(expected["newdata"]).rename(columns=plain), expected)


def test_f01_robust():
    oracle = load_oracle("F01_aft_lung")
    frame, y = named(oracle.data, ss.Surv(oracle.data["time"], oracle.data["status"]))
    expected = oracle.expected["weibull_robust"]
    model = ss.SemiStructuredRegressor("age + sex + ph_ecog", "weibull", cov_type="sandwich")
    compare(model.fit(frame, y), expected, "weibull")
    naive = fitted("age + sex + ph_ecog", "weibull", frame, y)
    np.testing.assert_allclose(naive.bse, expected["naive_se"], rtol=1e-5)


def test_f01_a_scale_for_each_stratum():
    oracle = load_oracle("F01_aft_lung")
    frame, y = named(oracle.data, ss.Surv(oracle.data["time"], oracle.data["status"]))
    model = fitted({"scale": "age + ph_ecog", "shape": "C(sex)"}, "weibull", frame, y)
    expected = oracle.expected["weibull_strata_scale"]
    compare(model, expected, "weibull")
    # R's null model has them too.
    null = fitted({"scale": "1", "shape": "C(sex)"}, "weibull", frame, y)
    assert null.loglik_ == pytest.approx(expected["loglik"][0], abs=1e-7)


@pytest.mark.parametrize("name", ["weibull", "lognormal", "loglogistic", "exponential"])
def test_f02_intervals(name):
    oracle = load_oracle("F02_aft_interval_bcdeter")
    data = oracle.data
    model = fitted("treat", FAMILIES[name], data, ss.Interval(data["lower"], data["upper"]))
    expected = oracle.expected[name]
    compare(model, expected, FAMILIES[name])
    compare_predictions(model, pd.DataFrame(expected["newdata"]), expected)


def test_f02_tobit():
    oracle = load_oracle("F02_aft_interval_bcdeter")
    data = oracle.files["data_tobin.csv"]
    durable = data["durable"].to_numpy()
    y = ss.Interval(np.where(durable > 0, durable, -np.inf), durable)
    compare(fitted("age + quant", "normal", data, y), oracle.expected["tobit"], "normal")


def plain(name):
    return name.replace(".", "_")


FORMULA = "age + sex + ph_ecog + ph_karno"


def named(data, y):
    """Columns without dots, which are no names in a formula."""
    return data.rename(columns=plain), y
