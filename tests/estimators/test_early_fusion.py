"""Early fusion: features learned in training only, models of every package, nested parameters."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from lifelines import CoxPHFitter, WeibullAFTFitter
from pygam import LinearGAM, LogisticGAM, l
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

import semistruct as ss
from semistruct.estimators.early_fusion import EarlyFusion
from semistruct.estimators.features.image_features import ImageFeatures

SAME = 1e-8  # the same columns in another table


@pytest.fixture(scope="module")
def frame():
    return ss.datasets.simulate_digits(240, random_state=1)


@pytest.fixture(scope="module")
def table(frame):
    return frame[["age", "bmi", "digit"]]


@pytest.fixture(scope="module")
def follow_up(frame):
    rng = np.random.default_rng(0)
    time = np.exp(-frame["y"].to_numpy()) * rng.exponential(size=len(frame))
    end = rng.uniform(0.5, 3, len(frame)) * np.median(time)
    return ss.Surv(np.minimum(time, end) + 1e-3, time <= end)


def fusion(estimator, n_components=4, **options):
    return EarlyFusion(estimator, {"digit": ImageFeatures("pca", n_components)}, **options)


def by_hand(table, n_components=4):
    parts = ImageFeatures("pca", n_components).fit_transform(table["digit"])
    return pd.concat([table.drop(columns="digit"), parts], axis=1)


# ---------------------------------------------------------------------- models


def test_it_is_the_model_of_the_table_with_features(table, frame):
    fitted = fusion(LinearRegression()).fit(table, frame["y"])
    reference = LinearRegression().fit(by_hand(table), frame["y"])
    np.testing.assert_allclose(fitted.predict(table), reference.predict(by_hand(table)), rtol=SAME)
    assert fitted.score(table, frame["y"]) == pytest.approx(
        reference.score(by_hand(table), frame["y"])
    )


def test_the_picture_helps():
    train = ss.datasets.simulate_digits(800, random_state=0)
    new = ss.datasets.simulate_digits(800, random_state=5)
    columns = ["age", "bmi", "digit"]
    fitted = fusion(Ridge(), 20).fit(train[columns], train["y"])
    plain = Ridge().fit(train[columns[:2]], train["y"])
    gain = fitted.score(new[columns], new["y"]) - plain.score(new[columns[:2]], new["y"])
    assert gain > 0.05


@pytest.mark.parametrize(
    "formula", [None, "age + bmi + cols('digit_*')", "age + s(bmi, k=5) + digit_0"]
)
def test_our_regressor(formula, table, frame):
    fitted = fusion(ss.SemiStructuredRegressor(formula)).fit(table, frame["y"])
    reference = ss.SemiStructuredRegressor(formula).fit(by_hand(table), frame["y"])
    pd.testing.assert_series_equal(fitted.estimator_.params, reference.params)
    assert fitted.predict_interval(table[:5]).shape == (5, 2)
    assert fitted.predict_quantile(table[:5], 0.5).shape == (5,)
    assert not hasattr(fitted, "predict_partial_hazard")


def test_the_response_named_by_the_formula(frame):
    model = ss.SemiStructuredRegressor("y ~ age + cols('digit_*')")
    named = fusion(model).fit(frame.drop(columns=["sex", "center"]))
    given = fusion(clone(model).set_params(formula="age + cols('digit_*')")).fit(
        frame.drop(columns=["sex", "center"]), frame["y"]
    )
    pd.testing.assert_series_equal(named.estimator_.params, given.estimator_.params)


def test_pictures_beside_their_features(table, frame):
    model = ss.SemiStructuredRegressor(
        "age + cols('digit_*') + cnn(digit)", n_folds=2, n_repeats=1, max_epochs=1, progress=False
    )
    fitted = fusion(model, drop=False).fit(table, frame["y"])
    assert "digit" in fitted.table_columns_
    with pytest.raises(ss.DataError, match="no column 'digit'"):
        fusion(model).fit(table, frame["y"])


def test_our_cox_model(table, follow_up):
    fitted = fusion(ss.CoxPH()).fit(table, follow_up)
    reference = ss.CoxPH().fit(by_hand(table), follow_up)
    pd.testing.assert_series_equal(fitted.estimator_.params, reference.params)
    curves = fitted.predict_survival_function(table[:3], times=[0.1, 1.0])
    assert curves.shape == (2, 3)
    assert fitted.score(table, follow_up) == reference.score(by_hand(table), follow_up)
    assert cross_val_score(fusion(ss.CoxPH()), table, follow_up, cv=3).mean() > 0.6


@pytest.mark.parametrize("fitter", [CoxPHFitter(penalizer=0.1), WeibullAFTFitter(penalizer=0.1)])
def test_fitters_of_lifelines(fitter, table, follow_up):
    fitted = fusion(fitter).fit(table, follow_up)
    data = by_hand(table).assign(time=follow_up.time, event=follow_up.event.astype(int))
    reference = pickle.loads(pickle.dumps(fitter)).fit(data, "time", "event")
    pd.testing.assert_series_equal(fitted.estimator_.fitted_.params_, reference.params_)
    curves = fitted.predict_survival_function(table[:4], times=[0.05, 0.5])
    np.testing.assert_allclose(
        curves, reference.predict_survival_function(by_hand(table)[:4], times=[0.05, 0.5])
    )
    assert fitted.score(table, follow_up) > 0.65
    assert not hasattr(fitter, "params_")
    assert fusion(fitter).set_params(estimator__penalizer=3.0).estimator.penalizer == 3.0
    fitter.penalizer = 0.1


def test_weights_and_entry_reach_lifelines(table, follow_up):
    weight = np.arange(len(table)) % 3
    entry = np.where(np.arange(len(table)) % 2, follow_up.time / 2, 0.0)
    late = ss.Surv(follow_up.time, follow_up.event, entry)
    used = weight > 0
    fitted = fusion(CoxPHFitter()).fit(table, late, weight)
    data = by_hand(table[used]).assign(
        time=late.time[used], event=late.event[used], entry=entry[used], weight=weight[used]
    )
    reference = CoxPHFitter().fit(data, "time", "event", entry_col="entry", weights_col="weight")
    np.testing.assert_allclose(fitted.estimator_.fitted_.params_, reference.params_, rtol=1e-6)


def test_models_of_pygam(table, frame):
    gam = LinearGAM(l(0) + l(1) + l(2) + l(3) + l(4) + l(5))
    fitted = fusion(gam).fit(table, frame["y"])
    reference = LinearGAM(l(0) + l(1) + l(2) + l(3) + l(4) + l(5)).fit(by_hand(table), frame["y"])
    np.testing.assert_allclose(fitted.predict(table), reference.predict(by_hand(table)))
    classes = np.where(frame["y"] > frame["y"].median(), "high", "low")
    binary = fusion(LogisticGAM(l(0) + l(1) + l(2))).fit(table, classes)
    assert binary.predict_proba(table).shape == (240, 2) and is_classifier(binary)
    assert set(binary.predict(table)) == {"high", "low"}
    assert not hasattr(fitted, "predict_proba")
    weight = 1 + np.arange(len(table)) % 2
    other = fusion(gam).fit(table, frame["y"], weight)
    assert not np.allclose(other.predict(table), fitted.predict(table))


def test_models_of_statsmodels(table, frame):
    model = ss.wrap(smf.ols, "y ~ age + digit_0")
    fitted = fusion(model).fit(table, frame["y"])
    reference = smf.ols("y ~ age + digit_0", by_hand(table).assign(y=frame["y"])).fit()
    pd.testing.assert_series_equal(fitted.estimator_.fitted_.params, reference.params)
    assert fitted.score(table, frame["y"]) == pytest.approx(reference.rsquared)
    with pytest.raises(ss.UnsupportedCombinationError, match="glm and wls only"):
        fusion(model).fit(table, frame["y"], np.full(240, 2.0))
    weight = 1.0 + np.arange(240) % 3
    weighted = fusion(ss.wrap(smf.glm, "y ~ age + digit_0")).fit(table, frame["y"], weight)
    reference = smf.wls("y ~ age + digit_0", by_hand(table).assign(y=frame["y"]), weights=weight)
    np.testing.assert_allclose(weighted.estimator_.fitted_.params, reference.fit().params)


def test_scikit_survival(table, follow_up):
    linear_model = pytest.importorskip("sksurv.linear_model")
    fitted = fusion(linear_model.CoxPHSurvivalAnalysis()).fit(table, follow_up)
    reference = ss.CoxPH(ties="breslow").fit(by_hand(table), follow_up)
    np.testing.assert_allclose(fitted.estimator_.coef_, reference.params, rtol=1e-4)
    assert fitted.score(table, follow_up) == pytest.approx(
        reference.score(by_hand(table), follow_up)
    )


# ---------------------------------------------------------------------- learned in training only


def test_new_pictures_do_not_move_the_features(table, frame):
    fitted = fusion(LinearRegression()).fit(table[:150], frame["y"][:150])
    together = fitted.predict(table[150:])
    alone = np.concatenate([fitted.predict(table[i : i + 1]) for i in range(150, 160)])
    np.testing.assert_allclose(alone, together[:10], rtol=SAME)
    components = ImageFeatures("pca", 4).fit(table["digit"][:150]).pca_.components_
    np.testing.assert_allclose(fitted.features_["digit"].pca_.components_, components)


def test_cross_validation_learns_features_in_each_fold(table, frame):
    folds = KFold(3)
    found = cross_val_score(fusion(Ridge()), table, frame["y"], cv=folds)
    reference = []
    for train, test in folds.split(table):
        features = ImageFeatures("pca", 4).fit(table["digit"].iloc[train])

        def columns(rows, features=features):
            parts = features.transform(table["digit"].iloc[rows])
            return pd.concat([table.iloc[rows].drop(columns="digit"), parts], axis=1)

        model = Ridge().fit(columns(train), frame["y"].iloc[train])
        reference.append(model.score(columns(test), frame["y"].iloc[test]))
    np.testing.assert_allclose(found, reference)


def test_rows_of_weight_zero_are_absent(table, frame):
    weight = np.arange(len(table)) % 4 > 0
    fitted = fusion(Ridge()).fit(table, frame["y"], weight.astype(float))
    reference = fusion(Ridge()).fit(table[weight], frame["y"][weight])
    np.testing.assert_allclose(fitted.predict(table), reference.predict(table), rtol=SAME)


# ---------------------------------------------------------------------- scikit-learn


def test_nested_parameters(table, frame):
    model = fusion(make_pipeline(StandardScaler(), Ridge()))
    names = set(model.get_params())
    assert {"estimator", "features", "drop", "digit", "digit__n_components"} <= names
    assert "estimator__ridge__alpha" in names
    search = GridSearchCV(
        model, {"digit__n_components": [1, 8], "estimator__ridge__alpha": [0.1, 1e6]}, cv=3
    ).fit(table, frame["y"])
    assert search.best_params_ == {"digit__n_components": 8, "estimator__ridge__alpha": 0.1}
    assert model.get_params()["digit__n_components"] == 4
    other = clone(model).set_params(digit=ImageFeatures("pca", 2), drop=False)
    assert other.features["digit"].n_components == 2 and model.features["digit"].n_components == 4
    with pytest.raises(ss.SpecificationError, match="no parameter 'cat'"):
        model.set_params(cat=1)


def test_kinds_of_estimators():
    assert is_regressor(fusion(Ridge())) and not is_classifier(fusion(Ridge()))
    assert is_classifier(fusion(LogisticRegression()))
    assert not is_classifier(fusion(ss.CoxPH())) and not is_regressor(fusion(ss.CoxPH()))
    assert hasattr(fusion(LogisticRegression()), "predict_proba")
    assert not hasattr(fusion(Ridge()), "predict_proba")
    assert hasattr(fusion(CoxPHFitter()), "predict_survival_function")


def test_classes_and_pickle(table, frame):
    classes = np.where(frame["y"] > 1, "a", "b")
    fitted = fusion(make_pipeline(StandardScaler(), LogisticRegression())).fit(table, classes)
    assert list(fitted.classes_) == ["a", "b"]
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(table), fitted.predict_proba(table))
    aucs = cross_val_score(fitted, table, classes, cv=2, scoring="roc_auc")
    assert (aucs > 0.6).all()


# ---------------------------------------------------------------------- errors


def test_what_cannot_be_fitted(table, frame):
    y = frame["y"]
    model = fusion(Ridge()).fit(table, y)
    cases = [
        (ss.DataError, "no column 'ct'", EarlyFusion(Ridge(), {"ct": ImageFeatures()}), table),
        (ss.DataError, "needs a DataFrame", model, table[["age"]].to_numpy()),
        (ss.SpecificationError, "map names", EarlyFusion(Ridge(), {}), table),
        (ss.SpecificationError, "to transformers", EarlyFusion(Ridge(), {"digit": 3}), table),
        (ss.SpecificationError, "cannot be a name", EarlyFusion(Ridge(), {"drop": 1}), table),
        (ss.SpecificationError, "has no fit", fusion("ridge"), table),
        (ss.DataError, "reads no pictures", fusion(Ridge(), drop=False), table),
        (ss.DataError, "rename these", model, table.assign(digit_0=1.0)),
    ]
    for error, message, estimator, X in cases:
        with pytest.raises(error, match=message):
            estimator.fit(X, y)
        with pytest.raises(NotFittedError):
            check_is_fitted(estimator)
    with pytest.raises(ss.DataError, match="no column 'digit'"):
        fusion(Ridge()).fit(table, y).predict(table.drop(columns="digit"))
