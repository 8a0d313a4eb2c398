"""Tests of smooths: size under the null, power, limits in which they become classical tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula
from scipy import stats

from semistruct.exceptions import SpecificationError
from semistruct.inference.smooth_tests import smooth_table, smooth_test
from semistruct.inference.wald import wald_joint


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(4)
    n = 200
    frame = pd.DataFrame({"x": rng.uniform(size=n), "z": rng.uniform(size=n)})
    frame["group"] = rng.integers(15, size=n).astype(str)
    frame["hospital"] = rng.integers(8, size=n).astype(str)
    frame["y"] = np.sin(6 * frame.x) + rng.normal(size=n)
    return frame


def test_table_lists_terms_of_all_parameters(table):
    formulas = {"loc": "s(x) + z", "scale": "s(z) + re(group)"}
    problem, fit = fit_formula(formulas, table, table.y)
    found = smooth_table(fit, problem)
    assert list(found["parameter"]) == ["loc", "scale", "scale"]
    assert list(found["term"]) == ["s(x)", "s(z)", "re(group)"]
    assert set(found["statistic_name"]) == {"Chi.sq"}
    assert found["p"].between(0, 1).all()
    start = fit.slices[0].start + problem.designs[0].slices["s(x)"].start
    stop = fit.slices[0].start + problem.designs[0].slices["s(x)"].stop
    assert found["edf"][0] == pytest.approx(fit.edf[start:stop].sum())


def test_a_curve_is_found_and_noise_is_not(table):
    problem, fit = fit_formula("s(x) + s(z) + re(group)", table, table.y)
    found = smooth_table(fit, problem).set_index("term")
    assert found.loc["s(x)", "p"] < 1e-8
    assert found.loc["s(z)", "p"] > 0.01
    assert found.loc["re(group)", "p"] > 0.01
    assert set(found["statistic_name"]) == {"F"}


@pytest.mark.parametrize("k", [0, 1])
def test_a_term_without_penalty_is_an_f_test(table, k):
    formula = ["s(x, k=8, lam=0)", "s(x, k=8, lam=1e-9)"][k]
    problem, fit = fit_formula(formula, table, table.y)
    found = smooth_test(fit, problem, "loc", "s(x)")
    columns = problem.designs[0].slices["s(x)"]
    residual = round(fit.df_resid)
    statistic, rank, p = wald_joint(fit.beta[columns], fit.V[columns, columns], df_resid=residual)
    assert found.ref_df == pytest.approx(rank)
    np.testing.assert_allclose([found.statistic, found.p], [statistic, p], rtol=1e-4)


def test_a_term_without_freedom_is_the_test_of_a_slope(table):
    problem, fit = fit_formula("s(x, lam=1e7)", table, table.y)
    _, linear = fit_formula("x", table, table.y)
    found = smooth_test(fit, problem, "loc", "s(x)")
    t = linear.beta[1] / np.sqrt(linear.V[1, 1])
    np.testing.assert_allclose(found.ref_df, 1.0, atol=2e-3)
    np.testing.assert_allclose(found.statistic, t**2, rtol=1e-3)
    np.testing.assert_allclose(found.p, stats.f.sf(t**2, 1, 198), rtol=1e-2)


def test_dispersion_rescales_the_statistic(table):
    problem, fit = fit_formula("s(x) + re(group)", table, table.y)
    one, four = (
        smooth_table(fit, problem),
        smooth_table(fit, problem, dispersion=4 * fit.dispersion),
    )
    np.testing.assert_allclose(one["statistic"], 4 * four["statistic"])
    assert (one["p"] <= four["p"]).all() and one["p"][0] < four["p"][0]


def test_one_way_random_effect_is_the_f_test_of_a_balanced_layout():
    """Balanced one-way layout: the statistic is a multiple of the between mean square."""
    rng = np.random.default_rng(6)
    groups, size = 10, 6
    frame = pd.DataFrame({"group": np.repeat([f"g{i}" for i in range(groups)], size)})
    y = np.repeat(rng.normal(size=groups), size) + rng.normal(size=groups * size)
    cells = y.reshape(groups, size)
    between = size * ((cells.mean(1) - y.mean()) ** 2).sum() / (groups - 1)
    within = ((cells - cells.mean(1, keepdims=True)) ** 2).sum() / (groups * (size - 1))
    problem, fit = fit_formula("re(group)", frame, y)
    found = smooth_test(fit, problem, "loc", "re(group)")
    np.testing.assert_allclose(fit.dispersion, within, rtol=1e-3)
    assert found.ref_df == groups - 1
    F = stats.f(groups - 1, max(1, round(fit.df_resid)))
    np.testing.assert_allclose(found.p, F.sf(between / within), rtol=2e-2)


def test_size_under_the_null():
    rng = np.random.default_rng(9)
    frame = pd.DataFrame({"x": rng.uniform(size=100), "group": np.arange(100) % 10})
    frame["group"] = frame["group"].astype(str)
    smooths, effects = [], []
    for _ in range(60):
        y = rng.normal(size=100)
        problem, fit = fit_formula("s(x, k=8) + re(group)", frame, y)
        found = smooth_table(fit, problem)
        smooths.append(found["p"][0])
        effects.append(found["p"][1])
    # Binomial(60, .05) exceeds 8 once in 200; p-values of estimated smooths are a little low.
    assert (np.array(smooths) < 0.05).sum() <= 9
    assert (np.array(effects) < 0.05).sum() <= 9
    assert (np.array(smooths) > 0.5).sum() >= 15


def test_crossed_random_effects_are_told_apart(table):
    rng = np.random.default_rng(10)
    y = rng.normal(size=15)[table.group.astype(int)] + rng.normal(size=len(table))
    problem, fit = fit_formula("re(group) + re(hospital)", table, y)
    found = smooth_table(fit, problem)
    assert found["p"][0] < 1e-6 < 0.01 < found["p"][1]


def test_unknown_terms_are_listed(table):
    problem, fit = fit_formula("s(x) + z", table, table.y)
    with pytest.raises(
        SpecificationError, match=r"no smooth or random effect 's\(q\)'.*loc: s\(x\)"
    ):
        smooth_test(fit, problem, "loc", "s(q)")
    with pytest.raises(SpecificationError, match="'scale' has no smooth"):
        smooth_test(fit, problem, "scale", "s(x)")
