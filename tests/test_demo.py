"""The demo says what it does, prints the truth beside the estimates and keeps its plots."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from semistruct import SemiStructuredRegressor, demo
from semistruct.columns import ImageArray
from semistruct.datasets import simulate_digits

FEW = demo.DemoSize(n_train=250, n_test=100, n_studies=3, n_folds=2, n_repeats=1, max_epochs=2)


@pytest.fixture
def no_houses(monkeypatch, tmp_path):
    """Neither named by the environment nor in the user's cache."""
    monkeypatch.setattr(demo, "find_folder", lambda table: None)


@pytest.mark.usefixtures("no_houses")
def test_quick_demo_writes_and_says(tmp_path, capsys):
    demo.main(["--quick", "--output", str(tmp_path / "plots")])
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "the pictures are real, the outcome is simulated",
        "Estimand: marginal",
        "truth estimate lower upper inside",
        "the 95% intervals held the truth in: Intercept",
        "table only",
        "table and picture",
        "Set SEMISTRUCT_DATA",
        "summary.txt, model.png, truth.png",
    ):
        assert words in said, words
    folder = tmp_path / "plots"
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.png",
        "summary.txt",
        "truth.png",
    ]
    for name in ("model.png", "truth.png"):
        picture = np.asarray(Image.open(folder / name).convert("L"), dtype=float)
        assert min(picture.shape) > 200 and picture.std() > 10.0, name
    assert "sex[T.male]" in (folder / "summary.txt").read_text(encoding="utf-8")


def test_recovery_knows_inside_from_outside():
    digits = simulate_digits(400)
    model = SemiStructuredRegressor(demo.TABLE).fit(digits, digits["y"])
    estimate, se = model.params["loc"], model.bse["loc"]
    for errors, inside in ((0.0, True), (1.9, True), (-1.9, True), (2.1, False), (-2.1, False)):
        table = demo.recovery(model, estimate + errors * se)
        assert (table["inside"] == inside).all(), errors
    assert table.index.tolist() == list(digits.attrs["truth"]["coefficients_marginal"])
    assert table.columns.tolist() == ["truth", "estimate", "lower", "upper", "inside"]


def test_coverage_is_near_nominal():
    counted = demo.coverage(40, 400)
    # Four standard errors of a share of 0.95 among 40.
    assert (counted["coverage"] > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 40)).all()
    assert (counted["mean error"].abs() < 4 / np.sqrt(40)).all()


def test_houses_are_compared_on_unseen_photos():
    rng = np.random.default_rng(0)
    n = 60
    bedrooms = rng.integers(1, 6, n)
    houses = pd.DataFrame(
        {
            "bedrooms": bedrooms,
            "bathrooms": rng.uniform(1.0, 4.0, n),
            "area": rng.uniform(500.0, 5000.0, n),
            "frontal": ImageArray(rng.integers(0, 256, (n, 3, 16, 16)).astype(np.uint8)),
            "price": np.exp(10 + 0.5 * bedrooms + rng.normal(0.0, 0.1, n)),
        }
    )
    scores, joint = demo.compare_houses(houses, FEW, n_splits=2)
    assert scores.index.tolist() == list(demo.HOUSES)
    assert scores.columns.tolist() == ["split 1", "split 2", "mean"]
    assert (scores.loc["table only"] > 0.9).all()
    assert (scores.loc["photo only"] < 0.3).all()
    assert joint.formula == demo.HOUSES["table and photo"]
    np.testing.assert_allclose(scores["mean"], scores[["split 1", "split 2"]].mean(axis=1))
