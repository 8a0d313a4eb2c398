"""Panels of deep terms: an open gate, a closed one, scores of zero, no pictures at hand."""

from __future__ import annotations

from dataclasses import replace

import _plot_models as _models
import numpy as np
import pytest

from semistruct.exceptions import DataError, SpecificationError
from semistruct.plots import plot_history, plot_image_effects, plot_model, plot_scores


@pytest.fixture(scope="module")
def fit():
    model = _models.deep_model()
    assert np.ptp(model.deep.scores) > 0
    return _models.with_gamma(model, 0.8)


@pytest.fixture(scope="module")
def closed(fit):
    return _models.with_gamma(fit, 0.0)


def labels(fit):
    return [ax.get_title(loc="left").split(",")[0] for ax in plot_model(fit).axes]


def test_model_with_pictures(fit):
    strip = "cnn(ct): pictures of the lowest and the highest effects"
    assert labels(fit) == [
        "s(age)",
        "coefficients of loc",
        "cnn(ct)",
        "training of 2 networks",
        strip,
    ]


def test_histogram_counts_the_rows_with_a_picture(fit):
    ax = plot_scores(fit)
    assert sum(patch.get_height() for patch in ax.patches) == len(fit.frame) - 1
    scores = fit.deep.scores[:-1, 0] * 0.8
    assert ax.patches[0].get_x() == pytest.approx(scores.min())
    assert ax.get_xlabel() == "effect on loc"
    assert "slope 0.80" in ax.get_title(loc="left")


def test_closed_gate_is_said_and_shows_no_pictures(closed):
    assert labels(closed)[-1] == "training of 2 networks"
    ax = plot_scores(closed)
    assert "gate closed" in ax.get_title(loc="left")
    assert any("not used" in text.get_text() for text in ax.texts)
    assert ax.get_xlabel() == "score for loc"


def test_scores_of_zero(closed):
    deep = replace(closed.deep, scores=np.zeros_like(closed.deep.scores))
    ax = plot_scores(replace(closed, deep=deep))
    assert any("all scores are zero" in text.get_text() for text in ax.texts)
    assert plot_model(replace(closed, deep=deep)).axes


def test_pictures_at_both_ends(fit):
    ax = plot_image_effects(fit, n_pictures=3)
    order = np.argsort(fit.deep.scores[:-1, 0])
    rows = np.r_[order[:3], order[-3:]]
    pixels = np.asarray(fit.frame["ct"].array.batch(rows))[:, 0] / 255.0
    for image, expected in zip(ax.images, pixels, strict=True):
        np.testing.assert_allclose(image.get_array(), expected)
    shown = [text.get_text() for text in ax.get_xticklabels()]
    assert shown[0].startswith("\N{MINUS SIGN}") and shown[-1].startswith("+")


def test_colour_pictures_of_another_shape():
    fit = _models.with_gamma(_models.deep_model((3, 8, 12)), 1.0)
    ax = plot_image_effects(fit, n_pictures=2)
    assert ax.images[0].get_array().shape == (8, 12, 3)


def test_without_pictures_the_rest_is_drawn(fit):
    bare = replace(fit, frame=fit.frame.drop(columns="ct"))
    assert labels(bare)[-1] == "training of 2 networks"
    with pytest.raises(DataError, match="not known to this model"):
        plot_image_effects(bare)


def test_history_marks_what_was_kept(fit):
    ax = plot_history(fit)
    for number, member in enumerate(fit.deep.crossfit.members):
        train, stop, kept = ax.lines[3 * number : 3 * number + 3]
        np.testing.assert_array_equal(train.get_ydata(), member.history["train_loss"])
        np.testing.assert_array_equal(stop.get_ydata(), member.history["held_out_loss"])
        assert list(kept.get_xdata()) == [member.best_epoch]


def test_errors(fit):
    with pytest.raises(SpecificationError, match="1 deep term"):
        plot_scores(fit, 1)
    with pytest.raises(SpecificationError, match="no history"):
        plot_history(replace(fit, deep=None))
