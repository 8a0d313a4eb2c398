"""The two-stage baseline: offsets for regression, Cox and PAMM; attenuation and residualising."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_regressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.validation import check_is_fitted

import semistruct as ss
from semistruct.estimators.two_stage import TwoStage

SAME = 1e-8  # two routes to one optimum
N = 240
QUICK = {"n_folds": 2, "n_repeats": 1, "max_epochs": 2, "progress": False, "random_state": 0}


@pytest.fixture(scope="module")
def frame():
    """Features of pictures (taken as they are) that share information with the table."""
    rng = np.random.default_rng(0)
    digits = ss.datasets.simulate_digits(N, random_state=1)
    x = rng.normal(size=N)
    u = np.column_stack([0.8 * x + 0.6 * rng.normal(size=N), rng.normal(size=N)])
    assert np.corrcoef(x, u[:, 0])[0, 1] > 0.5
    return pd.DataFrame(
        {
            "x": x,
            "z": rng.normal(size=N),
            "group": rng.choice(list("ab"), N),
            "scan": digits["digit"].array,
            "u": ss.TensorArray(u),
            "y": x + u @ [1.0, -1.0] + rng.normal(0, 0.5, N),
        }
    )


@pytest.fixture(scope="module")
def follow_up(frame):
    rng = np.random.default_rng(1)
    time = rng.exponential(np.exp(-frame["y"].to_numpy() / 2))
    return ss.Surv(np.minimum(time, 2.0) + 1e-3, time <= 2.0)


def parts(n=2):
    """Principal components of both numbers are a rotation of them."""
    return {"u": ss.ImageFeatures("pca", n)}


def features_of(frame):
    return ss.ImageFeatures("pca", 2).fit_transform(frame["u"])


# ---------------------------------------------------------------------- the stages


def test_regression_is_a_fit_with_an_offset(frame):
    model = TwoStage(ss.SemiStructuredRegressor("x + z"), features=parts()).fit(frame, frame["y"])
    first = ss.SemiStructuredRegressor("x + z").fit(frame, frame["y"])
    pd.testing.assert_series_equal(model.structured_.params, first.params)
    rows = frame.join(features_of(frame)).assign(eta=first.predict(frame))
    second = ss.SemiStructuredRegressor("offset(eta) + ridge(u_0, u_1)").fit(rows, frame["y"])
    np.testing.assert_allclose(model.predict(frame), second.predict(rows), rtol=1e-6)
    assert model.score(frame, frame["y"]) > first.score(frame, frame["y"]) + 0.05
    assert model.predict_interval(frame).shape == (N, 2)
    np.testing.assert_allclose(
        model.log_prob(frame, frame["y"]), second.log_prob(rows, frame["y"]), rtol=1e-5, atol=1e-5
    )


def test_scales_with_predictors_of_their_own(frame):
    formula = {"loc": "x + z", "scale": "z"}
    model = TwoStage(ss.SemiStructuredRegressor(formula), "u_0 + u_1", features=parts())
    model.fit(frame, frame["y"])
    first = model.structured_.predict_params(frame)["scale"]
    ratio = model.predict_params(frame)["scale"] / first
    assert first.std() > 0 and ratio.iloc[0] < 1
    np.testing.assert_allclose(ratio, ratio.iloc[0])


def test_cox_is_a_fit_with_an_offset_within_strata(frame, follow_up):
    structured = ss.CoxPH("x + z + strata(group)")
    model = TwoStage(structured, "u_0 + u_1", features=parts()).fit(frame, follow_up)
    first = clone(structured).fit(frame, follow_up)
    rows = frame.join(features_of(frame)).assign(eta=first.predict(frame))
    second = ss.CoxPH("offset(eta) + u_0 + u_1 + strata(group)").fit(rows, follow_up)
    np.testing.assert_allclose(model.predict(frame), second.predict(rows), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        model.predict_survival_function(frame[:5], [0.1, 1.0]),
        second.predict_survival_function(rows[:5], [0.1, 1.0]),
    )
    assert model.score(frame, follow_up) == second.score(rows, follow_up)
    assert not hasattr(model, "predict_quantile")
    cluster = TwoStage(ss.CoxPH("x + cluster(group)"), "u_0", features=parts())
    assert cluster.fit(frame, follow_up).image_.specification_.cluster == "group"


def test_pamm_is_a_fit_with_the_hazards_as_offset(frame, follow_up):
    structured = ss.PAMM("s(tend, k=5) + x", cuts=[0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5])
    model = TwoStage(structured, "u_0 + u_1", features=parts()).fit(frame, follow_up)
    # The same likelihood over the rows of intervals, each with its log hazard as offset.
    expansion = model.structured_.expansion_
    rows = expansion.frame(frame.join(features_of(frame)).drop(columns=["scan", "u"]))
    hazard = model.structured_.predict_hazard(frame, expansion.intervals.ends).to_numpy().T
    rows["known"] = np.log(hazard[expansion.row, expansion.interval]) + rows["offset"]
    poisson = ss.SemiStructuredRegressor("offset(known) + u_0 + u_1", family="poisson")
    poisson.fit(rows, rows["event"])
    np.testing.assert_allclose(model.image_.params, poisson.params, rtol=1e-6)
    curves = model.predict_survival_function(frame[:4], [0.3, 1.2])
    factor = np.exp(
        features_of(frame)[:4] @ poisson.params["rate"][["u_0", "u_1"]].to_numpy()
        + poisson.params["rate", "Intercept"]
    )
    expected = model.structured_.predict_survival_function(frame[:4], [0.3, 1.2]) ** factor
    np.testing.assert_allclose(curves, expected, rtol=1e-6)
    np.testing.assert_allclose(
        model.predict_cumulative_hazard(frame[:4], [0.3, 1.2]), -np.log(curves)
    )
    assert (model.predict_hazard(frame[:4], [0.3]) > 0).all(axis=None)
    assert model.score(frame, follow_up) > model.structured_.score(frame, follow_up)
    assert not hasattr(model, "predict_median") and not hasattr(model, "predict_partial_hazard")


def test_delayed_entry_and_subjects_of_a_pamm(frame, follow_up):
    half = follow_up.time / 2
    twice = ss.Surv(
        np.concatenate([half, follow_up.time]),
        np.concatenate([np.zeros(N, bool), follow_up.event]),
        entry=np.concatenate([np.zeros(N), half]),
        id=np.tile(np.arange(N), 2),
    )
    structured = ss.PAMM("s(tend, k=5) + x", cuts=8)
    once = TwoStage(structured, "u_0 + u_1", features=parts()).fit(frame, follow_up)
    structured = ss.PAMM("s(tend, k=5) + x", cuts=once.structured_.intervals_.cuts)
    cut = TwoStage(structured, "u_0 + u_1", features=parts())
    cut.fit(pd.concat([frame, frame], ignore_index=True), twice)
    np.testing.assert_allclose(cut.predict(frame), once.predict(frame), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["regressor", "cox", "pamm"])
def test_networks_in_the_second_stage(frame, follow_up, kind):
    structured = {
        "regressor": ss.SemiStructuredRegressor("x + z", gate=False, **QUICK),
        "cox": ss.CoxPH("x + z", gate=False, **QUICK),
        "pamm": ss.PAMM("s(tend, k=5) + x", cuts=5, gate=False, **QUICK),
    }[kind]
    y = frame["y"] if kind == "regressor" else follow_up
    model = TwoStage(structured, "cnn(scan)").fit(frame, y)
    assert set(model.image_.history_["epoch"]) <= {0, 1, 2}
    assert model.image_.random_state == 0 and model.image_.fit_.deep is not None
    together = model.predict(frame)
    alone = np.concatenate([model.predict(frame[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, together[:4], rtol=1e-5, atol=1e-5)


def test_the_response_named_by_the_formula(frame, follow_up):
    named = TwoStage(ss.SemiStructuredRegressor("y ~ x"), features=parts()).fit(frame)
    given = TwoStage(ss.SemiStructuredRegressor("x"), features=parts()).fit(frame, frame["y"])
    np.testing.assert_allclose(named.predict(frame), given.predict(frame), rtol=SAME)
    assert named.score(frame) == pytest.approx(given.score(frame, frame["y"]))
    table = frame.assign(time=follow_up.time, event=follow_up.event)
    survival = TwoStage(ss.CoxPH("Surv(time, event) ~ x"), "u_0", features=parts()).fit(table)
    reference = TwoStage(ss.CoxPH("x"), "u_0", features=parts()).fit(frame, follow_up)
    np.testing.assert_allclose(survival.predict(table), reference.predict(frame), rtol=SAME)


def test_no_formula_is_every_tabular_column(frame):
    table = frame[["x", "z", "u"]]
    model = TwoStage(ss.SemiStructuredRegressor(), features=parts()).fit(table, frame["y"])
    assert list(model.structured_.params["loc"].index) == ["Intercept", "x", "z"]
    assert model.predict(table[:3]).shape == (3,)


# ---------------------------------------------------------------------- the bias


def test_two_stages_attenuate_and_residualising_does_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    u = np.column_stack([0.8 * x + 0.6 * rng.normal(size=4000), rng.normal(size=4000)])
    frame = pd.DataFrame({"x": x, "u": ss.TensorArray(u)})
    y = x + u @ [1.0, -1.0] + rng.normal(0, 0.5, 4000)
    options = {"image": "u_0 + u_1", "features": parts()}
    naive = TwoStage(ss.SemiStructuredRegressor("x"), **options).fit(frame, y)
    clean = TwoStage(ss.SemiStructuredRegressor("x"), residualise=True, **options).fit(frame, y)
    joint = ss.EarlyFusion(ss.SemiStructuredRegressor(), parts()).fit(frame, y)
    full = joint.score(frame, y)
    assert naive.score(frame, y) < full - 0.01
    assert clean.score(frame, y) == pytest.approx(full, abs=1e-9)
    np.testing.assert_allclose(
        clean.image_.params["loc"][["u_0", "u_1"]],
        joint.estimator_.params["loc"][["u_0", "u_1"]],
        rtol=1e-6,
    )
    # The picture's own share is 36 % of u; the table keeps the rest of its effect.
    rotation = naive.features_["u"].pca_.components_
    effect = naive.image_.params["loc"][["u_0", "u_1"]].to_numpy() @ rotation
    assert 0.2 < effect[0] < 0.6 and abs(effect[1] + 1) < 0.1


def test_residualised_features_are_orthogonal_to_the_table(frame, follow_up):
    model = TwoStage(ss.CoxPH("x + s(z, k=5)"), features=parts(), residualise=True)
    model.fit(frame, follow_up)
    rows = model._second_rows(frame)
    X = model._columns(frame).to_numpy()
    assert rows["u_0"].std() > 0.1
    assert np.abs(X.T @ rows[["u_0", "u_1"]].to_numpy()).max() < 1e-8 * N
    alone = pd.concat([model._second_rows(frame[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(alone["u_0"], rows["u_0"][:3])


# ---------------------------------------------------------------------- scikit-learn


def test_rows_of_weight_zero_are_absent(frame):
    weight = (np.arange(N) % 4 > 0).astype(float)
    some = weight > 0
    model = TwoStage(ss.SemiStructuredRegressor("x"), features=parts())
    with_zeros = clone(model).fit(frame, frame["y"], weight)
    reference = clone(model).fit(frame[some], frame["y"][some])
    np.testing.assert_allclose(with_zeros.predict(frame), reference.predict(frame), rtol=1e-6)


def test_scikit_learns_tools(frame, follow_up):
    model = TwoStage(ss.SemiStructuredRegressor("x"), features=parts())
    assert is_regressor(model) and not is_regressor(TwoStage(ss.CoxPH(), "cnn(scan)"))
    assert {"structured__formula", "u", "u__n_components"} <= set(model.get_params())
    search = GridSearchCV(
        model, {"structured__formula": ["x", "x + z"], "u__n_components": [1, 2]}, cv=2
    ).fit(frame, frame["y"])
    assert search.best_params_["u__n_components"] == 2
    cox = TwoStage(ss.CoxPH("x"), "u_0", features=parts())
    assert cross_val_score(cox, frame, follow_up).min() > 0.5
    fitted = clone(model).fit(frame, frame["y"])
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(frame), fitted.predict(frame))


def test_a_member_of_a_late_fusion(frame, follow_up):
    members = {
        "two": TwoStage(ss.SemiStructuredRegressor("x"), features=parts()),
        "table": ss.SemiStructuredRegressor("x + z"),
    }
    model = ss.LateFusion(members).fit(frame, frame["y"])
    assert model.predict_interval(frame[:3]).shape == (3, 2)
    risks = {"two": TwoStage(ss.CoxPH("x"), "u_0", features=parts()), "table": ss.CoxPH("x + z")}
    fused = ss.LateFusion(risks, cv=2, random_state=0).fit(frame, follow_up)
    assert fused.predict_survival_function(frame[:3], [0.5]).shape == (1, 3)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"structured": Ridge()}, ss.SpecificationError, "got Ridge"),
        ({"features": None}, ss.SpecificationError, "second stage needs image"),
        ({"structured__formula": "x + cnn(scan)"}, ss.SpecificationError, "no deep terms"),
        ({"structured__missing": "drop"}, ss.UnsupportedCombinationError, "drop them before"),
        (
            {"features": None, "image": "cnn(scan)", "residualise": True},
            ss.UnsupportedCombinationError,
            "joint model",
        ),
        ({"features": {}}, ss.SpecificationError, "map names"),
        ({"image": "u_7"}, ss.DataError, "u_7"),
    ],
)
def test_what_cannot_be_fitted(frame, options, error, message):
    model = TwoStage(ss.SemiStructuredRegressor("x"), features=parts()).set_params(**options)
    with pytest.raises(error, match=message):
        model.fit(frame, frame["y"])
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(model)


def test_tables_and_responses_that_cannot_be_used(frame, follow_up):
    model = TwoStage(ss.SemiStructuredRegressor("x"), features=parts())
    with pytest.raises(ss.DataError, match="rename it"):
        model.fit(frame.assign(structured_predictor_0=1.0), frame["y"])
    with pytest.raises(ss.DataError, match="rename these"):
        model.fit(frame.assign(u_0=1.0), frame["y"])
    with pytest.raises(ss.DataError, match="needs a DataFrame"):
        model.fit(frame[["x", "z"]].to_numpy(), frame["y"])
    two = ss.Surv(follow_up.time, np.arange(N) % 3, n_causes=2)
    pamm = TwoStage(ss.PAMM("s(tend, k=5) + x", cuts=6), "u_0", features=parts())
    with pytest.raises(ss.UnsupportedCombinationError, match="competing causes"):
        pamm.fit(frame, two)
    with pytest.raises(ss.UnsupportedCombinationError, match="vary over time"):
        pamm.set_params(residualise=True).fit(frame, follow_up)
    with pytest.raises(ss.DataError, match="no column 'u'"):
        model.fit(frame, frame["y"]).predict(frame.drop(columns="u"))
