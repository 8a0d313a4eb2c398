"""PAMM against R's mgcv on pammtools' expanded data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from _mgcv import ADVISED, ESTIMATED, FIXED, compare, compare_components, mgcv_report
from _oracles import Oracle, load_oracle
from numpy.testing import assert_allclose
from scipy import stats

import semistruct as ss
from semistruct.families import Poisson
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured

pytestmark = pytest.mark.oracle

TUMOR = "C01_pamm_tumor"
VARYING = "C02_pamm_tumor_timevarying"
PBCSEQ = "C03_pamm_pbcseq_tdc"
MGUS = "C04_pamm_competing_mgus2"
CGD = "C05_pamm_recurrent_cgd"
PATIENT = "C07_pamm_cumulative_patient"
HEART = "C06_pamm_lefttrunc_heart"

# The same numbers by another route.
SAME = {"rtol": 1e-9, "atol": 1e-9}
# Smoothing parameters have fifteen digits; their covariance is an inverse of second derivatives.
AT_THEIRS = FIXED | {"se": 5e-5, "edf": (0.0, 5e-5)}
# What stands in the same table and has tests of its own.
BESIDE = {"surv", "exclude_re", "vcomp", "re_first"}
TWO_SE = 0.9544997361036416  # two standard errors, as in R

TUMOR_TERMS = "sex + charlson_score + transfusion + complications + metastases + resection"


def tumor(case: str, formula: str, **options: Any) -> tuple[Oracle, ss.PAMM]:
    oracle = load_oracle(case)
    options.setdefault("cuts", oracle.expected["cut"])
    y = ss.Surv(oracle.data["days"], oracle.data["status"])
    return oracle, ss.PAMM(formula, **options).fit(oracle.data, y)


def as_counts(model: ss.PAMM) -> tuple[StructuredProblem, StructuredFit]:
    """The fit as mgcv has it: Poisson counts with the log of the exposure as an offset."""
    problem, fit = model.fit_.problem, model.fit_.marginal
    return counts(problem), replace(fit, eta=fit.eta + np.log(problem.y[:, -1:]))


def counts(problem: StructuredProblem, cause: int = 1) -> StructuredProblem:
    """One cause of a problem of hazards."""
    k = cause - 1
    return replace(
        problem,
        family=Poisson(),
        y=problem.y[:, k],
        designs=(problem.designs[k],),
        blocks=(problem.blocks[k],),
        offset=problem.offset[:, [k]] + np.log(problem.y[:, -1:]),
    )


def check_fit(
    oracle: Oracle,
    model: ss.PAMM,
    expected: dict[str, Any],
    tolerance: dict[str, Any] = ESTIMATED,
    *,
    new: pd.DataFrame | None = None,
    apart: Collection[str] = (),
) -> dict[str, Any]:
    """Everything that mgcv reports; and the hazards of new rows and their bands, as predicted."""
    new = oracle.rows(expected["newdata"]) if new is None else new
    report = mgcv_report(*as_counts(model), expected, new)
    compare(report, expected, tolerance, model.fit_.marginal, apart={*BESIDE, *apart})
    assert_allclose(model.loglik_, report["loglik"], **SAME)
    assert_allclose(model.params, report["parametric.estimate"], **SAME)
    assert_allclose(model.bse, report["parametric.se"], **SAME)
    link, se = predicted_hazard(model, new)
    assert_allclose(link, report["pred_link"].ravel(), **SAME)
    assert_allclose(se, report["pred_link_se"].ravel(), **SAME)
    return report


def predicted_hazard(
    model: ss.PAMM, new: pd.DataFrame, cause: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Log hazards of rows at their own times, and their standard errors."""
    band = np.log(
        [
            model.predict_hazard(
                new.drop(columns="tend").iloc[[i]], [t], cause=cause, level=0.95
            ).to_numpy()[0]
            for i, t in enumerate(new["tend"])
        ]
    )
    return band[:, 0], (band[:, 2] - band[:, 1]) / (2 * stats.norm.ppf(0.975))


def check_at_their_smoothing(oracle: Oracle, model: ss.PAMM, expected: dict[str, Any]) -> None:
    problem, _ = as_counts(model)
    fit = fit_structured(problem, smoothing=np.array(list(expected["sp"].values())))
    report = mgcv_report(problem, fit, expected, oracle.rows(expected["newdata"]))
    compare(report, expected, AT_THEIRS, fit, apart=BESIDE)


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """With complications as an ordered factor, whose smooths are differences from the first."""
    levels = pd.Categorical(rows["complications"].astype(str), ["no", "yes"], ordered=True)
    return rows.assign(comp_o=levels)


def check_levels(report: dict[str, Any], expected: dict[str, Any]) -> None:
    """mgcv tests the curve of each level, ours all of them; their degrees of freedom add up."""
    for key in ("edf", "ref_df"):
        assert_allclose(report[f"smooth.{key}"].sum(), sum(expected["smooth"][key]), atol=0.02)


def check_curves(oracle: Oracle, model: ss.PAMM, curves: list[dict[str, Any]]) -> None:
    for curve in curves:
        rows = oracle.rows(curve["profile"])
        if "comp_o" in rows:
            rows = ordered(rows)
        times = np.array(curve["tend"])
        survival = model.predict_survival_function(rows, times)
        assert_allclose(survival.iloc[:, 0], curve["surv"], atol=1e-3)
        cumulative = model.predict_cumulative_hazard(rows, times)
        assert_allclose(cumulative.iloc[:, 0], curve["cumhaz"], rtol=2e-3)
        band = model.predict_survival_function(rows, times, level=TWO_SE, transform="plain")
        assert_allclose(band.iloc[:, 1], np.clip(curve["surv_delta_lower"], 0, 1), atol=1e-3)
        assert_allclose(band.iloc[:, 2], np.clip(curve["surv_delta_upper"], 0, 1), atol=1e-3)
        # pammtools cumulates the limits of the hazard, over all intervals.
        cuts = model.intervals_.cuts
        hazard = model.predict_hazard(rows, cuts[1:], level=TWO_SE).to_numpy()
        listed = np.isin(cuts[1:], times)
        limits = np.cumsum(hazard * np.diff(cuts)[:, None], axis=0)[listed]
        logs = np.log(hazard[listed])
        assert_allclose(logs[:, 0], curve["log_hazard"], atol=2e-3)
        se = (logs[:, 2] - logs[:, 1]) / 4
        assert_allclose(se, curve["log_hazard_se"], rtol=ADVISED["se"])
        for i, of in enumerate(("", "_lower", "_upper")):
            assert_allclose(logs[:, i], np.log(curve[f"hazard{of}"]), atol=4e-3 if of else 2e-3)
            assert_allclose(limits[:, i], curve[f"cumhaz{of}"], rtol=4e-3 if of else 2e-3)
        assert_allclose(np.exp(-limits[:, 2]), curve["surv_lower"], atol=1e-3)
        assert_allclose(np.exp(-limits[:, 1]), curve["surv_upper"], atol=1e-3)


def test_smooth_baseline_and_covariates():
    formula = f's(tend, bs="ps", k=12) + s(age, bs="ps", k=12) + {TUMOR_TERMS}'
    oracle, model = tumor(TUMOR, formula)
    expected = oracle.expected["ps"]
    # The curve of age is almost a line, of any smoothing parameter that is large.
    check_fit(oracle, model, expected, ADVISED, apart={"pred_terms.se"})
    check_curves(oracle, model, expected["surv"])
    check_at_their_smoothing(oracle, model, expected)


def test_thin_plate_splines():
    formula = 's(tend, bs="tp") + s(age, bs="tp") + sex + complications + metastases'
    oracle, model = tumor(TUMOR, formula)
    check_fit(oracle, model, oracle.expected["tp"])
    check_curves(oracle, model, oracle.expected["tp"]["surv"])


def test_fixed_smoothing():
    formula = 's(tend, bs="ps", k=12, lam=10) + s(age, bs="ps", k=12, lam=3) + complications'
    oracle, model = tumor(TUMOR, formula)
    check_fit(oracle, model, oracle.expected["fixed_sp"], FIXED)


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
    data = ordered(oracle.data)
    y = ss.Surv(data["days"], data["status"])
    model = ss.PAMM(f'{terms} + s(age, bs="cr", k=8)', cuts=oracle.expected["cut"]).fit(data, y)
    expected = oracle.expected["stratified_ordered"]
    check_fit(oracle, model, expected, ADVISED, new=ordered(oracle.rows(expected["newdata"])))
    check_curves(oracle, model, expected["surv"])


def test_a_baseline_for_each_level():
    formula = (
        's(tend, by=complications, bs="ps", k=10) + complications + metastases + age + age:tend'
    )
    oracle, model = tumor(VARYING, formula)
    expected = oracle.expected["by_factor"]
    report = check_fit(oracle, model, expected, ADVISED, apart={"smooth"})
    check_levels(report, expected)
    check_curves(oracle, model, expected["surv"])


def test_a_surface_of_time_and_age():
    formula = (
        's(tend, bs="cr", k=8) + s(age, bs="cr", k=8) + ti(tend, age, bs="cr", k=[5, 5])'
        " + complications"
    )
    oracle, model = tumor(VARYING, formula)
    check_fit(oracle, model, oracle.expected["ti"])


def test_a_surface_beside_its_margin():
    """Only what is fitted is compared: which columns of the surface are dropped is a choice."""
    formula = (
        's(tend, bs="ps", k=10) + s(tend, by=charlson_score, bs="ps", k=8)'
        ' + te(tend, age, bs="ps", k=[5, 5])'
    )
    oracle, model = tumor(VARYING, formula)
    expected = oracle.expected["varying_coef_te"]
    new = oracle.rows(expected["newdata"])
    apart = {"smooth", "edf_by_coef", "score", "coef", "pred_terms"}
    report = check_fit(oracle, model, expected, new=new, apart=apart)
    assert_allclose(report["smooth.edf"], expected["smooth"]["edf"], atol=1e-3)
    varying = {key: report[f"smooth.{key}"][1] for key in ("statistic", "p")}
    for key, found in varying.items():
        assert_allclose(found, expected["smooth"][key][1], rtol=2e-3)
    check_curves(oracle, model, expected["surv"])


def measured(oracle: Oracle) -> tuple[pd.DataFrame, ss.Surv]:
    """One row for each measurement, until the next or the end."""
    visits = oracle.files["data_tdc.csv"].merge(oracle.data, on="id")
    visits = visits[visits["day"] < visits["futime"]].sort_values(["id", "day"])
    following = visits.groupby("id")["day"].shift(-1)
    stop = following.fillna(visits["futime"])
    event = visits["death"].where(following.isna(), 0)
    y = ss.Surv(stop, event, visits["day"], id=visits["id"])
    return visits, y


def test_covariates_that_change_with_time():
    """The last measurement is carried forward, and its day is a cut point."""
    oracle = load_oracle(PBCSEQ)
    visits, y = measured(oracle)
    days, given = oracle.files["data_tdc.csv"]["day"], oracle.expected["cut"]
    cuts = np.union1d(given, days[days <= max(given)])
    formula = 's(tend, bs="ps", k=8) + s(lbili, bs="ps", k=10) + lpro + age + sex'
    model = ss.PAMM(formula, cuts=cuts).fit(visits, y)
    expected = oracle.expected["ps"]
    check_fit(oracle, model, expected)
    check_curves(oracle, model, expected["surv"])


def test_coxs_model_with_the_same_covariates():
    oracle = load_oracle(PBCSEQ)
    visits, y = measured(oracle)
    model = ss.CoxPH("lbili + lpro + age + sex").fit(visits, y)
    check_cox(model, oracle.expected["cox_tdc"])
    assert len(visits) == oracle.expected["cox_tdc"]["n"]
    logliks = [model.loglik_null_, model.loglik_]
    assert_allclose(logliks, oracle.expected["cox_tdc"]["loglik"], rtol=1e-8)


def check_cox(model: ss.CoxPH, expected: dict[str, Any]) -> None:
    se = expected["se"]
    assert_allclose(model.params, list(expected["coef"].values()), rtol=1e-6)
    assert_allclose(model.bse, list(se.values()) if isinstance(se, dict) else se, rtol=1e-6)


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
    """One fit of both causes is that of each."""
    oracle, model = causes
    expected = oracle.expected[f"cause{cause}"]
    new = oracle.rows(expected["newdata"])
    problem, joint = counts(model.fit_.problem, cause), model.fit_.marginal
    alone = fit_structured(problem)
    report = mgcv_report(problem, alone, expected, new)
    compare(report, expected, ESTIMATED, alone)
    own = joint.slices[cause - 1]
    spread = joint.eta[:, cause - 1].std()
    assert_allclose(joint.beta[own], alone.beta, atol=1e-3 * spread)
    assert_allclose(model.bse[f"hazard_{cause}"], report["parametric.se"], rtol=ESTIMATED["se"])
    link, se = predicted_hazard(model, new, cause)
    assert_allclose(link, expected["pred_link"], atol=ESTIMATED["link"] * spread)
    assert_allclose(se, expected["pred_link_se"], rtol=ESTIMATED["se"])


def test_incidences_of_separate_causes(causes):
    oracle, model = causes
    rows = oracle.rows(oracle.expected["profiles"])
    for i, curve in enumerate(oracle.expected["cif_cause_specific"]):
        for cause in (1, 2):
            found = model.predict_cumulative_incidence(rows.iloc[[i]], curve["tend"], cause=cause)
            assert_allclose(found.iloc[:, 0], curve[f"cif{cause}"], atol=1e-3)
        survival = model.predict_survival_function(rows.iloc[[i]], curve["tend"])
        assert_allclose(survival.iloc[:, 0], curve["surv"], atol=1e-3)


@pytest.mark.parametrize("cause", [1, 2])
def test_coxs_model_of_one_cause(cause):
    oracle = load_oracle(MGUS)
    y = ss.Surv(oracle.data["time"], oracle.data["status"] == cause)
    model = ss.CoxPH("age + sex + hgb").fit(oracle.data, y)
    expected = oracle.expected["cause_specific_cox"][cause - 1]
    check_cox(model, expected)
    assert_allclose(model.loglik_, expected["loglik_final"], rtol=1e-8)


def test_one_predictor_for_all_causes():
    oracle = load_oracle(MGUS)
    y = ss.Surv(oracle.data["time"], oracle.data["status"], n_causes=2)
    formula = 'cause + s(tend, by=cause, bs="ps", k=8) + age:cause + sex*cause + hgb'
    model = ss.PAMM(formula, cuts=oracle.expected["cut"]).fit(oracle.data, y)
    expected = oracle.expected["stacked"]
    new = oracle.rows(expected["newdata"]).astype({"cause": int})
    report = mgcv_report(*as_counts(model), expected, new)
    compare(report, expected, ESTIMATED, model.fit_.marginal, apart={"smooth"})
    check_levels(report, expected)
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
    data = oracle.data
    y = ss.Surv(data["tstop"], data["status"], data["tstart"], id=data["id"].astype(str))
    own = "treat + age + inherit" if scale == "gap" else 'treat + s(age, bs="ps", k=7)'
    formula = f's(tend, bs="ps", k=8) + {own} + re(id)'
    model = ss.PAMM(formula, cuts=oracle.expected["cut"], gap_time=scale == "gap").fit(data, y)
    expected = oracle.expected[scale]
    # The baseline over calendar time is a line: mgcv goes further where the criterion is flat, and
    # the uncertainty of the smoothing parameters depends on where one stops.
    flat_there = {"edf2_total", "loglik_df", "AIC", "coef.se_unconditional"}
    apart = flat_there if scale == "calendar" else set()
    check_fit(oracle, model, expected, ADVISED, apart=apart)
    check_at_their_smoothing(oracle, model, expected)
    problem, fit = model.fit_.problem, model.fit_.marginal
    # The population's predictor: without the columns of the random effect.
    design = problem.designs[0]
    X = design.block(oracle.rows(expected["newdata"])).dense()
    X[:, design.slices["re(id)"]] = 0.0
    excluded, spread = expected["exclude_re"], fit.eta.std()
    assert_allclose(X @ fit.beta, excluded["link"], atol=ESTIMATED["link"] * spread)
    se = np.sqrt(np.einsum("ij,jk,ik->i", X, fit.V, X))
    assert_allclose(se, excluded["se"], rtol=ESTIMATED["se"])
    if "re_first" in expected:
        first = expected["re_first"]
        assert_allclose(fit.beta[design.slices["re(id)"]][: len(first)], first, atol=1e-3)
    compare_components(*as_counts(model), expected)


def test_delayed_entry():
    oracle = load_oracle(HEART)
    y = ss.Surv(oracle.data["stop"], oracle.data["event"], oracle.data["start"])
    formula = 's(tend, bs="ps", k=8) + s(age, bs="ps", k=8) + year + surgery + transplant'
    model = ss.PAMM(formula, cuts=oracle.expected["cut"]).fit(oracle.data, y)
    check_fit(oracle, model, oracle.expected["fit"])
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
    problem, fit = as_counts(model)
    frame = model.expand(y).frame(data)
    compare(mgcv_report(problem, fit, expected, frame.iloc[:1]), expected, ESTIMATED, fit)
    X = problem.blocks[0].dense()
    assert_allclose(X.sum(axis=0), oracle.expected["X_colsums"], rtol=1e-9, atol=1e-7)
    assert_allclose(X[0], oracle.expected["X_row1"], atol=1e-9)
    first = oracle.expected["fitted_first"]
    assert_allclose(fit.eta[: len(first), 0], first, atol=ESTIMATED["link"] * fit.eta.std())
    design, fit = model.fit_.problem.designs[0], model.fit_.marginal
    at = design.slices["cumulative(calories)"]
    weights = oracle.expected["lag_weight"]
    B = design.bases[-1].weights(weights["latency"])
    assert_allclose(B @ fit.beta[at], weights["est"], rtol=1e-3, atol=1e-4)
    assert_allclose(
        np.sqrt(np.sum((B @ fit.V[at, at]) * B, axis=1)), weights["se"], rtol=ESTIMATED["se"]
    )
    # The columns are sums over the days that were looked back at, of the days' weights and meals.
    first, k = oracle.expected["first_subject"], len(oracle.expected["first_subject"]["tend"])
    assert list(daily.columns) == oracle.expected["tz"]
    meals = np.array(first["LL"]) * np.array(first["z"], dtype=float) / 100
    B = design.bases[-1].weights(np.ravel(first["latency"])).reshape(k, daily.shape[1], -1)
    assert_allclose(X[:k, at], np.einsum("ij,ijp->ip", meals, B), atol=1e-9)
