"""Frozen features: one ridge regression, its penalty by REML."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import semistruct as ss
from semistruct.fitting.ridge import RidgeSolver
from semistruct.fitting.structured import fit_structured
from semistruct.network import predict_latents, predict_scores
from semistruct.terms import encoder
from tests._deep import frozen, make_deep_problem, picture_table
from tests._fits import make_problem

SAME_OPTIMUM = 1e-5  # features and weights of the network are float32

N = 100
LEARNED, HELD_OUT = np.arange(80), np.arange(80, N)


@pytest.fixture(scope="module")
def frame():
    return picture_table(N)


def fit(problem, report=lambda share: None):
    return course(problem, report).member(1)


def course(problem, report=lambda share: None):
    return RidgeSolver().fit(problem, LEARNED, HELD_OUT, np.random.SeedSequence(0), report)


def problem_of(frame, **options):
    return make_deep_problem(
        frame, [[encoder("own", "u")], []], encoders={"own": frozen(5)}, **options
    )


def features_of(problem):
    """The features of all rows, scaled by what the learned rows know."""
    seed = np.random.SeedSequence(0)
    net = problem.blueprint.make(problem.modalities, LEARNED, problem.scale, seed)
    return predict_latents(net, problem.modalities, np.arange(N))[0]


def reml_of(problem, lam):
    """Restricted likelihood of a normal model with ``X`` fixed and ``U`` random, by definition."""
    X = problem.structured.blocks[0].dense()[LEARNED]
    y, U = problem.structured.y[LEARNED], features_of(problem)[LEARNED]
    V = np.eye(len(LEARNED)) + U @ U.T / lam
    W = np.linalg.inv(V)
    XtWX = X.T @ W @ X
    residual = y - X @ np.linalg.solve(XtWX, X.T @ W @ y)
    n_free = len(y) - X.shape[1]
    sigma2 = residual @ W @ residual / n_free
    logdet = np.linalg.slogdet(V)[1] + np.linalg.slogdet(XtWX)[1]
    return -0.5 * (n_free * np.log(sigma2) + logdet)


def ridge_scores(problem, lam):
    """The same fit by scikit-learn: the unpenalised columns are projected out first."""
    X = problem.structured.blocks[0].dense()
    U, y = features_of(problem), problem.structured.y
    Q = np.linalg.qr(X[LEARNED])[0]
    annihilate = np.eye(len(LEARNED)) - Q @ Q.T
    model = Ridge(alpha=lam, fit_intercept=False)
    model.fit(annihilate @ U[LEARNED], annihilate @ y[LEARNED])
    return U @ model.coef_


def test_the_fit_is_ridge_regression_at_its_reml_penalty(frame):
    problem = problem_of(frame)
    member = fit(problem)
    scores = predict_scores(member.net, problem.modalities, np.arange(N))[:, 0]
    grid = np.exp(np.linspace(-3, 6, 901))
    best = grid[np.argmax([reml_of(problem, lam) for lam in grid])]
    assert grid[0] < best < grid[-1]
    expected = levelled(ridge_scores(problem, best))
    assert expected.std() > 0.5
    # The grid's step is 1 % of the penalty, which moves scores by much less.
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    assert np.abs(scores - levelled(ridge_scores(problem, 10 * best))).max() > 1e-2


def levelled(scores):
    """Less the mean of the held-out rows, which is in the intercept."""
    return scores - scores[HELD_OUT].mean()


def test_noise_is_shrunk_away(frame):
    rng = np.random.default_rng(5)
    problem = problem_of(frame.assign(y=frame["x"] + rng.normal(size=N)))
    scores = predict_scores(fit(problem).net, problem.modalities, np.arange(N))[:, 0]
    assert scores.std() < 0.3


def test_more_features_than_rows(frame):
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(N, 300)).astype(np.float32)
    wide[:, 0] *= 20
    table = frame.assign(u=ss.TensorArray(wide), y=frame["y"] + wide[:, 0] / 10)
    problem = make_deep_problem(table, [[encoder("own", "u")], []], encoders={"own": frozen(300)})
    member = fit(problem)
    scores = predict_scores(member.net, problem.modalities, LEARNED)[:, 0]
    assert np.corrcoef(scores, table["y"][LEARNED])[0, 1] > 0.5


def test_held_out_rows_are_not_learned_from(frame):
    odd = frame.copy()
    odd.loc[70, "y"] += 10
    a, b = problem_of(frame), problem_of(odd)
    scores = [predict_scores(fit(p).net, p.modalities, LEARNED) for p in (a, b)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-2
    # Given the same structured start, rows outside do not matter.
    structured = make_problem("x", frame, odd["y"].to_numpy(), "normal")
    structured.y[80:] += 5
    assert fit_structured(structured).beta.any()
    changed = replace(b, structured=structured)
    again = predict_scores(fit(changed).net, changed.modalities, LEARNED)
    np.testing.assert_allclose(again, scores[1], rtol=1e-6)


def test_features_that_do_not_vary_give_no_score(frame):
    constant = frame.assign(u=ss.TensorArray(np.ones((N, 5), np.float32)))
    problem = problem_of(constant)
    scores = predict_scores(fit(problem).net, problem.modalities, np.arange(N))
    assert np.isfinite(scores).all() and np.ptp(scores) < SAME_OPTIMUM


def test_rows_without_the_picture_learn_nothing(frame):
    gaps = frame.copy()
    column = frame["u"].array.copy()
    column[[3, 9]] = None
    gaps["u"] = column
    problem = problem_of(gaps)
    scores = predict_scores(fit(problem).net, problem.modalities, np.arange(N))[:, 0]
    assert (scores[[3, 9]] == 0).all() and scores.std() > 0.5


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "gamma"])
def test_other_likelihoods(frame, family):
    rng = np.random.default_rng(2)
    eta = features_of(problem_of(frame)) @ [0.6, -0.6, 0.3, 0.0, 0.0]
    y = {
        "poisson": rng.poisson(np.exp(eta)).astype(float),
        "bernoulli": (rng.random(N) < 1 / (1 + np.exp(-2 * eta))).astype(float),
        "gamma": rng.gamma(3.0, np.exp(eta)),
    }[family]
    problem = make_deep_problem(
        frame.assign(y=y),
        [[encoder("own", "u")], *[[]] * (family == "gamma")],
        family=family,
        encoders={"own": frozen(5)},
    )
    scores = predict_scores(fit(problem).net, problem.modalities, np.arange(80, N))[:, 0]
    assert np.corrcoef(scores, eta[80:])[0, 1] > 0.7


def test_a_slot_in_each_of_two_parameters(frame):
    term = encoder("own", "u")
    rng = np.random.default_rng(7)
    features = frame["u"].array.batch()
    y = features @ [1.0, 0, 0, 0, 0] + rng.normal(size=N) * np.exp(features @ [0, 0, 0, 0, 0.7])
    problem = make_deep_problem(
        frame.assign(y=y), [[term], [term]], {"loc": "x", "scale": "1"}, encoders={"own": frozen(5)}
    )
    gammas = [gamma.numpy() for gamma in fit(problem).net.gammas]
    assert np.argmax(np.abs(gammas[0])) == 0 and np.argmax(np.abs(gammas[1])) == 4


def test_the_work_is_reported(frame):
    shares = []
    problem = problem_of(frame)
    found = course(problem, shares.append)
    assert sum(shares) == 1.0 and found.epochs.tolist() == [1]
    member = found.member(1)
    assert member.best_epoch == 1
    again = predict_scores(member.net, problem.modalities, HELD_OUT)
    np.testing.assert_allclose(found.centred(0), again, rtol=1e-5, atol=1e-6)
    assert found.beta.shape == (1, len(problem.start.beta))
