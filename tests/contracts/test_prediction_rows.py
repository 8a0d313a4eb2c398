"""Contract of every estimator: a row alone is predicted as in any batch and in any order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import semistruct as ss

# Sums of a handful of products in another order, also in encoders that run in float64.
EXACT = 1e-10
# Encoders are float32; convolutions of another batch size may add in another order.
SINGLE = 1e-5

N = 90


def table():
    rng = np.random.default_rng(5)
    scans = rng.integers(0, 200, (N, 1, 8, 8))
    scans[:, :, :4] += rng.integers(0, 56, (N, 1, 1, 1))
    frame = pd.DataFrame(
        {
            "age": rng.uniform(40, 80, N),
            "bmi": rng.normal(27, 4, N),
            "group": rng.choice(list("abc"), N),
            "scan": ss.ImageArray(scans.astype(np.uint8)),
        }
    )
    bright = frame["scan"].array.batch().mean(axis=(1, 2, 3)) / 5
    frame["y"] = 0.05 * frame["age"] + frame["bmi"] / 2 + bright + rng.normal(0, 0.3, N)
    frame["count"] = rng.poisson(np.exp(frame["age"] / 40))
    gaps = frame["scan"].array.copy()
    gaps[::6] = None
    frame["gaps"] = gaps
    assert frame["y"].std() > 0
    return frame


def frozen():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh())
    return ss.nn.ModuleEncoder(module, (1, 8, 8), frozen=True)


def fitted(formula, family="normal", **options):
    quick = {"n_folds": 2, "n_repeats": 1, "max_epochs": 20, "learning_rate": 5e-3}
    fixed = {"gate": False, "progress": False, "random_state": 0}
    return ss.SemiStructuredRegressor(formula, family, **{**quick, **fixed, **options}).fit(table())


# Name: (formula and options, tolerance); "float64" runs its encoders in double precision.
MODELS = {
    "linear": (("y ~ age + group*bmi",), EXACT),
    "smooths": (("y ~ age + s(bmi, k=6) + re(group)",), EXACT),
    "learned transformations": (
        ("y ~ poly(age, 2) + scale(bmi) + center(bmi):center(age)",),
        EXACT,
    ),
    "two parameters": (
        ({"loc": "y ~ s(age, bs='cr', k=6) + group", "scale": "s(bmi, bs='tp', k=5)"},),
        EXACT,
    ),
    "tensor product and offset": (("y ~ te(age, bmi, k=4) + offset(log(age))",), EXACT),
    "counts": (("count ~ s(age, k=6) + group", "poisson"), EXACT),
    "every column": (("y ~ . - count",), EXACT),
    "cnn": (("y ~ s(age, k=6) + cnn(scan)",), SINGLE),
    "cnn in float64": (("y ~ s(age, k=6) + cnn(scan)",), EXACT),
    "mlp": (("y ~ age + mlp(bmi, group)",), SINGLE),
    "mlp in float64": (("y ~ age + mlp(bmi, group)",), EXACT),
    "fusion": (("y ~ age + deep(scan, bmi, group)",), SINGLE),
    "fusion with gaps": (("y ~ age + deep(gaps, bmi, fusion='gated')",), SINGLE),
    "gaps": (("y ~ age + cnn(gaps)",), SINGLE),
    "frozen": (("y ~ age + own(scan)",), SINGLE),
    "two deep parameters": (({"loc": "y ~ age + cnn(scan)", "scale": "cnn(scan)"},), SINGLE),
}


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    before = torch.get_default_dtype()
    if "float64" in request.param:
        torch.set_default_dtype(torch.float64)
    yield request.param
    torch.set_default_dtype(before)


def predictions(model, frame):
    """Everything that is predicted for a row, side by side."""
    response = model.response_name_
    quantiles = model.predict_quantile(frame, [0.1, 0.5])
    columns = [
        model.predict(frame)[:, None],
        model.predict_params(frame),
        quantiles,
        model.log_prob(frame, frame[response])[:, None],
        model.term_contributions(frame),
        model.embeddings(frame),
    ]
    return np.hstack([np.asarray(column, dtype=float) for column in columns])


def test_a_row_does_not_depend_on_its_companions(name):
    arguments, tolerance = MODELS[name]
    own = {"encoders": {"own": frozen()}} if name == "frozen" else {}
    model = fitted(*arguments, **own)
    frame = table()
    if model.fit_.deep is not None:
        assert model.fit_.deep.calibration.gamma.any()
    together = predictions(model, frame)
    size = np.maximum(np.nanmax(np.abs(together), axis=0), 1e-3)

    def check(found, rows):
        np.testing.assert_allclose(found / size, together[rows] / size, rtol=0, atol=tolerance)

    order = np.random.default_rng(0).permutation(N)
    check(predictions(model, frame.iloc[order]), order)
    check(predictions(model, frame.iloc[10:47]), np.arange(10, 47))
    for row in (0, 17, N - 1):
        check(predictions(model, frame.iloc[[row]]), [row])
    twice = np.array([3, 3, 12, 3])
    check(predictions(model, frame.iloc[twice]), twice)
