"""Wald tables and joint tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from _fits import fit_formula
from scipy import stats

from semistruct.exceptions import SpecificationError
from semistruct.inference.wald import wald_joint, wald_table


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=40), "z": rng.normal(size=40)})
    y = 1 + frame.x + rng.normal(size=40)
    _, fit = fit_formula("x + z", frame, y)
    return fit, sm.OLS(y.to_numpy(), sm.add_constant(frame.to_numpy())).fit()


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_t_table_is_that_of_least_squares(fitted, level):
    fit, ols = fitted
    table = wald_table(
        fit.beta[:3], fit.V[:3, :3], ["Intercept", "x", "z"], df_resid=fit.df_resid, level=level
    )
    assert list(table.columns) == ["coef", "se", "t", "p", "lower", "upper"]
    assert list(table.index) == ["Intercept", "x", "z"]
    np.testing.assert_allclose(table["t"], ols.tvalues, rtol=1e-8)
    np.testing.assert_allclose(table["p"], ols.pvalues, rtol=1e-7)
    np.testing.assert_allclose(table[["lower", "upper"]], ols.conf_int(1 - level), rtol=1e-8)


def test_z_table_without_degrees_of_freedom():
    table = wald_table(np.array([1.0, -2.0]), np.diag([1.0, 4.0]), ["a", "b"])
    np.testing.assert_allclose(table["z"], [1.0, -1.0])
    np.testing.assert_allclose(table["p"], 2 * stats.norm.sf(1.0))
    np.testing.assert_allclose(table["upper"] - table["coef"], 1.959963984540054 * table["se"])


def test_no_residual_degrees_of_freedom_means_no_test():
    table = wald_table(np.array([1.0]), np.eye(1), ["a"], df_resid=0.0)
    assert table[["p", "lower", "upper"]].isna().all(axis=None)
    assert np.isnan(wald_joint(np.ones(1), np.eye(1), df_resid=0.0)[2])


def test_coefficient_without_variance():
    table = wald_table(np.array([0.0, 1.0]), np.zeros((2, 2)), ["a", "b"])
    assert table["z"].tolist() == [0.0, np.inf]


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_level_must_be_a_probability(level):
    with pytest.raises(SpecificationError, match=r"0\.95 is usual"):
        wald_table(np.ones(1), np.eye(1), ["a"], level=level)


def test_joint_test_is_the_f_test_of_nested_models(fitted):
    fit, ols = fitted
    statistic, rank, p = wald_joint(fit.beta[1:3], fit.V[1:3, 1:3], df_resid=fit.df_resid)
    assert rank == 2
    np.testing.assert_allclose([statistic, p], [ols.fvalue, ols.f_pvalue], rtol=1e-7)


def test_joint_test_uses_the_rank():
    direction = np.array([1.0, 1.0]) / np.sqrt(2)
    statistic, rank, p = wald_joint(2 * direction, np.outer(direction, direction))
    assert rank == 1
    np.testing.assert_allclose([statistic, p], [4.0, stats.chi2.sf(4.0, 1)])
