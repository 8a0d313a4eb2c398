"""Explanations asked of fitted models: numbers on the axes are those of the predictions."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import semistruct as ss
from semistruct.exceptions import DataError, SpecificationError

THREE_DIGITS = 0.006  # captions are rounded to three

FEW = {
    "n_folds": 2,
    "n_repeats": 1,
    "max_epochs": 3,
    "gate": False,
    "progress": False,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(0)
    n = 120
    light = rng.uniform(size=n)
    pixels = list(
        (rng.uniform(0, 80, (n, 1, 8, 8)) + 150 * light[:, None, None, None]).astype("uint8")
    )
    pixels[-1] = None
    table = pd.DataFrame({"age": rng.normal(50, 9, n), "sex": rng.choice(["f", "m"], n)})
    table["ct"] = ss.ImageArray(pixels)
    table["y"] = 0.02 * table["age"] + 3 * light + 0.1 * rng.normal(size=n)
    table["time"] = rng.exponential(np.exp(-light))
    return table


@pytest.fixture(scope="module")
def model(study):
    return ss.SemiStructuredRegressor("y ~ sex + s(age) + cnn(ct)", **FEW).fit(study)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_waterfall_ends_at_the_prediction(model, study):
    ax = model.plot_waterfall(study, 7)
    written = [float(text.get_text().replace("\N{MINUS SIGN}", "-")) for text in ax.texts]
    assert written[-1] == pytest.approx(model.predict(study)[7], rel=5e-3)
    assert written[-2] == pytest.approx(model.predict(study).mean(), rel=0.05)
    assert {t.get_text() for t in ax.get_yticklabels()} >= {
        f"sex: {study['sex'][7]}",
        f"s(age): {study['age'][7]:.4g}",
        "cnn(ct)",
    }
    assert ax.get_xlabel() == "predictor of loc"
    assert "cnn(ct)" not in {
        t.get_text() for t in model.plot_waterfall(study, 7, param="scale").get_yticklabels()
    }


def test_waterfall_of_a_hazard(study):
    y = ss.Surv(study["time"].clip(upper=2), study["time"] < 2)
    cox = ss.CoxPH("age + cnn(ct)", **FEW).fit(study, y)
    assert cox.plot_waterfall(study, 0).get_xlabel().startswith("predictor of log_hazard")
    pamm = ss.PAMM("s(tend, k=5) + age", cuts=8).fit(study, y)
    found = [t.get_text() for t in pamm.plot_waterfall(study, 0).get_yticklabels()]
    assert found[0] == "average" and {"s(tend)", f"age: {study['age'][0]:.4g}"} == set(found[1:-1])


def test_waterfall_of_rows_that_are_not_there(model, study):
    with pytest.raises(SpecificationError, match="no row 500"):
        model.plot_waterfall(study, 500)
    with pytest.raises(SpecificationError, match="parameter"):
        model.plot_waterfall(study, param="shape")


def test_sheet_of_training_rows_has_the_scores_of_networks_that_had_not_seen_them(model, study):
    axes = model.plot_pictures(n_pictures=3)
    effects = model.fit_.deep.scores[:-1, 0] * model.fit_.deep.calibration.gamma[0]
    caption = axes[0, 0].get_xlabel().replace("\N{MINUS SIGN}", "-")
    assert float(caption.split()[1]) == pytest.approx(effects.min(), rel=THREE_DIGITS)
    lowest = study["ct"].array.batch([int(effects.argmin())])[0, 0] / 255
    np.testing.assert_allclose(axes[0, 0].images[0].get_array(), lowest)


def test_sheet_of_new_rows(model, study):
    new = study[100:]  # the last has no picture
    axes = model.plot_pictures(new, by="prediction", n_pictures=2)
    predicted = model.predict(new)[:-1]
    best = new["ct"].array.batch([int(predicted.argmax())])[0, 0] / 255
    np.testing.assert_allclose(axes[1, -1].images[0].get_array(), best)


def test_sheet_without_pictures(model, study, tmp_path):
    table = ss.SemiStructuredRegressor("y ~ age").fit(study)
    with pytest.raises(SpecificationError, match="no deep term"):
        table.plot_pictures()
    with pytest.raises(SpecificationError, match="unknown deep term"):
        model.plot_pictures(term="cnn(mri)")
    with pytest.raises(SpecificationError, match="reads no pictures"):
        ss.SemiStructuredRegressor("y ~ mlp(age)", **FEW).fit(study).plot_pictures()
    model.save(tmp_path / "m")
    again = ss.load(tmp_path / "m")
    with pytest.raises(DataError, match="give X"):
        again.plot_pictures()
    assert again.plot_pictures(study).shape == (2, 6)


def test_maps(model, study):
    axes = model.plot_image_maps(study.iloc[[3, 119, 5]])
    assert axes.shape == (2, 2)  # one of the three has no picture
    effects = model.term_contributions(study)["loc", "cnn(ct)"]
    caption = axes[0, 0].get_title(loc="left").replace("\N{MINUS SIGN}", "-")
    written = float(caption.removeprefix("3: "))
    assert written == pytest.approx(effects[3], abs=THREE_DIGITS * effects[[3, 5]].abs().max())
    with pytest.raises(DataError, match="1 to 8 rows"):
        model.plot_image_maps(study)


def test_embeddings(model, study):
    ax = model.plot_embeddings(study, "sex", method="pca")
    assert sum(len(points.get_offsets()) for points in ax.collections) == len(study) - 1
    assert ax.get_xlabel() == "principal component 1"
    brightness = study["ct"].array[:-1].batch().mean(axis=(1, 2, 3))
    model.plot_embeddings(study[:-1], brightness, method="pca")
    with pytest.raises(DataError, match="no column 'bmi'"):
        model.plot_embeddings(study, "bmi")
    with pytest.raises(SpecificationError, match="no deep term"):
        ss.SemiStructuredRegressor("y ~ age").fit(study).plot_embeddings(study, "sex")
