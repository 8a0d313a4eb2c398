"""Coefficients with the picture held fixed: against the model that knows what the picture says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import semistruct as ss
from semistruct.exceptions import DataWarning
from tests._deep import frozen

OPTIONS = {"n_folds": 3, "n_repeats": 1, "progress": False, "random_state": 0}
N = 900


def confounded(seed: int = 0, n: int = N) -> pd.DataFrame:
    """Features ``u``, of which the first moves both ``x`` and the response."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4))
    x = 0.8 * features[:, 0] + 0.6 * rng.normal(size=n)
    return pd.DataFrame(
        {
            "x": x,
            "w": rng.normal(size=n),
            "told": features[:, 0],
            "u": ss.TensorArray(features.astype(np.float32)),
        }
    )


@pytest.fixture(scope="module", params=["normal", "poisson", "cox", "pamm"])
def pair(request):
    """A model that reads the features and one that is told the first of them."""
    frame = confounded()
    rng = np.random.default_rng(1)
    eta = 0.4 * frame["x"] - 0.3 * frame["w"] + frame["told"]
    options = OPTIONS | {"encoders": {"own": frozen(4)}}
    if request.param in ("normal", "poisson"):
        y = eta + rng.normal(size=N) if request.param == "normal" else rng.poisson(np.exp(eta))
        own = ss.SemiStructuredRegressor("x + w + own(u)", request.param, **options).fit(frame, y)
        told = ss.SemiStructuredRegressor("x + w + told", request.param).fit(frame, y)
        return own, told
    time = rng.exponential(np.exp(-eta))
    y = ss.Surv(np.minimum(time, 2.0), time < 2.0)
    if request.param == "cox":
        return (
            ss.CoxPH("x + w + own(u)", **options).fit(frame, y),
            ss.CoxPH("x + w + told").fit(frame, y),
        )
    return (
        ss.PAMM("s(tend, k=5) + x + w + own(u)", cuts=10, **options).fit(frame, y),
        ss.PAMM("s(tend, k=5) + x + w + told", cuts=10).fit(frame, y),
    )


def test_it_is_the_coefficient_of_the_model_that_is_told(pair):
    own, told = pair
    partial, truth, marginal = own.effects("partial"), told.effects(), own.effects()
    param = partial.index[0][0]
    for name in ("x", "w"):
        gap = partial.loc[(param, name), "coef"] - truth.loc[(param, name), "coef"]
        assert abs(gap) < truth.loc[(param, name), "se"]
    far = marginal.loc[(param, "x"), "coef"] - truth.loc[(param, "x"), "coef"]
    assert abs(far) > 3 * truth.loc[(param, "x"), "se"]
    # What knows as much has standard errors of the same size.
    ratio = partial["se"] / truth["se"].reindex(partial.index)
    assert ((ratio > 0.85) & (ratio < 1.3)).all()


def test_what_the_picture_says_about_the_columns(pair):
    own, _ = pair
    partial = own.effects("partial")
    assert (partial.index.get_level_values(1) != "Intercept").all() or len(partial) > 2
    at = partial.index.get_level_values(1)
    # The correlation of x with the first feature is .8; where there is information it is less.
    assert 0.3 < partial.loc[at == "x", "r2"].iloc[0] < 0.75
    assert abs(partial.loc[at == "w", "r2"].iloc[0]) < 0.05
    assert (partial.loc[np.isin(at, ["x", "w"]), "change"] < 0.5).all()


def test_levels_and_summaries(pair):
    own, _ = pair
    narrow, wide = own.effects("partial", level=0.5), own.effects("partial", level=0.99)
    assert_allclose(narrow["coef"], wide["coef"], rtol=0)
    assert (narrow["lower"] > wide["lower"]).all() and (narrow["upper"] < wide["upper"]).all()
    text = str(own.summary(estimand="partial"))
    assert "held fixed" in text and "change" in text and "sandwich" in text
    with pytest.raises(ss.UnsupportedCombinationError, match="sandwich"):
        own.effects("partial", cov_type="model")


def test_a_model_without_deep_terms_has_no_partial_coefficients(pair):
    _, told = pair
    with pytest.raises(ss.UnsupportedCombinationError, match="marginal"):
        told.effects("partial")


def test_a_single_fold_is_refused():
    frame = confounded(n=200)
    y = frame["x"] + frame["told"] + np.random.default_rng(0).normal(size=200)
    options = OPTIONS | {"encoders": {"own": frozen(4)}, "n_folds": 1}
    model = ss.SemiStructuredRegressor("x + own(u)", **options).fit(frame, y)
    with pytest.raises(ss.UnsupportedCombinationError, match="n_folds=5"):
        model.effects("partial")


def test_pictures_that_many_rows_share():
    """Networks, one picture for many subjects, rows of intervals: x is the picture's shadow."""
    rng = np.random.default_rng(3)
    n, distinct = 500, 60
    bright = rng.integers(0, 2, distinct)
    pixels = rng.integers(0, 60, (distinct, 1, 8, 8)) + 120 * bright[:, None, None, None]
    which = rng.integers(0, distinct, n)
    frame = pd.DataFrame(
        {
            "x": 0.9 * bright[which] + rng.normal(0, 0.5, n),
            "bright": bright[which].astype(float),
            "scan": ss.ImageArray(pixels.astype(np.uint8)[which]),
        }
    )
    time = rng.exponential(np.exp(-0.5 * frame["x"] - 1.5 * frame["bright"]))
    y = ss.Surv(np.minimum(time, 1.5), time < 1.5)
    told = ss.PAMM("s(tend, k=4) + x + bright", cuts=6).fit(frame, y).effects()
    model = ss.PAMM("s(tend, k=4) + x + cnn(scan, hflip=False)", cuts=6, **OPTIONS).fit(frame, y)
    partial = model.effects("partial")
    gap = partial.loc[("hazard", "x"), "coef"] - told.loc[("hazard", "x"), "coef"]
    raw = model.effects().loc[("hazard", "x"), "coef"] - told.loc[("hazard", "x"), "coef"]
    se = told.loc[("hazard", "x"), "se"]
    assert abs(gap) < 0.7 * se < 2 * se < abs(raw)
    assert model.effects("partial").equals(partial)  # trained once


def test_intervals_of_a_subject_are_no_further_subjects():
    """Cutting follow-up finer says nothing new about x, so its prediction stays as smooth."""
    rng = np.random.default_rng(5)
    n, p = 300, 80
    features = rng.normal(size=(n, p))
    frame = pd.DataFrame(
        {
            "x": 0.7 * features[:, 0] + rng.normal(size=n),
            "u": ss.TensorArray(features.astype(np.float32)),
        }
    )
    time = rng.exponential(np.exp(-0.5 * frame["x"]))
    y = ss.Surv(np.minimum(time, 2.0), time < 2.0)
    r2 = [
        ss.PAMM("x + own(u)", cuts=cuts, encoders={"own": frozen(p)}, **OPTIONS)
        .fit(frame, y)
        .effects("partial")
        .loc[("hazard", "x"), "r2"]
        for cuts in (2, 60)
    ]
    assert r2[0] > 0.05
    assert_allclose(r2[1], r2[0], atol=0.03)


def test_others_with_the_picture_correct_what_was_misread():
    """Pictures that say nothing the networks can read, of what differs between them."""
    rng = np.random.default_rng(4)
    distinct, each = 150, 8
    kind = rng.integers(0, 2, distinct)
    which = np.repeat(np.arange(distinct), each)
    features = rng.normal(size=(distinct, 2)).astype(np.float32)
    features[:, 0] += 0.5 * kind
    frame = pd.DataFrame(
        {
            "x": kind[which] + rng.normal(0, 0.7, len(which)),
            "kind": kind[which].astype(float),
            "u": ss.TensorArray(features[which]),
        }
    )
    y = rng.poisson(np.exp(0.3 * frame["x"] + frame["kind"]))
    told = ss.SemiStructuredRegressor("x + kind", "poisson").fit(frame, y).effects()
    model = ss.SemiStructuredRegressor(
        "x + own(u)", "poisson", encoders={"own": frozen(2)}, **OPTIONS
    ).fit(frame, y)
    partial, marginal = model.effects("partial"), model.effects()
    se = told.loc[("rate", "x"), "se"]
    truth = told.loc[("rate", "x"), "coef"]
    assert abs(partial.loc[("rate", "x"), "coef"] - truth) < 2 * se
    assert marginal.loc[("rate", "x"), "coef"] - truth > 8 * se


def test_disagreement_of_seeds_is_warned_of():
    frame = confounded(n=60)
    rng = np.random.default_rng(2)
    level = 120 + 40 * frame["told"].to_numpy().clip(-2, 2)
    pixels = rng.integers(0, 40, (60, 1, 6, 6)) + level[:, None, None, None]
    frame["scan"] = ss.ImageArray(pixels.astype(np.uint8))
    y = frame["told"] + rng.normal(size=60)
    options = OPTIONS | {"max_epochs": 20, "learning_rate": 0.01}
    model = ss.SemiStructuredRegressor("x + w + cnn(scan, hflip=False)", **options).fit(frame, y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("semistruct.inference.partial._UNSTABLE", 1e-6)
        with pytest.warns(DataWarning, match="n_repeats"):
            model.effects("partial")
