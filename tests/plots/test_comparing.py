"""Comparisons drawn: positions are the numbers, nothing overlaps, grey is a baseline."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from _plot_models import check_nothing_overlaps
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

import semistruct as ss
from semistruct.exceptions import SpecificationError
from semistruct.plots.comparing import plot_critical_difference


@pytest.fixture(scope="module")
def comparison():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(150, 3)), columns=list("abc"))
    y = X["a"] + 0.1 * X["b"] + rng.normal(size=150)
    models = {
        "linear": LinearRegression(),
        "ridge with a long name that goes on": Ridge(100.0),
        "tree": DecisionTreeRegressor(max_depth=3),
    }
    return ss.compare(models, X, y, metrics=["r2", "mae"], progress=False)


def squares(ax):
    return [line for line in ax.lines if line.get_marker() == "s"]


def test_gains_are_where_they_are(comparison):
    ax = comparison.plot("mae", reference="tree")
    table = comparison.differences("mae", "tree")
    drawn = squares(ax)
    np.testing.assert_allclose([line.get_xdata()[0] for line in drawn], table["gain"])
    places = [line.get_ydata()[0] for line in drawn]
    assert places == sorted(places, reverse=True)
    spans = [c.get_segments()[0][:, 0] for c in ax.collections]
    np.testing.assert_allclose(spans, table[["lower", "upper"]].to_numpy())
    hollow = [line.get_markerfacecolor() == "white" for line in drawn]
    assert hollow == [name in comparison.roles for name in table.index]
    assert "mean absolute error over 'tree'" in " ".join(ax.get_xlabel().split())
    check_nothing_overlaps(ax.figure)


def test_every_fold_is_a_point(comparison):
    ax = comparison.plot_scores()
    points = [line for line in ax.lines if line.get_marker() == "o"]
    scores = comparison.scores()[list(comparison.table().index)]
    np.testing.assert_allclose([line.get_xdata() for line in points], scores.T)
    np.testing.assert_allclose(
        [line.get_xdata()[0] for line in squares(ax)], comparison.table()["r2"]
    )
    check_nothing_overlaps(ax.figure)
    _, own = plt.subplots()
    assert comparison.plot_scores(ax=own) is own


def test_ranks_and_what_may_be_chance(comparison):
    ax = comparison.plot_critical_difference()
    ranks = comparison.ranks()
    starts = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(starts, ranks)
    thick = [line for line in ax.lines if line.get_linewidth() > 2]
    assert thick
    check_nothing_overlaps(ax.figure)
    nemenyi = comparison.plot_critical_difference(test="nemenyi")
    assert "Nemenyi, 5 folds" in " ".join(text.get_text() for text in nemenyi.texts)
    with pytest.raises(SpecificationError, match="'corrected' or 'nemenyi'"):
        comparison.plot_critical_difference(test="wilcoxon")


def test_bars_join_runs_without_a_difference():
    ranks = pd.Series([1.0, 2.0, 3.0, 4.0], list("abcd"))
    same = np.eye(4, dtype=bool)
    for i, j in ((0, 1), (1, 2), (2, 3)):
        same[i, j] = same[j, i] = True
    ax = plot_critical_difference(ranks, same, "R2", "by hand")
    bars = [np.round(line.get_xdata()) for line in ax.lines if line.get_linewidth() > 2]
    np.testing.assert_array_equal(bars, [[1, 2], [2, 3], [3, 4]])
    same[:3, :3] = True
    ax = plot_critical_difference(ranks, same, "R2", "by hand")
    bars = [np.round(line.get_xdata()) for line in ax.lines if line.get_linewidth() > 2]
    np.testing.assert_array_equal(bars, [[1, 3], [3, 4]])
    check_nothing_overlaps(ax.figure)
