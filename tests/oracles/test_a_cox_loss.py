"""The Cox loss, its derivatives, residuals and baseline against R's survival."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from _oracles import load_oracle

from semistruct.losses import (
    CoxRiskSets,
    cox_baseline,
    cox_derivatives,
    cox_deviance_residuals,
    cox_martingale_residuals,
    cox_schoenfeld_residuals,
    cox_score_residuals,
)

# R iterates to a relative change of 1e-11 in the likelihood, and prints 15 digits.
COEFFICIENTS = {"rtol": 1e-7, "atol": 1e-10}
LOGLIK = {"rtol": 1e-12}
# A Wald statistic is printed by R with two decimals, the score statistic is not.
STATISTIC = {"rtol": 1e-9}
RESIDUALS = {"rtol": 1e-7, "atol": 1e-8}
CURVES = {"rtol": 1e-8, "atol": 1e-10}

LUNG = "A01_cox_lung_efron"
VETERAN = "A02_cox_veteran_ties"
COLON = "A03_cox_colon_strata_weights_offset"
CGD = "A04_cox_cgd_andersen_gill"
HEART = "A05_cox_heart_startstop_lefttrunc"

RIGHT = ("time", "status", None)
CGD_TIMES = ("tstop", "status", "tstart")
HEART_TIMES = ("stop", "event", "start")


class Model(NamedTuple):
    """One fit of R: where its values stand, and what was fitted."""

    case: str
    block: str
    follow_up: tuple[str, str, str | None]
    ties: str = "efron"
    strata: tuple[str, ...] = ()
    weights: str | None = None
    offset: str | None = None
    cluster: str | None = None


COLON_MODEL = {"strata": ("differ",), "weights": "w", "offset": "off"}
MODELS = [
    Model(LUNG, "efron", RIGHT),
    Model(LUNG, "breslow", RIGHT, "breslow"),
    Model(LUNG, "robust", RIGHT),
    Model(VETERAN, "efron", RIGHT),
    Model(VETERAN, "breslow", RIGHT, "breslow"),
    Model(VETERAN, "stratified_breslow", RIGHT, "breslow", ("celltype",)),
    Model(COLON, "efron_weighted", RIGHT, **COLON_MODEL),
    Model(COLON, "breslow_weighted", RIGHT, "breslow", **COLON_MODEL),
    Model(COLON, "efron_weighted_robust", RIGHT, **COLON_MODEL),
    Model(COLON, "efron_weighted_cluster", RIGHT, cluster="centre", **COLON_MODEL),
    Model(COLON, "efron_unweighted", RIGHT, strata=("differ",), offset="off"),
    Model(COLON, "interaction_two_strata", RIGHT, strata=("differ", "extent")),
    Model(CGD, "efron", CGD_TIMES, cluster="id"),
    Model(CGD, "breslow", CGD_TIMES, "breslow", cluster="id"),
    Model(CGD, "stratified", CGD_TIMES, strata=("hos.cat",), cluster="id"),
    Model(HEART, "efron_interaction", HEART_TIMES),
    Model(HEART, "breslow", HEART_TIMES, "breslow"),
    Model(HEART, "robust", HEART_TIMES, cluster="id"),
]
IDS = [f"{m.case[:3]}-{m.block}" for m in MODELS]


class Fit(NamedTuple):
    data: pd.DataFrame
    expected: dict[str, Any]
    names: list[str]
    X: np.ndarray
    eta: np.ndarray
    beta: np.ndarray
    covariance: np.ndarray
    risk_sets: CoxRiskSets
    options: dict[str, Any]
    loglik_null: float
    loglik: float
    score_statistic: float


def column(data: pd.DataFrame, name: str) -> np.ndarray:
    """A column of R's model matrix: a variable, a factor's level, or a product of them."""
    if ":" in name:
        return np.prod([column(data, part) for part in name.split(":")], axis=0)
    if name in data and not isinstance(data[name].dtype, pd.CategoricalDtype):
        return data[name].to_numpy(float)
    factor = next(
        f
        for f in data.select_dtypes("category")
        if name.startswith(f) and name[len(f) :] in data[f].cat.categories
    )
    return (data[factor] == name[len(factor) :]).to_numpy(float)


def fit(model: Model) -> Fit:
    """Newton's method with nothing but the derivatives under test."""
    oracle = load_oracle(model.case)
    data, expected = oracle.data, oracle.expected
    names = list(expected[model.block]["coef"])
    X = np.column_stack([column(data, name) for name in names])
    offset = np.zeros(len(data)) if model.offset is None else data[model.offset].to_numpy(float)
    time, event, entry = model.follow_up
    strata = None
    if model.strata:
        strata = data[list(model.strata)].astype(str).agg(",".join, axis=1).to_numpy(str)
    risk_sets = CoxRiskSets.from_data(
        data[time].to_numpy(),
        data[event].to_numpy(),
        None if entry is None else data[entry].to_numpy(),
        strata,
    )
    weights = None if model.weights is None else data[model.weights].to_numpy(float)
    options = {"weights": weights, "ties": model.ties}
    null = at = cox_derivatives(offset, X, risk_sets, **options)
    beta = np.zeros(len(names))
    for _ in range(10):
        beta = beta + np.linalg.solve(at.information.numpy(), at.score.numpy())
        at = cox_derivatives(offset + X @ beta, X, risk_sets, **options)
    covariance = np.linalg.inv(at.information.numpy())
    score = null.score.numpy()
    statistic = score @ np.linalg.solve(null.information.numpy(), score)
    eta = offset + X @ beta
    return Fit(
        data, expected, names, X, eta, beta, covariance, risk_sets, options,
        null.loglik, at.loglik, statistic,
    )  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_coefficients_and_likelihood(model):
    f = fit(model)
    expected = f.expected[model.block]
    np.testing.assert_allclose(f.beta, list(expected["coef"].values()), **COEFFICIENTS)
    np.testing.assert_allclose(
        np.sqrt(np.diag(f.covariance)), list(expected["se"].values()), **COEFFICIENTS
    )
    np.testing.assert_allclose(f.covariance, expected["vcov"], **COEFFICIENTS)
    np.testing.assert_allclose(f.loglik_null, expected["loglik_null"], **LOGLIK)
    np.testing.assert_allclose(f.loglik, expected["loglik_final"], **LOGLIK)
    np.testing.assert_allclose(f.score_statistic, expected["score_test"]["stat"], **STATISTIC)


ROBUST = [m for m in MODELS if m.cluster or "robust" in m.block]


@pytest.mark.parametrize("model", ROBUST, ids=[f"{m.case[:3]}-{m.block}" for m in ROBUST])
def test_robust_covariance(model):
    f = fit(model)
    expected = f.expected[model.block]
    if "robust_vcov" not in expected:
        pytest.fail("the case has no robust covariance")
    residuals = cox_score_residuals(f.eta, f.X, f.risk_sets, **f.options).numpy()
    if model.cluster is not None:
        residuals = pd.DataFrame(residuals).groupby(f.data[model.cluster].to_numpy()).sum()
        residuals = residuals.to_numpy()
    robust = f.covariance @ (residuals.T @ residuals) @ f.covariance
    np.testing.assert_allclose(robust, expected["robust_vcov"], **COEFFICIENTS)


def check_residuals(ours, expected):
    np.testing.assert_allclose(ours[:25], np.array(expected["first"], float), **RESIDUALS)
    np.testing.assert_allclose((ours**2).sum(), expected["sumsq"], rtol=1e-7)


# which model of the case the residuals belong to
RESIDUAL_MODELS = [MODELS[0], MODELS[4], MODELS[6], MODELS[12]]


@pytest.mark.parametrize("model", RESIDUAL_MODELS, ids=["A01", "A02", "A03", "A04"])
def test_residuals(model):
    f = fit(model)
    expected = f.expected["residuals"]
    martingale = cox_martingale_residuals(f.eta, f.risk_sets, **f.options).numpy()
    check_residuals(martingale, expected["martingale"])
    if "deviance" in expected:
        deviance = cox_deviance_residuals(f.eta, f.risk_sets, **f.options).numpy()
        check_residuals(deviance, expected["deviance"])
    score = cox_score_residuals(f.eta, f.X, f.risk_sets, weighted=False, **f.options).numpy()
    check_residuals(score, expected["score"])
    weighted = cox_score_residuals(f.eta, f.X, f.risk_sets, **f.options).numpy()
    check_residuals(weighted @ f.covariance, expected["dfbeta"])  # R weights these
    if "schoenfeld" in expected:
        schoenfeld = cox_schoenfeld_residuals(f.eta, f.X, f.risk_sets, **f.options)
        check_residuals(schoenfeld.residuals, expected["schoenfeld"])


BASELINES = [
    (MODELS[0], "efron_basehaz"),
    (MODELS[1], "breslow_basehaz"),
    (MODELS[3], "efron_basehaz"),
    (MODELS[4], "breslow_basehaz"),
    (MODELS[5], "stratified_basehaz"),
    (MODELS[6], "basehaz_weighted_efron"),
    (MODELS[7], "basehaz_weighted_breslow"),
    (MODELS[12], "basehaz_efron"),
    (MODELS[13], "basehaz_breslow"),
    (MODELS[16], "basehaz"),
]


@pytest.mark.parametrize(
    ("model", "block"), BASELINES, ids=[f"{m.case[:3]}-{block}" for m, block in BASELINES]
)
def test_baseline(model, block):
    f = fit(model)
    expected = pd.DataFrame(f.expected[block])
    baseline = cox_baseline(f.eta, f.risk_sets, **f.options)
    labels = expected["strata"] if "strata" in expected else np.full(len(expected), "")
    for label, rows in expected.groupby(labels):
        if model.offset is not None:  # R: at covariates of zero, but at the mean offset
            offset = np.average(f.data[model.offset], weights=f.options["weights"])
            rows = rows.assign(cumhaz=rows["cumhaz"] * np.exp(-offset))
        name = label.rsplit("=", 1)[-1]
        stratum = list(baseline.strata.astype(str)).index(name) if label else 0
        np.testing.assert_allclose(baseline.at(rows["time"], stratum), rows["cumhaz"], **CURVES)


CURVE_MODELS = [
    (MODELS[0], "survfit_efron"),
    (MODELS[1], "survfit_breslow"),
    (MODELS[3], "survfit_efron"),
    (MODELS[4], "survfit_breslow"),
    (MODELS[16], "survfit"),
]


@pytest.mark.parametrize(
    ("model", "block"), CURVE_MODELS, ids=[f"{m.case[:3]}-{block}" for m, block in CURVE_MODELS]
)
def test_survival_curves_and_their_standard_errors(model, block):
    f = fit(model)
    expected = f.expected[block]
    new = pd.DataFrame(expected["newdata"])
    for name in new:
        if isinstance(f.data[name].dtype, pd.CategoricalDtype):
            new[name] = pd.Categorical(new[name], categories=f.data[name].cat.categories)
    x = np.column_stack([column(new, name) for name in f.names])
    baseline = cox_baseline(f.eta, f.risk_sets, X=f.X, **f.options)
    for i, row in enumerate(x):
        eta = row @ f.beta
        cumulative = np.exp(eta) * baseline.at(expected["times"])
        error = baseline.standard_error(expected["times"], row, eta, f.covariance)
        np.testing.assert_allclose(cumulative, np.array(expected["cumhaz"])[:, i], **CURVES)
        np.testing.assert_allclose(np.exp(-cumulative), np.array(expected["surv"])[:, i], **CURVES)
        np.testing.assert_allclose(
            np.exp(-cumulative) * error, np.array(expected["std_err_surv"])[:, i], **CURVES
        )
