"""The structured fit against statsmodels, against itself, and at the edges of the data."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from _fits import fit_formula, make_problem
from _oracles import load_oracle
from scipy.optimize import minimize
from scipy.stats import norm

import semistruct as ss
from semistruct.design import build_design
from semistruct.exceptions import (
    ConvergenceWarning,
    DataWarning,
    SpecificationError,
    UnsupportedCombinationError,
)
from semistruct.families.cox import CoxPartialLikelihood
from semistruct.fitting.structured import StructuredProblem, fit_structured
from semistruct.terms import DenseBlock, parse_formula

COEF = 1e-8  # the same maximum found by another program's Newton method
SE = 1e-7  # statsmodels stops its iterations at 1e-14 in the deviance
REML = 2e-4  # MixedLM's optimiser stops earlier than ours
EDF = 1e-3  # a search ends where the criterion is flat

FAMILIES = {
    "normal": sm.families.Gaussian(),
    "gamma": sm.families.Gamma(sm.families.links.Log()),
    "poisson": sm.families.Poisson(),
    "bernoulli": sm.families.Binomial(),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    n = 300
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(size=n),
            "exposure": rng.uniform(0.5, 3.0, size=n),
            "group": rng.integers(12, size=n).astype(str),
            "weight": rng.integers(0, 4, size=n).astype(float),
        }
    )
    eta = 0.3 + 0.5 * frame.x - 0.7 * frame.z
    frame["normal"] = eta + rng.normal(size=n)
    frame["poisson"] = rng.poisson(np.exp(eta)).astype(float)
    frame["gamma"] = rng.gamma(2.0, np.exp(eta) / 2)
    frame["bernoulli"] = (rng.uniform(size=n) < 1 / (1 + np.exp(-eta))).astype(float)
    frame["wave"] = np.sin(2 * frame.x) + rng.normal(size=n) * np.exp(frame.z - 0.5)
    return frame


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("with_offset", [False, True])
def test_glm_without_smooths_agrees_with_statsmodels(table, family, weighted, with_offset):
    assert table[family].nunique() > 1
    weight = table.weight.to_numpy() if weighted else None
    X = np.column_stack([np.ones(len(table)), table.x, table.z])
    offset = np.log(table.exposure) if with_offset else None
    model = sm.GLM(
        table[family], X, family=FAMILIES[family], offset=offset, freq_weights=weight
    ).fit(tol=1e-14, maxiter=200)
    formula = "x + z" + (" + offset(log(exposure))" if with_offset else "")
    _, fit = fit_formula(formula, table, table[family], family, weight)
    columns = fit.slices[0]
    np.testing.assert_allclose(fit.beta[columns], model.params, rtol=COEF, atol=COEF)
    # statsmodels takes Pearson's dispersion: compare at equal scale.
    se = np.sqrt(np.diag(fit.V)[columns] * model.scale / fit.dispersion)
    np.testing.assert_allclose(se, model.bse, rtol=SE)
    if family != "gamma":
        np.testing.assert_allclose(fit.loglik, model.llf, rtol=COEF)
    if family in ("poisson", "bernoulli"):
        np.testing.assert_allclose(fit.loglik_null, model.llnull, rtol=COEF)
    assert fit.converged


def test_normal_is_ordinary_least_squares(table):
    X = sm.add_constant(table[["x", "z"]].to_numpy())
    model = sm.OLS(table.normal.to_numpy(), X).fit()
    _, fit = fit_formula("x + z", table, table.normal)
    np.testing.assert_allclose(fit.dispersion, model.scale, rtol=COEF)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.V))[:3], model.bse, rtol=SE)
    np.testing.assert_allclose(fit.loglik, model.llf, rtol=COEF)
    np.testing.assert_allclose(fit.loglik_null, sm.OLS(table.normal, X[:, :1]).fit().llf)
    assert fit.df_resid == pytest.approx(model.df_resid)
    assert fit.aic == pytest.approx(model.aic + 2)  # R counts the variance, statsmodels does not
    assert fit.beta[3] == pytest.approx(0.5 * np.log(model.scale))
    # Variance of log sigma: half the inverse of the residual degrees of freedom.
    assert fit.V[3, 3] == pytest.approx(0.5 / model.df_resid)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_weight_zero_are_absent_and_counts_are_repetitions(table, family):
    weight = table.weight.to_numpy()
    assert (weight == 0).any()
    formula = "x + s(z, k=8)"
    problem, weighted = fit_formula(formula, table, table[family], family, weight)
    kept = table[weight > 0]
    _, absent = fit_formula(formula, kept, kept[family], family, weight[weight > 0])
    np.testing.assert_allclose(weighted.beta, absent.beta, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(weighted.loglik, absent.loglik)
    assert weighted.eta.shape == (len(table), len(problem.blocks))
    rows = np.repeat(np.arange(len(table)), weight.astype(int))
    repeated = make_problem(formula, table, table[family], family, weight)
    blocks = tuple(block.take(rows) for block in repeated.blocks)
    whole = replace(
        repeated,
        y=repeated.y[rows],
        blocks=blocks,
        offset=repeated.offset[rows],
        sample_weight=np.ones(rows.size),
    )
    # The curve is a line: rounding decides where on the plateau of its smoothing the search ends.
    np.testing.assert_allclose(weighted.edf, fit_structured(whole).edf, atol=EDF)
    smoothing = np.array([10.0])
    weighted, again = (fit_structured(p, smoothing=smoothing) for p in (repeated, whole))
    np.testing.assert_allclose(weighted.beta, again.beta, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(weighted.V, again.V, rtol=1e-8, atol=1e-10)


def test_random_intercept_agrees_with_mixed_model_reml(table):
    rng = np.random.default_rng(3)
    effects = rng.normal(size=12)
    y = table.normal + effects[table.group.astype(int)]
    _, fit = fit_formula("x + re(group)", table, y)
    X = sm.add_constant(table[["x"]].to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sm.MixedLM(y.to_numpy(), X, groups=table.group).fit(reml=True, gtol=1e-12)
    np.testing.assert_allclose(fit.beta[:2], model.fe_params, rtol=REML)
    np.testing.assert_allclose(fit.dispersion, model.scale, rtol=REML)
    # The variance of the random effect is one over the smoothing parameter.
    np.testing.assert_allclose(1 / fit.lam[0], float(np.asarray(model.cov_re)[0, 0]), rtol=5 * REML)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.V))[:2], model.bse_fe, rtol=1e-3)
    np.testing.assert_allclose(-fit.reml, model.llf, rtol=1e-6)


def test_two_smooth_parameters_reach_the_maximum(table):
    """Without penalties the location-scale fit is maximum likelihood: scipy finds the same."""
    formulas = {"loc": "x + z", "scale": "z"}
    _, fit = fit_formula(formulas, table, table.wave)
    X = sm.add_constant(table[["x", "z"]].to_numpy())
    Z = X[:, [0, 2]]

    def negative(beta: np.ndarray) -> float:
        return -norm.logpdf(table.wave, X @ beta[:3], np.exp(Z @ beta[3:])).sum()

    found = minimize(negative, np.zeros(5), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(fit.beta, found.x, atol=1e-5)
    np.testing.assert_allclose(fit.loglik, -found.fun)
    assert fit.dispersion == 1.0
    assert fit.df_resid is None


def test_smooth_location_and_scale(table):
    _, fit = fit_formula({"loc": "s(x)", "scale": "s(z)"}, table, table.wave)
    assert fit.converged
    truth = np.column_stack([np.sin(2 * table.x), table.z - 0.5])
    inside = table.x.abs() < 2
    assert np.sqrt(np.mean((fit.eta - truth)[inside] ** 2, axis=0)).max() < 0.2
    _, constant = fit_formula("s(x)", table, table.wave)
    assert fit.loglik > constant.loglik + 3


def test_fixed_smoothing_is_taken_as_given_on_the_reported_scale(table):
    _, free = fit_formula("s(x) + s(z)", table, table.wave)
    lam = free.smoothing.tolist()
    _, fixed = fit_formula(f"s(x, lam={lam[0]!r}) + s(z, lam={lam[1]!r})", table, table.wave)
    np.testing.assert_allclose(fixed.beta, free.beta, atol=1e-6)
    np.testing.assert_allclose(fixed.smoothing, lam)
    np.testing.assert_allclose(fixed.lam * fixed.dispersion, lam)
    _, partly = fit_formula(f"s(x) + s(z, lam={100 * lam[1]!r})", table, table.wave)
    assert partly.smoothing[1] == pytest.approx(100 * lam[1])
    problem = make_problem("s(x) + s(z)", table, table.wave, "normal")
    held = fit_structured(problem, smoothing=np.array(lam))
    np.testing.assert_allclose(held.beta, free.beta, atol=1e-6)
    with pytest.raises(SpecificationError, match="each of the 2 penalties"):
        fit_structured(problem, smoothing=np.ones(3))


def test_a_smooth_without_penalty_is_least_squares(table):
    problem, fit = fit_formula("s(x, lam=0)", table, table.wave)
    X = problem.blocks[0].dense()
    beta, *_ = np.linalg.lstsq(X, table.wave, rcond=None)
    np.testing.assert_allclose(fit.eta[:, 0], X @ beta, atol=1e-8)
    assert fit.edf_total == pytest.approx(X.shape[1])


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_units_of_the_response_do_not_matter(table, unit):
    _, one = fit_formula("s(x) + s(z)", table, table.wave)
    _, other = fit_formula("s(x) + s(z)", table, unit * table.wave)
    np.testing.assert_allclose(other.beta[:-1] / unit, one.beta[:-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(other.edf, one.edf, atol=1e-5)


@pytest.mark.parametrize("family", ["poisson", "normal"])
def test_a_start_reaches_the_same_fit(table, family):
    problem, cold = fit_formula("s(x) + z", table, table[family], family)
    warm = fit_structured(problem, start=cold)
    np.testing.assert_allclose(warm.beta, cold.beta, atol=1e-3)
    assert warm.n_iter <= cold.n_iter


def test_methods_differ_and_each_is_reported(table):
    fits = {m: fit_formula("s(x)", table, table.wave, method=m)[1] for m in ("reml", "ml", "gcv")}
    smoothing = [fit.smoothing[0] for fit in fits.values()]
    assert len({round(np.log(value), 3) for value in smoothing}) == 3
    assert [fit.method for fit in fits.values()] == list(fits)


def test_unknown_method(table):
    with pytest.raises(SpecificationError, match="must be one of 'reml', 'ml', 'gcv', got 'aic'"):
        fit_formula("s(x)", table, table.wave, method="aic")


def test_gcv_of_two_predictors_is_refused(table):
    with pytest.raises(UnsupportedCombinationError, match="Use method='reml'"):
        fit_formula({"loc": "s(x)", "scale": "s(z)"}, table, table.wave, method="gcv")


# --- the edges ---------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["x", "s(x)"])
def test_separation_is_named(table, formula):
    with pytest.warns(ConvergenceWarning, match="'probability' diverges.*separation.*x"):
        _, fit = fit_formula(formula, table, (table.x > 0).astype(float), "bernoulli")
    assert np.isfinite(fit.V).all()
    assert fit.loglik > -1e-4


def test_a_level_without_counts_is_named(table):
    frame = table.assign(level=np.where(table.x > 1.2, "b", "a"))
    y = np.where(frame.level == "b", 0.0, frame.poisson)
    with pytest.warns(ConvergenceWarning, match=r"C?\(?level\)?.*rate"):
        fit_formula("level", frame, y, "poisson")


def test_too_few_iterations_are_named(table):
    with pytest.warns(ConvergenceWarning, match="did not converge in . iterations"):
        _, fit = fit_formula("s(x)", table, table.poisson, "poisson", max_iter=1)
    assert not fit.converged


def test_unidentified_columns_get_a_ridge_and_a_warning(table):
    problem = make_problem("x + z", table, table.normal, "normal")
    X = problem.blocks[0].dense().copy()
    X[:, 2] = X[:, 1]
    twin = type(problem)(
        problem.family,
        problem.y,
        problem.designs,
        (DenseBlock(X), problem.blocks[1]),
        problem.offset,
        problem.sample_weight,
    )
    with pytest.warns(DataWarning, match="do not identify all coefficients"):
        fit = fit_structured(twin)
    one = sm.OLS(table.normal, X[:, :2]).fit()
    np.testing.assert_allclose(fit.eta[:, 0], one.fittedvalues, atol=1e-4)


@pytest.mark.parametrize(("formula", "n"), [("1", 1), ("x", 2), ("x + z", 3), ("s(x)", 300)])
def test_interpolation_ends_at_the_floor_of_the_scale(table, formula, n):
    frame = table[:n]
    y = frame.normal if n < 300 else 2.0 * frame.x + 1.0
    _, fit = fit_formula(formula, frame, y)
    assert fit.converged
    np.testing.assert_allclose(fit.eta[:, 0], y, atol=1e-4)
    assert np.isfinite(fit.V).all()
    assert np.isfinite(fit.loglik)


@pytest.mark.parametrize("family", ["normal", "gamma"])
def test_constant_response(table, family):
    _, fit = fit_formula("x + s(z)", table, np.full(len(table), 3.0), family)
    assert fit.converged
    expected = 3.0 if family == "normal" else np.log(3.0)
    np.testing.assert_allclose(fit.eta[:, 0], expected, atol=1e-6)


def test_more_smooth_columns_than_rows(table):
    _, fit = fit_formula("s(x, k=20) + s(z, k=20)", table[:25], table.wave[:25])
    assert fit.edf_total < 25
    assert np.isfinite(fit.V).all()


def test_weights_that_leave_no_degrees_of_freedom_are_named(table):
    with pytest.warns(DataWarning, match="should be scaled to mean one"):
        fit_formula("x + z", table, table.normal, "normal", np.full(len(table), 0.01))


def test_an_outlier_does_not_stop_the_iterations(table):
    y = table.poisson.to_numpy().copy()
    y[5] = 1e6
    _, fit = fit_formula("s(x) + z", table, y, "poisson")
    assert fit.converged


def test_without_intercept(table):
    X = table[["x", "z"]].to_numpy()
    model = sm.GLM(table.gamma, X, family=FAMILIES["gamma"]).fit(tol=1e-14, maxiter=300)
    _, fit = fit_formula("x + z - 1", table, table.gamma, "gamma")
    np.testing.assert_allclose(fit.beta[:2], model.params, atol=1e-7)


def test_constant_curvature_costs_one_cross_product(table, monkeypatch):
    problem = make_problem("s(x) + s(z)", table, table.wave, "normal")
    block, calls = problem.blocks[0], []
    original = type(block).gram

    def counted(self, weights, other=None):
        calls.append(self.shape[1])
        return original(self, weights, other)

    monkeypatch.setattr(type(block), "gram", counted)
    fit_structured(problem)
    assert sum(width > 1 for width in calls) == 1


def test_of_two_maxima_the_higher_one_is_found():
    oracle = load_oracle("B02_coxphgam_pbc")
    frame = oracle.data
    follow_up = CoxPartialLikelihood.encode(
        frame["time"].to_numpy(float), frame["event"].to_numpy(float)
    )
    terms = parse_formula("s(lbili, bs='tp') + s(age, bs='tp') + s(albumin, bs='cr', k=8)").terms
    design = build_design(terms, frame, intercept=False)
    problem = StructuredProblem(
        CoxPartialLikelihood("breslow"),
        follow_up,
        (design,),
        (design.block(frame),),
        np.zeros((len(frame), 1)),
        np.ones(len(frame)),
    )
    fit = fit_structured(problem)
    smooth = fit_structured(problem, start=replace(fit, smoothing=np.full(3, 1e4)))
    assert fit.reml <= smooth.reml + 1e-4


@pytest.mark.parametrize("rows", [1, 5])
def test_a_shape_without_a_limit_is_named(rows):
    """Equal lifetimes have a likelihood without bound in the shape."""
    frame = pd.DataFrame({"x": np.zeros(rows)})
    with pytest.warns(ConvergenceWarning, match="'shape' goes to its limit"):
        fit_formula("1", frame, np.full(rows, 2.0), "weibull")


def test_nothing_but_an_offset():
    frame = pd.DataFrame({"x": np.arange(6.0)})
    y = frame["x"].to_numpy() + np.array([1.0, -1.0, 2.0, -2.0, 0.5, -0.5])
    model = ss.SemiStructuredRegressor("y ~ 0 + offset(x)").fit(frame.assign(y=y))
    np.testing.assert_array_equal(model.predict(frame), frame["x"])
    assert model.predict_params(frame)["scale"][0] == pytest.approx(np.sqrt(10.5 / 6))
