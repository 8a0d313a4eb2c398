"""The regressor on tables without pictures: every public method, every option."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from matplotlib.figure import Figure
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score

import semistruct as ss
from semistruct import SemiStructuredRegressor
from semistruct.families import FAMILIES

SAME_OPTIMUM = 1e-8  # two solvers of one convex problem
EXACT = 1e-12  # the same numbers by another accessor
MONTE_CARLO = 4.0  # standard errors of a mean of draws

N = 240


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.uniform(-2, 2, N),
            "z": rng.normal(size=N),
            "sex": pd.Categorical(rng.choice(["f", "m"], N)),
            "center": rng.choice(list("abcdefgh"), N),
            "exposure": rng.uniform(0.5, 2.0, N),
        }
    )
    center = frame["center"].map(dict(zip("abcdefgh", rng.normal(0, 0.5, 8), strict=True)))
    eta = np.sin(2 * frame["x"]) + 0.5 * frame["z"] + 0.4 * (frame["sex"] == "m") + center
    frame["y"] = eta + rng.normal(0, 0.3, N) * np.exp(0.3 * frame["z"])
    frame["count"] = rng.poisson(frame["exposure"] * np.exp(0.3 + 0.4 * frame["z"]))
    frame["positive"] = rng.gamma(2.0, np.exp(0.2 + 0.4 * frame["z"]) / 2.0)
    frame["binary"] = (rng.random(N) < 1 / (1 + np.exp(-frame["z"]))).astype(float)
    assert frame["y"].std() > 0.1
    return frame


@pytest.fixture(scope="module")
def model(table):
    return SemiStructuredRegressor("y ~ s(x) + z + sex + re(center)").fit(table)


def fit(formula, table, y="y", **options):
    return SemiStructuredRegressor(formula, **options).fit(table, table[y])


# ---------------------------------------------------------------------- formulas


def test_the_same_model_however_it_is_written(table):
    written = [
        SemiStructuredRegressor("s(x) + z").fit(table, table["y"]),
        SemiStructuredRegressor("y ~ s(x) + z").fit(table),
        SemiStructuredRegressor(ss.s("x") + ss.linear("z")).fit(table, table["y"]),
        SemiStructuredRegressor({"loc": "s(x) + z"}).fit(table, table["y"].to_numpy()),
        SemiStructuredRegressor({"loc": "y ~ s(x) + z", "scale": "1"}).fit(table),
        SemiStructuredRegressor(
            {"loc": ss.s("x") + ss.linear("z"), "scale": None} | {"scale": "1"}
        ).fit(table, table[["y"]]),
    ]
    for other in written[1:]:
        np.testing.assert_allclose(other.predict(table), written[0].predict(table), rtol=EXACT)


def test_no_formula_is_every_column(table):
    columns = table[["z", "sex", "center", "x"]]
    model = SemiStructuredRegressor().fit(columns, table["y"])
    written = fit("z + sex + center + x", table)
    np.testing.assert_allclose(model.predict(columns), written.predict(table), rtol=EXACT)
    assert model.params.index.equals(written.params.index)
    assert list(model.feature_names_in_) == list(columns)


def test_arrays_get_names(table):
    X = table[["x", "z"]].to_numpy()
    named = fit("x + z", table)
    for formula in (None, "x0 + x1"):
        model = SemiStructuredRegressor(formula).fit(X, table["y"])
        np.testing.assert_allclose(model.predict(X), named.predict(table), rtol=EXACT)
        assert [name for _, name in model.params["loc":"loc"].index] == ["Intercept", "x0", "x1"]
        assert model.n_features_in_ == 2


def test_columns_with_numbers_for_names(table):
    frame = pd.DataFrame(table[["x", "z"]].to_numpy())
    model = SemiStructuredRegressor().fit(frame, table["y"])
    np.testing.assert_allclose(model.predict(frame), fit("x + z", table).predict(table), rtol=EXACT)


def test_columns_may_come_in_another_order_with_others_beside_them(model, table):
    shuffled = table[["center", "exposure", "z", "x", "sex"]]
    np.testing.assert_array_equal(model.predict(shuffled), model.predict(table))


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ({"mean": "x"}, "distribution parameter 'mean'"),
        ({}, "empty"),
        (3, "formula is a string"),
        ({"loc": "y ~ x", "scale": "z ~ x"}, "different responses"),
        ("x + strata(center)", "strata"),
        ("x + (z", "bracket|parenthes|closed"),
    ],
)
def test_formulas_that_make_no_sense(formula, message, table):
    with pytest.raises(ss.SpecificationError, match=message):
        SemiStructuredRegressor(formula).fit(table, table["y"])


def test_a_response_given_twice_or_never(table):
    with pytest.raises(ss.SpecificationError, match="twice"):
        SemiStructuredRegressor("y ~ x").fit(table, table["y"])
    with pytest.raises(ss.DataError, match="no response"):
        SemiStructuredRegressor("x").fit(table)
    with pytest.raises(ss.DataError, match="'price'"):
        SemiStructuredRegressor("price ~ x").fit(table)
    with pytest.raises(ss.UnsupportedCombinationError, match="discrete"):
        SemiStructuredRegressor("Surv(positive, binary) ~ x", family="poisson").fit(table)


# ---------------------------------------------------------------------- predictions


@pytest.mark.parametrize(
    ("family", "y"),
    [
        ("normal", "y"),
        ("lognormal", "positive"),
        ("gamma", "positive"),
        ("poisson", "count"),
        ("bernoulli", "binary"),
    ],
)
def test_predictions_agree_with_one_another(family, y, table):
    model = fit("z + sex", table, y, family=family)
    new = table.iloc[:40]
    params = model.predict_params(new)
    assert tuple(params) == FAMILIES[family].param_names
    assert params.index.equals(new.index)
    mean = model.predict(new)
    assert mean.shape == (40,) and np.ptp(mean) > 0

    draws = model.sample(new, 400, random_state=1)
    assert draws.shape == (400, 40)
    error = draws.std(axis=0, ddof=1) / np.sqrt(400)
    assert (np.abs(draws.mean(axis=0) - mean) < MONTE_CARLO * error).all()
    np.testing.assert_array_equal(draws, model.sample(new, 400, random_state=1))
    assert (draws != model.sample(new, 400, random_state=2)).any()

    interval = model.predict_interval(new, level=0.8)
    assert list(interval) == ["lower", "upper"]
    np.testing.assert_allclose(interval["lower"], model.predict_quantile(new, 0.1), rtol=EXACT)
    assert (interval["lower"] <= interval["upper"]).all()
    wider = model.predict_interval(new, level=0.99)
    assert (wider["upper"] >= interval["upper"]).all()
    assert (wider.to_numpy() != interval.to_numpy()).any()
    several = model.predict_quantile(new, [0.2, 0.5])
    np.testing.assert_allclose(several[0.5], model.predict_quantile(new), rtol=EXACT)

    total = model.log_prob(table, table[y]).sum()
    assert total == pytest.approx(model.loglik_, rel=2e-2)
    assert model.loglik_ > model.loglik_null_
    assert model.score(table, table[y]) == pytest.approx(r2_score(table[y], model.predict(table)))


def test_the_density_is_that_of_the_predicted_parameters(model, table):
    params = model.predict_params(table)
    expected = stats.norm.logpdf(table["y"], params["loc"], params["scale"])
    np.testing.assert_allclose(model.log_prob(table, table["y"]), expected, rtol=1e-10)


def test_the_mean_of_a_lognormal_is_not_its_median(table):
    model = fit("z", table, "positive", family="lognormal")
    params = model.predict_params(table)
    mean = np.exp(params["loc"] + params["scale"] ** 2 / 2)
    np.testing.assert_allclose(model.predict(table), mean, rtol=1e-10)
    np.testing.assert_allclose(
        model.predict_quantile(table, 0.5), np.exp(params["loc"]), rtol=1e-10
    )


@pytest.mark.parametrize("formula", [None, "x0"])
def test_every_prediction_takes_what_fit_took(formula, table):
    X = table[["x", "z"]].to_numpy()
    model = SemiStructuredRegressor(formula).fit(X, table["y"])
    assert model.predict_params(X).shape == (N, 2)
    assert model.predict_interval(X).shape == (N, 2)
    assert model.predict_quantile(X, 0.5).shape == (N,)
    assert model.sample(X, 3).shape == (3, N)
    assert model.log_prob(X, table["y"]).shape == (N,)
    assert len(model.term_contributions(X)) == N
    assert model.embeddings(X).shape == (N, 0)


@pytest.mark.parametrize("bad", [0.0, 1.0, -1, 2, [0.1, 1.5]])
def test_levels_out_of_range(model, table, bad):
    with pytest.raises(ss.SpecificationError, match="between 0 and 1"):
        model.predict_quantile(table, bad)
    if not isinstance(bad, list):
        with pytest.raises(ss.SpecificationError, match="between 0 and 1"):
            model.predict_interval(table, level=bad)


def test_contributions_sum_to_the_predictors(table):
    model = SemiStructuredRegressor(
        {"loc": "s(x) + z*sex + re(center) + offset(exposure)", "scale": "z"}
    ).fit(table, table["y"])
    parts = model.term_contributions(table)
    assert list(parts["loc"]) == ["Intercept", "z", "sex", "z:sex", "s(x)", "re(center)", "offset"]
    params = model.predict_params(table)
    np.testing.assert_allclose(parts["loc"].sum(axis=1), params["loc"], rtol=1e-10)
    np.testing.assert_allclose(parts["scale"].sum(axis=1), np.log(params["scale"]), atol=1e-10)
    np.testing.assert_array_equal(parts["loc", "offset"], table["exposure"])


METHODS = {
    "predict": lambda m, X: m.predict(X),
    "predict_params": lambda m, X: m.predict_params(X),
    "predict_interval": lambda m, X: m.predict_interval(X),
    "predict_quantile": lambda m, X: m.predict_quantile(X),
    "sample": lambda m, X: m.sample(X),
    "log_prob": lambda m, X: m.log_prob(X, X["y"]),
    "score": lambda m, X: m.score(X, X["y"]),
    "term_contributions": lambda m, X: m.term_contributions(X),
    "embeddings": lambda m, X: m.embeddings(X),
    "effects": lambda m, X: m.effects(),
    "params": lambda m, X: m.params,
    "bse": lambda m, X: m.bse,
    "pvalues": lambda m, X: m.pvalues,
    "conf_int": lambda m, X: m.conf_int(),
    "cov_params": lambda m, X: m.cov_params(),
    "smooths": lambda m, X: m.smooths(),
    "summary": lambda m, X: m.summary(),
    "plot": lambda m, X: m.plot(),
}


@pytest.mark.parametrize("name", METHODS)
def test_nothing_works_before_fitting(name, table):
    with pytest.raises(NotFittedError):
        METHODS[name](SemiStructuredRegressor("y ~ x"), table)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_changes_the_model(name, model, table):
    before = model.predict(table.iloc[:20])
    METHODS[name](model, table.iloc[:20])
    np.testing.assert_array_equal(model.predict(table.iloc[:20]), before)


# ---------------------------------------------------------------------- coefficients


def test_least_squares(table):
    model = fit("x + z + sex", table)
    X = sm.add_constant(np.column_stack([table["x"], table["z"], table["sex"] == "m"]))
    expected = sm.OLS(table["y"], X).fit()
    effects = model.effects().loc["loc"]
    np.testing.assert_allclose(effects["coef"], expected.params, rtol=SAME_OPTIMUM)
    np.testing.assert_allclose(effects["se"], expected.bse, rtol=SAME_OPTIMUM)
    np.testing.assert_allclose(effects["p"], expected.pvalues, rtol=1e-6)
    np.testing.assert_allclose(model.conf_int(0.9).loc["loc"], expected.conf_int(0.1), rtol=1e-6)
    np.testing.assert_allclose(model.predict(table), expected.fittedvalues, rtol=SAME_OPTIMUM)
    assert model.loglik_ == pytest.approx(expected.llf, rel=1e-10)
    robust = expected.get_robustcov_results("HC0")
    sandwich = model.effects(cov_type="sandwich").loc["loc"]["se"] / robust.bse
    assert np.ptp(sandwich) < 1e-6  # up to a factor for the degrees of freedom
    assert float(sandwich.iloc[0]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("family", "y", "theirs"),
    [
        ("poisson", "count", sm.families.Poisson()),
        ("bernoulli", "binary", sm.families.Binomial()),
        ("gamma", "positive", sm.families.Gamma(sm.families.links.Log())),
    ],
)
def test_generalised_linear_models(family, y, theirs, table):
    model = fit("x + z", table, y, family=family)
    X = sm.add_constant(table[["x", "z"]].to_numpy())
    expected = sm.GLM(table[y], X, family=theirs).fit(tol=1e-12, maxiter=100)
    first = model.family_.param_names[0]
    effects = model.effects().loc[first]
    np.testing.assert_allclose(effects["coef"], expected.params, rtol=SAME_OPTIMUM)
    ratio = effects["se"].to_numpy() / expected.bse.to_numpy()
    np.testing.assert_allclose(ratio, ratio[0], rtol=SAME_OPTIMUM)  # at equal scale
    if family != "gamma":
        np.testing.assert_allclose(ratio, 1.0, rtol=SAME_OPTIMUM)


def test_accessors_are_columns_of_the_effects(model):
    effects = model.effects()
    assert list(effects) == ["coef", "se", "t", "p", "lower", "upper"]
    pd.testing.assert_series_equal(model.params, effects["coef"])
    pd.testing.assert_series_equal(model.bse, effects["se"])
    pd.testing.assert_series_equal(model.pvalues, effects["p"])
    pd.testing.assert_frame_equal(model.conf_int(), effects[["lower", "upper"]])
    cov = model.cov_params()
    np.testing.assert_allclose(np.sqrt(np.diag(cov)), effects["se"], rtol=EXACT)
    assert cov.index.equals(effects.index) and cov.columns.equals(effects.index)
    narrow, wide = model.conf_int(0.5), model.conf_int(0.99)
    assert ((wide["upper"] - wide["lower"]) > (narrow["upper"] - narrow["lower"])).all()


def test_estimands(model, table):
    pd.testing.assert_frame_equal(model.effects("projection"), model.effects("marginal"))
    with pytest.raises(ss.UnsupportedCombinationError, match="marginal"):
        model.effects("partial")
    with pytest.raises(ss.SpecificationError, match="marginal"):
        model.effects("causal")
    poisson = fit("z", table, "count", family="poisson")
    with pytest.raises(ss.UnsupportedCombinationError, match="projection"):
        poisson.effects("projection")
    moving = SemiStructuredRegressor({"loc": "z", "scale": "z"}).fit(table, table["y"])
    with pytest.raises(ss.UnsupportedCombinationError, match="projection"):
        moving.effects("projection")


def test_smooths_and_fitted_attributes(model):
    smooths = model.smooths()
    assert smooths.index.tolist() == [("loc", "s(x)"), ("loc", "re(center)")]
    assert model.smoothing_.index.tolist() == [("loc", "s(x)"), ("loc", "re(center)")]
    assert (model.smoothing_ > 0).all()
    assert model.edf_["loc", "z"] == pytest.approx(1.0)
    assert 3 < model.edf_["loc", "s(x)"] < 9
    assert model.n_iter_ >= 1
    assert model.history_.empty and {"epoch", "member"} <= set(model.history_)


def test_the_summary_prints_and_renders(model):
    text = str(model.summary())
    for piece in (
        "y",
        "normal",
        "s(x)",
        "re(center)",
        "sex[T.m]",
        "marginal",
        "model-based",
        "240",
    ):
        assert piece.lower() in text.lower()
    html = model.summary()._repr_html_()
    assert "<table" in html and "s(x)" in html
    assert "sandwich" in str(model.summary(cov_type="sandwich"))
    assert "projection" in str(model.summary(estimand="projection"))
    assert "0.95]" in str(model.summary(level=0.9)) and "0.975]" in text


def test_the_plot_is_a_figure(model):
    assert isinstance(model.plot(), Figure)


# ---------------------------------------------------------------------- options


def test_weights_are_repetitions(table):
    rng = np.random.default_rng(1)
    weight = rng.integers(0, 4, N).astype(float)
    repeated = table.loc[table.index.repeat(weight.astype(int))].reset_index(drop=True)
    weighted = SemiStructuredRegressor("x + z").fit(table, table["y"], sample_weight=weight)
    longer = fit("x + z", repeated)
    pd.testing.assert_frame_equal(weighted.effects(), longer.effects(), rtol=1e-7)
    plain = fit("x + z", table)
    assert np.abs(weighted.params - plain.params).max() > 1e-3


@pytest.mark.parametrize(
    ("weight", "message"),
    [(np.ones(3), "3 rows"), (np.full(N, -1.0), "negative"), (np.zeros(N), "zero for every row")],
)
def test_weights_that_cannot_be(weight, message, table):
    with pytest.raises(ss.DataError, match=message):
        SemiStructuredRegressor("x").fit(table, table["y"], sample_weight=weight)


def test_an_offset_has_coefficient_one(table):
    model = fit("z + offset(log(exposure))", table, "count", family="poisson")
    X = sm.add_constant(table["z"].to_numpy())
    expected = sm.GLM(
        table["count"], X, family=sm.families.Poisson(), exposure=table["exposure"]
    ).fit(tol=1e-12)
    np.testing.assert_allclose(model.params, expected.params, rtol=SAME_OPTIMUM)
    np.testing.assert_allclose(model.predict(table), expected.fittedvalues, rtol=SAME_OPTIMUM)
    without = fit("z", table, "count", family="poisson")
    assert np.abs(model.params - without.params).max() > 1e-2
    double = model.predict(table.assign(exposure=2 * table["exposure"]))
    np.testing.assert_allclose(double, 2 * model.predict(table), rtol=1e-10)


def test_a_scale_with_a_predictor_changes_the_intervals(table):
    constant = fit({"loc": "z"}, table).predict_params(table)["scale"]
    moving = fit({"loc": "z", "scale": "z"}, table).predict_params(table)["scale"]
    assert np.ptp(constant) == 0 and np.ptp(moving) > 0.01


def test_rows_with_missing_values_are_dropped_on_request(table):
    holes = table.copy()
    holes.loc[[3, 5], "x"] = np.nan
    holes.loc[7, "y"] = np.nan
    holes.loc[8, "exposure"] = np.nan  # not in the model
    with pytest.raises(ss.DataError, match="'x'"):
        SemiStructuredRegressor("y ~ x + z").fit(holes.drop(index=7))
    with pytest.warns(ss.DataWarning, match="3 of 240 rows"):
        dropped = SemiStructuredRegressor("y ~ x + z", missing="drop").fit(holes)
    expected = SemiStructuredRegressor("y ~ x + z").fit(table.drop(index=[3, 5, 7]))
    np.testing.assert_allclose(dropped.params, expected.params, rtol=EXACT)
    with pytest.raises(ss.DataError, match="'x'"):
        dropped.predict(holes)


def test_weights_and_groups_follow_the_rows_that_are_kept(table):
    holes = table.copy()
    holes.loc[[3, 5], "x"] = np.nan
    weight = np.arange(1.0, N + 1)
    groups = table["center"].to_numpy()
    kept = np.setdiff1d(np.arange(N), [3, 5])
    options = {"cov_type": "cluster", "missing": "drop"}
    with pytest.warns(ss.DataWarning, match="2 of 240"):
        dropped = SemiStructuredRegressor("y ~ x", **options).fit(
            holes, sample_weight=weight, groups=groups
        )
    expected = SemiStructuredRegressor("y ~ x", **options).fit(
        table.iloc[kept], sample_weight=weight[kept], groups=groups[kept]
    )
    pd.testing.assert_frame_equal(dropped.effects(), expected.effects())


def test_kinds_of_covariance_give_different_errors(table):
    formula = "y ~ z + cluster(center)"
    errors = {
        kind: SemiStructuredRegressor(formula, cov_type=kind).fit(table).bse["loc", "z"]
        for kind in ("model", "sandwich", "cluster")
    }
    assert len({round(error, 6) for error in errors.values()}) == 3
    default = SemiStructuredRegressor(formula).fit(table)
    assert default.bse["loc", "z"] == pytest.approx(errors["cluster"])
    assert "clustered" in str(default.summary())
    grouped = SemiStructuredRegressor("y ~ z", cov_type="cluster").fit(
        table, groups=table["center"]
    )
    assert grouped.bse["loc", "z"] == pytest.approx(errors["cluster"])
    with pytest.raises(ss.SpecificationError, match=r"cluster\(column\)"):
        _ = SemiStructuredRegressor("y ~ z", cov_type="cluster").fit(table).bse


def test_ways_of_smoothing_give_different_curves(table):
    edf = {
        method: SemiStructuredRegressor("y ~ s(x, k=20)", smoothing=method).fit(table).edf_.iloc[1]
        for method in ("reml", "ml", "gcv")
    }
    assert len({round(value, 4) for value in edf.values()}) == 3
    fixed = SemiStructuredRegressor("y ~ s(x, k=20, lam=1e6)").fit(table)
    assert fixed.edf_["loc", "s(x)"] < 1.1


@pytest.mark.parametrize(
    "options",
    [
        {"smoothing": "aic"},
        {"orthogonalize": "all"},
        {"cov_type": "HC3"},
        {"missing": "ignore"},
        {"n_folds": 0},
        {"n_folds": 2.5},
        {"max_epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"patience": 0},
        {"family": "gaussian"},
        {"n_folds": "many"},
        {"n_repeats": 0},
        {"max_epochs": "many"},
        {"device": "gpu"},
    ],
)
def test_options_that_make_no_sense(options, table):
    model = SemiStructuredRegressor("x", **options)
    with pytest.raises(ss.SpecificationError, match=next(iter(options))):
        model.fit(table, table["y"])


def test_parameters_are_stored_as_given():
    formula = {"loc": "x"}
    model = SemiStructuredRegressor(formula, n_folds=3)
    assert model.formula is formula and clone(model).get_params()["n_folds"] == 3
    assert model.set_params(gate=False).gate is False


@pytest.mark.usefixtures("global_rng_untouched")
def test_the_global_generators_are_left_alone(table):
    model = fit("s(x) + z", table, random_state=0)
    model.sample(table, 2, random_state=0)
    model.summary()


def test_a_response_of_several_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300)})
    mean = np.column_stack([frame["x"], 1 - 2 * frame["x"]])
    y = pd.DataFrame(mean + rng.multivariate_normal([0, 0], [[1.0, 0.6], [0.6, 1.0]], 300))
    model = SemiStructuredRegressor({"loc_1": "x", "loc_2": "x"}, family="multivariate_normal")
    model.fit(frame, y)
    assert model.predict(frame).shape == (300, 2)
    for k in (1, 2):
        peer = sm.OLS(y.iloc[:, k - 1], sm.add_constant(frame)).fit()
        np.testing.assert_allclose(model.params[f"loc_{k}"], peer.params, rtol=1e-5)
    assert model.log_prob(frame, y).sum() == pytest.approx(model.loglik_)
    assert model.sample(frame, 3, random_state=0).shape == (3, 300, 2)
    for refused in (model.predict_quantile, model.predict_interval):
        with pytest.raises(ss.UnsupportedCombinationError, match="one column"):
            refused(frame)
    gaps = y.copy()
    gaps.iloc[3, 1] = np.nan
    with pytest.raises(ss.DataError, match="row 3, column 1"):
        model.fit(frame, gaps)
    with pytest.warns(ss.DataWarning, match="1 of 300 rows"):
        model.set_params(missing="drop").fit(frame, gaps)
    with pytest.raises(ss.DataError, match="2 columns"):
        model.fit(frame, y[0])


def test_curves_at_binned_values_on_request():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"x": rng.uniform(size=3000)})
    table["y"] = np.sin(6 * table["x"]) + rng.normal(size=3000)
    exact, default, binned = (
        ss.SemiStructuredRegressor("y ~ s(x)", discrete=discrete).fit(table)
        for discrete in (False, None, True)
    )
    assert (exact.predict(table) == default.predict(table)).all()
    gap = np.abs(exact.predict(table) - binned.predict(table))
    assert 0 < gap.max() < 0.05 * exact.predict(table, se=True)["se"].min()
    with pytest.raises(ss.SpecificationError, match="discrete"):
        ss.SemiStructuredRegressor("y ~ s(x)", discrete="yes").fit(table)
