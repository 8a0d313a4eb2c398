"""Case G01: spline bases, penalties, constraints and df <-> lambda as computed by R and mgcv."""

from __future__ import annotations

import numpy as np
import pytest

from semistruct.terms.bspline import bspline_design
from semistruct.terms.df import demmler_reinsch, df_for_lambda, lambda_for_df
from semistruct.terms.regression_splines import clamped_bspline, clamped_knots, natural_spline
from semistruct.terms.smooths import s, te, ti
from semistruct.terms.tensor import row_tensor
from tests._oracles import load_oracle

pytestmark = pytest.mark.oracle

MATRICES = {"rtol": 0, "atol": 1e-10}  # the case's own tolerance
EIGENBASIS = {"rtol": 0, "atol": 1e-9}  # ill-conditioned eigenvectors; the values are of size 3
SMALL = {"rtol": 1e-9, "atol": 1e-12}  # penalties of size 1e-3 and below
LAMBDA = {"rtol": 1e-6}

TERMS = {
    "ps_k10": s("x", bs="ps", k=10),
    "ps_k12_m23": s("x", bs="ps", k=12, m=(2, 3)),
    "cr_k8": s("x", bs="cr", k=8),
    "tp_k8": s("x", bs="tp", k=8),
    "cc_k8": s("x", bs="cc", k=8, knots=(0, 60)),
    "cp_k8": s("x", bs="cp", k=8, knots=(0, 60)),
    "gp_k8": s("x", bs="gp", k=8),
    "bs_k9": s("x", bs="bs", k=9, m=(3, 2)),
    "te_44": te("x", "z", bs="ps", k=(5, 5)),
    "ti_44": ti("x", "z", bs="cr", k=(4, 4)),
}
EIGEN = ("tp_k8", "gp_k8")  # determined up to the sign of every column


@pytest.fixture(scope="module")
def case():
    return load_oracle("G01_splines_basics")


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_bsplines(case, degree):
    expected = case.expected["bspline"][f"degree{degree}"]
    x, knots = case.data["x"].to_numpy(), np.array(expected["knots"])
    np.testing.assert_allclose(
        bspline_design(knots, degree, x).toarray(), expected["B"], **MATRICES
    )
    # The last value is a knot, where a broken line has no derivative: R takes it from beyond the
    # range and we from within.
    rows = slice(None, -1 if degree == 1 else None)
    np.testing.assert_allclose(
        bspline_design(knots, degree, x, derivative=1).toarray()[rows],
        np.array(expected["dB"])[rows],
        **MATRICES,
    )
    q = len(knots) - degree - 1
    for order in (1, 2, 3):
        D = np.diff(np.eye(q), n=order, axis=0)
        np.testing.assert_array_equal(D.T @ D, expected[f"penalty_order{order}"])


def test_clamped_and_natural_splines(case):
    x = case.data["x"].to_numpy()
    np.testing.assert_allclose(
        clamped_bspline(x, 10, intercept=True), case.expected["clamped_bs"], **MATRICES
    )
    np.testing.assert_allclose(
        clamped_knots(x, 6)[4:-4], case.expected["clamped_knots"], **MATRICES
    )
    np.testing.assert_allclose(natural_spline(x, 7), case.expected["natural_ns"], **MATRICES)


@pytest.mark.parametrize("key", [key for key in TERMS if key not in EIGEN])
def test_smooth(case, key):
    expected = case.expected[key]
    basis = TERMS[key].build(case.data)
    x = case.data[list(basis.variables)].to_numpy(float)
    if expected["knots"] is not None:
        np.testing.assert_allclose(basis.raw.knots, expected["knots"], **MATRICES)
    np.testing.assert_allclose(basis.raw.evaluate(x), expected["X_raw"], **MATRICES)
    for S, scaled, raw, expected_scaled in zip(
        basis.raw.penalties,
        basis.penalties,
        expected["S_raw"],
        expected["S_centred_scaled"],
        strict=True,
    ):
        np.testing.assert_allclose(S, raw, **SMALL)
        np.testing.assert_allclose(scaled, expected_scaled, **MATRICES)
    np.testing.assert_allclose(basis.penalty_scales, np.atleast_1d(expected["S_scale"]), rtol=1e-10)
    np.testing.assert_allclose(basis.design(case.data).dense(), expected["X_centred"], **MATRICES)
    if "Z" in expected:
        np.testing.assert_allclose(basis.Z, expected["Z"], **MATRICES)
    assert basis.ranks == tuple(np.atleast_1d(expected["rank"]))
    assert basis.null_dim == expected["null_dim"]


@pytest.mark.parametrize("key", EIGEN)
def test_eigenbasis(case, key):
    expected = case.expected[key]
    basis = TERMS[key].build(case.data)
    x = case.data[["x"]].to_numpy()
    X, S = basis.raw.evaluate(x), basis.raw.penalties[0]
    X_raw, S_raw = np.array(expected["X_raw"]), np.array(expected["S_raw"][0])
    sign = np.sign((X * X_raw).sum(axis=0))
    np.testing.assert_allclose(X * sign, X_raw, **EIGENBASIS)
    np.testing.assert_allclose(S * np.outer(sign, sign), S_raw, rtol=1e-7, atol=1e-11)
    np.testing.assert_allclose(basis.penalty_scales[0], expected["S_scale"], rtol=1e-9)
    assert basis.ranks == (expected["rank"],)
    assert basis.null_dim == expected["null_dim"]

    def smoother(X, S):
        return X @ np.linalg.solve(X.T @ X + 0.3 * S, X.T)

    np.testing.assert_allclose(
        smoother(basis.design(case.data).dense(), basis.penalties[0]),
        smoother(np.array(expected["X_centred"]), np.array(expected["S_centred_scaled"][0])),
        **MATRICES,
    )


@pytest.mark.parametrize("key", [key for key in TERMS if not key.startswith("t") or key in EIGEN])
def test_degrees_of_freedom(case, key):
    expected = case.expected[key]["demmler_reinsch"]
    basis = TERMS[key].build(case.data)
    X, S = basis.design(case.data), basis.penalties[0] * basis.penalty_scales[0]
    d = demmler_reinsch(X, S)
    # Squares of the condition number: the design block gives cross-products only.
    np.testing.assert_allclose(d, expected["d"], rtol=1e-6, atol=1e-12 * d[-1])
    for kind, name in (("trH", "lambda_trH"), ("tr2H_HH", "lambda_tr2H_HH")):
        for df, lam in zip(expected["target_df"], expected[name], strict=True):
            np.testing.assert_allclose(lambda_for_df(X, S, df, kind), lam, **LAMBDA)
            np.testing.assert_allclose(lambda_for_df(X.dense(), S, df, kind), lam, **LAMBDA)
        given = expected["df_at_lambda"]
        found = [df_for_lambda(d, lam, kind) for lam in given["lambda"]]
        np.testing.assert_allclose(found, given[kind], **LAMBDA)


def test_row_tensor(case):
    x, z = case.data["x"].to_numpy(), case.data["z"].to_numpy()
    knots = np.array(case.expected["bspline"]["degree3"]["knots"])
    B = bspline_design(knots, 3, x).toarray()[:, :4]
    P = np.stack([np.ones_like(z), z, z**2], axis=1)
    np.testing.assert_allclose(row_tensor(B, P), case.expected["row_tensor"], **MATRICES)


def test_penalised_least_squares(case):
    y = case.data["y"].to_numpy()
    basis = TERMS["ps_k10"].build(case.data)
    X = np.column_stack([np.ones(len(y)), basis.design(case.data).dense()])
    S = np.zeros((X.shape[1],) * 2)
    S[1:, 1:] = basis.penalties[0] * basis.penalty_scales[0]
    assert len(case.expected["penalised_ls"]) == 4
    for expected in case.expected["penalised_ls"]:
        A = X.T @ X + expected["lambda"] * S
        beta, H = np.linalg.solve(A, X.T @ y), np.linalg.solve(A, X.T @ X)
        np.testing.assert_allclose(beta, expected["coef"], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(X @ beta, expected["fitted"], **MATRICES)
        edf = np.trace(H)
        np.testing.assert_allclose(edf, expected["edf"], rtol=1e-10)
        np.testing.assert_allclose(2 * edf - np.sum(H * H.T), expected["edf2"], rtol=1e-10)
        gcv = len(y) * np.sum((y - X @ beta) ** 2) / (len(y) - edf) ** 2
        np.testing.assert_allclose(gcv, expected["gcv"], rtol=1e-10)
