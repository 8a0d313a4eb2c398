"""Models of lifelines, pyGAM and statsmodels with scikit-learn's methods."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from lifelines import AalenAdditiveFitter, CoxPHFitter, LogNormalAFTFitter
from pygam import LinearGAM, LogisticGAM, s
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import Ridge

import semistruct as ss
from semistruct.estimators.wrappers.lifelines_model import LifelinesModel
from semistruct.estimators.wrappers.wrap import wrap


@pytest.fixture(scope="module")
def frame():
    return ss.datasets.simulate_digits(200, random_state=2)


@pytest.fixture(scope="module")
def table(frame):
    return frame[["age", "bmi"]]


@pytest.fixture(scope="module")
def follow_up(frame):
    time = np.exp(-frame["y"].to_numpy()) * np.random.default_rng(0).exponential(size=200)
    return ss.Surv(np.minimum(time, 1.0) + 1e-3, time <= 1.0)


@pytest.mark.parametrize(
    "fitter", [CoxPHFitter(), LogNormalAFTFitter(), AalenAdditiveFitter(coef_penalizer=1.0)]
)
def test_risks_and_curves_of_lifelines(fitter, table, follow_up):
    model = wrap(fitter).fit(table, follow_up)
    times = [0.05, 0.3]
    curves = model.predict_survival_function(table[:30], times)
    assert curves.shape == (2, 30) and list(curves.index) == times
    assert curves.columns.equals(table.index[:30])
    hazard = model.predict_cumulative_hazard(table[:30], times)
    np.testing.assert_allclose(hazard, -np.log(curves))
    risk = pd.Series(model.predict(table[:30]), table.index[:30])
    assert risk.corr(hazard.loc[0.3], "spearman") > 0.95
    assert model.score(table, follow_up) > 0.55
    assert "fitted_" not in dir(clone(model))


def test_pictures_and_repeated_indices_do_not_bother_lifelines(frame, follow_up):
    rows = frame[["age", "digit"]].set_axis(np.zeros(200, int))
    model = wrap(CoxPHFitter()).fit(rows, follow_up)
    assert list(model.fitted_.params_.index) == ["age"]
    assert model.predict_survival_function(rows[:3], [0.1]).shape == (1, 3)


def test_options_of_the_fit(table, frame, follow_up):
    model = LifelinesModel(CoxPHFitter(), {"formula": "age"}).fit(table, follow_up)
    assert list(model.fitted_.params_.index) == ["age"]
    plain = wrap(LinearGAM(s(0) + s(1))).fit(table, frame["y"])
    searched = wrap(LinearGAM(s(0) + s(1)), gridsearch=True).fit(table, frame["y"])
    assert not np.allclose(plain.predict(table), searched.predict(table))
    robust = wrap(smf.ols, "y ~ age", fit_options={"cov_type": "HC1"}).fit(table, frame["y"])
    assert robust.fitted_.cov_type == "HC1"


def test_kinds():
    assert is_classifier(wrap(LogisticGAM())) and is_regressor(wrap(LinearGAM()))
    assert is_regressor(wrap(smf.ols, "y ~ age"))
    assert is_classifier(wrap(smf.logit, "y ~ age", kind="classifier"))
    assert not hasattr(wrap(LinearGAM()), "predict_proba")
    assert not hasattr(wrap(smf.ols, "y ~ age"), "predict_proba")
    model = Ridge()
    assert wrap(model) is model


def test_tables_and_responses_that_cannot_be_used(frame, table, follow_up):
    with pytest.raises(ss.DataError, match="pyGAM needs numbers in the column 'sex'"):
        wrap(LinearGAM()).fit(frame[["age", "sex"]], frame["y"])
    with pytest.raises(ss.DataError, match="two classes"):
        wrap(LogisticGAM()).fit(table, frame["y"])
    with pytest.raises(ss.DataError, match="y has 10 rows"):
        wrap(CoxPHFitter()).fit(table, follow_up[:10])
    two = ss.Surv(follow_up.time, np.arange(200) % 3, n_causes=2)
    with pytest.raises(ss.UnsupportedCombinationError, match="competing causes"):
        wrap(CoxPHFitter()).fit(table, two)
    model = wrap(smf.ols, "y ~ age").fit(table, frame["y"])
    with pytest.raises(ss.DataError, match="missing values"):
        model.predict(table.assign(age=np.where(np.arange(200) == 3, np.nan, table["age"])))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (3, {}, "no model that can be wrapped"),
        (CoxPHFitter(), {"formula": "y ~ x"}, "is for statsmodels"),
    ],
)
def test_what_cannot_be_wrapped(model, options, message):
    with pytest.raises(ss.SpecificationError, match=message):
        wrap(model, **options)


def test_wrapped_statsmodels_checks_its_options(table, frame):
    with pytest.raises(ss.SpecificationError, match="kind must be"):
        wrap(smf.ols, "y ~ age", kind="survival").fit(table, frame["y"])
    with pytest.raises(ss.SpecificationError, match="must name the response"):
        wrap(smf.ols, "age").fit(table, frame["y"])
    classes = frame["y"] > 1
    logit = wrap(smf.logit, "y ~ age", kind="classifier", fit_options={"disp": 0})
    assert logit.fit(table, classes).predict_proba(table).shape == (200, 2)
    assert 0.5 < logit.score(table, classes) < 1
