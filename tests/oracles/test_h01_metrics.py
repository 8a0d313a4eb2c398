"""Concordance, Brier scores, AUC and Kaplan-Meier against survival, pec and riskRegression."""

from __future__ import annotations

import numpy as np
import pytest
from _oracles import load_oracle

from semistruct import Surv, metrics

# The case suggests 1e-8 to 1e-5; the sums are the same, so only rounding may differ.
ROUNDING = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(scope="module")
def case():
    oracle = load_oracle("H01_eval_metrics_lung")
    data = oracle.data[oracle.data["fold"] == 1]
    expected = oracle.expected
    return {
        "y": Surv(data["time"], data["status"]),
        "risk": np.array(expected["test_lp"]),
        "times": np.array(expected["times"], dtype=float),
        "survival": np.array(expected["surv_pred"]),
        "expected": expected,
    }


def of_model(score, model, name):
    return [value for value, of in zip(score[name], score["model"], strict=True) if of == model]


def test_concordance(case):
    y, risk, expected = case["y"], case["risk"], case["expected"]
    np.testing.assert_allclose(metrics.concordance_index(y, risk), expected["harrell"], **ROUNDING)
    uno = [metrics.concordance_index_ipcw(y, y, risk, tau) for tau in (None, 365, 700)]
    np.testing.assert_allclose(uno, [expected["uno"], *expected["uno_tau"]], **ROUNDING)


def test_kaplan_meier(case):
    y, times, expected = case["y"], case["times"], case["expected"]
    curve = metrics.kaplan_meier(y)
    np.testing.assert_allclose(curve.at(times), expected["km_test"]["surv"], **ROUNDING)
    np.testing.assert_allclose(curve.std_error_at(times), expected["km_test"]["se"], **ROUNDING)
    # The case treats censoring as the event, so that events at its time are still at risk.
    reverse = metrics.kaplan_meier(Surv(y.time, ~y.event))
    np.testing.assert_allclose(reverse.at(times), expected["cens_km_test"], **ROUNDING)


def test_brier_score(case):
    y, times, expected = case["y"], case["times"], case["expected"]
    scores = metrics.brier_score(y, y, case["survival"], times)
    np.testing.assert_allclose(scores, expected["pec_brier"]["cox"][1:], **ROUNDING)
    theirs = of_model(expected["score_brier"], "cox", "Brier")
    np.testing.assert_allclose(scores, theirs, **ROUNDING)
    null = np.tile(metrics.kaplan_meier(y).at(times), (len(y), 1))
    scores = metrics.brier_score(y, y, null, times)
    np.testing.assert_allclose(scores, expected["pec_brier"]["reference"][1:], **ROUNDING)


def test_integrated_brier_score(case):
    # pec and riskRegression hold the score of one time until the next, beginning at zero.
    y, expected = case["y"], case["expected"]
    times = np.concatenate([[0], case["times"]])
    survival = np.column_stack([np.ones(len(y)), case["survival"]])
    ours = [
        metrics.integrated_brier_score(y, y, survival[:, :k], times[:k], rule="step")
        for k in range(2, times.size + 1)
    ]
    np.testing.assert_allclose(ours, of_model(expected["score_brier"], "cox", "IBS"), **ROUNDING)
    for tau in (365, 700):
        k = int(np.flatnonzero(times == tau)[0])
        np.testing.assert_allclose(ours[k - 1], expected["pec_ibs"][f"tau_{tau}"][1], **ROUNDING)


def test_auc(case):
    y = case["y"]
    areas = metrics.cumulative_dynamic_auc(y, y, case["risk"], case["times"])
    np.testing.assert_allclose(areas, case["expected"]["score_auc"]["AUC"], **ROUNDING)


def test_antolini_is_harrell_for_curves_that_do_not_cross(case):
    # The curves of a Cox model are powers of one another, and never cross.
    y, risk = case["y"], case["risk"]
    times = np.unique(y.time)
    survival = np.exp(-np.outer(np.exp(risk), times / 500))
    found = metrics.antolini_concordance(y, survival, times)
    np.testing.assert_allclose(found, case["expected"]["harrell"], **ROUNDING)
