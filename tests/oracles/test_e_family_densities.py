"""Families against gamlss: densities at fixed parameters, log-likelihoods of fitted models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from _oracles import load_oracle

from semistruct.families import (
    Beta,
    Gamma,
    InverseGaussian,
    Logistic,
    LogNormal,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    Weibull,
    ZeroInflatedPoisson,
)

# The case's own tolerances: R's arithmetic.
DENSITY = {"rtol": 1e-8}
QUANTILE = {"rtol": 1e-6}
# gamlss searches this root and stops early: its own distribution function at its median is .500004.
SEARCHED = {"rtol": 2e-5}
# What gamlss's tolerance of 1e-4 on the deviance allows.
LOGLIK = {"atol": 1e-4, "rtol": 0}

# gamlss name -> family and our natural parameters from gamlss's.
TRANSLATE = {
    "NO": (Normal(), lambda mu, sigma: (mu, sigma)),
    "LOGNO": (LogNormal(), lambda mu, sigma: (mu, sigma)),
    "GA": (Gamma(), lambda mu, sigma: (mu, sigma**2)),
    "EXP": (Gamma(), lambda mu: (mu, np.ones_like(mu))),
    "IG": (InverseGaussian(), lambda mu, sigma: (mu, sigma**2)),
    "BE": (Beta(), lambda mu, sigma: (mu, sigma**-2.0 - 1)),
    "PO": (Poisson(), lambda mu: (mu,)),
    "NBI": (NegativeBinomial(), lambda mu, sigma: (mu, sigma)),
    "ZIP": (ZeroInflatedPoisson(), lambda mu, sigma: (mu, sigma)),
    "WEI": (Weibull(), lambda mu, sigma: (mu, sigma)),
    "LO": (Logistic(), lambda mu, sigma: (mu, sigma)),
    "TF": (StudentT(), lambda mu, sigma, nu: (mu, sigma, nu)),
}
# Predictors of the fitted models whose family is here.
FITTED = [
    ("E08_gamlss_counts_biochemists", "PO"),
    ("E08_gamlss_counts_biochemists", "NBI"),
    ("E08_gamlss_counts_biochemists", "ZIP"),
    ("E07_gamlss_abdom", "NO"),
    ("E07_gamlss_abdom", "LO"),
    ("E07_gamlss_abdom", "TF"),
    ("E07_gamlss_abdom", "LOGNO"),
    ("E07_gamlss_abdom", "GA"),
]
INVERSE = {
    "identity": lambda eta: eta,
    "log": np.exp,
    "logit": lambda eta: 1 / (1 + np.exp(-eta)),
}

pytestmark = pytest.mark.oracle


def eta_of(name: str, parameters: dict[str, np.ndarray]) -> torch.Tensor:
    """Our predictors ``(n, K)`` from gamlss's parameters by name, each ``(n,)``."""
    family, translate = TRANSLATE[name]
    theta = [torch.as_tensor(np.asarray(t, dtype=float)) for t in translate(**parameters)]
    columns = zip(theta, family.links, strict=True)
    return torch.stack([link.forward(t) for t, link in columns], dim=-1)


@pytest.mark.parametrize("name", sorted(TRANSLATE))
def test_density_distribution_and_quantile_functions(name):
    expected = load_oracle("E09_dist_functions").expected[name]
    family, _ = TRANSLATE[name]
    eta = eta_of(name, {k: np.atleast_1d(v) for k, v in expected["params"].items()})
    y, p = (torch.tensor(expected[key], dtype=torch.float64) for key in ("y", "p"))
    np.testing.assert_allclose(family.contributions(eta, y), expected["logpdf"], **DENSITY)
    np.testing.assert_allclose(family.cdf(eta, y), expected["cdf"], **DENSITY)
    tolerance = SEARCHED if name == "IG" else QUANTILE
    np.testing.assert_allclose(family.quantile(eta, p), expected["quantile"], **tolerance)


def columns_of(name: str, data) -> np.ndarray:
    """The column of one of R's coefficient names."""
    columns = {
        "(Intercept)": lambda: np.ones(len(data)),
        "femWomen": lambda: (data["fem"] == "Women").to_numpy(float),
        "I(xs^2)": lambda: data["xs"].to_numpy(float) ** 2,
    }
    return columns[name]() if name in columns else data[name].to_numpy(float)


@pytest.mark.parametrize(("case", "name"), FITTED)
def test_fitted_models(case, name):
    oracle = load_oracle(case)
    expected = oracle.expected[name]
    family, _ = TRANSLATE[name]
    parameters, designs = {}, []
    for parameter in np.atleast_1d(expected["parameters"]):
        fit = expected[parameter]
        coef = fit["coef"] if isinstance(fit["coef"], dict) else {"(Intercept)": fit["coef"]}
        X = np.column_stack([columns_of(c, oracle.data) for c in coef])
        parameters[parameter] = INVERSE[fit["link"]](X @ np.array(list(coef.values())))
        np.testing.assert_allclose(parameters[parameter][:12], fit["fitted_first"], rtol=1e-9)
        designs.append(torch.as_tensor(X))
    eta = eta_of(name, parameters)
    y = torch.as_tensor(family.validate(oracle.data["y" if "y" in oracle.data else "art"]))
    loglik = family.contributions(eta, y).sum().item()
    np.testing.assert_allclose(loglik, expected["loglik"], **LOGLIK)

    # The coefficients are nearly a maximum: what a Newton step would gain is what gamlss left.
    score = family.score(eta, y)
    gradient = torch.cat([X.T @ score[:, k] for k, X in enumerate(designs)])
    for kind in ("observed", "expected"):
        w = family.row_information(eta, y, kind)
        H = torch.cat(
            [
                torch.cat([X.T @ (w[:, j, k, None] * Z) for k, Z in enumerate(designs)], dim=1)
                for j, X in enumerate(designs)
            ]
        )
        gain = 0.5 * gradient @ torch.linalg.solve(H, gradient)
        assert 0 <= gain.item() < 1e-4
