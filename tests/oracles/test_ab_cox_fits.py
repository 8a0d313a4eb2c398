"""CoxPH against R's survival and, with smooths, against mgcv's cox.ph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from _mgcv import ADVISED, FIXED, compare, mgcv_report
from _oracles import load_oracle
from numpy.testing import assert_allclose
from scipy import stats

import semistruct as ss
from semistruct.fitting.structured import fit_structured
from semistruct.inference.deviance import Deviance

pytestmark = pytest.mark.oracle

LUNG = "A01_cox_lung_efron"
VETERAN = "A02_cox_veteran_ties"
COLON = "A03_cox_colon_strata_weights_offset"
CGD = "A04_cox_cgd_andersen_gill"
HEART = "A05_cox_heart_startstop_lefttrunc"
PENALISED = "A06_cox_penalised_ridge_pspline_frailty"
LUNG_GAM = "B01_coxphgam_lung"
PBC_GAM = "B02_coxphgam_pbc"

LUNG_TERMS = "age + sex + `ph.ecog` + `ph.karno` + `wt.loss`"
VETERAN_TERMS = "trt + celltype + karno + diagtime + age + prior"
COLON_TERMS = "rx + sex + obstruct + adhere + nodes"
COLON_STRATA = f"{COLON_TERMS} + strata(differ) + offset(off)"
VETERAN_STRATA = "trt + karno + strata(celltype)"
CGD_TERMS = "treat + sex + age + inherit + steroids + propylac"

# Coefficients and curves to what R prints (15 digits, its iterations stop at 1e-11 or so).
TIGHT = {"rtol": 1e-7, "atol": 1e-10}
TESTS = {"rtol": 1e-5, "atol": 0.0}


def response(data: pd.DataFrame, case: str) -> ss.Surv:
    if case == CGD:
        return ss.Surv(data["tstop"], data["status"], data["tstart"])
    if case == HEART:
        return ss.Surv(data["stop"], data["event"], data["start"])
    return ss.Surv(data["time"], data["status" if "status" in data else "event"])


def fit(case: str, formula: str, *, weights: str | None = None, **options: Any) -> Any:
    oracle = load_oracle(case)
    weight = None if weights is None else oracle.data[weights].to_numpy(float)
    model = ss.CoxPH(formula, **options).fit(oracle.data, response(oracle.data, case), weight)
    return oracle, model


COEFFICIENTS = [
    (LUNG, "efron", LUNG_TERMS, {}),
    (LUNG, "breslow", LUNG_TERMS, {"ties": "breslow"}),
    (LUNG, "robust", LUNG_TERMS, {"cov_type": "sandwich"}),
    (VETERAN, "efron", VETERAN_TERMS, {}),
    (VETERAN, "breslow", VETERAN_TERMS, {"ties": "breslow"}),
    (VETERAN, "stratified_breslow", VETERAN_STRATA, {"ties": "breslow"}),
    (
        COLON,
        "efron_weighted",
        COLON_STRATA,
        {"weights": "w"},
    ),
    (
        COLON,
        "efron_weighted_robust",
        COLON_STRATA,
        {"weights": "w", "cov_type": "sandwich"},
    ),
    (
        COLON,
        "efron_weighted_cluster",
        f"{COLON_STRATA} + cluster(centre)",
        {"weights": "w"},
    ),
    (CGD, "efron", f"{CGD_TERMS} + cluster(id)", {}),
    (CGD, "breslow", f"{CGD_TERMS} + cluster(id)", {"ties": "breslow"}),
    (HEART, "efron_interaction", "(age + surgery) * transplant + year", {}),
    (HEART, "breslow", "age + year + surgery + transplant", {"ties": "breslow"}),
    (
        COLON,
        "breslow_weighted",
        COLON_STRATA,
        {"weights": "w", "ties": "breslow"},
    ),
]


@pytest.mark.parametrize(
    ("case", "block", "formula", "options"),
    COEFFICIENTS,
    ids=[f"{c[0][:3]}-{c[1]}" for c in COEFFICIENTS],
)
def test_coefficients_and_standard_errors(case, block, formula, options):
    oracle, model = fit(case, formula, **options)
    expected = oracle.expected[block]
    ours = {"".join(c for c in n if c not in "[].T"): n for n in model.params.index.levels[1]}
    names = []
    for name in expected["coef"]:
        key = "".join(c for c in name if c not in "[].T")
        swapped = "".join(c for c in ":".join(reversed(name.split(":"))) if c not in "[].T")
        names.append(ours.get(key) or ours[swapped])
    at = [("log_hazard", name) for name in names]
    assert_allclose(model.params[at], list(expected["coef"].values()), **TIGHT)
    se = expected["robust_se" if "robust_se" in expected else "se"]
    assert_allclose(model.bse[at], list(se.values()), **TIGHT)
    assert_allclose(model.loglik_, expected["loglik_final"], rtol=1e-11)
    assert_allclose(model.loglik_null_, expected["loglik_null"], rtol=1e-11)
    assert_allclose(model.pvalues[at], list(expected["p_value"].values()), **TESTS)
    assert model.aic_ == pytest.approx(expected["AIC"], rel=1e-10)
    gain, df = 2 * (model.loglik_ - model.loglik_null_), len(at)
    naive = model.cov_params("model").loc[at, at]
    wald = model.params[at] @ np.linalg.solve(model.cov_params().loc[at, at], model.params[at])
    for found, test in ((gain, "lr_test"), (wald, "wald_test")):
        theirs = expected[test]
        # R prints the statistic of Wald's test to two decimals.
        digits = 5.1e-3 if test == "wald_test" else 0.0
        assert_allclose([found, df], [theirs["stat"], theirs["df"]], rtol=1e-5, atol=digits)
        assert_allclose(stats.chi2.logsf(found, df), np.log(theirs["p"]), rtol=1e-5, atol=digits)
    assert_allclose(naive, np.array(expected["vcov"]), rtol=1e-6, atol=1e-12)
    if "robust_vcov" in expected:
        assert_allclose(
            model.cov_params().loc[at, at], expected["robust_vcov"], rtol=1e-6, atol=1e-12
        )
    assert expected["n"] == len(oracle.data)
    y = response(oracle.data, case)
    assert expected["nevent"] == np.asarray(y.event).sum()


CURVES = [
    (LUNG, "survfit_efron", LUNG_TERMS, {}),
    (LUNG, "survfit_breslow", LUNG_TERMS, {"ties": "breslow"}),
    (VETERAN, "survfit_efron", VETERAN_TERMS, {}),
    (HEART, "survfit", "age + year + surgery + transplant", {"ties": "breslow"}),
    (CGD, "survfit_efron_robust", f"{CGD_TERMS} + cluster(id)", {}),
]


@pytest.mark.parametrize(
    ("case", "block", "formula", "options"),
    CURVES,
    ids=[f"{c[0][:3]}-{c[1]}" for c in CURVES],
)
def test_survival_curves_and_bands(case, block, formula, options):
    oracle, model = fit(case, formula, **options)
    expected = oracle.expected[block]
    rows = oracle.rows(expected["newdata"])
    surv = model.predict_survival_function(rows, expected["times"])
    assert_allclose(surv, expected["surv"], rtol=1e-8, atol=1e-9)
    hazard = model.predict_cumulative_hazard(rows, expected["times"])
    assert_allclose(hazard, expected["cumhaz"], rtol=1e-7, atol=1e-9)
    for transform, key in (("log", "ci_log"), ("log-log", "ci_loglog"), ("plain", "ci_plain")):
        if key not in expected:
            continue
        band = model.predict_survival_function(
            rows, expected["times"], level=0.95, transform=transform
        )
        for side in ("lower", "upper"):
            ours = band.xs(side, axis=1, level=1).to_numpy()
            theirs = np.array(expected[key][side], dtype=float)
            seen = np.isfinite(theirs)
            assert seen.any()
            assert_allclose(ours[seen], theirs[seen], rtol=1e-7, atol=1e-9)


STRATIFIED = [
    (VETERAN, "survfit_stratified", VETERAN_STRATA, {"ties": "breslow"}),
    (COLON, "survfit_weighted_efron", COLON_STRATA, {"weights": "w"}),
    (
        COLON,
        "survfit_weighted_robust",
        COLON_STRATA,
        {"weights": "w", "cov_type": "sandwich"},
    ),
]


@pytest.mark.parametrize(
    ("case", "block", "formula", "options"), STRATIFIED, ids=[c[1] for c in STRATIFIED]
)
def test_stratified_survival_curves_and_bands(case, block, formula, options):
    """R gives one curve per row of the new table, that of its own stratum, one below the other."""
    oracle, model = fit(case, formula, **options)
    expected = oracle.expected[block]
    rows = oracle.rows(expected["newdata"])
    times = expected["times"]

    def stacked(table: pd.DataFrame) -> np.ndarray:
        return table.to_numpy().T.ravel()

    theirs = np.array(expected["surv"], dtype=float).ravel()
    surv = model.predict_survival_function(rows, times)
    seen = np.isfinite(theirs)
    assert_allclose(stacked(surv)[seen], theirs[seen], rtol=1e-8, atol=1e-9)
    for transform, key in (("log", "ci_log"), ("log-log", "ci_loglog"), ("plain", "ci_plain")):
        band = model.predict_survival_function(rows, times, level=0.95, transform=transform)
        for side in ("lower", "upper"):
            ours = stacked(band.xs(side, axis=1, level=1))
            bound = np.array(expected[key][side], dtype=float).ravel()
            seen = np.isfinite(bound)
            assert seen.any()
            assert_allclose(ours[seen], bound[seen], rtol=1e-7, atol=1e-9)


def test_predictors_and_their_standard_errors():
    oracle, model = fit(LUNG, LUNG_TERMS)
    expected = oracle.expected["predict"]
    rows = oracle.rows(oracle.expected["survfit_efron"]["newdata"])
    assert_allclose(model.predict(rows), expected["lp_reference_zero"], **TIGHT)
    # R's default takes the mean of every column for its zero.
    means = pd.DataFrame([oracle.expected["efron"]["means"]])
    centred = model.predict(rows) - model.predict(means)
    assert_allclose(centred, expected["lp"], **TIGHT)
    assert_allclose(np.exp(centred), expected["risk"], **TIGHT)
    apart = rows[means.columns].to_numpy(float) - means.to_numpy()
    cov = model.cov_params().to_numpy()
    assert_allclose(np.sqrt(((apart @ cov) * apart).sum(axis=1)), expected["lp_se"], **TIGHT)


def test_mixed_convention():
    """Breslow's hazard at the coefficients of Efron's likelihood."""
    oracle, model = fit(LUNG, LUNG_TERMS)
    expected = oracle.expected["survfit_efron_fit_with_breslow_cumhaz"]
    block = oracle.expected["survfit_efron"]
    rows = oracle.rows(block["newdata"])
    y = response(oracle.data, LUNG)
    base = ss.losses.cox_baseline(
        model.predict(oracle.data), ss.losses.CoxRiskSets.from_data(y.time, y.event), ties="breslow"
    )
    before = np.searchsorted(base.time, block["times"], side="right") - 1
    hazard = np.outer(base.cumulative_hazard[before], np.exp(model.predict(rows)))
    assert_allclose(hazard, expected["cumhaz"], rtol=1e-7)
    assert_allclose(np.exp(-hazard), expected["surv"], rtol=1e-8)


def test_residuals_summed_over_subjects():
    oracle, model = fit(CGD, f"{CGD_TERMS} + cluster(id)")
    martingale = pd.Series(model.residuals("martingale").to_numpy().ravel())
    summed = martingale.groupby(oracle.data["id"].to_numpy()).sum().sort_index()
    assert_allclose(summed[:25], oracle.expected["collapsed_martingale"], rtol=1e-7, atol=1e-9)


def test_baseline_percentiles_and_restricted_mean():
    oracle, model = fit(LUNG, LUNG_TERMS)
    expected = oracle.expected
    base = model.baseline_cumulative_hazard_["baseline"]
    table = expected["efron_basehaz"]
    at = np.searchsorted(base.index, table["time"], side="right") - 1
    assert_allclose(base.to_numpy()[at], table["cumhaz"], **TIGHT)
    rows = oracle.rows(expected["survfit_efron"]["newdata"])
    quantiles = np.array(expected["quantiles"]["quantile"], dtype=float)
    for column, p in enumerate((0.75, 0.5, 0.25)):
        assert_allclose(model.predict_percentile(rows, p), quantiles[:, column])
        table = model.predict_percentile(rows, p, level=0.95)
        for side in ("lower", "upper"):
            theirs = np.array(expected["quantiles"][side], dtype=float)[:, column]
            assert_allclose(table[side], np.where(np.isnan(theirs), np.inf, theirs))
    assert_allclose(model.predict_median(rows), quantiles[:, 1])
    assert_allclose(model.predict_restricted_mean(rows, 365), expected["rmst_365"], rtol=1e-9)


def test_survival_along_a_path_of_columns():
    oracle, model = fit(HEART, "age + year + surgery + transplant", ties="breslow")
    expected = oracle.expected["survfit_timevarying_path"]
    given = expected["newdata"]
    path = ss.Surv(given["stop"], given["event"], given["start"], given["id"])
    found = model.predict_survival_path(oracle.rows(given), path, expected["times"])
    assert_allclose(found[1], expected["surv"], rtol=1e-9)
    # survfit(fit, newdata, id=id), survival 3.5-3, before the first change. After it R takes the
    # columns of the present interval for those of the whole past in its standard errors.
    band = model.predict_survival_path(oracle.rows(given), path, [10, 49], level=0.95)
    assert_allclose(band[1, "lower"], [0.791228458921488, 0.543389211773404], rtol=1e-9)
    assert_allclose(band[1, "upper"], [0.934327820252440, 0.772969088336237], rtol=1e-9)


SCHOENFELD = [
    (LUNG, "zph", LUNG_TERMS, {}),
    (VETERAN, "zph", VETERAN_TERMS, {}),
    (VETERAN, "zph_stratified", VETERAN_STRATA, {"ties": "breslow"}),
    (COLON, "zph", COLON_STRATA, {"weights": "w"}),
    (CGD, "zph", f"{CGD_TERMS} + cluster(id)", {}),
    (HEART, "zph", "age + year + surgery + transplant", {"ties": "breslow"}),
]


@pytest.mark.parametrize(
    ("case", "block", "formula", "options"),
    SCHOENFELD,
    ids=[f"{c[0][:3]}-{c[1]}" for c in SCHOENFELD],
)
def test_proportional_hazards(case, block, formula, options):
    oracle, model = fit(case, formula, **options)
    for transform, expected in oracle.expected[block].items():
        table = model.check_assumptions(transform)
        assert list(table.index[-1:]) == ["GLOBAL"]
        assert_allclose(table["df"], expected["df"])
        assert_allclose(table["chisq"], expected["chisq"], rtol=1e-7)
        assert_allclose(table["p"], expected["p"], rtol=1e-6, atol=1e-12)


CONCORDANCE = [
    (LUNG, "concordance", LUNG_TERMS, {}),
    (VETERAN, "concordance_stratified", VETERAN_STRATA, {"ties": "breslow"}),
    (COLON, "concordance", COLON_STRATA, {"weights": "w"}),
    (CGD, "concordance", f"{CGD_TERMS} + cluster(id)", {}),
    (HEART, "concordance", "age + year + surgery + transplant", {"ties": "breslow"}),
]


@pytest.mark.parametrize(
    ("case", "block", "formula", "options"), CONCORDANCE, ids=[c[0][:3] for c in CONCORDANCE]
)
def test_score_is_the_concordance(case, block, formula, options):
    oracle, model = fit(case, formula, **options)
    weight = oracle.data[options["weights"]].to_numpy(float) if "weights" in options else None
    found = model.score(oracle.data, response(oracle.data, case), weight)
    assert found == pytest.approx(oracle.expected[block]["harrell"], abs=1e-10)


def test_residuals():
    oracle, model = fit(LUNG, LUNG_TERMS)
    for kind in ("martingale", "deviance", "score", "dfbeta", "schoenfeld"):
        ours = model.residuals(kind).to_numpy()
        expected = oracle.expected["residuals"][kind]
        assert_allclose(ours[:25], np.array(expected["first"], dtype=float), rtol=1e-7, atol=1e-8)
        assert_allclose((ours**2).sum(), expected["sumsq"], rtol=1e-7)


@pytest.mark.parametrize("number", range(4))
def test_ridge(number):
    oracle = load_oracle(PENALISED)
    expected = oracle.expected["ridge"][number]
    term = f"ridge(age, `ph.karno`, `wt.loss`, theta={expected['theta']}, scale=False)"
    model = ss.CoxPH(f"sex + {term}").fit(oracle.data, response(oracle.data, PENALISED))
    marginal = model.fit_.marginal
    order = np.array([1, 2, 3, 0])  # R's: the ridge before sex
    at = np.ix_(order, order)
    assert_allclose(marginal.beta[order], expected["coef"], **TIGHT)
    V, V2 = marginal.V[at], (marginal.V @ marginal.H @ marginal.V)[at]
    assert_allclose(V, expected["var"], **TIGHT)
    assert_allclose(V2, expected["var2"], **TIGHT)
    # R splits the degrees of freedom by blocks of the two covariances; ours is the diagonal of V H.
    of_ridge = np.trace(np.linalg.solve(V[:3, :3], V2[:3, :3]))
    assert_allclose([of_ridge, V2[3, 3] / V[3, 3]], expected["df"], **TIGHT)
    assert_allclose([model.loglik_null_, model.loglik_], expected["loglik"], **TIGHT)


def test_ridge_on_scaled_columns():
    # coxph(Surv(time, status) ~ ridge(age, ph.karno, wt.loss, theta = 20) + sex), survival 3.5-3
    oracle = load_oracle(PENALISED)
    formula = "ridge(age, `ph.karno`, `wt.loss`, theta=20) + sex"
    model = ss.CoxPH(formula).fit(oracle.data, response(oracle.data, PENALISED))
    params = [-0.50954440686737368, 0.01391406139808941, -0.01129382009085076, -0.00229387662926687]
    errors = [0.17460885464192596, 0.00909471191144229, 0.00587485125270502, 0.00597507057432177]
    assert_allclose(model.params, params, **TIGHT)
    assert_allclose(model.bse, errors, **TIGHT)


@pytest.mark.parametrize("number", range(3))
def test_penalised_spline(number):
    # R ends its search for the wanted degrees of freedom within 0.1 of them, and prints a later
    # theta than that of its coefficients. At the degrees of freedom it arrived at, all is equal.
    oracle = load_oracle(PENALISED)
    expected = oracle.expected["pspline"][number]
    k = round(2.5 * expected["df_target"]) + 3
    ends = (float(oracle.data["age"].min()), float(oracle.data["age"].max()))
    smooth = f"s(age, k={k}, knots={ends}, df={float(expected['df'][0])!r})"
    model = ss.CoxPH(f"{smooth} + sex").fit(oracle.data, response(oracle.data, PENALISED))
    assert_allclose(model.params.iloc[0], expected["sex_coef"], rtol=1e-6)
    assert_allclose(model.bse.iloc[0], expected["sex_se"], rtol=1e-6)
    assert_allclose([model.loglik_null_, model.loglik_], expected["loglik"], rtol=1e-7)
    predicted = model.predict(pd.DataFrame({"age": [45.0, 55.0, 65.0, 75.0], "sex": 1}))
    assert_allclose(predicted - predicted[0], expected["terms_age_minus_first"], rtol=1e-5)


# Of curves; the standard errors of survival have those of predictors.
EXACTLY = FIXED | {"survival": 1e-8}
ROUGHLY = ADVISED | {"survival": 1e-3}
# At the smoothing parameters that mgcv prints, up to 8.7e9, to fifteen digits.
AT_THEIRS = FIXED | {"se": 5e-5, "edf": (0.0, 5e-5), "survival": 1e-6}
SMOOTHS = [
    (
        LUNG_GAM,
        "fixed_sp",
        "s(age, bs='cr', k=10, lam=5) + s(`wt.loss`, k=12, lam=0.8) + sex + `ph.ecog`",
        EXACTLY,
    ),
    (LUNG_GAM, "cr_ps", "s(age, bs='cr', k=10) + s(`wt.loss`, k=12) + sex + `ph.ecog`", ROUGHLY),
    (LUNG_GAM, "tp", "s(age, bs='tp') + s(`meal.cal`, bs='tp') + sex + `ph.ecog`", ROUGHLY),
    (
        PBC_GAM,
        "smooths",
        "s(lbili, bs='tp') + s(age, bs='tp') + s(albumin, bs='cr', k=8) + sex + edema",
        ROUGHLY,
    ),
    (PBC_GAM, "te", "te(lbili, age, bs='ps', k=[6, 6]) + sex", ROUGHLY),
    (
        PBC_GAM,
        "by_factor_re",
        "s(age, by=sex, bs='cr', k=8) + sex + s(lbili, k=12) + re(stage)",
        ROUGHLY,
    ),
]


AT_SMOOTHING = [
    (LUNG_GAM, "cr_ps", "s(age, bs='cr', k=10, lam={}) + s(`wt.loss`, k=12, lam={})"),
    (LUNG_GAM, "tp", "s(age, bs='tp', lam={}) + s(`meal.cal`, bs='tp', lam={})"),
    (
        PBC_GAM,
        "smooths",
        "s(lbili, bs='tp', lam={}) + s(age, bs='tp', lam={}) + s(albumin, bs='cr', k=8, lam={})",
    ),
    (PBC_GAM, "te", "te(lbili, age, bs='ps', k=[6, 6], lam=[{}, {}])"),
]
OTHERS = {
    "cr_ps": "sex + `ph.ecog`",
    "tp": "sex + `ph.ecog`",
    "smooths": "sex + edema",
    "te": "sex",
}


@pytest.mark.parametrize(
    ("case", "block", "smooths"), AT_SMOOTHING, ids=[f"{c[0][:3]}-{c[1]}" for c in AT_SMOOTHING]
)
def test_at_the_smoothing_parameters_of_mgcv_all_digits_agree(case, block, smooths):
    sp = map(float, load_oracle(case).expected[block]["sp"].values())
    formula = f"{smooths.format(*map(repr, sp))} + {OTHERS[block]}"
    test_penalised_smooths_agree_with_mgcv(case, block, formula, AT_THEIRS)


# What mgcv reports of Cox models only.
OF_COX = {
    *("pred_survival", "pred_survival_se", "baseline"),
    *("residual_martingale_first", "residual_deviance_first"),
}
# Of curves that are nearly lines the smoothing parameters are arbitrary, with what depends on them.
ARBITRARY = {
    "cr_ps": {"coef.se_unconditional", "pred_link_se_unconditional", "pred_terms.se"},
    "tp": {"coef.se", "coef.se_unconditional"},
    # lbili has 1.16 degrees of freedom: its smoothing parameter is 5 % apart, the criterion 1e-5.
    "smooths": {"sp", "loglik", "dev_expl", "pred_terms.se"},
    "by_factor_re": {"smooth", "coef.se_unconditional", "pred_link_se_unconditional"},
}


def deviances(model: ss.CoxPH, y: ss.Surv) -> Deviance:
    """mgcv's: sums of squares of the deviance residuals, of the fit and of Nelson and Aalen."""
    time, event = np.asarray(y.time), np.asarray(y.event) > 0
    order = np.unique(time[event])
    steps = [(event & (time == t)).sum() / (time >= t).sum() for t in order]
    H = np.concatenate([[0.0], np.cumsum(steps)])[np.searchsorted(order, time, side="right")]
    logs = np.log(H, out=np.zeros_like(H), where=event)
    null = -2 * (event - H + event * logs).sum()
    return Deviance(float((model.residuals("deviance").to_numpy() ** 2).sum()), null)


def check_baseline(oracle: Any, model: ss.CoxPH, expected: dict[str, Any], rtol: float) -> None:
    """At mgcv's times, all of them from the last; its variance is that of known coefficients."""
    y = response(oracle.data, PBC_GAM)
    time, event = np.asarray(y.time), np.asarray(y.event) > 0
    order = np.unique(time[event])
    weight = np.exp(model.fit_.marginal.eta[:, 0])
    at_risk = np.array([weight[time >= t].sum() for t in order])
    events = np.array([(event & (time == t)).sum() for t in order])
    variance = pd.Series(np.cumsum(events / at_risk**2), index=order)
    hazard = model.baseline_cumulative_hazard_["baseline"]
    for ours, theirs in ((hazard, expected["h"]), (variance, expected["q"])):
        found = ours.reindex(expected["tr"], method="ffill", fill_value=0.0)
        assert_allclose(found, theirs, rtol=2 * rtol)


@pytest.mark.parametrize(("case", "block", "formula"), [c[:3] for c in SMOOTHS[1:]])
def test_all_of_mgcvs_report_at_its_smoothing_parameters(case, block, formula):
    oracle, model = fit(case, formula, ties="breslow")
    expected, problem = oracle.expected[block], model.fit_.problem
    at = fit_structured(problem, smoothing=np.array(list(expected["sp"].values())))
    deviance = deviances(model, response(oracle.data, case))
    rows = oracle.rows(expected["newdata"])
    report = mgcv_report(problem, at, expected, rows, deviance=deviance)
    apart = OF_COX | {"deviance", "dev_expl"}  # of the other fit
    if block in ("tp", "by_factor_re"):
        apart |= ARBITRARY[block]
    compare(report, expected, AT_THEIRS, at, apart=apart)


@pytest.mark.parametrize(
    ("case", "block", "formula", "tolerance"),
    SMOOTHS,
    ids=[f"{c[0][:3]}-{c[1]}" for c in SMOOTHS],
)
def test_penalised_smooths_agree_with_mgcv(case, block, formula, tolerance):
    oracle, model = fit(case, formula, ties="breslow")
    expected = oracle.expected[block]
    rows = oracle.rows(expected["newdata"])
    eta, link = model.predict(rows), np.array(expected["pred_link"])
    level = float((eta - link).mean())  # a partial likelihood has none
    assert_allclose(eta - level, link, atol=tolerance["link"] * link.std())
    if tolerance is not AT_THEIRS:
        deviance = deviances(model, response(oracle.data, case))
        problem, own = model.fit_.problem, model.fit_.marginal
        report = mgcv_report(problem, own, expected, rows, deviance=deviance)
        apart = OF_COX | ARBITRARY.get(block, set())
        compare(report, expected, tolerance, own, apart=apart)
        assert_allclose(model.bse, report["parametric.se"], **TIGHT)
        assert_allclose(model.smooths()["edf"], report["smooth.edf"], **TIGHT)
    times = np.array(expected["newdata"]["time"], dtype=float)
    band = model.predict_survival_function(rows, times, level=0.95, transform="log")
    survival = np.diag(band.xs("estimate", axis=1, level=1))
    assert_allclose(survival, expected["pred_survival"], atol=tolerance["survival"])
    # mgcv's standard error of S is S times that of log S; the lower limit is S exp(-z se).
    lower = np.diag(band.xs("lower", axis=1, level=1))
    se = survival * np.log(survival / lower) / stats.norm.ppf(0.975)
    assert_allclose(se, expected["pred_survival_se"], rtol=tolerance["se"])
    check_baseline(oracle, model, expected["baseline"], 10 * tolerance["survival"])
    for kind in ("martingale", "deviance"):
        first = expected[f"residual_{kind}_first"]
        residuals = model.residuals(kind).to_numpy().ravel()[: len(first)]
        assert_allclose(residuals, first, atol=10 * tolerance["survival"])


def test_parametric_model_of_the_smooth_ones_data():
    oracle, model = fit(LUNG_GAM, "sex + `ph.ecog`", ties="breslow")
    expected = oracle.expected["unpenalised_breslow_reference"]["coef"]
    assert_allclose(model.params, expected, rtol=1e-6)
