"""Interrupted fits: what was trained is not trained again, and nothing else is taken for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import semistruct as ss
from semistruct.fitting.gradient import GradientSolver

N = 60


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (N, 1, 8, 8)).astype(np.uint8)
    x = rng.normal(size=N)
    y = x + pictures.mean(axis=(1, 2, 3)) / 10 + rng.normal(size=N)
    return pd.DataFrame({"x": x, "y": y, "scan": ss.ImageArray(pictures)})


def model(**options):
    defaults = {"n_folds": 3, "n_repeats": 1, "max_epochs": 3, "random_state": 1, "gate": False}
    return ss.SemiStructuredRegressor(
        "x + cnn(scan, hflip=False)", progress=False, **{**defaults, **options}
    )


@pytest.fixture
def trained(monkeypatch):
    """How many networks were trained; after ``limit`` of them the user interrupts."""
    real, counted = GradientSolver.fit, {"n": 0, "limit": np.inf}

    def fit(self, *arguments):
        if counted["n"] == counted["limit"]:
            raise KeyboardInterrupt
        counted["n"] += 1
        return real(self, *arguments)

    monkeypatch.setattr(GradientSolver, "fit", fit)
    return counted


def test_an_interrupted_fit_goes_on_with_the_same_numbers(table, trained, tmp_path):
    plain = model().fit(table, table.y)
    assert trained["n"] == 3
    trained.update(n=0, limit=2)
    interrupted = model(checkpoint=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(table, table.y)
    assert not hasattr(interrupted, "fit_")
    trained.update(n=0, limit=np.inf)
    resumed = model(checkpoint=str(tmp_path)).fit(table, table.y)
    assert trained["n"] == 1
    np.testing.assert_array_equal(resumed.predict(table), plain.predict(table))
    pd.testing.assert_frame_equal(resumed.history_, plain.history_)
    model(checkpoint=tmp_path, n_jobs=1).fit(table, table.y)
    assert trained["n"] == 1


@pytest.mark.parametrize("change", ["response", "picture", "option", "seed", "weight"])
def test_networks_of_another_problem_are_not_taken(table, trained, tmp_path, change):
    model(checkpoint=tmp_path).fit(table, table.y)
    trained.update(n=0)
    other, options, weight = table.copy(), {}, None
    if change == "response":
        other["y"] = other.y + np.r_[1.0, np.zeros(N - 1)]
    elif change == "picture":
        pictures = other["scan"].array.batch()
        pictures[0, 0, 0, 0] ^= 1
        other["scan"] = ss.ImageArray(pictures)
    elif change == "option":
        options = {"max_epochs": 4}
    elif change == "seed":
        options = {"random_state": 2}
    else:
        weight = np.r_[2.0, np.ones(N - 1)]
    model(checkpoint=tmp_path, **options).fit(other, other.y, sample_weight=weight)
    assert trained["n"] == 3


def test_a_file_that_cannot_be_read_is_named(table, tmp_path):
    model(checkpoint=tmp_path).fit(table, table.y)
    file = next(tmp_path.rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ss.DataError, match=f"{file.name}.*Delete it"):
        model(checkpoint=tmp_path).fit(table, table.y)


def test_a_seed_is_needed(table, tmp_path):
    with pytest.raises(ss.SpecificationError, match="integer random_state"):
        model(checkpoint=tmp_path, random_state=None).fit(table, table.y)


def test_without_networks_nothing_is_written(table, tmp_path):
    ss.SemiStructuredRegressor("x", checkpoint=tmp_path, random_state=0).fit(table, table.y)
    assert not list(tmp_path.iterdir())


def test_saved_models_do_not_need_it(table, tmp_path):
    fitted = model(checkpoint=tmp_path / "networks").fit(table, table.y)
    fitted.save(tmp_path / "study.semistruct")
    again = ss.load(tmp_path / "study.semistruct")
    np.testing.assert_allclose(again.predict(table), fitted.predict(table), rtol=1e-6)
