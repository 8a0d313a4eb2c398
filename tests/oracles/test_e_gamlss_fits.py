"""Distributional models against gamlss: coefficients, standard errors, residuals, predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from _fits import fit_formula, predict_link
from _oracles import Oracle, load_oracle
from scipy import stats

from semistruct.families import (
    BoxCoxColeGreen,
    Family,
    Gamma,
    Logistic,
    LogNormal,
    NegativeBinomial,
    NegativeBinomial1,
    Normal,
    Poisson,
    SkewNormal,
    StudentT,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from semistruct.inference.covariance import covariance
from semistruct.inference.criteria import information_criteria

pytestmark = pytest.mark.oracle

# The cases' own tolerances.
DEVIANCE = 1e-4
COEFFICIENT = 2e-3  # of a standard error: gamlss stops on a change of the deviance
ERRORS = {"rtol": 2e-2}  # by a numerical Hessian
FITTED = {"rtol": 1e-3}

ABDOM, BIOCHEMISTS = "E07_gamlss_abdom", "E08_gamlss_counts_biochemists"
CURVE, COUNTS = "xs + I(xs ** 2)", "fem + kid5 + ment"
# Case, gamlss's name, family, our formulas.
CASES: list[Any] = [
    (ABDOM, "NO", Normal(), {"loc": CURVE, "scale": "xs"}),
    (ABDOM, "LO", Logistic(), {"loc": CURVE, "scale": "xs"}),
    (ABDOM, "TF", StudentT(), {"loc": CURVE, "scale": "xs"}),
    (ABDOM, "LOGNO", LogNormal(), {"loc": CURVE, "scale": "xs"}),
    (ABDOM, "SN1", SkewNormal(), {"loc": CURVE, "scale": "xs"}),
    (ABDOM, "GA", Gamma(), {"mean": CURVE, "dispersion": "xs"}),
    (
        ABDOM,
        "BCCG",
        BoxCoxColeGreen(median_link="identity"),
        {"median": CURVE, "variation": "xs"},
    ),
    (BIOCHEMISTS, "PO", Poisson(), {"rate": COUNTS}),
    (BIOCHEMISTS, "NBI", NegativeBinomial(), {"mean": COUNTS, "dispersion": "ment"}),
    (BIOCHEMISTS, "NBII", NegativeBinomial1(), {"mean": COUNTS}),
    (BIOCHEMISTS, "ZIP", ZeroInflatedPoisson(), {"rate": COUNTS, "inflation": "ment"}),
]


def response(oracle: Oracle) -> np.ndarray:
    return oracle.data["y" if "y" in oracle.data else "art"].to_numpy(float)


def units(name: str, sizes: list[int]) -> np.ndarray:
    """Our coefficients per gamlss's: its gamma has the coefficient of variation, ours its square"""
    return np.repeat([1.0, 2.0 if name == "GA" else 1.0, 1.0][: len(sizes)], sizes)


def new_rows(oracle: Oracle, expected: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame({name: np.atleast_1d(v) for name, v in expected["newdata"].items()})
    for name in frame.columns.intersection(oracle.data.columns):
        if isinstance(oracle.data[name].dtype, pd.CategoricalDtype):
            levels = oracle.data[name].cat.categories
            frame[name] = pd.Categorical(frame[name].astype(str), categories=levels)
    return frame


@pytest.mark.parametrize(("case", "name", "family", "formulas"), CASES)
def test_fit_agrees_with_gamlss(
    case: str, name: str, family: Family, formulas: dict[str, str]
) -> None:
    oracle = load_oracle(case)
    expected = oracle.expected[name]
    y = response(oracle)
    problem, fit = fit_formula(formulas, oracle.data, y, family)
    assert fit.converged
    assert expected["optimality_gap_loglik"] < 1e-6
    np.testing.assert_allclose(-2 * fit.loglik, expected["global_deviance"], atol=DEVIANCE)
    assert fit.beta.size == expected["df_fit"]
    assert len(y) == expected["n"]
    criteria = information_criteria(fit, problem)
    np.testing.assert_allclose(fit.loglik, expected["loglik"], atol=DEVIANCE / 2)
    np.testing.assert_allclose(criteria.aic, expected["AIC"], atol=DEVIANCE)
    np.testing.assert_allclose(criteria.bic, expected["SBC"], atol=DEVIANCE)

    unit = units(name, [len(range(*at.indices(fit.beta.size))) for at in fit.slices])
    theirs = expected["all_coef"]
    gap = (fit.beta / unit - theirs["value"]) / theirs["se"]
    assert np.abs(gap).max() < COEFFICIENT
    errors = np.sqrt(np.diag(covariance(fit, problem)))
    np.testing.assert_allclose(errors / unit, theirs["se"], **ERRORS)
    np.testing.assert_allclose(
        covariance(fit, problem) / np.outer(unit, unit),
        expected["vcov"],
        atol=2 * ERRORS["rtol"] * np.outer(theirs["se"], theirs["se"]).max(),
    )
    robust = np.sqrt(np.diag(covariance(fit, problem, "sandwich")))
    np.testing.assert_allclose(robust / unit, expected["robust_se"], **ERRORS)

    eta = torch.as_tensor(fit.eta)
    if "quantile_residuals_first" in expected:
        u = family.cdf(eta, torch.as_tensor(y))
        first = expected["quantile_residuals_first"]
        np.testing.assert_allclose(stats.norm.ppf(u)[: len(first)], first, atol=1e-3)
    new = new_rows(oracle, expected)
    theta, at_new = family.theta(eta).numpy(), []
    for k, design in enumerate(problem.designs):
        at_new.append(predict_link(design, fit, k, new)[0])
    theta_new = family.theta(torch.as_tensor(np.column_stack(at_new))).numpy()
    for k, parameter in enumerate(np.atleast_1d(expected["parameters"])):
        power = 0.5 if name == "GA" and parameter == "sigma" else 1.0
        values = expected[str(parameter)]
        assert problem.designs[k].p == values["df"]
        first = np.atleast_1d(values["fitted_first"])
        np.testing.assert_allclose(theta[: len(first), k] ** power, first, **FITTED)
        np.testing.assert_allclose(theta_new[:, k] ** power, values["pred_response"], **FITTED)


def test_zero_inflated_negative_binomial_at_the_maximum():
    """gamlss's own search stops 8 short of the maximum; R's optim, from its estimate, does not."""
    oracle = load_oracle(BIOCHEMISTS)
    expected = oracle.expected["ZINBI"]["mle_optim"]
    family = ZeroInflatedNegativeBinomial()
    data = oracle.data
    women = (data["fem"] == "Women").to_numpy(float)
    one, ment = np.ones(len(data)), data["ment"].to_numpy(float)
    X = (
        np.column_stack([one, women, data["kid5"].to_numpy(float), ment]),
        one[:, None],
        np.column_stack([one, ment]),
    )
    beta = np.split(np.array(expected["value"]), [4, 5])
    eta = torch.as_tensor(np.column_stack([A @ b for A, b in zip(X, beta, strict=True)]))
    y = torch.as_tensor(response(oracle))
    value = family.contributions(eta, y).sum().item()
    np.testing.assert_allclose(-2 * value, expected["global_deviance"], atol=DEVIANCE)
    score, w = family.score(eta, y).numpy(), family.row_information(eta, y).numpy()
    gradient = np.concatenate([A.T @ score[:, k] for k, A in enumerate(X)])
    H = np.block([[A.T @ (w[:, j, k, None] * B) for k, B in enumerate(X)] for j, A in enumerate(X)])
    assert np.linalg.eigvalsh(H).min() > 0
    assert 0 <= gradient @ np.linalg.solve(H, gradient) < DEVIANCE
    np.testing.assert_allclose(np.sqrt(np.diag(np.linalg.inv(H))), expected["se"], **ERRORS)


@pytest.mark.parametrize(
    ("case", "key", "formulas"),
    [
        (BIOCHEMISTS, "ZINBI", {"mean": COUNTS, "inflation": "ment"}),
        (
            "E04_ziplss_biochemists",
            "pscl_zeroinfl_negbin",
            {"mean": "fem + mar + kid5 + ment", "inflation": "fem + ment"},
        ),
    ],
)
def test_zero_inflated_negative_binomial_is_fitted(case, key, formulas):
    oracle = load_oracle(case)
    expected = oracle.expected[key]
    _, fit = fit_formula(formulas, oracle.data, response(oracle), ZeroInflatedNegativeBinomial())
    assert fit.converged
    if key == "ZINBI":
        best = expected["mle_optim"]
        np.testing.assert_allclose(-2 * fit.loglik, best["global_deviance"], atol=DEVIANCE)
        assert np.abs((fit.beta - best["value"]) / best["se"]).max() < COEFFICIENT
        return
    np.testing.assert_allclose(fit.loglik, expected["loglik"], atol=1e-6)
    count, zero = (np.array(list(expected[part].values())) for part in ("count", "zero"))
    ours = np.delete(fit.beta, count.size)
    np.testing.assert_allclose(ours, np.concatenate([count, zero]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.exp(-fit.beta[count.size]), expected["theta"], rtol=1e-4)


def test_p_spline_with_a_given_smoothing_parameter():
    oracle = load_oracle(ABDOM)
    expected = oracle.expected["NO_pb_lambda10"]
    x = oracle.data["xs"].to_numpy(float)
    # gamlss: 20 intervals over the range and 1 % beyond its ends.
    margin = 0.01 * np.ptp(x)
    knots = [float(x.min() - margin), float(x.max() + margin)]
    # The largest column sum of |D'D|, by which mgcv divides the penalty, is 16.
    formulas = {"loc": f"s(xs, k=23, lam=160, knots={knots})", "scale": "xs"}
    problem, fit = fit_formula(formulas, oracle.data, response(oracle), "normal")
    np.testing.assert_allclose(-2 * fit.loglik, expected["global_deviance"], atol=DEVIANCE)
    first = np.array(expected["mu"]["fitted_first"])
    np.testing.assert_allclose(fit.eta[: first.size, 0], first, **FITTED)
    # gamlss's degrees of freedom are the trace of the smoother alone, given the scale.
    loc = fit.slices[0]
    H = problem.bind().curvature(fit.eta, "expected").gram(problem.blocks)[loc, loc]
    edf = np.trace(np.linalg.solve(H + fit.S_lam[loc, loc], H))
    np.testing.assert_allclose(edf, expected["edf_mu"], atol=1e-3)
    scale = expected["all_coef"]
    gap = (fit.beta[fit.slices[1]] - scale["value"][-2:]) / scale["se"][-2:]
    assert np.abs(gap).max() < COEFFICIENT


def test_box_cox_cole_green_functions():
    expected = load_oracle("E09_dist_functions").expected["BCCG"]
    family = BoxCoxColeGreen(median_link="identity")
    theta = [
        torch.as_tensor(np.atleast_1d(expected["params"][p]).astype(float))
        for p in ("mu", "sigma", "nu")
    ]
    eta = torch.stack(
        [link.forward(t) for link, t in zip(family.links, theta, strict=True)], dim=-1
    )
    y, p = (torch.tensor(expected[key], dtype=torch.float64) for key in ("y", "p"))
    np.testing.assert_allclose(family.contributions(eta, y), expected["logpdf"], rtol=1e-8)
    np.testing.assert_allclose(family.cdf(eta, y), expected["cdf"], rtol=1e-8)
    np.testing.assert_allclose(family.quantile(eta, p), expected["quantile"], rtol=1e-6)
