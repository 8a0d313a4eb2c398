"""The wide part is logistic regression; distributional regression models the spread too."""

from __future__ import annotations

import numpy as np
import statsmodels.formula.api as smf

import semistruct as ss
from semistruct import zoo
from tests._zoo import CASES, QUICK, SMALL, fitted

TO_STATSMODELS = 1e-5  # two optimisers of one likelihood


def test_the_wide_part_of_wide_and_deep_is_logistic_regression():
    train, y, test, y_test = CASES["wide_and_deep"].halves()
    model = fitted("wide_and_deep")
    table = train.assign(rich=(y == "yes") * 1.0)
    reference = smf.logit("rich ~ area + rooms", table).fit(disp=0)
    np.testing.assert_allclose(model.params, reference.params, rtol=TO_STATSMODELS)
    # What the products of the truth add is found by the deep part, and is orthogonal to the wide.
    linear = ss.SemiStructuredClassifier("area + rooms").fit(train, y)
    assert model.log_prob(test, y_test).mean() > linear.log_prob(test, y_test).mean() + 0.05
    score = model.fit_.deep.scores[:, 0]
    assert np.abs(np.corrcoef(score, train[["area", "rooms"]].T)[0, 1:]).max() < 1e-6


def test_memorised_products_go_into_the_wide_part():
    model = zoo.wide_and_deep("area", "rooms", table="area * rooms")
    assert repr(model.formula) == "area * rooms + mlp(area, rooms)"


def test_semi_structured_regression_models_the_spread():
    rng = np.random.default_rng(3)
    train, _, test, _ = CASES["semi_structured"].halves()
    spread = np.exp(0.6 * train["area"].to_numpy())
    y = train["price"] + spread * rng.normal(0, 0.5, len(train))
    options = {**QUICK, "max_epochs": 2}
    model = zoo.semi_structured(
        "street", table={"loc": "area", "scale": "area"}, network=SMALL, **options
    ).fit(train, y)
    assert model.params["scale", "area"] > 0.2
    wide = model.predict_interval(test)
    width = wide["upper"] - wide["lower"]
    assert np.corrcoef(width, test["area"])[0, 1] > 0.5


def test_pictures_in_every_parameter_share_a_network():
    model = zoo.semi_structured(
        "street", family="gamma", pictures_in=["mean", "dispersion"], share_encoders=True
    )
    assert set(model.formula) == {"mean", "dispersion"} and model.share_encoders
    assert {repr(formula) for formula in model.formula.values()} == {"cnn(street)"}
