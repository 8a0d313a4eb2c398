"""The deep fit as a whole: identified coefficients, stored projections, the gate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from torch import nn

import semistruct as ss

# Least squares solved twice, by Newton and by QR.
EXACT = 1e-9


def study(n=240, seed=3):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.normal(size=(n, 6))
    scan = z @ rng.normal(size=(6, 10)) + 0.5 * x[:, None] + 0.1 * rng.normal(size=(n, 10))
    y = 1.0 + 2.0 * x + z[:, 0] - z[:, 1] + rng.normal(0, 0.5, n)
    assert y.std() > 0
    return pd.DataFrame({"x": x, "scan": ss.TensorArray(scan.astype(np.float32)), "y": y})


def fitted(frame, **options):
    frozen = ss.nn.ModuleEncoder(nn.Identity(), (10,), frozen=True)
    settings = {"encoders": {"own": frozen}, "random_state": 0, "progress": False} | options
    return ss.SemiStructuredRegressor("y ~ x + own(scan)", **settings).fit(frame)


def test_coefficients_are_least_squares_and_scores_orthogonal():
    frame = study()
    model = fitted(frame)
    deep = model.fit_.deep
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    least_squares = np.linalg.lstsq(X, frame["y"], rcond=None)[0]
    assert deep.calibration.gamma[0] > 0.5
    np.testing.assert_allclose(deep.fit.beta[deep.fit.slices[0]], least_squares, rtol=EXACT)
    np.testing.assert_allclose(model.params["loc"], least_squares, rtol=EXACT)
    assert np.abs(X.T @ deep.scores).max() < EXACT * len(frame)


def test_the_scores_explain_what_the_table_cannot():
    frame = study(400)
    train, test = frame.iloc[:300], frame.iloc[300:]
    table = ss.SemiStructuredRegressor("y ~ x").fit(train).score(test, test["y"])
    joint = fitted(train).score(test, test["y"])
    noise = 1 - 0.25 / test["y"].var()
    assert joint - table > 0.8 * (noise - table) > 0


def test_without_orthogonalization_the_network_keeps_the_shadow():
    frame = study()
    free = fitted(frame, orthogonalize="none").fit_.deep
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    assert np.abs(X.T @ free.scores).max() > 1.0
    assert not free.projections[0].G.any()


def test_scrambled_pictures_close_the_gate():
    frame = study()
    order = np.random.default_rng(0).permutation(len(frame))
    scrambled = frame.assign(scan=frame["scan"].array[order])
    model = fitted(scrambled)
    assert model.fit_.deep.calibration.gamma[0] == 0
    table = ss.SemiStructuredRegressor("y ~ x").fit(frame)
    np.testing.assert_allclose(model.predict(scrambled), table.predict(frame), rtol=EXACT)
    assert "not used in predictions" in str(model.summary())


def test_a_model_without_intercept_keeps_its_predictor():
    frame = study()
    frozen = ss.nn.ModuleEncoder(nn.Identity(), (10,), frozen=True)
    model = ss.SemiStructuredRegressor(
        "y ~ x + own(scan) - 1", encoders={"own": frozen}, random_state=0, progress=False
    ).fit(frame)
    projection = model.fit_.deep.projections[0]
    assert model.fit_.deep.scores.mean() == pytest.approx(0, abs=EXACT)
    total = model.term_contributions(frame)["loc"].sum(axis=1)
    np.testing.assert_allclose(total, model.predict(frame), rtol=EXACT)
    assert projection.center.shape == (1,)


def test_one_fold_sets_the_scale_on_rows_held_out():
    frame = study(400)
    single = fitted(frame, n_folds=1)
    assert len(single.fit_.deep.crossfit.members) == 1
    scale = single.predict_params(frame)["scale"].iloc[0]
    assert 0.4 < scale < 0.75
