"""Scaling, rank and null space of smooths in mgcv fits, and fits at mgcv's smoothing parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _oracles import load_oracle

from semistruct.terms.smooths import re, s, te, ti

pytestmark = pytest.mark.oracle

MCYCLE = {
    "tp20": s("times", bs="tp", k=20),
    "ps20": s("times", bs="ps", k=20),
    "ps20_m31": s("times", bs="ps", k=20, m=(2, 1)),
    "cr20": s("times", bs="cr", k=20),
    "ts12": s("times", bs="ts", k=12),
    "gp15": s("times", bs="gp", k=15),
    "bs15": s("times", bs="bs", k=15, m=(3, 2)),
    "tp10_m1": s("times", bs="tp", k=10, m=1),
}
# Label of mgcv -> our term; terms that mgcv shortened because others contain them are left out.
OTHERS = [
    ("D02_gam_gaussian_boston_te", "te", {"te(lstat,rm)": te("lstat", "rm", bs="ps", k=6)}),
    (
        "D02_gam_gaussian_boston_te",
        "ti",
        {
            "ti(lstat)": ti("lstat", k=7),
            "ti(rm)": ti("rm", k=7),
            "ti(lstat,rm)": ti("lstat", "rm", k=5),
        },
    ),
    ("D02_gam_gaussian_boston_te", "te3d", {"te(lstat,rm,dis)": te("lstat", "rm", "dis", k=4)}),
    (
        "D02_gam_gaussian_boston_te",
        "by",
        {
            "s(lstat):chas": s("lstat", by="chas", bs="cr", k=8),
            "s(crim):nox": s("crim", by="nox", bs="cr", k=6),
        },
    ),
    (
        "D06_gam_nb_re_epil",
        "poisson_re_slope",
        {"s(subject)": re("subject"), "s(subject,period)": re("subject", "period")},
    ),
]


def penalised_fit(basis, frame, y, sp):
    """Coefficients, intercept first, and total edf at smoothing parameters ``sp``."""
    X = np.column_stack([np.ones(len(frame)), basis.design(frame).dense()])
    S = np.zeros((X.shape[1],) * 2)
    for lam, penalty in zip(np.atleast_1d(sp), basis.penalties, strict=True):
        S[1:, 1:] += lam * penalty
    A = X.T @ X + S
    return np.linalg.solve(A, X.T @ y), np.trace(np.linalg.solve(A, X.T @ X))


@pytest.mark.parametrize("key", MCYCLE)
@pytest.mark.parametrize("method", ["REML", "GCV", "ML"])
def test_fit_at_given_smoothing(key, method):
    case = load_oracle("D01_gam_gaussian_mcycle_bases")
    expected = case.expected[f"{key}_{method}"]
    basis = MCYCLE[key].build(case.data)
    info = expected["smooth_info"][0]
    np.testing.assert_allclose(basis.penalty_scales[0], info["S_scale"], rtol=1e-9)
    assert (basis.ranks, basis.null_dim) == ((info["rank"],), info["null_dim"])
    sp = list(expected["sp"].values())
    beta, edf = penalised_fit(basis, case.data, case.data["accel"].to_numpy(), sp)
    np.testing.assert_allclose(edf, expected["edf_total"], rtol=1e-8)
    new = pd.DataFrame({"times": [5.0, 10, 15, 20, 25, 30, 35, 40, 50]})
    eta = beta[0] + basis.design(new).matvec(beta[1:])
    np.testing.assert_allclose(eta, expected["pred_link"], rtol=1e-7)


def test_shrinkage_cubic_is_close():
    """mgcv splits the null space along an arbitrary rotation, so agreement is not to rounding."""
    case = load_oracle("D01_gam_gaussian_mcycle_bases")
    expected = case.expected["cs12_REML"]
    basis = s("times", bs="cs", k=12).build(case.data)
    info = expected["smooth_info"][0]
    np.testing.assert_allclose(basis.penalty_scales[0], info["S_scale"], rtol=1e-5)
    assert (basis.ranks, basis.null_dim) == ((info["rank"],), info["null_dim"])
    sp = list(expected["sp"].values())
    _, edf = penalised_fit(basis, case.data, case.data["accel"].to_numpy(), sp)
    np.testing.assert_allclose(edf, expected["edf_total"], atol=1e-4)


@pytest.mark.parametrize(("name", "key", "terms"), OTHERS)
def test_scaling_and_rank(name, key, terms):
    case = load_oracle(name)
    found = {}
    for info in case.expected[key]["smooth_info"]:
        label = info["label"].removesuffix(str(info.get("by_level", "")))
        found.setdefault(label, []).append(info)
    for label, term in terms.items():
        basis = term.build(case.data)
        infos = found[label]
        scales = np.concatenate([np.atleast_1d(info["S_scale"]) for info in infos])
        np.testing.assert_allclose(basis.penalty_scales, scales, rtol=1e-9)
        ranks = np.concatenate([np.atleast_1d(info["rank"]) for info in infos])
        np.testing.assert_array_equal(basis.ranks, ranks)
        assert basis.null_dim == sum(info["null_dim"] for info in infos)
        size = sum(info["last_para"] - info["first_para"] + 1 for info in infos)
        assert len(basis.names) == size


BOSTON = {
    "te": ([te("lstat", "rm", bs="ps", k=6)], True),
    "ti": ([ti("lstat", k=7), ti("rm", k=7), ti("lstat", "rm", k=5)], False),
    "by": ([s("lstat", by="chas", bs="cr", k=8), s("crim", by="nox", bs="cr", k=6)], True),
    "tp2d": ([s("lstat", "rm", bs="tp", k=25)], False),
    "te3d": ([te("lstat", "rm", "dis", k=4)], False),
}


@pytest.mark.parametrize("key", BOSTON)
def test_boston_fit_at_given_smoothing(key):
    """Whole Gaussian fits: coefficients where the basis is determined, and predictions."""
    case = load_oracle("D02_gam_gaussian_boston_te")
    expected = case.expected[key]
    terms, factor = BOSTON[key]
    bases = [term.build(case.data) for term in terms]
    new = pd.DataFrame(expected["newdata"])
    new["chas"] = pd.Categorical(new["chas"].astype(str), categories=["0", "1"])

    def design(frame):
        columns = [np.ones(len(frame))]
        if factor:
            columns.append((frame["chas"] == "1").to_numpy(float))
        return np.column_stack([*columns, *(basis.design(frame).dense() for basis in bases)])

    X = design(case.data)
    S = np.zeros((X.shape[1],) * 2)
    start, sp = 1 + factor, iter(np.atleast_1d(list(expected["sp"].values())))
    for basis in bases:
        columns = slice(start, start := start + len(basis.names))
        for penalty in basis.penalties:
            S[columns, columns] += next(sp) * penalty
    A = X.T @ X + S
    beta = np.linalg.solve(A, X.T @ case.data["medv"].to_numpy())
    np.testing.assert_allclose(design(new) @ beta, expected["pred_link"], rtol=1e-6)
    np.testing.assert_allclose(
        np.trace(np.linalg.solve(A, X.T @ X)), expected["edf_total"], rtol=1e-6
    )
    if key not in ("tp2d", "te3d"):
        np.testing.assert_allclose(beta, expected["coef"]["value"], rtol=1e-5, atol=1e-6)
