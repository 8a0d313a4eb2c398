"""Gaussian frailty against R's survival, with what separates the two written out.

``frailty()`` takes the information of the frailties as diagonal ("sparse") wherever there are more
than five of them, and its REML variance solves ``theta = (b'b + tr V) / q``, in which the
information stands still when theta moves. Ours are the whole information and the maximum of the
Laplace approximation. Below both are computed from sums over risk sets as they stand in the
definition: with R's two shortcuts they are R's numbers, without them ours.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from _oracles import load_oracle
from numpy.testing import assert_allclose
from scipy.optimize import brentq, minimize_scalar

import semistruct as ss

pytestmark = pytest.mark.oracle

EXPECTED = load_oracle("A06_cox_penalised_ridge_pspline_frailty").expected
DATA = load_oracle("A06_cox_penalised_ridge_pspline_frailty").files["data_kidney.csv"]
# Two columns of the table, then an indicator for each subject.
IDS = np.unique(DATA["id"])
X = np.column_stack([DATA[["age", "sex"]], *(DATA["id"] == i for i in IDS)]).astype(float)
X[:, :2] -= X[:, :2].mean(axis=0)
TIME, DIED = DATA["time"].to_numpy(float), DATA["status"].to_numpy(bool)
# R iterates the coefficients to 1e-11, and theta until the equation holds to about 1e-5.
R_COEFFICIENTS, R_THETA = 2e-6, 1e-5


def written_out(beta):
    """Efron's partial likelihood of the kidney data, its gradient and its information."""
    hazard = np.exp(X @ beta)
    loglik, score, information = 0.0, np.zeros(len(beta)), np.zeros((len(beta),) * 2)
    for t in np.unique(TIME[DIED]):
        events, at_risk = (t == TIME) & DIED, t <= TIME
        loglik += X[events].sum(axis=0) @ beta
        score += X[events].sum(axis=0)
        for r in range(events.sum()):
            w = hazard * (at_risk - r / events.sum() * events)
            mean = w @ X / w.sum()
            loglik -= np.log(w.sum())
            score -= mean
            information += (X.T * w) @ X / w.sum() - np.outer(mean, mean)
    return loglik, score, information


@lru_cache(maxsize=64)
def penalised(theta):
    """Maximum at one variance: coefficients, likelihood, penalised information."""
    S = np.diag([0.0, 0.0] + [1 / theta] * len(IDS))
    beta = np.zeros(X.shape[1])
    for _ in range(30):
        _, score, H = written_out(beta)
        step = np.linalg.solve(H + S, score - S @ beta)
        beta = beta + step
        if np.abs(step).max() < 1e-12:
            break
    loglik, _, H = written_out(beta)
    return beta, loglik, H + S


def diagonal(information):
    """The same with no information between subjects."""
    found = information.copy()
    found[2:, 2:] = np.diag(np.diag(information)[2:])
    return found


def errors(information):
    return np.sqrt(np.diag(np.linalg.inv(information)))


def test_a_given_variance():
    model = ss.CoxPH("age + sex + re(id, lam=2)").fit(DATA, ss.Surv(TIME, DIED))  # 1 / theta
    expected = EXPECTED["frailty_gaussian_theta0.5"]
    beta, loglik, information = penalised(0.5)
    assert_allclose(model.params, beta[:2], rtol=1e-8)
    assert_allclose(model.bse, errors(information)[:2], rtol=1e-8)
    assert model.loglik_ == pytest.approx(loglik, rel=1e-10)
    # The call on file with sparse=FALSE, survival 3.5-3.
    assert_allclose(model.bse, [0.0119283921363, 0.4250538497445], rtol=1e-9)
    frailty = model.fit_.marginal.beta[model.fit_.problem.designs[0].slices["re(id)"]]
    assert_allclose(frailty, beta[2:], rtol=1e-7, atol=1e-10)
    # R's on file: Newton steps with the diagonal end where its score is zero to 1e-6.
    assert_allclose(beta[:2], list(expected["coef"].values()), rtol=R_COEFFICIENTS)
    assert_allclose(frailty, expected["frail"], rtol=1e-5, atol=1e-7)
    assert_allclose(errors(diagonal(information))[:2], expected["se"], rtol=R_COEFFICIENTS)
    assert np.abs(errors(information)[:2] / expected["se"] - 1).max() > 5e-3


def test_an_estimated_variance():
    model = ss.CoxPH("age + sex + re(id)").fit(DATA, ss.Surv(TIME, DIED))
    theta = 1 / model.smoothing_.iloc[0]

    def minus_reml(theta):
        beta, loglik, information = penalised(theta)
        b = beta[2:]
        logs = len(b) * np.log(theta) + np.linalg.slogdet(information)[1]
        return 0.5 * (b @ b / theta + logs) - loglik

    best = minimize_scalar(minus_reml, bounds=(0.5, 0.6), options={"xatol": 1e-7})
    assert theta == pytest.approx(best.x, rel=1e-5)
    beta, _, information = penalised(theta)
    assert_allclose(model.params, beta[:2], rtol=1e-7)
    assert_allclose(model.bse, errors(information)[:2], rtol=1e-7)

    def unbalanced(theta, simplify):
        beta, _, information = penalised(theta)
        V = np.linalg.inv(simplify(information))
        return (beta[2:] @ beta[2:] + np.trace(V[2:, 2:])) / len(IDS) - theta

    expected = EXPECTED["frailty_gaussian_reml"]
    of_r = brentq(lambda t: unbalanced(t, diagonal), 0.5, 0.6, xtol=1e-8)
    assert of_r == pytest.approx(expected["theta"], rel=R_THETA)
    errors_of_r = errors(diagonal(penalised(float(expected["theta"]))[2]))[:2]
    assert_allclose(errors_of_r, expected["se"], rtol=R_COEFFICIENTS * 2)
    # coxph(..., frailty(id, dist="gaussian", method="reml", sparse=FALSE)), survival 3.5-3.
    whole = brentq(lambda t: unbalanced(t, lambda H: H), 0.55, 0.65, xtol=1e-8)
    assert whole == pytest.approx(0.5926405302812, rel=1e-7)
