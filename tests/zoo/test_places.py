"""Heads that nest, ordered classes, surfaces over a map, masks that are counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import ndimage
from torch import nn

import semistruct as ss
from semistruct import zoo
from tests._zoo import CASES, QUICK, fitted

EXACT = 1e-8
HEADS = ("linear", "semi_interpretable", "non_linear")


def law(head: str, **options):
    return CASES["law_paige_russell"].model(head=head, **options)


def test_the_heads_of_law_nest():
    """A head has the deep columns of the one before, in fewer and freer networks."""
    columns = [[set(term.variables) for term in law(head).formula.deep] for head in HEADS]
    assert columns[0] == [{"street"}, {"air"}]
    assert columns[1] == [{"area", "rooms"}, {"street"}, {"air"}]
    assert columns[2] == [{"street", "air", "area", "rooms"}]
    assert len({law(head).formula.structured for head in HEADS}) == 1


def test_the_heads_of_law_are_one_hedonic_regression_where_networks_find_nothing():
    """Where every network is dropped all three are least squares; its coefficients always are."""
    train, _, test, _ = CASES["law_paige_russell"].halves()
    rng = np.random.default_rng(5)
    y = 0.5 * train["area"] + 0.3 * train["rooms"] + rng.normal(0, 0.3, len(train))
    reference = smf.ols("y ~ area + rooms", train.assign(y=y)).fit()
    found = {head: law(head, max_epochs=2).fit(train, y) for head in HEADS}
    for model in found.values():
        np.testing.assert_allclose(model.params["loc"], reference.params, rtol=EXACT)
        if not model.fit_.deep.calibration.gamma.any():
            np.testing.assert_allclose(model.predict(test), reference.predict(test), rtol=EXACT)
    assert any(not model.fit_.deep.calibration.gamma.any() for model in found.values())


def test_a_freer_head_finds_more():
    train, y, test, y_test = CASES["law_paige_russell"].halves()
    bent = {"train": y + train["area"] ** 2, "test": y_test + test["area"] ** 2}
    linear, semi = (
        law(head, max_epochs=25).fit(train, bent["train"]).score(test, bent["test"])
        for head in HEADS[:2]
    )
    assert semi > linear + 0.1


def test_each_picture_of_law_has_a_desirability():
    _, _, test, _ = CASES["law_paige_russell"].halves()
    parts = fitted("law_paige_russell").term_contributions(test)
    for name in ("street", "air"):
        bright = test[name].array.batch()[..., :3].mean(axis=(1, 2, 3))
        assert np.corrcoef(parts["loc", f"cnn({name})"], bright)[0, 1] > 0.8


def test_law_needs_attributes_for_a_network_of_attributes():
    with pytest.raises(ss.SpecificationError, match="name them in table="):
        zoo.law_paige_russell("street", head="non_linear")
    with pytest.raises(ss.SpecificationError, match="head must be"):
        zoo.law_paige_russell("street", table="area", head="nonlinear")


def test_suels_probabilities_are_ordered():
    _, _, test, _ = CASES["suel_ordinal"].halves()
    model = fitted("suel_ordinal")
    assert model.classes_.tolist() == list("abcd")
    thresholds = model.thresholds_.to_numpy()
    assert (np.diff(thresholds) > 0).all()
    probabilities = model.predict_proba(test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    # A larger predictor makes every "at least j" more probable, in all rows alike.
    exceed = np.cumsum(probabilities[:, ::-1], axis=1)[:, ::-1][:, 1:]
    order = np.argsort(exceed[:, 0])
    assert exceed[:, 0].std() > 0.05
    assert (np.diff(exceed[order], axis=0) >= -1e-6).all()


def test_suel_with_a_frozen_network_learns_a_last_layer_only():
    train, y, test, y_test = CASES["suel_ordinal"].halves()
    frozen = ss.nn.ModuleEncoder(
        nn.Sequential(nn.AvgPool2d(3), nn.Flatten()), (1, 6, 6), frozen=True
    )
    model = zoo.suel_ordinal(
        "street", network={"encoder": "vgg"}, encoders={"vgg": frozen}, **QUICK
    ).fit(train, y)
    null = y.value_counts(normalize=True).reindex(y_test.to_numpy()).to_numpy()
    assert model.log_prob(test, y_test).mean() > np.log(null).mean() + 0.2


def test_the_map_of_you_is_the_surface():
    _, _, test, _ = CASES["you_crop_yield"].halves()
    model = fitted("you_crop_yield")
    parts = model.term_contributions(test)["loc"]
    assert np.corrcoef(parts["s(lon,lat)"], test["surface"])[0, 1] > 0.95
    assert np.corrcoef(parts["s(year)"], test["year"])[0, 1] > 0.95
    assert model.edf_["loc", "s(lon,lat)"] > 4


def test_you_without_years_and_with_other_coordinates():
    formula = zoo.you_crop_yield("field", place=("x", "y"), year=None, table="rain").formula
    assert repr(formula) == "rain + s(x, y, bs='gp') + cnn(field)"
    with pytest.raises(ss.SpecificationError, match="two columns of coordinates"):
        zoo.you_crop_yield("field", place=("x",))


def test_sirkos_columns_are_scipys_counts_and_have_coefficients():
    train, y, _, _ = CASES["sirko_masks"].halves()
    model = fitted("sirko_masks")
    masks = train["roofs"].array.batch()[:, 0]
    table = pd.DataFrame(
        {
            "area": train["area"].to_numpy(),
            "share": masks.mean(axis=(1, 2)),
            "count": [ndimage.label(mask)[1] for mask in masks],
            "mean": [mask.sum() / max(ndimage.label(mask)[1], 1) for mask in masks],
            "y": y.to_numpy(),
        }
    )
    reference = smf.ols("y ~ area + share + count + mean", table).fit()
    np.testing.assert_allclose(model.estimator_.params["loc"], reference.params, rtol=1e-6)
    assert abs(model.estimator_.params["loc", "roofs_count"] - 0.4) < 0.1


def test_sirko_with_classes():
    model = zoo.sirko_masks("land", classes={"roof": 1, "road": 2})
    assert model.features["land"].classes == {"roof": 1, "road": 2}
    assert model.estimator.formula == "cols('land_*')"
