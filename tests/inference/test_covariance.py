"""Covariances against statsmodels, and each option against the others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from _fits import fit_formula

from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.inference import covariance as module
from semistruct.inference.covariance import covariance, pearson_dispersion, score_rows

SE = 1e-7  # statsmodels' own convergence


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(8)
    n = 240
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.uniform(size=n)})
    frame["cluster"] = rng.integers(30, size=n)
    shared = rng.normal(size=30)[frame.cluster] * 0.7
    eta = 0.2 + 0.4 * frame.x + shared
    frame["normal"] = eta + rng.normal(size=n) * (1 + frame.z)
    frame["poisson"] = rng.poisson(np.exp(eta)).astype(float)
    frame["gamma"] = rng.gamma(2.0, np.exp(eta) / 2)
    frame["weight"] = rng.integers(1, 4, size=n).astype(float)
    return frame


FAMILIES = {
    "normal": sm.families.Gaussian(),
    "poisson": sm.families.Poisson(),
    "gamma": sm.families.Gamma(sm.families.links.Log()),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_sandwich_is_that_of_statsmodels(table, family):
    problem, fit = fit_formula("x + z", table, table[family], family)
    X = sm.add_constant(table[["x", "z"]].to_numpy())
    model = sm.GLM(table[family].to_numpy(), X, family=FAMILIES[family])
    reference = model.fit(cov_type="HC0", tol=1e-14, maxiter=200)
    V = covariance(fit, problem, "sandwich")
    np.testing.assert_allclose(V[:3, :3], reference.cov_params(), rtol=SE)
    assert V.shape == (fit.beta.size,) * 2
    if family == "normal":
        reference = sm.OLS(table.normal.to_numpy(), X).fit(cov_type="HC1")
        corrected = covariance(fit, problem, "sandwich", small_sample=True)
        np.testing.assert_allclose(corrected[:3, :3], reference.cov_params(), rtol=SE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("per_chunk", [7, 1024])
def test_cluster_covariance(table, family, per_chunk, monkeypatch):
    monkeypatch.setattr(module, "_CLUSTERS", per_chunk)
    problem, fit = fit_formula("x + z", table, table[family], family)
    X = sm.add_constant(table[["x", "z"]].to_numpy())
    reference = sm.GLM(table[family].to_numpy(), X, family=FAMILIES[family]).fit(
        cov_type="cluster",
        cov_kwds={"groups": table.cluster.to_numpy(), "use_correction": False},
        tol=1e-14,
        maxiter=200,
    )
    labels = table.cluster.map(lambda code: f"clinic {code}")
    V = covariance(fit, problem, "cluster", cluster=labels)
    np.testing.assert_allclose(V[:3, :3], reference.cov_params(), rtol=SE)
    corrected = covariance(fit, problem, "cluster", cluster=labels, small_sample=True)
    np.testing.assert_allclose(corrected, V * 30 / 29)


def test_every_row_its_own_cluster_is_the_sandwich(table):
    problem, fit = fit_formula("x + s(z)", table, table.normal)
    V = covariance(fit, problem, "cluster", cluster=np.arange(len(table)))
    np.testing.assert_allclose(V, covariance(fit, problem, "sandwich"), rtol=1e-9, atol=1e-14)


def test_weights_enter_the_middle_squared(table):
    problem, fit = fit_formula("x", table, table.poisson, "poisson", table.weight)
    X = np.column_stack([np.ones(len(table)), table.x])
    rate = np.exp(fit.eta[:, 0])
    scores = X * (table.weight * (table.poisson - rate)).to_numpy()[:, None]
    bread = np.linalg.inv((X * (table.weight * rate).to_numpy()[:, None]).T @ X)
    np.testing.assert_allclose(
        covariance(fit, problem, "sandwich"), bread @ scores.T @ scores @ bread, rtol=1e-8
    )


def test_rows_of_weight_zero_are_absent(table):
    weight = (np.arange(len(table)) % 3 > 0).astype(float)
    kept = table[weight > 0]
    for kind, options in (
        ("sandwich", ({}, {})),
        ("cluster", ({"cluster": table.cluster}, {"cluster": kept.cluster})),
    ):
        problem, fit = fit_formula("x", table, table.poisson, "poisson", weight)
        absent, refit = fit_formula("x", kept, kept.poisson, "poisson")
        np.testing.assert_allclose(
            covariance(fit, problem, kind, **options[0]),
            covariance(refit, absent, kind, **options[1]),
            rtol=1e-8,
        )
    rows, scores = score_rows(fit, problem)
    assert rows.size == scores.shape[0] == len(kept)


def test_kinds_of_a_penalised_fit(table):
    problem, fit = fit_formula("s(x)", table, table.normal)
    V = covariance(fit, problem)
    np.testing.assert_array_equal(V, fit.V)
    np.testing.assert_array_equal(covariance(fit, problem, "bayesian"), V)
    Ve = covariance(fit, problem, "frequentist")
    np.testing.assert_allclose(V - Ve, V @ fit.S_lam @ V, atol=1e-10)
    sandwich = covariance(fit, problem, "sandwich")
    _, scores = score_rows(fit, problem)
    X = problem.blocks[0].dense()
    p = X.shape[1]
    middle = (X * scores[:, :1]).T @ (X * scores[:, :1]) + fit.S_lam[:p, :p]
    np.testing.assert_allclose(sandwich[:p, :p], V[:p, :p] @ middle @ V[:p, :p], atol=1e-10)


def test_sandwich_bread_is_the_observed_information(table):
    """The model is wrong where sandwiches are wanted: expected information does not hold there."""
    wrong, bent = fit_formula("z - 1", table, table.gamma, "gamma")
    mu, y, z = np.exp(bent.eta[:, 0]), table.gamma.to_numpy(), table.z.to_numpy()
    observed, expected = (z**2 * y / mu).sum(), (z**2).sum()
    assert abs(observed / expected - 1) > 0.02
    middle = (z**2 * (y / mu - 1) ** 2).sum()
    V = covariance(bent, wrong, "sandwich")
    np.testing.assert_allclose(V[0, 0], middle / observed**2, rtol=1e-8)


def test_sandwich_of_two_parameters(table):
    problem, fit = fit_formula({"loc": "x", "scale": "z"}, table, table.normal)
    _, scores = score_rows(fit, problem)
    rows = np.hstack([block.dense() * scores[:, [k]] for k, block in enumerate(problem.blocks)])
    np.testing.assert_allclose(
        covariance(fit, problem, "sandwich"), fit.V @ rows.T @ rows @ fit.V, rtol=1e-8
    )


def test_pearson_dispersion_is_that_of_statsmodels_without_the_correction(table):
    problem, fit = fit_formula("x + z", table, table.gamma, "gamma")
    X = sm.add_constant(table[["x", "z"]].to_numpy())
    model = sm.GLM(table.gamma.to_numpy(), X, family=FAMILIES["gamma"]).fit(tol=1e-14)
    mu = model.fittedvalues
    correction = 1 + np.mean(2 * (table.gamma - mu) / mu)
    found = pearson_dispersion(fit, problem)
    np.testing.assert_allclose(found * correction, model.scale, rtol=1e-6)
    V = covariance(fit, problem, dispersion=model.scale)
    np.testing.assert_allclose(np.sqrt(np.diag(V))[:3], model.bse, rtol=SE)
    assert V[3, 3] == fit.V[3, 3]


def test_pearson_dispersion_of_the_normal_is_the_reml_estimate(table):
    problem, fit = fit_formula("s(x)", table, table.normal)
    np.testing.assert_allclose(pearson_dispersion(fit, problem), fit.dispersion, rtol=1e-8)


def test_errors_name_what_is_wrong(table):
    problem, fit = fit_formula("x", table, table.poisson, "poisson")
    with pytest.raises(SpecificationError, match="got 'robust'"):
        covariance(fit, problem, "robust")
    with pytest.raises(SpecificationError, match="give cluster="):
        covariance(fit, problem, "cluster")
    with pytest.raises(DataError, match="cluster has 3 rows"):
        covariance(fit, problem, "cluster", cluster=[1, 2, 3])
    with pytest.raises(DataError, match="two or more clusters"):
        covariance(fit, problem, "cluster", cluster=np.zeros(len(table)))
    missing = table.cluster.astype(object)
    missing[4] = None
    with pytest.raises(DataError, match="missing in row 4"):
        covariance(fit, problem, "cluster", cluster=missing)
    with pytest.raises(UnsupportedCombinationError, match="does not depend on the dispersion"):
        covariance(fit, problem, "sandwich", dispersion=2.0)
    with pytest.raises(UnsupportedCombinationError, match="no profiled dispersion"):
        covariance(fit, problem, dispersion=2.0)
    with pytest.raises(UnsupportedCombinationError, match="Pearson dispersion needs"):
        pearson_dispersion(fit, problem)


@pytest.mark.parametrize("family", ["normal", "poisson", "gamma"])
def test_score_residuals_sum_to_the_gradient_and_are_its_rows(table, family):
    problem, fit = fit_formula(
        "x + z", table, table[family], family, sample_weight=table["weight"].to_numpy()
    )
    residuals = problem.bind().score_residuals(fit.eta + 0.1, problem.blocks)
    gradient = [
        block.rmatvec(problem.bind().score(fit.eta + 0.1)[:, k])
        for k, block in enumerate(problem.blocks)
    ]
    np.testing.assert_allclose(residuals.sum(axis=0), np.concatenate(gradient), rtol=1e-10)
    at_fit = problem.bind().score_residuals(fit.eta, problem.blocks)
    rows, scores = score_rows(fit, problem)
    middle = np.hstack(
        [block.take(rows).dense() * scores[:, [k]] for k, block in enumerate(problem.blocks)]
    )
    np.testing.assert_allclose(at_fit[rows], middle, rtol=1e-12)
