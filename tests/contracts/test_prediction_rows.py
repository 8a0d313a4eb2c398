"""Contract of every estimator: a row alone is predicted as in any batch and in any order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import semistruct as ss

# Sums of a handful of products in another order.
EXACT = 1e-10
# Encoders are float32; convolutions of another batch size may add in another order.
SINGLE = 1e-5


def table(n=90):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(40, 80, n),
            "bmi": rng.normal(27, 4, n),
            "group": rng.choice(list("abc"), n),
            "scan": ss.ImageArray(rng.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)),
        }
    )
    bright = frame["scan"].array.batch().mean(axis=(1, 2, 3)) / 10
    frame["y"] = 0.05 * frame["age"] + np.sin(frame["bmi"] / 4) + bright + rng.normal(0, 0.3, n)
    assert frame["y"].std() > 0
    return frame


def frozen():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh())
    return ss.nn.ModuleEncoder(module, (1, 8, 8), frozen=True)


QUICK = {"n_folds": 2, "n_repeats": 1, "max_epochs": 3, "gate": False, "progress": False}
MODELS = {
    "structured": (ss.SemiStructuredRegressor("y ~ age + s(bmi, k=6) + re(group)"), EXACT),
    "two parameters": (
        ss.SemiStructuredRegressor({"loc": "y ~ s(age, k=6) + group", "scale": "bmi"}),
        EXACT,
    ),
    "cnn": (ss.SemiStructuredRegressor("y ~ s(age, k=6) + cnn(scan)", **QUICK), SINGLE),
    "fusion": (ss.SemiStructuredRegressor("y ~ age + deep(scan, bmi, group)", **QUICK), SINGLE),
    "frozen": (
        ss.SemiStructuredRegressor(
            "y ~ age + own(scan)", encoders={"own": frozen()}, gate=False, progress=False
        ),
        SINGLE,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_row_does_not_depend_on_its_companions(name):
    estimator, tolerance = MODELS[name]
    frame = table()
    model = estimator.set_params(random_state=0).fit(frame)
    together = model.predict_params(frame)
    if "deep" in name or name in ("cnn", "fusion", "frozen"):
        assert model.term_contributions(frame).iloc[:, -2].std() > 0
    order = np.random.default_rng(0).permutation(len(frame))
    shuffled = model.predict_params(frame.iloc[order])
    np.testing.assert_allclose(shuffled, together.iloc[order], rtol=tolerance)
    for row in (0, 17, len(frame) - 1):
        alone = model.predict_params(frame.iloc[[row]])
        np.testing.assert_allclose(alone, together.iloc[[row]], rtol=tolerance)
    part = model.predict_params(frame.iloc[10:47])
    np.testing.assert_allclose(part, together.iloc[10:47], rtol=tolerance)
