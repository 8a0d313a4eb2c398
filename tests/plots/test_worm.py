"""Worm plots show what is wrong, and where."""

from __future__ import annotations

import numpy as np
import pytest
from _plot_models import check_nothing_overlaps
from scipy import stats

from semistruct.exceptions import DataError, SpecificationError
from semistruct.plots import plot_worm, plot_worms


def test_a_worm_tells_what_is_wrong():
    scores = stats.norm.ppf((np.arange(1, 501) - 0.5) / 500)
    cubic = {
        "mean": plot_worm(scores + 0.3).lines[-1].get_ydata(),
        "variance": plot_worm(scores * 1.5).lines[-1].get_ydata(),
    }
    np.testing.assert_allclose(cubic["mean"], 0.3, atol=1e-8)
    x = plot_worm(scores).lines[-1].get_xdata()
    np.testing.assert_allclose(cubic["variance"], 0.5 * x, atol=1e-8)
    limits = plot_worm(scores).lines[1].get_ydata()
    at_zero = 1.96 * np.sqrt(0.25 / 500) / stats.norm.pdf(0)
    assert np.abs(limits).min() == pytest.approx(at_zero, rel=1e-3)


def test_worms_of_intervals_and_of_labels():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=400)
    residuals = rng.normal(size=400) + np.where(x > 0.75, 1.0, 0.0)
    axes = plot_worms(residuals, x, name="age")
    levels = [ax.lines[-1].get_ydata()[100] for ax in axes]
    assert len(axes) == 4 and levels[3] > 0.7 and max(np.abs(levels[:3])) < 0.3
    assert len({ax.get_ylim() for ax in axes}) == 1
    assert [len(ax.texts) for ax in axes] == [1, 1, 1, 1]
    assert axes[0].get_title(loc="left").startswith("age 0.00")
    check_nothing_overlaps(axes[0].figure)
    sizes = [len(ax.lines[3].get_xdata()) for ax in axes]
    assert sum(sizes) == 400 and min(sizes) > 90
    axes = plot_worms(residuals, np.where(x > 0.5, "old", "young"))
    assert [ax.get_title(loc="left") for ax in axes] == ["= old", "= young"]
    three = plot_worms(residuals, x, groups=3)
    three[0].figure.canvas.draw()
    assert [ax.get_xlabel() for ax in three] == ["", "normal score", "normal score"]
    assert [ax.xaxis.get_tick_params()["labelbottom"] for ax in three] == [False, True, True]
    assert [ax.get_ylabel() for ax in three] == ["deviation", "", "deviation"]


def test_worms_that_cannot_be_drawn():
    residuals = np.random.default_rng(0).normal(size=40)
    with pytest.raises(SpecificationError, match="40 labels"):
        plot_worms(residuals, np.arange(40).astype(str))
    with pytest.raises(SpecificationError, match="groups"):
        plot_worms(residuals, np.arange(40.0), groups=0)
    with pytest.raises(DataError, match="by has 3 rows"):
        plot_worms(residuals, np.arange(3.0))
