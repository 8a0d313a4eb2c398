"""Newton steps, the dispersion equation, and the numpy-torch border."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _fits import make_problem

from semistruct.exceptions import UnsupportedCombinationError
from semistruct.families import Bernoulli, Gamma, Normal, Poisson
from semistruct.fitting._likelihood import Dispersion, Likelihood
from semistruct.fitting.engine import Engine
from semistruct.fitting.newton import evaluate, penalised_newton, solve_dispersion
from semistruct.terms import DenseBlock

DIFFERENCES = 1e-6  # central differences of smooth functions


@pytest.fixture
def design(rng):
    return np.column_stack([np.ones(80), rng.normal(size=(80, 2))])


def two_parameters(design, rng):
    y = rng.normal(size=80) + design @ [1.0, 0.5, -0.5]
    assert y.std() > 0
    blocks = (DenseBlock(design), DenseBlock(design[:, :2]))
    return Likelihood(Normal(), y, rng.uniform(0.5, 2.0, 80), blocks, np.zeros((80, 2)))


def test_gradient_and_information_are_derivatives(design, rng):
    likelihood = two_parameters(design, rng)
    beta = rng.normal(size=5) * 0.3
    point = evaluate(likelihood, beta, np.zeros((5, 5)))
    h = 1e-5
    for j, step in enumerate(h * np.eye(5)):
        up, down = likelihood.eta(beta + step), likelihood.eta(beta - step)
        slope = (likelihood.loglik(up) - likelihood.loglik(down)) / (2 * h)
        np.testing.assert_allclose(point.gradient[j], slope, rtol=DIFFERENCES, atol=1e-5)
        bend = likelihood.gradient(likelihood.score(up)) - likelihood.gradient(
            likelihood.score(down)
        )
        H = likelihood.information(likelihood.eta(beta), "observed")
        np.testing.assert_allclose(-bend / (2 * h), H[j], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["observed", "expected"])
def test_information_traces_are_derivatives_along_moves(design, rng, kind):
    likelihood = two_parameters(design, rng)
    beta, moves = rng.normal(size=5) * 0.3, rng.normal(size=(2, 5))
    M = rng.normal(size=(5, 5))
    M = M + M.T
    traces = likelihood.information_traces(likelihood.eta(beta), M, moves, kind)
    general = likelihood._general_traces(likelihood.eta(beta), M, moves, kind)
    h = 1e-5
    for move, trace, other in zip(moves, traces, general, strict=True):
        up = likelihood.information(likelihood.eta(beta + h * move), kind)
        down = likelihood.information(likelihood.eta(beta - h * move), kind)
        np.testing.assert_allclose(trace, np.vdot(M, up - down) / (2 * h), rtol=1e-5)
        np.testing.assert_allclose(trace, other, rtol=1e-5)


def test_cached_cross_products_follow_the_weights(design, rng):
    likelihood = two_parameters(design, rng)
    for scale in (0.1, 0.4, 0.1):
        beta = np.array([1.0, 0, 0, scale, 0.3])
        H = likelihood.information(likelihood.eta(beta), "expected")
        w = likelihood.weight * np.exp(-2 * design[:, :2] @ beta[3:])
        np.testing.assert_allclose(H[:3, :3], (design * w[:, None]).T @ design)


@pytest.mark.parametrize(
    ("family", "start"), [(Poisson(), 8.0), (Bernoulli(), -9.0), (Bernoulli(link="probit"), 5.0)]
)
def test_far_starts_come_back(design, rng, family, start):
    eta = 0.5 * design[:, 1]
    y = rng.poisson(np.exp(eta)) if isinstance(family, Poisson) else rng.uniform(size=80) < 0.5
    y = np.asarray(y, dtype=float)
    likelihood = Likelihood(family, y, np.ones(80), (DenseBlock(design),), np.zeros((80, 1)))
    zero = np.zeros((3, 3))
    near = penalised_newton(likelihood, evaluate(likelihood, np.zeros(3), zero), polish=True)
    far = penalised_newton(
        likelihood, evaluate(likelihood, np.array([start, 0.0, 0.0]), zero), polish=True
    )
    assert near.converged and far.converged
    np.testing.assert_allclose(far.point.beta, near.point.beta, atol=1e-8)


def test_expected_curvature_replaces_an_indefinite_one(rng):
    # Far from the mean the observed curvature of a normal scale is negative in log sigma.
    y = rng.normal(size=50)
    ones = (DenseBlock(np.ones((50, 1))),) * 2
    likelihood = Likelihood(Normal(), y, np.ones(50), ones, np.zeros((50, 2)))
    start = evaluate(likelihood, np.array([4.0, -1.0]), np.zeros((2, 2)))
    assert start.kind == "expected"
    assert start.factor.positive_definite
    end = penalised_newton(likelihood, start, polish=True)
    np.testing.assert_allclose(end.point.beta, [y.mean(), np.log(y.std())], atol=1e-8)
    assert end.point.kind == "observed"


def with_dispersion(family, y, loc):
    blocks = (DenseBlock(np.ones((y.size, 1))),) * 2
    at = Dispersion(1, 1, family.dispersion[1])
    return Likelihood(family, y, np.ones(y.size), blocks, np.column_stack([loc, 0 * loc]), at)


@pytest.mark.parametrize("start", [-8.0, 0.0, 8.0])
@pytest.mark.parametrize("degrees", [0.0, 3.7])
def test_dispersion_of_the_normal_is_rss_over_degrees_of_freedom(rng, start, degrees):
    y = rng.normal(size=40) * 3
    likelihood = with_dispersion(Normal(), y, np.zeros(40))
    eta = np.column_stack([np.zeros(40), np.full(40, start)])
    shift = solve_dispersion(likelihood, eta, degrees=degrees)
    np.testing.assert_allclose(np.exp(2 * (start + shift)), (y @ y) / (40 - degrees))


def test_dispersion_with_the_penalty_in_its_equation(rng):
    y, q = rng.normal(size=40), 5.0
    likelihood = with_dispersion(Normal(), y, np.zeros(40))
    shift = solve_dispersion(likelihood, np.zeros((40, 2)), degrees=2.0, quadratic=q)
    np.testing.assert_allclose(np.exp(2 * shift), (y @ y + q) / 38)


def test_dispersion_stops_at_its_floor(rng):
    likelihood = with_dispersion(Normal(), np.ones(5), np.ones(5))
    assert solve_dispersion(likelihood, np.ones((5, 2)), degrees=1.0, floor=-20.0) == -20.0
    assert solve_dispersion(likelihood, np.ones((5, 2)), degrees=9.0, floor=-20.0) == -20.0


def test_dispersion_that_is_not_profiled_is_refused(design, rng):
    with pytest.raises(UnsupportedCombinationError, match="no profiled dispersion"):
        solve_dispersion(two_parameters(design, rng), np.zeros((80, 2)), degrees=0.0)


def test_dispersion_of_the_gamma_is_maximum_likelihood(rng):
    y = rng.gamma(2.0, 1.0, size=200)
    likelihood = with_dispersion(Gamma(), y, np.full(200, np.log(y.mean())))
    eta = np.column_stack([np.full(200, np.log(y.mean())), np.full(200, 1.5)])
    shift = solve_dispersion(likelihood, eta, degrees=0.0)
    eta[:, 1] += shift
    assert abs(likelihood.score(eta)[:, 1].sum()) < 1e-8


def test_likelihood_is_minus_infinity_where_it_is_not_a_number():
    likelihood = Likelihood(
        Normal(), np.ones(1), np.ones(1), (DenseBlock(np.ones((1, 1))),) * 2, np.zeros((1, 2))
    )
    assert likelihood.loglik(np.array([[np.nan, 0.0]])) == -np.inf


def test_problem_helper_gives_one_design_per_parameter(rng):
    import pandas as pd

    frame = pd.DataFrame({"x": rng.normal(size=20)})
    problem = make_problem("x", frame, rng.normal(size=20), "normal")
    assert [block.shape[1] for block in problem.blocks] == [2, 1]


def test_curvature_beyond_every_ridge_gives_way_to_the_expected_one(monkeypatch):
    problem = make_problem("x", pd.DataFrame({"x": np.arange(8.0)}), np.arange(8.0) % 3, "poisson")
    likelihood = Engine.of(problem).likelihood
    beta = np.array([0.1, 0.05])
    good = evaluate(likelihood, beta, np.zeros((2, 2)))
    known = Likelihood.information

    def information(self, eta, kind):
        return known(self, eta, kind) if kind == "expected" else np.diag([1.0, -1e9])

    monkeypatch.setattr(Likelihood, "information", information)
    point = evaluate(likelihood, beta, np.zeros((2, 2)))
    assert point.kind == "expected"
    np.testing.assert_allclose(point.H, good.H)  # the canonical link: both are the same
