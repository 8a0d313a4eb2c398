"""Tests of nested models and of terms, against statsmodels; what is refused, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm

import semistruct as ss
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.inference.comparison import compare_fits, contains
from semistruct.inference.criteria import information_criteria
from semistruct.terms import DenseBlock

# The same arithmetic in another order.
ROUNDING = 1e-7


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(8)
    n = 180
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.uniform(size=n)})
    frame["g"] = rng.choice(["a", "b", "c"], n)
    frame["y"] = frame.x + (frame.g == "b") * 0.5 + rng.normal(size=n) * (1 + frame.z)
    frame["count"] = rng.poisson(np.exp(0.3 * frame.x))
    return frame


def fitted(formula, table, family="normal", **options):
    return ss.SemiStructuredRegressor(formula, family, **options).fit(table)


def test_terms_are_type_three_tests(table):
    found = ss.anova(fitted("y ~ x + g + z", table))
    expected = anova_lm(smf.ols("y ~ x + C(g) + z", table).fit(), typ=3)
    for ours, theirs in (("x", "x"), ("g", "C(g)"), ("z", "z")):
        row = found.loc[("loc", ours)]
        assert row["test"] == "F" and row["ref_df"] == expected.loc[theirs, "df"]
        np.testing.assert_allclose(row["statistic"], expected.loc[theirs, "F"], rtol=ROUNDING)
        np.testing.assert_allclose(row["p"], expected.loc[theirs, "PR(>F)"], rtol=ROUNDING)
    assert "Intercept" not in found.index.get_level_values(1)


def test_covariance_of_term_tests_is_chosen(table):
    model = fitted("y ~ x + g + z", table)
    robust = smf.ols("y ~ x + C(g) + z", table).fit(cov_type="HC0", use_t=True)
    found = ss.anova(model, cov_type="sandwich").loc[("loc", "g")]
    expected = robust.wald_test_terms(scalar=True).table.loc["C(g)"]
    np.testing.assert_allclose(found["statistic"], expected["statistic"], rtol=ROUNDING)
    assert found["statistic"] != ss.anova(model).loc[("loc", "g"), "statistic"]


def test_three_models_share_the_dispersion_of_the_largest(table):
    formulas = ["y ~ x", "y ~ x + g", "y ~ x + g + z"]
    found = ss.anova(*[fitted(formula, table) for formula in formulas])
    expected = anova_lm(
        *[smf.ols(formula.replace("g", "C(g)"), table).fit() for formula in formulas]
    )
    np.testing.assert_allclose(found["df"][1:], expected["df_diff"][1:])
    np.testing.assert_allclose(found["statistic"][1:], expected["F"][1:], rtol=ROUNDING)
    # As R: the denominator is the largest model's. statsmodels takes each model's own for p.
    p = stats.f.sf(expected["F"][1:], expected["df_diff"][1:], expected["df_resid"].iloc[-1])
    np.testing.assert_allclose(found["p"][1:], p, rtol=ROUNDING)
    assert list(found.index) == [1, 2, 3] and np.isnan(found.loc[1, "p"])


def test_the_order_of_models_does_not_matter(table):
    pair = [fitted(formula, table) for formula in ("y ~ x", "y ~ x + s(z)")]
    forth, back = ss.anova(*pair).loc[2], ss.anova(*pair[::-1]).loc[2]
    assert back["df"] == -forth["df"]
    assert back["p"] == forth["p"] and back["statistic"] == forth["statistic"]


def test_a_model_of_the_scale_is_a_likelihood_ratio_test(table):
    small = fitted("y ~ x", table)
    large = fitted({"loc": "y ~ x", "scale": "z"}, table)
    row = ss.anova(small, large).loc[2]
    assert row["test"] == "Chi.sq" and row["df"] == pytest.approx(1)
    statistic = 2 * (large.loglik_ - small.loglik_)
    assert row["statistic"] == pytest.approx(statistic)
    assert row["p"] == pytest.approx(stats.chi2.sf(statistic, 1)) and row["p"] < 0.05
    with pytest.raises(UnsupportedCombinationError, match="dispersion= is for F tests"):
        ss.anova(small, large, dispersion=1.0)


def test_cox_models(table):
    rng = np.random.default_rng(0)
    time = rng.exponential(np.exp(-table.x))
    y = ss.Surv(time, rng.uniform(size=len(time)) < 0.7)
    pair = [ss.CoxPH(formula).fit(table, y) for formula in ("x", "x + g")]
    row = ss.anova(*pair).loc[2]
    statistic = 2 * (pair[1].loglik_ - pair[0].loglik_)
    assert row["df"] == pytest.approx(2) and row["statistic"] == pytest.approx(statistic)
    assert row["p"] == pytest.approx(stats.chi2.sf(statistic, 2))
    events = int(y.event.sum())
    assert pair[0].bic_ == pytest.approx(-2 * pair[0].loglik_ + np.log(events))


def test_criteria_after_gcv_count_smoothing_as_known(table):
    model = fitted("y ~ s(z) + x", table, smoothing="gcv")
    found = information_criteria(model.fit_.marginal, model.fit_.problem)
    assert not found.corrected and found.df == pytest.approx(model.edf_.sum())
    assert model.aic_ == pytest.approx(-2 * model.loglik_ + 2 * model.edf_.sum())
    with pytest.raises(UnsupportedCombinationError, match="gcv"):
        model.cov_params("corrected")


def test_what_cannot_be_compared(table):
    model = fitted("y ~ x", table)
    other = fitted("y ~ x + g", table)
    with pytest.raises(UnsupportedCombinationError, match="fitted to 180 rows and model 2 to 179"):
        ss.anova(model, fitted("y ~ x + g", table[1:]))
    with pytest.raises(UnsupportedCombinationError, match="different responses or case weights"):
        ss.anova(model, fitted("y ~ x + g", table.assign(y=-table.y)))
    with pytest.raises(UnsupportedCombinationError, match="different likelihoods"):
        ss.anova(fitted("count ~ x", table, "poisson"), fitted("count ~ x + g", table))
    with pytest.raises(UnsupportedCombinationError, match="model 1 is not nested in model 2"):
        ss.anova(model, fitted("y ~ g + z", table))
    with pytest.raises(UnsupportedCombinationError, match=r"'s\(z, k=8\)'"):
        ss.anova(fitted("y ~ s(z, k=8)", table), fitted("y ~ s(z, k=12) + x", table))
    with pytest.raises(SpecificationError, match="different offsets"):
        ss.anova(model, fitted("y ~ x + g + offset(z)", table))
    with pytest.raises(UnsupportedCombinationError, match="no degrees of freedom"):
        compare_fits([model.fit_, replace(other.fit_, deep=object())])
    with pytest.raises(SpecificationError, match="got DataFrame"):
        ss.anova(model, table)
    with pytest.raises(SpecificationError, match="one or more"):
        ss.anova()
    with pytest.raises(SpecificationError, match="Wald tests of one model"):
        ss.anova(model, other, cov_type="sandwich")
    with pytest.raises(SpecificationError, match="two or more"):
        ss.anova(model, dispersion=1.0)


def test_a_model_against_itself_has_no_p_value(table):
    model = fitted("y ~ x", table)
    row = ss.anova(model, model).loc[2]
    assert row["df"] == 0 and np.isnan(row["p"])


def test_a_space_contains_its_subspaces_only():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(50, 4)) * [1.0, 1e5, 1e-5, 1.0]
    inside = DenseBlock(X @ rng.normal(size=(4, 2)))
    assert contains(DenseBlock(X), inside)
    assert not contains(DenseBlock(X[:, :3]), inside)
    twice = DenseBlock(np.hstack([X, X[:, :2]]))
    assert contains(twice, inside)
    one = DenseBlock(np.ones((50, 1)))
    assert contains(DenseBlock(X), one, constant=True) and not contains(DenseBlock(X), one)
    nothing = DenseBlock(np.zeros((50, 0)))
    assert contains(DenseBlock(X), nothing) and not contains(nothing, inside)
