"""PAMM against R's mgcv on pammtools' expanded data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from _oracles import Oracle, load_oracle
from numpy.testing import assert_allclose

import semistruct as ss

pytestmark = pytest.mark.oracle

TUMOR = "C01_pamm_tumor"
VARYING = "C02_pamm_tumor_timevarying"
PBCSEQ = "C03_pamm_pbcseq_tdc"
MGUS = "C04_pamm_competing_mgus2"
CGD = "C05_pamm_recurrent_cgd"
PATIENT = "C07_pamm_cumulative_patient"
HEART = "C06_pamm_lefttrunc_heart"

TUMOR_TERMS = "sex + charlson_score + transfusion + complications + metastases + resection"


def tumor(case: str, formula: str, **options: Any) -> tuple[Oracle, ss.PAMM]:
    oracle = load_oracle(case)
    options.setdefault("cuts", oracle.expected["cut"])
    y = ss.Surv(oracle.data["days"], oracle.data["status"])
    return oracle, ss.PAMM(formula, **options).fit(oracle.data, y)


def check_fit(
    oracle: Oracle, model: ss.PAMM, expected: dict[str, Any], *, fixed: bool, cause: int = 1
) -> None:
    """Coefficients, standard errors, log-likelihood, edf and linear predictors of new rows."""
    close = {"rtol": 1e-5, "atol": 1e-7} if fixed else {"rtol": 1e-2, "atol": 2e-3}
    estimate = np.atleast_1d(expected["parametric"]["estimate"])
    names = [f"hazard_{cause}"] if len(model.family_.param_names) > 1 else ["hazard"]
    assert_allclose(model.params[names[0]].to_numpy(), estimate, **close)
    assert_allclose(
        model.bse[names[0]].to_numpy(),
        np.atleast_1d(expected["parametric"]["se"]),
        rtol=close["rtol"],
    )
    edf = model.edf_[names[0]]
    smooth = np.atleast_1d(expected["smooth"]["edf"])
    own = model.fit_.problem.designs[cause - 1 if len(names[0]) > 6 else 0]
    labels = [basis.label for basis in own.bases if basis.kind != "parametric"]
    assert_allclose(edf[labels].sum(), smooth.sum(), atol=1e-4 if fixed else 0.03)
    new = oracle.rows(expected["newdata"])
    hazard = np.array(
        [
            model.predict_hazard(new.drop(columns="tend").iloc[[i]], [t], cause=cause).iloc[0, 0]
            for i, t in enumerate(new["tend"])
        ]
    )
    link = np.array(expected["pred_link"])
    assert_allclose(np.log(hazard), link, atol=1e-6 if fixed else 2e-3)
    bands = [
        model.predict_hazard(
            new.drop(columns="tend").iloc[[i]], [t], cause=cause, level=0.95
        ).to_numpy()[0]
        for i, t in enumerate(new["tend"])
    ]
    se = [np.log(band[2] / band[1]) / (2 * 1.959963984540054) for band in bands]
    assert_allclose(se, expected["pred_link_se"], rtol=1e-5 if fixed else 1e-2)


def check_curves(oracle: Oracle, model: ss.PAMM, curves: list[dict[str, Any]]) -> None:
    for curve in curves:
        rows = oracle.rows(curve["profile"])
        times = np.array(curve["tend"])
        survival = model.predict_survival_function(rows, times)
        assert_allclose(survival.iloc[:, 0], curve["surv"], atol=1e-3)
        cumulative = model.predict_cumulative_hazard(rows, times)
        assert_allclose(cumulative.iloc[:, 0], curve["cumhaz"], rtol=5e-3, atol=1e-3)
        if "surv_delta_lower" in curve:
            level = 0.9544997361036416  # two standard errors, as in R
            band = model.predict_survival_function(rows, times, level=level, transform="plain")
            assert_allclose(band.iloc[:, 1], np.clip(curve["surv_delta_lower"], 0, 1), atol=2e-3)
            assert_allclose(band.iloc[:, 2], np.clip(curve["surv_delta_upper"], 0, 1), atol=2e-3)


def test_smooth_baseline_and_covariates():
    formula = f's(tend, bs="ps", k=12) + s(age, bs="ps", k=12) + {TUMOR_TERMS}'
    oracle, model = tumor(TUMOR, formula)
    check_fit(oracle, model, oracle.expected["ps"], fixed=False)
    check_curves(oracle, model, oracle.expected["ps"]["surv"])
    assert_allclose(model.loglik_, oracle.expected["ps"]["loglik"], rtol=1e-5)


def test_thin_plate_splines():
    formula = 's(tend, bs="tp") + s(age, bs="tp") + sex + complications + metastases'
    oracle, model = tumor(TUMOR, formula)
    check_fit(oracle, model, oracle.expected["tp"], fixed=False)
    check_curves(oracle, model, oracle.expected["tp"]["surv"])


def test_fixed_smoothing():
    formula = 's(tend, bs="ps", k=12, lam=10) + s(age, bs="ps", k=12, lam=3) + complications'
    oracle, model = tumor(TUMOR, formula)
    check_fit(oracle, model, oracle.expected["fixed_sp"], fixed=True)
    assert_allclose(model.loglik_, oracle.expected["fixed_sp"]["loglik"], rtol=1e-9)


def test_free_baseline():
    # Intervals without an event have a hazard of zero, which Newton's method approaches forever.
    with pytest.warns(ss.ConvergenceWarning, match="diverges"):
        oracle, model = tumor(TUMOR, "C(interval) + age + sex + complications")
    expected = oracle.expected["pem_glm"]
    assert_allclose(model.params.iloc[-3:], list(expected["coef"].values())[-3:], rtol=1e-6)
    assert_allclose(
        model.bse.iloc[-3:],
        np.array(
            expected["se"] if isinstance(expected["se"], list) else list(expected["se"].values())
        )[-3:],
        rtol=1e-6,
    )
    assert_allclose(model.loglik_, expected["loglik"], rtol=1e-9)


def test_cuts_at_all_events_and_a_free_baseline_are_breslows_cox_model():
    """Where nobody is observed beyond the last event before leaving, which Cox does not count."""
    oracle = load_oracle(TUMOR)
    time, event = oracle.data["days"].to_numpy(float), oracle.data["status"].to_numpy() == 1
    events = np.unique(time[event])
    before = np.searchsorted(events, time, side="right") - 1
    used = event | (before >= 0)  # censored before the first event: in no risk set
    left = np.where(event, time, events[np.maximum(before, 0)])
    model = ss.PAMM("C(interval) + age + complications").fit(
        oracle.data[used], ss.Surv(left[used], event[used])
    )
    expected = oracle.expected["cox_breslow"]
    assert_allclose(model.params.iloc[-2:], list(expected["coef"].values()), rtol=1e-6)
    assert_allclose(model.bse.iloc[-2:], expected["se"], rtol=1e-6)


def test_stratified_and_smoothly_varying_effects():
    terms = 'complications + s(tend, bs="cr", k=8) + s(tend, by=comp_o, bs="cr", k=8)'
    oracle = load_oracle(VARYING)
    data = oracle.data.assign(
        comp_o=pd.Categorical(oracle.data["complications"].astype(str), ["no", "yes"], ordered=True)
    )
    y = ss.Surv(data["days"], data["status"])
    model = ss.PAMM(f'{terms} + s(age, bs="cr", k=8)', cuts=oracle.expected["cut"]).fit(data, y)
    expected = oracle.expected["stratified_ordered"]
    assert_allclose(model.loglik_, expected["loglik"], rtol=1e-4)
    for curve in expected["surv"]:
        rows = oracle.rows({k: v for k, v in curve["profile"].items() if k != "comp_o"})
        rows["comp_o"] = pd.Categorical(
            rows["complications"].astype(str), ["no", "yes"], ordered=True
        )
        survival = model.predict_survival_function(rows, curve["tend"])
        assert_allclose(survival.iloc[:, 0], curve["surv"], atol=1e-3)


def test_a_baseline_for_each_level():
    formula = (
        's(tend, by=complications, bs="ps", k=10) + complications + metastases + age + age:tend'
    )
    oracle, model = tumor(VARYING, formula)
    check_fit(oracle, model, oracle.expected["by_factor"], fixed=False)
    check_curves(oracle, model, oracle.expected["by_factor"]["surv"])


def test_a_surface_of_time_and_age():
    formula = (
        's(tend, bs="cr", k=8) + s(age, bs="cr", k=8) + ti(tend, age, bs="cr", k=[5, 5])'
        " + complications"
    )
    oracle, model = tumor(VARYING, formula)
    check_fit(oracle, model, oracle.expected["ti"], fixed=False)


def test_a_surface_beside_its_margin():
    """Only what is fitted is compared: which columns of the surface are dropped is a choice."""
    formula = (
        's(tend, bs="ps", k=10) + s(tend, by=charlson_score, bs="ps", k=8)'
        ' + te(tend, age, bs="ps", k=[5, 5])'
    )
    oracle, model = tumor(VARYING, formula)
    expected = oracle.expected["varying_coef_te"]
    assert_allclose(model.loglik_, expected["loglik"], rtol=1e-3)
    for curve in expected["surv"]:
        survival = model.predict_survival_function(oracle.rows(curve["profile"]), curve["tend"])
        assert_allclose(survival.iloc[:, 0], curve["surv"], atol=5e-3)


def test_covariates_that_change_with_time():
    """The last measurement is carried forward, and its day is a cut point."""
    oracle = load_oracle(PBCSEQ)
    visits = oracle.files["data_tdc.csv"].merge(oracle.data, on="id")
    visits = visits[visits["day"] < visits["futime"]].sort_values(["id", "day"])
    following = visits.groupby("id")["day"].shift(-1)
    stop = following.fillna(visits["futime"])
    event = visits["death"].where(following.isna(), 0)
    y = ss.Surv(stop, event, visits["day"], id=visits["id"])
    days, given = oracle.files["data_tdc.csv"]["day"], oracle.expected["cut"]
    cuts = np.union1d(given, days[days <= max(given)])
    formula = 's(tend, bs="ps", k=8) + s(lbili, bs="ps", k=10) + lpro + age + sex'
    model = ss.PAMM(formula, cuts=cuts).fit(visits, y)
    expected = oracle.expected["ps"]
    assert len(model.fit_.problem.y) == expected["n"]
    check_fit(oracle, model, expected, fixed=False)
    assert_allclose(model.loglik_, expected["loglik"], rtol=1e-5)
    check_curves(oracle, model, expected["surv"])


@pytest.fixture(scope="module")
def causes() -> tuple[Oracle, ss.PAMM]:
    oracle = load_oracle(MGUS)
    y = ss.Surv(oracle.data["time"], oracle.data["status"], n_causes=2)
    formulas = {
        "hazard_1": 's(tend, bs="ps", k=8) + s(mspike, bs="ps", k=8) + age + sex',
        "hazard_2": 's(tend, bs="ps", k=8) + s(age, bs="ps", k=10) + sex + hgb',
    }
    return oracle, ss.PAMM(formulas, cuts=oracle.expected["cut"]).fit(oracle.data, y)


@pytest.mark.parametrize("cause", [1, 2])
def test_each_cause_on_its_own(causes, cause):
    oracle, model = causes
    check_fit(oracle, model, oracle.expected[f"cause{cause}"], fixed=False, cause=cause)


def test_incidences_of_separate_causes(causes):
    oracle, model = causes
    rows = oracle.rows(oracle.expected["profiles"])
    for i, curve in enumerate(oracle.expected["cif_cause_specific"]):
        for cause in (1, 2):
            found = model.predict_cumulative_incidence(rows.iloc[[i]], curve["tend"], cause=cause)
            assert_allclose(found.iloc[:, 0], curve[f"cif{cause}"], atol=1e-3)
        survival = model.predict_survival_function(rows.iloc[[i]], curve["tend"])
        assert_allclose(survival.iloc[:, 0], curve["surv"], atol=1e-3)


def test_one_predictor_for_all_causes():
    oracle = load_oracle(MGUS)
    y = ss.Surv(oracle.data["time"], oracle.data["status"], n_causes=2)
    formula = 'cause + s(tend, by=cause, bs="ps", k=8) + age:cause + sex*cause + hgb'
    model = ss.PAMM(formula, cuts=oracle.expected["cut"]).fit(oracle.data, y)
    expected = oracle.expected["stacked"]
    assert_allclose(model.loglik_, expected["loglik"], rtol=1e-5)
    rows = oracle.rows(oracle.expected["profiles"])
    for i, curves in enumerate(oracle.expected["cif_stacked"]):
        for cause in (1, 2):
            curve = curves[str(cause)]
            found = model.predict_cumulative_incidence(
                rows.iloc[[i]], curve["tend"], cause=cause, level=0.95, n_draws=2000, random_state=0
            ).to_numpy()
            assert_allclose(found[:, 0], curve["cif"], atol=1e-3)
            assert_allclose(found[:, 1], curve["cif_lower"], atol=0.01)
            assert_allclose(found[:, 2], curve["cif_upper"], atol=0.01)


@pytest.mark.parametrize("scale", ["gap", "calendar"])
def test_recurrent_events_with_a_random_effect(scale):
    oracle = load_oracle(CGD)
    data = oracle.data.assign(id=oracle.data["id"].astype(str))
    y = ss.Surv(data["tstop"], data["status"], data["tstart"], id=data["id"])
    own = "treat + age + inherit" if scale == "gap" else 'treat + s(age, bs="ps", k=7)'
    formula = f's(tend, bs="ps", k=8) + {own} + re(id)'
    model = ss.PAMM(formula, cuts=oracle.expected["cut"], gap_time=scale == "gap").fit(data, y)
    expected = oracle.expected[scale]
    estimate = np.array(expected["parametric"]["estimate"])
    assert_allclose(model.params.to_numpy(), estimate, rtol=1e-2, atol=2e-3)
    assert_allclose(model.bse.to_numpy(), expected["parametric"]["se"], rtol=1e-2)
    assert_allclose(model.loglik_, expected["loglik"], rtol=1e-4)


def test_delayed_entry():
    oracle = load_oracle(HEART)
    y = ss.Surv(oracle.data["stop"], oracle.data["event"], oracle.data["start"])
    formula = 's(tend, bs="ps", k=8) + s(age, bs="ps", k=8) + year + surgery + transplant'
    model = ss.PAMM(formula, cuts=oracle.expected["cut"]).fit(oracle.data, y)
    check_fit(oracle, model, oracle.expected["fit"], fixed=False)
    check_curves(oracle, model, oracle.expected["fit"]["surv"])


def test_cumulative_effects():
    oracle = load_oracle(PATIENT)
    daily = oracle.files["data_daily.csv"].pivot(
        index="CombinedID", columns="Study_Day", values="caloriesPercentage"
    )
    used = ["Survdays", "PatientDied", "Age", "ApacheIIScore", "Gender", "AdmCatID"]
    data = oracle.data.dropna(subset=used)
    data = data.reset_index(drop=True)
    # Those who leave earlier have fewer days, and no interval that looks back at the others.
    history = daily.reindex(data["CombinedID"]).fillna(0.0).to_numpy() / 100
    data = data.assign(calories=ss.TensorArray(history))
    formula = (
        's(tend, bs="ps", k=8) + s(Age, bs="ps", k=8) + ApacheIIScore + Gender + AdmCatID'
        f" + cumulative(calories, at={tuple(daily.columns)}, window=(1, 1e9), k=8)"
    )
    y = ss.Surv(data["Survdays"], data["PatientDied"])
    model = ss.PAMM(formula, cuts=np.arange(31)).fit(data, y)
    expected = oracle.expected["fit"]
    assert len(model.fit_.problem.y) == expected["n"]
    parametric = expected["parametric"]
    assert_allclose(model.params, parametric["estimate"], rtol=1e-2, atol=1e-3)
    assert_allclose(model.bse, parametric["se"], rtol=1e-2)
    assert_allclose(model.edf_["hazard"].iloc[-3:], expected["smooth"]["edf"], atol=0.02)
    assert_allclose(model.loglik_, expected["loglik"], rtol=1e-5)
    design, fit = model.fit_.problem.designs[0], model.fit_.marginal
    at = design.slices["cumulative(calories)"]
    weights = oracle.expected["lag_weight"]
    B = design.bases[-1].weights(weights["latency"])
    assert_allclose(B @ fit.beta[at], weights["est"], rtol=1e-2, atol=1e-3)
    assert_allclose(np.sqrt(np.sum((B @ fit.V[at, at]) * B, axis=1)), weights["se"], rtol=2e-2)
