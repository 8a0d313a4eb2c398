from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from losses._cox_reference import draw_follow_up

from semistruct.exceptions import DataError
from semistruct.losses import (
    CoxRiskSets,
    cox_baseline,
    cox_derivatives,
    cox_hessian,
    cox_information,
    cox_martingale_residuals,
    cox_partial_likelihood,
    cox_schoenfeld_residuals,
    cox_score_residuals,
)
from semistruct.losses import _sorted_gram as sorted_gram_module

# Rounding of sums of a few tens of float64 terms.
EXACT = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture(params=[False, True], ids=["right-censored", "truncated"])
def follow_up(request, rng):
    return draw_follow_up(rng, 60, truncated=request.param, stratified=True, tied=True)


@pytest.fixture
def problem(follow_up, rng):
    n = 60
    return {
        "risk_sets": CoxRiskSets.from_data(**follow_up),
        "eta": rng.normal(size=n),
        "X": rng.normal(size=(n, 7)) + np.arange(7) * 10.0,
        "weights": rng.choice([0.0, 0.5, 2.0], n),
    }


def autograd_hessian(problem, ties):
    def loss(eta):
        return cox_partial_likelihood(
            eta,
            risk_sets=problem["risk_sets"],
            weights=torch.tensor(problem["weights"]),
            ties=ties,
        )

    eta = torch.tensor(problem["eta"])
    gradient = torch.autograd.functional.jacobian(loss, eta)
    return gradient.numpy(), torch.autograd.functional.hessian(loss, eta).numpy()


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_derivatives_are_those_of_the_loss(problem, ties):
    gradient, hessian = autograd_hessian(problem, ties)
    X = problem["X"]
    d = cox_derivatives(**problem, ties=ties)
    np.testing.assert_allclose(d.score, -X.T @ gradient, **EXACT)
    np.testing.assert_allclose(d.information, X.T @ hessian @ X, **EXACT)
    np.testing.assert_array_equal(d.information, cox_information(**problem, ties=ties))
    loss = cox_partial_likelihood(
        torch.tensor(problem["eta"]),
        risk_sets=problem["risk_sets"],
        weights=torch.tensor(problem["weights"]),
        ties=ties,
    )
    np.testing.assert_allclose(d.loglik, -loss.item(), **EXACT)
    operator = cox_hessian(
        problem["eta"], problem["risk_sets"], weights=problem["weights"], ties=ties
    )
    np.testing.assert_allclose(operator.matvec(torch.tensor(X.T)).T, hessian @ X, **EXACT)
    np.testing.assert_allclose(
        X.T @ (operator.diagonal[:, None].numpy() * X)
        - (operator.root(torch.tensor(X.T)) @ operator.root(torch.tensor(X.T)).T).numpy(),
        X.T @ hessian @ X,
        rtol=1e-8,  # not centred: digits are lost to the columns' means
        atol=1e-8,
    )


def test_information_does_not_alter_its_inputs(problem):
    X = torch.tensor(problem["X"][:, :1])
    before = X.clone()
    cox_information(**{**problem, "X": X})
    cox_score_residuals(**{**problem, "X": X})
    assert torch.equal(X, before)


def test_information_keeps_its_digits_when_columns_are_far_from_zero(rng):
    follow_up = draw_follow_up(rng, 200, truncated=False, stratified=False, tied=True)
    risk_sets = CoxRiskSets.from_data(**follow_up)
    X = rng.normal(size=(200, 2))
    eta = rng.normal(size=200)
    near = cox_information(eta, X, risk_sets)
    far = cox_information(eta, X + 2.0**20, risk_sets)
    # X + 2**20 itself has lost 20 of its 52 bits
    np.testing.assert_allclose(far, near, rtol=2.0**-28)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_information_of_widely_spread_predictors(problem, ties):
    problem = {**problem, "eta": problem["eta"] * 1000.0}
    _, hessian = autograd_hessian(problem, ties)
    X = problem["X"]
    information = cox_information(**problem, ties=ties)
    np.testing.assert_allclose(information, X.T @ hessian @ X, rtol=1e-8, atol=1e-8)
    assert np.linalg.eigvalsh(information).min() > -1e-8


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_residuals_add_up(problem, ties):
    arguments = {**problem, "ties": ties}
    score = cox_derivatives(**arguments).score.numpy()
    residuals = cox_score_residuals(**arguments).numpy()
    np.testing.assert_allclose(residuals.sum(0), score, **EXACT)
    schoenfeld = cox_schoenfeld_residuals(**arguments)
    weights = problem["weights"][schoenfeld.rows]
    assert (weights > 0).all()
    assert np.ptp(weights) > 0
    del arguments["X"]
    martingale = cox_martingale_residuals(**arguments, weighted=True).numpy()
    gradient, _ = autograd_hessian(problem, ties)
    np.testing.assert_allclose(martingale, -gradient, **EXACT)
    unweighted = cox_martingale_residuals(**arguments).numpy()
    np.testing.assert_allclose(unweighted * problem["weights"], martingale, **EXACT)
    assert not unweighted[problem["weights"] == 0].any()


def test_schoenfeld_residuals_sum_to_the_score_without_weights(problem):
    arguments = {k: v for k, v in problem.items() if k != "weights"}
    schoenfeld = cox_schoenfeld_residuals(**arguments)
    score = cox_derivatives(**arguments).score.numpy()
    np.testing.assert_allclose(schoenfeld.residuals.sum(0), score, **EXACT)
    order = np.lexsort((schoenfeld.rows, schoenfeld.time, schoenfeld.stratum))
    np.testing.assert_array_equal(order, np.arange(order.size))


def test_score_residuals_are_the_influence_on_the_score(rng):
    # leaving a row out changes the score by its residual, to first order in 1 / n
    n = 2000
    time, event = rng.exponential(size=n), rng.random(n) < 0.7
    X, eta = rng.normal(size=(n, 1)), rng.normal(size=n) * 0.3
    risk_sets = CoxRiskSets.from_data(time, event)
    residuals = cox_score_residuals(eta, X, risk_sets)[:, 0].numpy()
    full = cox_derivatives(eta, X, risk_sets).score.item()
    rows = np.argsort(time)[[10, 500, 1000, 1500]]
    for row in rows:
        weights = np.ones(n)
        weights[row] = 0.0
        left_out = cox_derivatives(eta, X, risk_sets, weights=weights).score.item()
        assert full - left_out == pytest.approx(residuals[row], abs=0.02)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_baseline_is_what_the_martingale_residuals_use(problem, follow_up, ties):
    del problem["X"]
    baseline = cox_baseline(**problem, ties=ties)
    martingale = cox_martingale_residuals(**problem, ties=ties).numpy()
    risk_sets = problem["risk_sets"]
    assert np.ptp(baseline.stratum) == 2
    # a censored row meets the whole hazard up to its time, less that before its entry
    entry = follow_up["entry"]
    for s in range(3):
        rows = (risk_sets.row_stratum == s) & ~follow_up["event"] & (problem["weights"] > 0)
        met = baseline.at(follow_up["time"][rows], s)
        if entry is not None:
            met = met - baseline.at(entry[rows], s)
        np.testing.assert_allclose(martingale[rows], -np.exp(problem["eta"][rows]) * met, **EXACT)


def test_baseline_does_not_depend_on_the_shift(rng):
    time, event = rng.exponential(size=50), rng.random(50) < 0.8
    risk_sets = CoxRiskSets.from_data(time, event)
    eta = rng.normal(size=50)
    near, far = cox_baseline(eta, risk_sets), cox_baseline(eta + 600.0, risk_sets)
    assert np.isfinite(far.cumulative_hazard).all()
    np.testing.assert_allclose(far.hazard * np.exp(600.0), near.hazard, rtol=1e-10)
    np.testing.assert_array_equal(near.at([-1.0, 1e9]), [0.0, near.cumulative_hazard[-1]])


def test_shapes_are_checked(problem):
    with pytest.raises(DataError, match=re.escape("X must have shape (60, p)")):
        cox_information(**{**problem, "X": problem["X"][:5]})
    with pytest.raises(DataError, match="eta must be 1-dimensional"):
        cox_information(**{**problem, "eta": problem["X"].T})
    baseline = cox_baseline(problem["eta"], problem["risk_sets"])
    with pytest.raises(DataError, match="give X to cox_baseline"):
        baseline.standard_error([1.0], np.zeros(1), 0.0, np.eye(1))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n_strata", [1, 2, 30])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_blocks_of_sorted_rows_give_the_same_as_whole_columns(
    rng, monkeypatch, tied, n_strata, ties
):
    monkeypatch.setattr(sorted_gram_module, "_BLOCK", 1)  # the smallest blocks, 64 rows
    n = 500
    follow_up = draw_follow_up(rng, n, truncated=False, stratified=False, tied=tied)
    strata = None if n_strata == 1 else rng.integers(0, n_strata, n)
    risk_sets = CoxRiskSets.from_data(**{**follow_up, "strata": strata})
    weights = rng.choice([0.0, 0.5, 2.0], n)
    X = torch.tensor(rng.normal(size=(n, 3)))
    hessian = cox_hessian(rng.normal(size=n) * 3.0, risk_sets, weights=weights, ties=ties)
    blocks = hessian.gram(X)
    assert blocks.diagonal().min() > 0
    np.testing.assert_allclose(blocks, hessian._gram_by_columns(X), **EXACT)


def test_time_weights_count_event_times():
    rng = np.random.default_rng(4)
    time = rng.integers(1, 9, 40).astype(float)
    risk_sets = CoxRiskSets.from_data(time, rng.integers(0, 2, 40))
    eta, X = rng.normal(size=40), rng.normal(size=(40, 3))
    whole = cox_hessian(eta, risk_sets).gram(X)
    K = len(risk_sets.time)
    parts = [cox_hessian(eta, risk_sets, time_weights=np.arange(K) == k).gram(X) for k in range(K)]
    torch.testing.assert_close(sum(parts), whole)
    g = rng.uniform(0, 2, K)
    found = cox_hessian(eta, risk_sets, time_weights=g).gram(X)
    torch.testing.assert_close(found, sum(w * part for w, part in zip(g, parts, strict=True)))
    for bad in (g[1:], -g):
        with pytest.raises(DataError, match="time_weights"):
            cox_hessian(eta, risk_sets, time_weights=bad)
