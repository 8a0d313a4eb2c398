"""Panels of explanations: bars that add up, maps on one scale, colours of groups and numbers."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from semistruct.exceptions import DataError, SpecificationError
from semistruct.plots import (
    plot_contact_sheet,
    plot_embedding_plane,
    plot_image_maps,
    plot_waterfall,
)

ROW = pd.Series({"Intercept": 1.0, "age": 2.0, "s(bmi)": -1.0, "cnn(ct)": 0.5})
MEAN = pd.Series({"Intercept": 1.0, "age": 0.5, "s(bmi)": 0.0, "cnn(ct)": 0.1})


def names(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


def test_bars_lead_from_the_average_to_the_row():
    ax = plot_waterfall(ROW, MEAN, values={"age": "63"}, title="row 3", xlabel="predictor")
    assert names(ax) == ["average", "age: 63", "s(bmi)", "cnn(ct)", "this row"]
    bars = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    np.testing.assert_allclose(bars, [(1.6, 1.5), (3.1, -1.0), (2.1, 0.4)])
    written = [text.get_text() for text in ax.texts]
    assert {"+1.50", "\N{MINUS SIGN}1.00", "+0.40", "1.6", "2.5"} <= set(written)
    low, high = ax.get_xlim()
    assert low < 1.6 and high > 3.1
    assert ax.get_title(loc="left") == "row 3" and ax.get_xlabel() == "predictor"


def test_small_differences_are_drawn_together():
    ax = plot_waterfall(ROW, MEAN, max_terms=1)
    assert names(ax) == ["average", "age", "2 more terms", "this row"]
    assert ax.patches[-1].get_x() + ax.patches[-1].get_width() == pytest.approx(2.5)
    assert names(plot_waterfall(ROW, MEAN, max_terms=2))[-2] == "cnn(ct)"  # one is not "more"


def test_a_row_like_the_average():
    ax = plot_waterfall(ROW[:1], ROW[:1])
    assert names(ax) == ["average", "this row"] and not ax.patches


def test_terms_must_agree():
    with pytest.raises(SpecificationError, match="same terms"):
        plot_waterfall(ROW, MEAN[:2])
    with pytest.raises(SpecificationError, match="max_terms"):
        plot_waterfall(ROW, MEAN, max_terms=0)


@pytest.fixture
def pictures(rng):
    return rng.uniform(size=(7, 4, 6, 1))


@pytest.fixture
def effects():
    return pd.DataFrame({"picture": np.arange(7) - 3.0, "table": [9.0, *np.zeros(6)]})


def captions(axes):
    return [[ax.get_xlabel().split("\n")[0] for ax in line] for line in axes]


def test_sheet_has_both_ends_in_order(pictures, effects):
    axes = plot_contact_sheet(pictures, effects, n_pictures=2, title="cnn(ct)", unit="effect")
    minus = "\N{MINUS SIGN}"
    low, high = captions(axes)
    assert low == [f"picture {minus}3.00", f"picture {minus}2.00"]
    assert high == ["picture +2.00", "picture +3.00"]
    np.testing.assert_array_equal(axes[0, 0].images[0].get_array(), pictures[0, ..., 0])
    assert "table +9.00" in axes[0, 0].get_xlabel()
    assert axes[0, 0].get_ylabel() == "lowest" and axes[1, 0].get_ylabel() == "highest"


def test_sheet_by_predictions(pictures, effects):
    axes = plot_contact_sheet(pictures, effects, by="prediction", n_pictures=1)
    assert captions(axes)[1] == ["picture \N{MINUS SIGN}3.00"]


def test_sheet_shows_no_picture_twice(pictures, effects):
    assert plot_contact_sheet(pictures, effects, n_pictures=10).shape == (2, 3)
    with pytest.raises(SpecificationError, match="two pictures"):
        plot_contact_sheet(pictures[:1], effects[:1])
    with pytest.raises(SpecificationError, match="by must be"):
        plot_contact_sheet(pictures, effects, by="risk")


def test_frames_have_the_colour_of_the_effect(pictures, effects):
    axes = plot_contact_sheet(pictures, effects, n_pictures=2)
    low, high = (axes[i, j].spines["left"].get_edgecolor() for i, j in ((0, 0), (1, 1)))
    assert low[2] > low[0] and high[0] > high[2]  # purple and orange


def test_maps_have_one_scale(pictures, rng):
    maps = rng.normal(size=(3, 4, 6))
    maps[1] *= 10
    axes = plot_image_maps(
        pictures[:3], maps, pd.Series([1.0, -2.0, 3.0], ["a", "b", "c"]), unit="u"
    )
    limits = {ax.images[-1].get_clim() for ax in axes[1]}
    largest = np.abs(maps).max()
    assert limits == {(-largest, largest)}
    written = [ax.get_title(loc="left") for ax in axes[0]]
    assert written == ["a: +1.00", "b: \N{MINUS SIGN}2.00", "c: +3.00"]
    assert axes[0, 0].figure.axes[-1].get_ylabel() == "u"


@pytest.fixture
def plane(rng):
    return pd.DataFrame(rng.normal(size=(30, 2)), columns=["first", "second"])


def test_groups_have_a_legend_and_numbers_a_bar(plane, rng):
    group = pd.Series(rng.choice(["f", "m"], 30), name="sex")
    group[0] = None
    ax = plot_embedding_plane(plane, group, axis="t-SNE")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["f", "m"]
    assert sum(len(points.get_offsets()) for points in ax.collections) == 30
    assert ax.get_xlabel() == "t-SNE 1"
    ax = plot_embedding_plane(plane, pd.Series(rng.normal(size=30), name="age"))
    assert ax.get_legend() is None and ax.figure.axes[1].get_ylabel() == "age"
    ax = plot_embedding_plane(plane, pd.Series(np.arange(30) % 2 == 0, name="died"))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["False", "True"]


def test_too_many_groups_are_refused(plane):
    with pytest.raises(DataError, match="30 groups"):
        plot_embedding_plane(plane, pd.Series([f"c{i}" for i in range(30)], name="center"))
    with pytest.raises(DataError, match="missing in every row"):
        plot_embedding_plane(plane, pd.Series([None] * 30, name="center"))


def test_the_settings_of_the_user_are_left_alone(plane, pictures, effects):
    before = dict(mpl.rcParams)
    plot_waterfall(ROW, MEAN)
    plot_contact_sheet(pictures, effects)
    assert dict(mpl.rcParams) == before


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")
