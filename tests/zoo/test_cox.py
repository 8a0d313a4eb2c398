"""DeepSurv sees what no line can; the wide part of wide and deep survival is a Cox model."""

from __future__ import annotations

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter

import semistruct as ss
from semistruct import zoo
from tests._zoo import CASES, QUICK, fitted

TO_LIFELINES = 1e-4  # two optimisers of one partial likelihood


def test_deep_surv_finds_a_bend_that_a_linear_model_misses(rng):
    x = rng.uniform(-2, 2, 400)
    time = rng.exponential(np.exp(-(x**2)))
    table, y = pd.DataFrame({"x": x}), ss.Surv(np.minimum(time, 2), time < 2)
    train, test = slice(0, 200), slice(200, None)
    deep = zoo.deep_surv("x", **{**QUICK, "max_epochs": 30}).fit(table[train], y[train])
    linear = ss.CoxPH("x").fit(table[train], y[train])
    assert deep.score(table[test], y[test]) > linear.score(table[test], y[test]) + 0.1
    curve = deep.predict(pd.DataFrame({"x": [-2.0, 0.0, 2.0]}))
    assert curve[[0, 2]].min() > curve[1] + 1  # the truth is 4
    assert deep.predict_survival_function(table[:2], [0.5]).shape == (1, 2)


def test_deep_conv_surv_reads_the_picture():
    _, _, test, _ = CASES["deep_conv_surv"].halves()
    risk = fitted("deep_conv_surv").predict(test)
    bright = test["ct"].array.batch()[..., :3].mean(axis=(1, 2, 3))
    assert np.corrcoef(risk, bright)[0, 1] > 0.8


def test_strata_and_responses_in_formulas():
    frame, y = CASES["deep_surv"].study()
    named = frame[:120].assign(time=y.time[:120], event=y.event[:120])
    model = zoo.deep_surv(
        "bmi", table="Surv(time, event) ~ strata(sex)", **{**QUICK, "max_epochs": 1}
    )
    assert len(model.fit(named).strata_) == 2


def test_the_wide_part_of_wide_and_deep_survival_is_a_cox_model():
    train, y, _, _ = CASES["wide_and_deep_survival"].halves()
    model = fitted("wide_and_deep_survival")
    table = train[["age"]].assign(male=(train["sex"] == "m") * 1.0, time=y.time, event=y.event)
    reference = CoxPHFitter().fit(table, "time", "event")
    np.testing.assert_allclose(model.params, reference.params_, rtol=TO_LIFELINES, atol=1e-5)
    assert model.fit_.deep.calibration.gamma.item() > 0
    # Orthogonal to the table: the score tells nothing about age that the line does not.
    score = model.fit_.deep.scores[:, 0]
    assert abs(np.corrcoef(score, train["age"])[0, 1]) < 1e-6
