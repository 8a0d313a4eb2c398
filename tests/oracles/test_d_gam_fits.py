"""Whole fits against mgcv: smoothing, coefficients, standard errors, criteria, tests of smooths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula, predict_link
from _oracles import Oracle, load_oracle
from scipy import stats
from scipy.optimize import brentq

from semistruct.families import Bernoulli, Family
from semistruct.fitting.structured import fit_structured
from semistruct.inference.covariance import covariance, pearson_dispersion
from semistruct.inference.smooth_tests import smooth_table
from semistruct.inference.wald import wald_table
from semistruct.terms.constraints import absorb_constraint
from semistruct.terms.cubic import CubicSpline

pytestmark = pytest.mark.oracle

# Two tiers, as the makers of the values advise. With the smoothing parameters fixed only rounding
# and the other program's convergence are left; estimated ones agree to the flatness of the
# criterion around its maximum, where both programs stop.
FIXED = {"link": 1e-6, "se": 1e-6, "edf": 1e-5, "score": 1e-6, "smoothing": 1e-9}
ESTIMATED = {"link": 1e-3, "se": 2e-3, "edf": 5e-3, "score": 1e-4, "smoothing": 0.02}
# mgcv's "cs" gives the two null directions of its penalty a tenth and a hundredth of the smallest
# other eigenvalue, and which direction gets which is rounding; ours have a tenth each. See
# test_shrinkage_cubic_up_to_the_rotation_of_its_null_space.
ROTATED = ("cs12_REML", "cs12_ML")

MCYCLE = "D01_gam_gaussian_mcycle_bases"
BASES = {
    "tp20": "s(times, bs='tp', k=20)",
    "ps20": "s(times, bs='ps', k=20)",
    "ps20_m31": "s(times, bs='ps', k=20, m=[2, 1])",
    "cr20": "s(times, bs='cr', k=20)",
    "ts12": "s(times, bs='ts', k=12)",
    "cs12": "s(times, bs='cs', k=12)",
    "gp15": "s(times, bs='gp', k=15)",
    "bs15": "s(times, bs='bs', k=15, m=[3, 2])",
    "tp10_m1": "s(times, bs='tp', k=10, m=1)",
}
BOSTON = "D02_gam_gaussian_boston_te"
TENSORS = {
    "additive": "s(rm, k=10) + s(lstat, k=12) + s(dis, bs='cr', k=10) + chas + nox + ptratio",
    "te": "te(lstat, rm, bs='ps', k=[6, 6]) + chas",
    "ti": "ti(lstat, bs='cr', k=7) + ti(rm, bs='cr', k=7) + ti(lstat, rm, bs='cr', k=[5, 5])",
    "by": "s(lstat, by=chas, bs='cr', k=8) + chas + s(crim, by=nox, bs='cr', k=6)",
    "tp2d": "s(lstat, rm, bs='tp', k=25)",
    "te3d": "te(lstat, rm, dis, bs='cr', k=[4, 4, 4])",
}
WESDR = "D03_gam_binomial_wesdr"
SEATBELTS = "D04_gam_poisson_cyclic_seatbelts"
MONTH = "s(month, bs='cc', k=8, knots=[0.5, 12.5]{lam})"
AIR = "D05_gam_gamma_airquality"
EPIL = "D06_gam_nb_re_epil"

CASES: list[tuple[str, str, str, str, str | Family]] = [
    *[
        (MCYCLE, f"{name}_{method}", formula, "accel", "normal")
        for name, formula in BASES.items()
        for method in ("REML", "ML", "GCV")
    ],
    *[(BOSTON, key, formula, "medv", "normal") for key, formula in TENSORS.items()],
    (MCYCLE, "ps20_fixed_sp", "s(times, k=20, lam=1.5)", "accel", "normal"),
    (
        WESDR,
        "logit_ps",
        "s(dur, k=12) + s(gly, k=12) + s(bmi, bs='cr', k=10)",
        "ret",
        "bernoulli",
    ),
    (
        WESDR,
        "fixed_sp",
        "s(dur, k=12, lam=2) + s(bmi, k=12, lam=3) + gly",
        "ret",
        "bernoulli",
    ),
    (WESDR, "probit", "s(dur, k=12) + s(gly, k=12) + bmi", "ret", Bernoulli("probit")),
    (WESDR, "cloglog_ubre", "s(dur, k=12) + s(bmi, k=12) + gly", "ret", Bernoulli("cloglog")),
    (
        WESDR,
        "tp_ti",
        "s(dur, bs='tp') + s(gly, bs='tp') + s(bmi, bs='tp') + ti(dur, gly, k=5)",
        "ret",
        "bernoulli",
    ),
    (
        SEATBELTS,
        "cc_ps_offset",
        MONTH.format(lam="") + " + s(t, k=12) + law + offset(log(kms))",
        "deaths",
        "poisson",
    ),
    (SEATBELTS, "ubre", MONTH.format(lam="") + " + s(t, k=12) + law", "deaths", "poisson"),
    (
        SEATBELTS,
        "fixed_sp",
        MONTH.format(lam=", lam=3") + " + s(t, k=12, lam=5) + law",
        "deaths",
        "poisson",
    ),
    (
        SEATBELTS,
        "te_cc_cr",
        "te(month, t, bs=['cc', 'cr'], k=[6, 6], knots=[[0.5, 12.5], None]) + law",
        "front",
        "poisson",
    ),
    (
        AIR,
        "gamma_reml",
        "s(Temp, k=10) + s(Wind, k=10) + s(`Solar.R`, bs='cr', k=10)",
        "Ozone",
        "gamma",
    ),
    (AIR, "gamma_gcv", "s(Temp, k=10) + Wind + `Solar.R`", "Ozone", "gamma"),
    (EPIL, "poisson_re", "trt + lbase + lage + V4 + re(subject)", "y", "poisson"),
    (
        EPIL,
        "poisson_re_slope",
        "trt + lbase + s(period, bs='cr', k=4) + re(subject) + re(subject, period)",
        "y",
        "poisson",
    ),
]


def new_rows(oracle: Oracle, expected: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame({name: np.atleast_1d(v) for name, v in expected["newdata"].items()})
    for name in frame.columns.intersection(oracle.data.columns):
        if isinstance(oracle.data[name].dtype, pd.CategoricalDtype):
            levels = oracle.data[name].cat.categories
            frame[name] = pd.Categorical(frame[name].astype(str), categories=levels)
    return frame


@pytest.mark.parametrize(
    ("case", "key", "formula", "response", "family"),
    CASES,
    ids=[f"{c[0][:3]}-{c[1]}" for c in CASES],
)
def test_fit_agrees_with_mgcv(case, key, formula, response, family):
    oracle = load_oracle(case)
    expected = oracle.expected[key]
    method = {"REML": "reml", "ML": "ml"}.get(expected["method"], "gcv")
    problem, fit = fit_formula(formula, oracle.data, oracle.data[response], family, method=method)
    tolerance = FIXED if "lam=" in formula else ESTIMATED
    assert fit.converged

    gamma = family == "gamma"
    scale = pearson_dispersion(fit, problem) if gamma else None
    link, _ = predict_link(problem.designs[0], fit, 0, new_rows(oracle, expected))
    np.testing.assert_allclose(
        link, expected["pred_link"], atol=tolerance["link"] * fit.eta[:, 0].std()
    )
    # mgcv's scale is Pearson's, corrected by Fletcher; ours is REML, the same for the normal.
    V = covariance(fit, problem, dispersion=scale)
    Ve = covariance(fit, problem, "frequentist", dispersion=scale)
    X = problem.designs[0].block(new_rows(oracle, expected)).dense()
    columns = fit.slices[0]
    se = np.sqrt(np.einsum("ij,jk,ik->i", X, V[columns, columns], X))
    np.testing.assert_allclose(se, expected["pred_link_se"], rtol=tolerance["se"])
    parametric = [basis for basis in problem.designs[0].bases if basis.kind == "parametric"]
    count = sum(len(basis.names) for basis in parametric)
    table = wald_table(fit.beta[:count], V[:count, :count], range(count), df_resid=fit.df_resid)
    np.testing.assert_allclose(
        table["coef"], np.atleast_1d(expected["parametric"]["estimate"]), rtol=2e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        table["se"], np.atleast_1d(expected["parametric"]["se"]), rtol=tolerance["se"]
    )
    np.testing.assert_allclose(
        table["p"], np.atleast_1d(expected["parametric"]["p"]), rtol=0.05, atol=1e-12
    )
    if "coef" in expected:
        np.testing.assert_allclose(
            np.sqrt(np.diag(Ve))[:count],
            np.atleast_1d(expected["coef"]["se_freq"])[:count],
            rtol=2 * tolerance["se"],
        )

    np.testing.assert_allclose(fit.edf_total, expected["edf_total"], atol=tolerance["edf"])
    counted = fit.edf1.sum() - (fit.dispersion_column is not None)
    np.testing.assert_allclose(counted, expected["edf1_total"], atol=2 * tolerance["edf"])
    if key not in ROTATED:
        # GCV has the units of the squared response, hence the relative part.
        np.testing.assert_allclose(fit.reml, expected["score"], rtol=1e-6, atol=tolerance["score"])
    if fit.dispersion_column is not None:
        reported = pearson_dispersion(fit, problem)
        np.testing.assert_allclose(reported, expected["scale"], rtol=1e-4)
    if not gamma:  # R puts the gamma's dispersion at deviance / n there, we at its maximum.
        np.testing.assert_allclose(fit.loglik, expected["loglik"], atol=4e-3)
    sp = expected.get("sp", expected.get("full_sp"))
    beyond_null = np.atleast_1d(expected["smooth"]["edf"]) > np.array(
        [info["null_dim"] + 0.1 for info in expected["smooth_info"]]
    )
    if len(sp) == beyond_null.size:
        gap = np.log(fit.smoothing / np.array(list(sp.values())))
        assert np.abs(gap[beyond_null]).max() < tolerance["smoothing"]


@pytest.mark.parametrize(
    ("case", "key", "formula", "response", "family"),
    CASES,
    ids=[f"{c[0][:3]}-{c[1]}" for c in CASES],
)
def test_smooths_are_tested_as_in_mgcv(case, key, formula, response, family):
    oracle = load_oracle(case)
    expected = oracle.expected[key]
    method = {"REML": "reml", "ML": "ml"}.get(expected["method"], "gcv")
    problem, fit = fit_formula(formula, oracle.data, oracle.data[response], family, method=method)
    scale = pearson_dispersion(fit, problem) if family == "gamma" else None
    found, rows = smooth_table(fit, problem, dispersion=scale), expected["smooth"]
    if key == "by":  # here a test of all curves of a factor together
        found, rows = found.iloc[1:], {k: v if k == "stat_name" else v[2:] for k, v in rows.items()}
    np.testing.assert_allclose(found["edf"], np.atleast_1d(rows["edf"]), atol=5e-3)
    np.testing.assert_allclose(found["ref_df"], np.atleast_1d(rows["ref_df"]), atol=1e-2)
    assert set(found["statistic_name"]) == {rows["stat_name"]}
    # mgcv prints p-values below 2e-16 as zero.
    np.testing.assert_allclose(found["p"], np.atleast_1d(rows["p"]), rtol=0.02, atol=2e-5)
    if key != "poisson_re_slope":  # see the notes of smooth_test on several random effects
        np.testing.assert_allclose(found["statistic"], np.atleast_1d(rows["statistic"]), rtol=2e-3)


@pytest.mark.parametrize("key", ROTATED)
def test_shrinkage_cubic_up_to_the_rotation_of_its_null_space(key):
    oracle = load_oracle(MCYCLE)
    expected = oracle.expected[key]
    problem, ours = fit_formula(
        BASES["cs12"],
        oracle.data,
        oracle.data["accel"],
        "normal",
        method=expected["method"].lower(),
    )
    x = oracle.data[["times"]].to_numpy(dtype=float)
    raw = CubicSpline(("times",), k=12).learn(x)
    X = raw.evaluate(x)
    Z = absorb_constraint(X.mean(axis=0))
    values, U = np.linalg.eigh(raw.penalties[0])

    def shrunk(angle: float) -> np.ndarray:
        c, d = np.cos(angle), np.sin(angle)
        N = U[:, :2] @ np.array([[c, -d], [d, c]])
        return raw.penalties[0] + values[2] * (N * [0.1, 0.01]) @ N.T

    def scale(angle: float) -> float:
        size = np.abs(X).sum(axis=1).max() ** 2
        return float(np.abs(shrunk(angle)).sum(axis=0).max() / size)

    # The norm of mgcv's penalty tells the angle, up to the sign of one direction; at that angle the
    # score, the degrees of freedom and the smoothing parameter are mgcv's.
    target = expected["smooth_info"][0]["S_scale"]
    angles = np.linspace(0.0, np.pi, 2001)
    above = np.array([scale(angle) > target for angle in angles])
    crossings = np.flatnonzero(above[1:] != above[:-1])
    gaps = []
    for i in crossings:
        angle = brentq(lambda a: scale(a) - target, angles[i], angles[i + 1], xtol=1e-15)
        S = Z.T @ (shrunk(angle) / target) @ Z
        design = problem.designs[0]
        penalty = replace(design.penalties[0], S=(S + S.T) / 2)
        rotated = replace(
            problem, designs=(replace(design, penalties=(penalty,)), *problem.designs[1:])
        )
        sp = np.array(list(expected["sp"].values()))
        fit = fit_structured(rotated, method=ours.method, smoothing=sp)
        gaps.append((abs(fit.reml - expected["score"]), abs(fit.edf_total - expected["edf_total"])))
    assert min(gaps) < (1e-7, 1e-10)
    # With a tenth for both: half the log of the determinant's share, at the same fit.
    np.testing.assert_allclose(ours.reml - expected["score"], -0.425707, atol=1e-5)


def test_weights_of_mean_one():
    oracle = load_oracle(MCYCLE)
    expected = oracle.expected["weighted_ps_REML"]
    weight = 1 / (1 + oracle.data["times"].to_numpy() / 20)
    mean = weight.mean()
    problem, fit = fit_formula(
        "s(times, k=15)", oracle.data, oracle.data["accel"], "normal", weight / mean
    )
    link, se = predict_link(problem.designs[0], fit, 0, new_rows(oracle, expected))
    np.testing.assert_allclose(
        link, expected["pred_link"], atol=ESTIMATED["link"] * fit.eta[:, 0].std()
    )
    np.testing.assert_allclose(se, expected["pred_link_se"], rtol=ESTIMATED["se"])
    np.testing.assert_allclose(fit.edf_total, expected["edf_total"], atol=ESTIMATED["edf"])
    np.testing.assert_allclose(fit.dispersion * mean, expected["scale"], rtol=1e-4)
    np.testing.assert_allclose(fit.smoothing[0] * mean, expected["sp"]["s(times)"], rtol=1e-3)
    # mgcv's weights are precisions: its density has sum(log w) / 2 more.
    extra = 0.5 * np.log(weight).sum() - 0.5 * weight.size * np.log(mean)
    np.testing.assert_allclose(fit.reml - extra, expected["score"], atol=1e-4)
    np.testing.assert_allclose(fit.loglik + extra, expected["loglik"], atol=1e-3)


def test_location_and_scale_of_the_normal():
    oracle = load_oracle("E01_gaulss_mcycle")
    expected = oracle.expected["ps_b0"]
    problem, fit = fit_formula(
        {"loc": "s(times, k=20)", "scale": "s(times, k=10)"}, oracle.data, oracle.data["accel"]
    )
    new = new_rows(oracle, expected)
    for k in range(2):
        link, se = predict_link(problem.designs[k], fit, k, new)
        spread = fit.eta[:, k].std()
        values = np.array(expected["pred_link"])[:, k]
        np.testing.assert_allclose(link, values, atol=ESTIMATED["link"] * spread)
        np.testing.assert_allclose(
            se, np.array(expected["pred_link_se"])[:, k], rtol=ESTIMATED["se"]
        )
    np.testing.assert_allclose(fit.edf_total, expected["edf_total"], atol=ESTIMATED["edf"])
    np.testing.assert_allclose(fit.reml, expected["score"], atol=ESTIMATED["score"])
    np.testing.assert_allclose(fit.loglik, expected["loglik"], atol=1e-3)
    np.testing.assert_allclose(
        fit.smoothing, list(expected["sp"].values()), rtol=ESTIMATED["smoothing"]
    )
    np.testing.assert_allclose(
        smooth_table(fit, problem)["statistic"], expected["smooth"]["statistic"], rtol=2e-3
    )


def test_mgcv_p_values_of_parametric_terms_use_students_t():
    oracle = load_oracle(MCYCLE)
    expected = oracle.expected["ps20_fixed_sp"]
    t = expected["parametric"]["estimate"] / expected["parametric"]["se"]
    df = expected["n"] - expected["edf_total"]
    np.testing.assert_allclose(2 * stats.t.sf(abs(t), df), expected["parametric"]["p"], rtol=1e-6)
