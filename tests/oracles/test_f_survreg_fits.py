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
    first = model.family_.param_names[0]
    np.testing.assert_allclose(model.params[first], list(expected["coef"].values()), rtol=1e-6)
    found = model.bse[first].to_numpy()
    np.testing.assert_allclose(found, expected["se_coef_logscale"][: len(found)], rtol=1e-5)
    last = np.atleast_1d(expected["loglik"])[-1]
    assert model.loglik_ == pytest.approx(last, abs=1e-7)
    if family != "exponential":
        second = model.family_.param_names[1]
        sign = 1.0 if family in LOG_SCALE else -1.0
        intercept = float(model.params[second, "Intercept"])
        assert sign * intercept == pytest.approx(np.log(expected["scale"]), rel=1e-6, abs=1e-7)
        error = float(model.bse[second, "Intercept"])
        assert error == pytest.approx(expected["se_coef_logscale"][-1], rel=1e-5)


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
    quantiles = model.predict_quantile(new, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, expected["quantiles"], rtol=1e-6)


def test_f01_weights():
    oracle = load_oracle("F01_aft_lung")
    data = oracle.data
    y = ss.Surv(data["time"], data["status"])
    frame, y = named(data, y)
    model = fitted("age + sex + ph_ecog", "weibull", frame, y, sample_weight=data["w"])
    coef = oracle.expected["weibull_weights"]["coef"]
    np.testing.assert_allclose(model.params["scale"], list(coef.values()), rtol=1e-6)


@pytest.mark.parametrize("name", ["weibull", "lognormal", "loglogistic", "exponential"])
def test_f02_intervals(name):
    oracle = load_oracle("F02_aft_interval_bcdeter")
    data = oracle.data
    model = fitted("treat", FAMILIES[name], data, ss.Interval(data["lower"], data["upper"]))
    compare(model, oracle.expected[name], FAMILIES[name])


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
