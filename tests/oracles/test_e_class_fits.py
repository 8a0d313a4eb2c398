"""Ordered and unordered classes against mgcv's ocat and multinom and MASS's polr."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _oracles import load_oracle

from semistruct import SemiStructuredClassifier
from semistruct.families import Ordinal

pytestmark = pytest.mark.oracle

CASE = "E05_ocat_multinom_pbc"
SMOOTH = "s(lbili, bs='ps', k=8) + s(age, bs='ps', k=8) + sex + albumin"
POLR = 5e-5  # where polr stops its search
POLR_ERRORS = 3e-4  # its second derivatives are by differences
PROBABILITY = 1e-4  # estimated smoothing parameters, to the flatness of the criterion
SMOOTHING = 3e-3
COEFFICIENT = 1e-4
SCORE = 1e-8
# mgcv's thresholds maximise the restricted likelihood, ours the penalised likelihood. polr, which
# maximises the likelihood, differs from mgcv by 1.5e-3 where there is nothing to smooth.
THRESHOLDS = 2.5e-3


@pytest.fixture(scope="module")
def case():
    return load_oracle(CASE)


def with_levels(table):
    frame = pd.DataFrame(table)
    return frame.assign(sex=pd.Categorical(frame["sex"], ["m", "f"]))


def test_polr(case):
    frame, expected = with_levels(case.data), case.expected["polr"]
    model = SemiStructuredClassifier("lbili + age + sex + albumin", "ordinal")
    model.fit(frame, frame["stage"])
    np.testing.assert_allclose(
        model.params["location"][1:], list(expected["coef"].values()), rtol=POLR
    )
    table = model.thresholds()
    assert table.index.tolist() == list(expected["zeta"])
    np.testing.assert_allclose(table["threshold"], list(expected["zeta"].values()), rtol=POLR)
    se = np.concatenate([model.bse["location"][1:], table["se"]])
    np.testing.assert_allclose(se, list(expected["se"].values()), rtol=POLR_ERRORS)
    np.testing.assert_allclose(model.loglik_, expected["loglik"], rtol=1e-11)
    new = with_levels(case.expected["ocat"]["newdata"])
    np.testing.assert_allclose(model.predict_proba(new), expected["probs"], atol=1e-6)


def test_ocat(case):
    frame, expected = with_levels(case.data), case.expected["ocat"]
    new = with_levels(expected["newdata"])
    probability = np.array(expected["pred_response"])
    free = SemiStructuredClassifier(SMOOTH, "ordinal").fit(frame, frame["stage"])
    np.testing.assert_allclose(free.predict_proba(new), probability, atol=THRESHOLDS)
    # The same widths between thresholds: everything else is estimated and agrees.
    widths = np.log(np.diff(expected["cutpoints"]))
    given = {"w2": widths[0], "w3": widths[1]}
    formulas = {"location": SMOOTH, "width_2": "0 + offset(w2)", "width_3": "0 + offset(w3)"}
    model = SemiStructuredClassifier(formulas, "ordinal")
    model.fit(frame.assign(**given), frame["stage"])
    np.testing.assert_allclose(
        model.predict_proba(new.assign(**given)), probability, atol=PROBABILITY
    )
    np.testing.assert_allclose(model.smoothing_, list(expected["sp"].values()), rtol=SMOOTHING)
    np.testing.assert_allclose(model.fit_.marginal.reml, expected["score"], rtol=SCORE)
    # Its first threshold is -1, ours 0.
    estimate = np.add(expected["parametric"]["estimate"], [1, 0, 0])
    np.testing.assert_allclose(model.params, estimate, rtol=COEFFICIENT)
    np.testing.assert_allclose(model.bse, expected["parametric"]["se"], rtol=COEFFICIENT)


def test_multinom(case):
    frame, expected = with_levels(case.data), case.expected["multinom"]
    new = with_levels(expected["newdata"])
    smooth = "s(lbili, bs='ps', k=8)"
    model = SemiStructuredClassifier({1: f"{smooth} + age", 2: f"{smooth} + albumin"})
    model.fit(frame, frame["stage0"].astype(int))
    np.testing.assert_allclose(
        model.predict_proba(new), expected["pred_response"], atol=PROBABILITY
    )
    np.testing.assert_allclose(model.smoothing_, list(expected["sp"].values()), rtol=SMOOTHING)
    # Its log-likelihood is too large by one for each row of the first class.
    first = (frame["stage0"] == 0).sum()
    np.testing.assert_allclose(model.fit_.marginal.reml, expected["score"] + first, rtol=SCORE)
    np.testing.assert_allclose(model.smooths()["edf"], expected["smooth"]["edf"], rtol=1e-3)
    np.testing.assert_allclose(model.params, expected["parametric"]["estimate"], rtol=COEFFICIENT)
    np.testing.assert_allclose(model.bse, expected["parametric"]["se"], rtol=COEFFICIENT)


def test_the_order_of_the_classes_is_the_sign(case):
    frame = with_levels(case.data)
    up = SemiStructuredClassifier("lbili", Ordinal()).fit(frame, frame["stage"])
    down = SemiStructuredClassifier("lbili", Ordinal()).fit(frame, -frame["stage"])
    np.testing.assert_allclose(up.params["location", "lbili"], -down.params["location", "lbili"])
