"""Curves of survival models: what is drawn is what is predicted, labelled, nothing overlapping."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _plot_models import check_nothing_overlaps
from numpy.testing import assert_allclose, assert_array_equal

import semistruct as ss
from semistruct.evaluation.kaplan_meier import kaplan_meier
from semistruct.exceptions import DataError, SpecificationError
from semistruct.plots import (
    hazard_curves,
    hazard_ratio_curves,
    incidence_curves,
    plot_forest,
    survival_curves,
)


def study(n: int = 300, causes: int = 1):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.normal(size=n), "arm": rng.choice(["drug", "placebo"], n)})
    risk = 0.6 * frame["age"] + 0.5 * (frame["arm"] == "placebo")
    times = rng.exponential(np.exp(-risk.to_numpy())[:, None] * np.array([1.0, 2.0])[:causes])
    limit = rng.uniform(0.5, 2.5, n)
    time = np.minimum(times.min(axis=1), limit)
    event = np.where(times.min(axis=1) <= limit, times.argmin(axis=1) + 1, 0)
    return frame, ss.Surv(time, event, n_causes=causes)


@pytest.fixture(scope="module")
def models():
    frame, y = study()
    two, y_two = study(causes=2)
    return {
        "cox": ss.CoxPH("age + arm").fit(frame, y),
        "strata": ss.CoxPH("age + strata(arm)").fit(frame, y),
        "pamm": ss.PAMM("s(tend, k=5) + arm + age + s(tend, by=age, k=5)", cuts=8).fit(frame, y),
        "discrete": ss.DiscreteHazard("s(tend, k=5) + age + arm", cuts=8).fit(frame, y),
        "causes": ss.PAMM("s(tend, k=5) + age + arm", cuts=8).fit(two, y_two),
    }


def lines(ax, prefix=""):
    return [line for line in ax.lines if str(line.get_label()).startswith(prefix)]


def written(ax):
    return [text.get_text() for text in ax.texts]


PANELS = {"cox": 2, "strata": 2, "pamm": 5, "discrete": 4, "causes": 6}


@pytest.mark.parametrize("name", PANELS)
def test_whole_figure(models, name):
    figure = models[name].plot()
    assert len(figure.axes) == PANELS[name]
    check_nothing_overlaps(figure)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert "survival, average over rows" in titles
    assert len(models[name].plot(terms="survival").axes) == 1


@pytest.mark.parametrize("formula", [None, "x1"])
@pytest.mark.parametrize("model", [ss.CoxPH, ss.PAMM])
def test_figure_of_a_model_of_an_array(model, formula):
    frame, y = study()
    X = np.column_stack([frame["age"] ** 2, frame["age"]])
    options = {"cuts": 12} if model is ss.PAMM else {}
    figure = model(formula, **options).fit(X, y).plot()
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert "survival, average over rows" in titles


def test_a_model_without_covariates_has_one_curve():
    frame, y = study()
    (ax,) = ss.PAMM("s(tend, k=5)", cuts=8).fit(frame, y).plot(terms="survival").axes
    assert len(lines(ax, "_Kaplan-Meier")) == 1


def test_groups_are_averages_with_kaplan_meier_and_numbers_at_risk(models):
    frame, y = study()
    model = models["cox"]
    ax = survival_curves(model, frame, y, by="arm", times=np.linspace(0, 2, 50))
    expected = model.predict_average_survival(frame, np.linspace(0, 2, 50), by="arm", level=0.95)
    for name in ("drug", "placebo"):
        (line,) = lines(ax, name)
        assert_array_equal(line.get_ydata(), expected[name, "estimate"])
    corners = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert set(expected["placebo", "upper"]) <= set(corners)
    own = (frame["arm"] == "drug").to_numpy()
    assert 0 < own.sum() < len(own)
    dashed = lines(ax, "_Kaplan-Meier")
    assert len(dashed) == 2
    curve = kaplan_meier(y[own])
    assert_array_equal(dashed[0].get_ydata()[1:-1], curve.survival)
    ticks = ax.get_xticks()
    assert ticks[0] == 0
    counts = [int(text) for text in written(ax) if text.isdigit()]
    at_risk = [[int((y.time[rows] >= t).sum()) for t in ticks] for rows in (own, ~own)]
    assert counts == at_risk[0] + at_risk[1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time", "probability of no event")
    check_nothing_overlaps(ax.figure)


def test_rows_have_curves_of_their_own(models):
    frame, _ = study()
    model = models["pamm"]
    ax = survival_curves(model, frame[3:5], level=0.8)
    grid = lines(ax, "row 3")[0].get_xdata()
    expected = model.predict_survival_function(frame[3:5], grid, level=0.8)
    assert_array_equal(lines(ax, "row 4")[0].get_ydata(), expected[4, "estimate"])
    assert len(ax.collections) == 2 and "number at risk" not in written(ax)
    many = survival_curves(model, frame[:12])
    assert len(many.lines) == 12 and not many.collections and many.get_legend() is None
    assert not survival_curves(model, frame[:2], level=None).collections


def test_what_is_not_wanted_is_left_out(models):
    frame, y = study()
    bare = survival_curves(models["cox"], frame, y, kaplan_meier=False, at_risk=False)
    assert len(bare.lines) == 1 and "number at risk" not in written(bare)
    with pytest.raises(DataError, match="y has 300 rows and X 299"):
        survival_curves(models["cox"], frame[1:], y)
    with pytest.raises(DataError, match="no column 'arms'"):
        survival_curves(models["cox"], frame, y, by="arms")


def test_delayed_entries_are_at_risk_when_they_are(models):
    frame, y = study()
    late = ss.Surv(y.time, y.event, np.where(frame["age"] > 0, y.time / 2, 0.0))
    ax = survival_curves(models["cox"], frame, late, kaplan_meier=False)
    counts = [int(text) for text in written(ax) if text.isdigit()]
    expected = [int(((y.time >= t) & (late.entry < t)).sum()) for t in ax.get_xticks()[1:]]
    assert counts == [int((late.entry == 0).sum()), *expected]
    assert len(set(counts)) > 2


@pytest.mark.parametrize("name", ["pamm", "discrete"])
def test_hazards_are_steps_over_the_intervals(models, name):
    frame, _ = study()
    model = models[name]
    ax = hazard_curves(model, frame[:2])
    expected = model.predict_hazard(frame[:2], level=0.95)
    x, y = lines(ax, "row 1")[0].get_data()
    assert_array_equal(x[::2], model.intervals_.starts)
    assert_array_equal(y[1::2], expected[1, "estimate"])
    assert len(ax.collections) == 2
    assert ax.get_ylabel().startswith("events" if name == "pamm" else "probability")


def test_hazards_of_causes(models):
    frame, _ = study(causes=2)
    ax = hazard_curves(models["causes"], frame[:1], cause=2)
    assert ax.get_title(loc="left") == "hazard of cause 2"
    with pytest.raises(SpecificationError, match="needs a cause"):
        hazard_curves(models["causes"], frame[:1])


def test_hazard_ratios_over_time(models):
    frame, _ = study()
    model = models["pamm"]
    older = frame[:1].assign(age=1.0)
    ax = hazard_ratio_curves(model, older, frame[:1].assign(age=0.0))
    line = lines(ax, "row 0")[0]
    curve = model.predict_hazard_ratio(older, frame[:1].assign(age=0.0))
    assert_array_equal(line.get_ydata()[::2], curve[0])
    assert np.ptp(line.get_ydata()) > 0
    assert ax.get_yscale() == "log" and len(ax.get_yticks()) >= 2
    low, high = ax.get_ylim()
    assert low < min(line.get_ydata()) and max(line.get_ydata()) < high


def test_incidences_as_lines_and_areas(models):
    frame, _ = study(causes=2)
    model = models["causes"]
    ax = incidence_curves(model, frame[:2], level=0.9, n_draws=50, random_state=0)
    assert len(ax.lines) == 4 and len(ax.collections) == 4
    grid = ax.lines[0].get_xdata()
    expected = model.predict_cumulative_incidence(frame[:2], grid)
    assert_allclose(ax.lines[3].get_ydata(), expected[2, 1], rtol=1e-12)
    stacked = incidence_curves(model, frame[:1], kind="stacked", names={1: "relapse", 2: "death"})
    tops = stacked.collections[-1].get_paths()[0].vertices[:, 1].max()
    assert_allclose(tops, 1 - model.predict_survival_function(frame[:1]).iloc[-1, 0], rtol=1e-9)
    names = [text.get_text() for text in stacked.get_legend().get_texts()]
    assert names == ["relapse", "death"]
    with pytest.raises(SpecificationError, match="from 1 to 1 row"):
        incidence_curves(model, frame[:2], kind="stacked")
    with pytest.raises(SpecificationError, match="areas have no bands"):
        incidence_curves(model, frame[:1], kind="stacked", level=0.9)
    with pytest.raises(SpecificationError, match="kind"):
        incidence_curves(model, frame[:1], kind="pie")


def test_forests_of_survival_models_are_ratios(models):
    model = models["cox"]
    ax = plot_forest(model.fit_, "log_hazard")
    ratios = model.hazard_ratios()
    (points,) = lines(ax, "coefficients")
    assert_allclose(points.get_xdata(), ratios["exp(coef)"])
    segments = np.array([s[:, 0] for s in ax.collections[0].get_segments()])
    assert_allclose(segments[:, 0], ratios["exp(coef) lower 95%"])
    assert ax.get_xlabel() == "hazard ratio" and ax.get_xscale() == "log"
    plain = plot_forest(model.fit_, "log_hazard", exponentiate=False)
    assert_allclose(lines(plain, "coefficients")[0].get_xdata(), ratios["coef"])
    assert plot_forest(models["discrete"].fit_, "hazard").get_xlabel() == "odds ratio"
