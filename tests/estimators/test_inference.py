"""Criteria, covariances and questions of fitted estimators."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import semistruct as ss
from semistruct.exceptions import DataError, UnsupportedCombinationError


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(21)
    frame = pd.DataFrame({"x": rng.uniform(size=150), "g": rng.choice(["a", "b"], 150)})
    frame["y"] = np.sin(5 * frame.x) + (frame.g == "b") + 0.4 * rng.normal(size=150)
    return frame


def test_summary_and_attribute_have_one_aic(table):
    model = ss.SemiStructuredRegressor("y ~ g + s(x)").fit(table)
    assert f"{model.aic_:.5g}" in str(model.summary())
    known = -2 * model.loglik_ + 2 * model.edf_.sum()
    assert known + 0.1 < model.aic_ < known + 4
    assert model.bic_ > model.aic_
    assert pickle.loads(pickle.dumps(model)).aic_ == model.aic_


def test_criteria_are_those_of_the_last_fit(table):
    model = ss.SemiStructuredRegressor("y ~ g").fit(table)
    first = model.aic_
    model.fit(table.assign(y=2 * table.y))
    assert model.aic_ == pytest.approx(first + 2 * len(table) * np.log(2))


def test_unfitted(table):
    model = ss.SemiStructuredRegressor("y ~ g")
    for question in (
        lambda: model.aic_,
        lambda: ss.anova(model),
        lambda: model.marginal_means("g"),
        lambda: model.contrast(table),
        lambda: model.smooth_curve("s(x)"),
        lambda: model.quantile_residuals(),
        lambda: model.plot_diagnostics(),
    ):
        with pytest.raises(NotFittedError):
            question()


def test_corrected_covariance_of_coefficients(table):
    model = ss.SemiStructuredRegressor("y ~ g + s(x)").fit(table)
    plain, corrected = model.effects(), model.effects(cov_type="corrected")
    loc = "loc"
    assert (corrected.loc[loc, "se"] >= plain.loc[loc, "se"] * (1 - 1e-12)).all()
    assert (corrected["se"] != plain["se"]).any()
    np.testing.assert_array_equal(corrected["coef"], plain["coef"])
    np.testing.assert_allclose(np.sqrt(np.diag(model.cov_params("corrected"))), corrected["se"])
    straight = ss.SemiStructuredRegressor("y ~ g + x").fit(table)
    np.testing.assert_allclose(straight.cov_params("corrected"), straight.cov_params())
    shaped = ss.SemiStructuredRegressor("y ~ g + s(x, constraint='increasing')").fit(table)
    assert np.isfinite(shaped.aic_)
    with pytest.raises(UnsupportedCombinationError, match="shape"):
        shaped.effects(cov_type="corrected")


def test_models_of_hazards_have_criteria(table):
    time = np.random.default_rng(3).exponential(np.exp(-table.y))
    y = ss.Surv(np.minimum(time, 2.0), time < 2.0)
    model = ss.PAMM("g + s(x, k=6)").fit(table, y)
    events = int(y.event.sum())
    df = (model.aic_ + 2 * model.loglik_) / 2
    assert model.bic_ == pytest.approx(-2 * model.loglik_ + np.log(events) * df)
    assert np.isfinite(model.aic_)
    discrete = ss.DiscreteHazard("g").fit(table, ss.Surv(np.ceil(y.time * 3), y.event))
    df = (discrete.aic_ + 2 * discrete.loglik_) / 2
    assert discrete.bic_ == pytest.approx(-2 * discrete.loglik_ + np.log(events) * df)


def test_a_model_kept_without_its_rows_asks_for_them(table):
    model = ss.SemiStructuredRegressor("y ~ g + x").fit(table)
    model.fit_ = replace(model.fit_, frame=None)
    with pytest.raises(DataError, match="give X"):
        model.marginal_means({"g": ["a"]})
    assert len(model.marginal_means("g", X=table)) == 2
