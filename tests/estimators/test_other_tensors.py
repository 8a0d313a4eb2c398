"""Sequences, volumes, bags and omics vectors as terms of a model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import semistruct as ss
from semistruct.exceptions import DataError, SpecificationError

N = 160
ONCE = {"n_folds": 2, "n_repeats": 1, "progress": False, "random_state": 0}
FAST = {**ONCE, "max_epochs": 40}
SINGLE = 1e-4  # float32, and sums in another order, relative to the spread of predictions


def _table(seed: int = 0) -> pd.DataFrame:
    """One signal ``u`` that only the tensors know, a covariate ``x``, a response and a lifetime."""
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=N), rng.normal(size=N)
    lengths = rng.integers(4, 15, N)
    series = [u[i] + 0.5 * rng.normal(size=(n, 2)) for i, n in enumerate(lengths)]
    plain = u[:, None, None] + 0.5 * rng.normal(size=(N, 10, 2))
    volumes = 0.5 * rng.normal(size=(N, 1, 4, 6, 6))
    volumes[:, :, :, :3] += u[:, None, None, None, None]
    bags = [
        np.clip(120 + 40 * u[i] + 20 * rng.normal(size=(n, 1, 6, 6)), 0, 255).astype(np.uint8)
        for i, n in enumerate(rng.integers(1, 6, N))
    ]
    features = [u[i] + 0.5 * rng.normal(size=(n, 4)) for i, n in enumerate(lengths)]
    frame = pd.DataFrame(
        {
            "x": x,
            "visits": ss.TensorArray(series),
            "ecg": ss.TensorArray(plain.astype(np.float32)),
            "ct": ss.TensorArray(volumes),
            "slide": ss.TensorArray(bags),
            "cells": ss.TensorArray(features),
            "single": ss.TensorArray([each[:, 0] for each in series]),
            "omics": ss.TensorArray(u[:, None] + rng.normal(size=(N, 30))),
        }
    )
    frame["y"] = 0.5 * x + u + rng.normal(0, 0.3, N)
    time = rng.exponential(np.exp(-0.5 * x - u))
    end = rng.uniform(0.5, 4, N)
    frame["time"], frame["event"] = np.minimum(time, end), time <= end
    return frame


@pytest.fixture(scope="module")
def frame():
    table = _table()
    assert table["y"].std() > 0 and 0.3 < table["event"].mean() < 0.9
    return table


TERMS = {
    "conv1d(single)": "single",
    "recurrent(visits)": "visits",
    "cnn3d(ct)": "ct",
    "bag(slide)": "slide",
    "bag(cells, pooling='mean')": "cells",
    "deep(visits, ecg, x, fusion='gated')": "visits",
}


@pytest.fixture(scope="module", params=TERMS)
def fitted(request, frame):
    term = request.param
    model = ss.SemiStructuredRegressor(f"x + {term}", **FAST)
    return term, model.fit(frame, frame["y"])


def test_the_term_helps_and_beats_the_table(fitted, frame):
    _, model = fitted
    new = _table(1)
    table = ss.SemiStructuredRegressor("x").fit(frame, frame["y"])
    gain = model.score(new, new["y"]) - table.score(new, new["y"])
    assert gain > 0.2


def test_a_row_alone_is_the_row_in_the_table(fitted):
    _, model = fitted
    new = _table(2).iloc[:9]
    together = model.predict(new)
    alone = np.concatenate([model.predict(new.iloc[[i]]) for i in range(len(new))])
    np.testing.assert_allclose(alone, together, atol=SINGLE * float(np.std(together)))
    turned = model.predict(new.iloc[::-1])[::-1]
    np.testing.assert_allclose(turned, together, atol=SINGLE * float(np.std(together)))


def test_a_saved_model_predicts_the_same(fitted, tmp_path):
    _, model = fitted
    path = tmp_path / "model.semistruct"
    model.save(path)
    new = _table(3).iloc[:20]
    np.testing.assert_allclose(ss.load(path).predict(new), model.predict(new), rtol=1e-6)


def test_missing_rows_and_a_column_of_nothing_else(fitted):
    term, model = fitted
    column = TERMS[term]
    new = _table(4).iloc[:6].copy()
    some = new[column].array.copy()
    some[2] = None
    new[column] = some
    predicted = model.predict(new)
    assert np.isfinite(predicted).all()
    some[:] = None
    new[column] = some
    empty = model.predict(new)
    assert np.isfinite(empty).all()
    np.testing.assert_allclose(empty[2], predicted[2], atol=1e-5)


@pytest.mark.parametrize(
    "term",
    [
        "conv1d(ecg)",
        "recurrent(ecg, cell='lstm', bidirectional=True)",
        "deep(ct, x, fusion='film')",
        "mlp(omics)",
    ],
)
def test_in_a_model_of_survival(term, frame):
    y = ss.Surv(frame["time"], frame["event"])
    model = ss.CoxPH(f"x + {term}", **{**FAST, "max_epochs": 20}).fit(frame, y)
    new = _table(1)
    y_new = ss.Surv(new["time"], new["event"])
    table = ss.CoxPH("x").fit(frame, y)
    assert model.score(new, y_new) > table.score(new, y_new) + 0.05
    curves = model.predict_survival_function(new.iloc[:3], times=[0.5, 1.0])
    assert curves.shape == (2, 3) and np.isfinite(curves.to_numpy()).all()


def test_without_a_formula_each_column_gets_the_network_of_its_shape(frame):
    table = frame[["x", "visits", "ct", "slide", "omics"]]
    model = ss.SemiStructuredRegressor(max_epochs=1, **ONCE)
    model.fit(table, frame["y"])
    labels = [slot.term.label for slot in model.fit_.blueprint.slots]
    assert labels == ["conv1d(visits)", "cnn3d(ct)", "bag(slide)", "mlp(omics)"]
    assert clone(model).formula is None


def test_a_sequence_may_be_longer_than_any_in_training(fitted):
    term, model = fitted
    column = TERMS[term]
    if column == "ct":
        pytest.skip("rows of one shape")
    new = _table(5).iloc[:3].copy()
    rows = [np.concatenate([row] * 4) for row in new[column]]
    new[column] = ss.TensorArray(rows)
    assert np.isfinite(model.predict(new)).all()


class LastStep(ss.nn.Encoder):
    """A user's encoder that is given masks, and learns no scale from them."""

    latent_dim = 2

    def learn_inputs(self, sample, mask=None):
        assert mask is None or mask.shape == sample.shape[:2]

    def forward(self, x, mask=None):
        last = (mask.sum(1) - 1).clamp_min(0)
        return x[torch.arange(len(x)), last].float()


def test_an_encoder_of_ones_own_is_given_masks(frame):
    model = ss.SemiStructuredRegressor("x + last(visits)", encoders={"last": LastStep()}, **FAST)
    model.fit(frame, frame["y"])
    assert model.score(_table(1), _table(1)["y"]) > 0.5


@pytest.mark.parametrize(
    ("formula", "error", "message"),
    [
        ("cnn(visits)", DataError, "visits"),
        ("mlp(visits)", SpecificationError, "conv1d"),
        ("cnn3d(slide)", SpecificationError, r"bag\(\)"),
        ("cnn3d(ecg)", SpecificationError, "channels, depth, height, width"),
        ("conv1d(ct)", SpecificationError, "length, channels"),
        ("conv1d(x)", SpecificationError, "holds no tensors"),
        ("own(visits)", SpecificationError, "differ in length"),
        ("mlp(omics) + conv1d(omics)", SpecificationError, "another name"),
        ("bag(slide, n_patches=0)", SpecificationError, "n_patches"),
        ("conv1d(visits, ecg)", SpecificationError, "reads one column"),
        ("bag(slide, poolin='max')", SpecificationError, "did you mean 'pooling'"),
    ],
)
def test_wrong_terms_are_refused(formula, error, message, frame):
    model = ss.SemiStructuredRegressor(formula, encoders={"own": torch.nn.Linear(2, 2)})
    with pytest.raises(error, match=message):
        model.fit(frame, frame["y"])


def test_rows_that_differ_in_more_than_length(frame):
    table = frame[["x"]].assign(odd=ss.TensorArray([np.ones((2, 2 + i % 2)) for i in range(N)]))
    with pytest.raises(DataError, match="column 'odd'"):
        ss.SemiStructuredRegressor("conv1d(odd)").fit(table, frame["y"])
    empty = ss.TensorArray([np.ones((0, 2))] * (N - 1) + [None])
    with pytest.raises(DataError, match="no row of column 'odd' has an element"):
        ss.SemiStructuredRegressor("conv1d(odd)").fit(table.assign(odd=empty), frame["y"])
