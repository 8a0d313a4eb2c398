"""Piecewise-exponential expansions, and integrals over them, against R's pammtools and survival."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from _oracles import Oracle, load_oracle

from semistruct.responses import PiecewiseExpansion, Surv

# R prints 15 digits.
PRINTED = {"rtol": 1e-13, "atol": 1e-14}
# Sums of tens of thousands of printed or rounded numbers.
SUMS = {"rtol": 1e-10}
# Hazards are printed with 15 digits and cumulated over up to 41 intervals.
CURVES = {"rtol": 1e-12, "atol": 1e-14}
# Both iterate to a relative change of the deviance of 1e-12.
COEFFICIENTS = {"rtol": 1e-6}

TUMOR = "C01_pamm_tumor"
PBCSEQ = "C03_pamm_pbcseq_tdc"
MGUS = "C04_pamm_competing_mgus2"
CGD = "C05_pamm_recurrent_cgd"
HEART = "C06_pamm_lefttrunc_heart"
PATIENT = "C07_pamm_cumulative_patient"


def right(time: str, event: str) -> Callable[[pd.DataFrame], Surv]:
    return lambda data: Surv(data[time], data[event])


def mgus(data: pd.DataFrame) -> Surv:
    return Surv(data["time"], data["status"], n_causes=2)


def cgd(data: pd.DataFrame) -> Surv:
    return Surv(data["tstop"], data["status"], data["tstart"], id=data["id"].astype(str))


def heart(data: pd.DataFrame) -> Surv:
    return Surv(data["stop"], data["event"], data["start"])


def given(oracle: Oracle) -> Any:
    return oracle.expected["cut"]


def with_measurement_times(oracle: Oracle) -> np.ndarray:
    days, cuts = oracle.files["data_tdc.csv"]["day"].to_numpy(), oracle.expected["cut"]
    return np.union1d(cuts, days[days <= max(cuts)])


class Case(NamedTuple):
    """One expansion of R: where its values stand, and what was expanded."""

    case: str
    block: str
    response: Callable[[pd.DataFrame], Surv]
    cuts: Callable[[Oracle], Any] = given
    options: dict[str, Any] = {}  # noqa: RUF012


CASES = [
    Case(TUMOR, "ped", right("days", "status")),
    Case("C02_pamm_tumor_timevarying", "ped", right("days", "status")),
    Case(PBCSEQ, "ped", right("futime", "death"), with_measurement_times),
    Case(MGUS, "ped_stacked", mgus),
    Case(MGUS, "ped_cause1", mgus, options={"cause": 1}),
    Case(MGUS, "ped_cause2", mgus, options={"cause": 2}),
    Case(CGD, "ped_calendar", cgd),
    Case(CGD, "ped_gap", cgd, options={"gap_time": True}),
    Case(HEART, "ped", heart),
    Case(PATIENT, "ped", right("Survdays", "PatientDied"), lambda oracle: np.arange(31)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.case[:3]}-{case.block}")
def test_expansion(case):
    oracle = load_oracle(case.case)
    expected = oracle.expected[case.block]
    y = case.response(oracle.data)
    expansion = PiecewiseExpansion.from_surv(y, case.cuts(oracle), **case.options)

    assert len(expansion) == expected["n"]
    assert expansion.event.sum() == expected["n_events"]
    np.testing.assert_allclose(expansion.exposure.sum(), expected["total_exposure"], **SUMS)
    met = np.union1d(expansion.tstart, expansion.tend)
    np.testing.assert_array_equal(met, expected["cuts"])

    first = expected["first_rows"]
    k = len(first["offset"])
    assert k >= 4
    # The columns that came with the data, and those that the expansion made, row for row.
    X = oracle.data.drop(columns=["event", "tstart"], errors="ignore")
    frame = expansion.frame(X).iloc[:k]
    np.testing.assert_array_equal(frame["tstart"], first["tstart"])
    np.testing.assert_array_equal(frame["tend"], first["tend"])
    np.testing.assert_array_equal(frame["event"], first["ped_status"])
    np.testing.assert_allclose(frame["offset"], first["offset"], **PRINTED)
    if "cause" in first:
        assert frame["cause"].astype(str).tolist() == first["cause"]
    common = [name for name in X.columns if name in first]
    assert common
    for name in common:
        if isinstance(first[name][0], str):
            assert frame[name].astype(str).tolist() == first[name]
        else:
            np.testing.assert_allclose(
                frame[name].astype(float), np.float64(first[name]), **PRINTED
            )

    per = expected["by_interval"]
    sums = pd.DataFrame({"events": expansion.event, "exposure": expansion.exposure})
    sums = sums.groupby(expansion.tend).sum()
    np.testing.assert_array_equal(sums.index, per["tend"])
    np.testing.assert_array_equal(sums["events"], per["events"])
    np.testing.assert_allclose(sums["exposure"], per["exposure"], **SUMS)


def test_event_times_as_cut_points():
    oracle = load_oracle(TUMOR)
    expected = oracle.expected["ped_default_cut"]
    data = oracle.data[oracle.data["days"] <= 4000]
    expansion = PiecewiseExpansion.from_surv(Surv(data["days"], data["status"]))
    np.testing.assert_array_equal(expansion.cuts, expected["cuts"])
    assert len(expansion) == expected["n"]
    assert expansion.event.sum() == expected["n_events"]
    assert expansion.exposure.sum() == expected["total_exposure"]


def test_starts_and_stops_as_cut_points():
    # What pammtools takes for start-stop data when no cut points are given.
    oracle = load_oracle(HEART)
    expected = oracle.expected["pammtools_default_cut"]
    cuts = np.union1d(oracle.data["start"], oracle.data["stop"])
    expansion = PiecewiseExpansion.from_surv(heart(oracle.data), cuts)
    assert len(expansion) == expected["n"]
    assert expansion.event.sum() == expected["n_events"]
    assert expansion.exposure.sum() == expected["total_exposure"]


def test_time_varying_covariates_meet_their_intervals():
    oracle = load_oracle(PBCSEQ)
    expected = oracle.expected["ped_checksum"]
    y = right("futime", "death")(oracle.data)
    expansion = PiecewiseExpansion.from_surv(y, with_measurement_times(oracle))
    measured = oracle.files["data_tdc.csv"].rename(columns={"day": "tstart"})
    measured["tstart"] = measured["tstart"].astype(float)
    frame = expansion.frame(oracle.data[["id"]]).sort_values("tstart", kind="stable")
    joined = pd.merge_asof(frame, measured.sort_values("tstart"), on="tstart", by="id")
    for name in ("lbili", "lpro"):
        np.testing.assert_allclose(joined[name].sum(), expected[f"sum_{name}"], **SUMS)
    weighted = (joined["lbili"] * np.exp(joined["offset"])).sum()
    np.testing.assert_allclose(weighted, expected["sum_lbili_x_exposure"], **SUMS)


def test_time_varying_rows_give_the_expansion_of_their_subject():
    # Cut points contain all times at which rows are split, so only the row numbers differ.
    oracle = load_oracle(HEART)
    data = oracle.data
    cuts = np.union1d(data["start"], data["stop"])
    split = PiecewiseExpansion.from_surv(heart(data), cuts)
    subjects = data.groupby("pid").agg({"stop": "max", "event": "max", "start": "min"})
    whole = PiecewiseExpansion.from_surv(heart(subjects), cuts)
    assert (data["pid"].value_counts() > 1).sum() > 20
    of_subject = split.aggregate_by(data["pid"].rank(method="dense").astype(int) - 1)
    for name in ("interval", "exposure", "event"):
        np.testing.assert_array_equal(getattr(of_subject, name), getattr(whole, name))


def test_piecewise_exponential_regression():
    oracle = load_oracle(TUMOR)
    expected = oracle.expected["pem_glm"]
    expansion = PiecewiseExpansion.from_surv(
        right("days", "status")(oracle.data), oracle.expected["cut"]
    )
    columns = pd.get_dummies(oracle.data[["age", "sex", "complications"]], drop_first=True)
    frame = expansion.frame(columns.astype(float))
    X = pd.concat([pd.get_dummies(frame["interval"]), frame[columns.columns]], axis=1)
    fit = sm.GLM(
        frame["event"],
        X.astype(float),
        family=sm.families.Poisson(),
        offset=frame["offset"],
    ).fit(tol=1e-12)
    np.testing.assert_allclose(fit.deviance, expected["deviance"], rtol=1e-9)
    for ours, theirs in (
        ("age", "age"),
        ("sex_female", "sexfemale"),
        ("complications_yes", "complicationsyes"),
    ):
        np.testing.assert_allclose(fit.params[ours], expected["coef"][theirs], **COEFFICIENTS)
        np.testing.assert_allclose(fit.bse[ours], expected["se"][theirs], **COEFFICIENTS)


@pytest.mark.parametrize("fit", ["ps", "tp"])
def test_cumulative_hazard(fit):
    oracle = load_oracle(TUMOR)
    expansion = PiecewiseExpansion.from_surv(
        right("days", "status")(oracle.data), oracle.expected["cut"]
    )
    for curve in oracle.expected[fit]["surv"]:
        hazard = np.array([curve["hazard"]])
        np.testing.assert_array_equal(curve["tend"], expansion.cuts[1:])
        H = expansion.cumulative_hazard(hazard, curve["tend"])
        np.testing.assert_allclose(H[0], curve["cumhaz"], **CURVES)
        np.testing.assert_allclose(np.exp(-H[0]), curve["surv"], **CURVES)


def test_cumulative_incidence():
    oracle = load_oracle(MGUS)
    expansion = PiecewiseExpansion.from_surv(mgus(oracle.data), oracle.expected["cut"])
    curves = oracle.expected["cif_cause_specific"]
    hazards = np.array([[curve[f"h{k}"] for curve in curves] for k in (1, 2)])
    assert hazards.shape == (2, 3, 17)
    tend = curves[0]["tend"]
    F = expansion.cumulative_incidence(hazards, tend)
    H = expansion.cumulative_hazard(hazards.sum(axis=0), tend)
    for i, curve in enumerate(curves):
        np.testing.assert_allclose(F[0, i], curve["cif1"], **CURVES)
        np.testing.assert_allclose(F[1, i], curve["cif2"], **CURVES)
        np.testing.assert_allclose(np.exp(-H[i]), curve["surv"], **CURVES)
