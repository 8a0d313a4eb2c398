"""The figure of a whole model: which panels, nothing overlapping, settings untouched."""

from __future__ import annotations

from dataclasses import replace

import _plot_models as _models
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from _plot_models import boxes, check_nothing_overlaps

from semistruct.exceptions import SpecificationError
from semistruct.inference.curves import smooth_curve, smooth_surface
from semistruct.plots import (
    plot_forest,
    plot_model,
    plot_perspective,
    plot_random_effect,
    plot_smooth,
    plot_surface,
)


@pytest.fixture(scope="module")
def fits():
    return {case: _models.table_model(case) for case in _models.FORMULAS}


@pytest.mark.parametrize("case", _models.FORMULAS)
def test_panels_are_all_there_labelled_and_apart(fits, case):
    before = dict(mpl.rcParams)
    figure = plot_model(fits[case])
    assert dict(mpl.rcParams) == before
    assert len(figure.axes) == _models.N_PANELS[case]
    for ax in figure.axes:
        assert ax.get_title(loc="left")
        assert ax.get_xlabel()
        assert ax.get_ylabel() or ax.get_yticklabels()
    check_nothing_overlaps(figure)


@pytest.mark.parametrize("max_columns", [1, 2, 5])
def test_columns(fits, max_columns):
    figure = plot_model(fits["everything"], max_columns=max_columns)
    check_nothing_overlaps(figure)
    lefts = {round(box.x0 / figure.bbox.x1 * max_columns) for box in boxes(figure)}
    assert len(lefts) <= max_columns


def test_terms_are_chosen(fits):
    fit = fits["everything"]

    def titles(terms):
        return [ax.get_title(loc="left") for ax in plot_model(fit, terms=terms).axes]

    assert [title.split(",")[0] for title in titles("re(ward)")] == ["re(ward)"]
    assert titles("coefficients") == ["coefficients of loc", "coefficients of scale"]
    assert titles(["scale: coefficients"]) == ["coefficients of scale"]
    with pytest.raises(SpecificationError, match=r"did you mean 's\(area\)'"):
        plot_model(fit, terms=["s(aera)"])


@pytest.mark.parametrize("size", [1e-7, 1e7])
def test_no_power_of_ten_hides_under_the_title(size):
    fit = _models.table_model("by a number", size)
    ax = plot_smooth(fit, "loc", "s(age):dose")
    ax.figure.canvas.draw()
    assert not ax.yaxis.get_offset_text().get_text()
    written = ax.get_yticklabels()[-1].get_text().replace("\N{MINUS SIGN}", "-")
    assert float(written) == pytest.approx(ax.get_yticks()[-1])


def test_figsize_and_bad_columns(fits):
    figure = plot_model(fits["no smooths"], figsize=(5, 7))
    assert tuple(figure.get_size_inches()) == (5, 7)
    with pytest.raises(SpecificationError, match="max_columns"):
        plot_model(fits["no smooths"], max_columns=0)


def lines(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def test_a_curve_is_smooth_curve(fits):
    fit = fits["smooth on the scale"]
    ax = plot_smooth(fit, "scale", "s(age)", level=0.8, grid=50)
    curve = smooth_curve(fit, "scale", "s(age)", 50, 0.8)
    x, y = lines(ax, "_s(age)").get_data()
    np.testing.assert_array_equal(x, curve["x"])
    np.testing.assert_array_equal(y, curve["fit"])
    corners = ax.collections[0].get_paths()[0].vertices
    assert set(curve["lower"]) | set(curve["upper"]) <= set(corners[:, 1])
    assert ax.get_xlabel() == "age"
    assert ax.get_ylabel() == "effect on scale (log scale)"
    edf = fit.marginal.edf[fit.marginal.slices[1]][1:].sum()
    assert ax.get_title(loc="left") == f"s(age), edf {edf:.2f}"


def test_groups_are_overlaid_in_different_colours(fits):
    fit = fits["by groups"]
    ax = plot_smooth(fit, "loc", "s(age):zone")
    curve = smooth_curve(fit, "loc", "s(age):zone", 200)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["centre", "north", "south"]
    assert len({lines(ax, name).get_color() for name in names}) == 3
    for name in names:
        own = curve[curve["by"] == name]
        np.testing.assert_array_equal(lines(ax, name).get_ydata(), own["fit"])


def test_many_groups_have_no_legend(fits):
    ax = plot_smooth(fits["many groups"], "loc", "s(age):ward")
    assert ax.get_legend() is None
    assert any("12 groups of ward" in text.get_text() for text in ax.texts)


def test_rug_and_residuals(fits):
    fit = fits["smooth on the scale"]
    ax = plot_smooth(fit, "loc", "s(area)", rug=False)
    with_rug = plot_smooth(fit, "loc", "s(area)", residuals=True)
    assert len(with_rug.collections) == len(ax.collections) + 1
    assert len(with_rug.lines) == len(ax.lines) + 1
    assert len(with_rug.lines[1].get_xdata()) == len(fit.frame)
    ticks = np.array([segment[0, 0] for segment in with_rug.collections[-1].get_segments()])
    assert set(ticks) <= set(fit.frame["area"])
    assert ticks.min() == fit.frame["area"].min()


def test_without_training_rows_there_is_a_curve_and_no_rug(fits):
    bare = replace(fits["smooth on the scale"], frame=None)
    ax = plot_smooth(bare, "loc", "s(area)", residuals=False)
    assert len(ax.collections) == 1


def test_surface_of_a_group(fits):
    fit = fits["surfaces by groups"]
    ax = plot_surface(fit, "loc", "s(lon,lat):sex", group="m")
    assert ax.get_title(loc="left").startswith("s(lon,lat):sex = m, edf")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lon", "lat")
    with pytest.raises(SpecificationError, match="'f', 'm'"):
        plot_surface(fit, "loc", "s(lon,lat):sex", group="x")


def test_perspective_has_the_heights_of_the_surface_where_there_are_rows(fits):
    fit = fits["surfaces by groups"]
    ax = plot_perspective(fit, "loc", "s(lon,lat):sex", group="m", grid=15)
    surface = smooth_surface(fit, "loc", "s(lon,lat):sex", 15)
    own = surface[surface["by"] == "m"]
    seen = own.loc[own["observed"], "fit"]
    assert seen.max() < own["fit"].max()
    np.testing.assert_allclose(ax.zz_dataLim.intervalx, [seen.min(), seen.max()])
    assert ax.get_title(loc="left").startswith("s(lon,lat):sex = m, edf")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()) == ("lon", "lat", "effect on loc")
    # It falls to larger lon and lat, so it is seen from there.
    assert (own[["x", "z"]].corrwith(own["fit"]) < 0).all()
    assert 0 < ax.azim < 90
    assert plot_perspective(fit, "loc", "s(lon,lat):sex", azimuth=10.0).azim == 10.0


def test_perspective_needs_a_third_dimension(fits):
    _, ax = plt.subplots()
    with pytest.raises(SpecificationError, match='projection="3d"'):
        plot_perspective(fits["surface"], "loc", "te(lon,lat)", ax=ax)


@pytest.mark.parametrize("case", ["everything", "surfaces by groups"])
def test_model_in_perspective(fits, case):
    figure = plot_model(fits[case], perspective=True)
    assert len(figure.axes) == _models.N_PANELS[case]
    solid = [ax for ax in figure.axes if ax.name == "3d"]
    assert len(solid) == (2 if case == "surfaces by groups" else 1)
    check_nothing_overlaps(figure)


def test_panels_draw_where_they_are_told(fits):
    _, ax = plt.subplots()
    assert plot_forest(fits["no smooths"], "loc", ax=ax) is ax
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert "dose" in names and "Intercept" not in names
    assert len(plot_forest(fits["no smooths"], "loc", intercept=True).get_yticks()) == 1 + len(
        names
    )
    with pytest.raises(SpecificationError, match="no parametric coefficients"):
        plot_forest(fits["by groups"], "loc", intercept=False)


def test_forest_draws_the_interval_of_the_level_and_covariance(fits):
    fit = fits["no smooths"]

    def widths(**options):
        segments = plot_forest(fit, "loc", **options).collections[0].get_segments()
        return np.array([segment[1, 0] - segment[0, 0] for segment in segments])

    assert (widths(level=0.99) > widths()).all()
    assert not np.allclose(widths(cov_type="sandwich"), widths(), rtol=1e-3)


def test_random_effects_sorted_or_against_quantiles(fits):
    fit = fits["only random effects"]
    ax = plot_random_effect(fit, "loc", "re(ward)")
    effects = np.asarray(lines(ax, "effects").get_xdata())
    assert len(effects) == 12 and (np.diff(effects) >= 0).all()
    qq = plot_random_effect(fit, "loc", "re(ward)", kind="qq")
    np.testing.assert_array_equal(lines(qq, "effects").get_ydata(), effects)
    assert qq.get_xlabel() == "normal quantile"
    named = plot_random_effect(fits["many groups"], "loc", "re(plot)")
    assert named.get_xlabel() == "normal quantile"
    with pytest.raises(SpecificationError, match="'caterpillar', 'qq'"):
        plot_random_effect(fit, "loc", "re(ward)", kind="butterfly")
