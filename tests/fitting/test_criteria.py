"""Smoothing criteria: their gradients are derivatives, their values are those of the definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _fits import make_problem
from scipy.special import xlogy

from semistruct.families import Bernoulli
from semistruct.fitting.criteria import saturated_loglik
from semistruct.fitting.engine import Engine
from semistruct.fitting.penalties import PenaltySystem, PlacedPenalty
from semistruct.fitting.smoothing import (
    FellnerSchall,
    fellner_schall_slope,
    fellner_schall_update,
    smoothing_bounds,
)

DIFFERENCES = 2e-4  # central differences of a criterion at converged coefficients


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(5)
    n = 150
    frame = pd.DataFrame({"x": rng.uniform(size=n), "z": rng.normal(size=n)})
    eta = np.sin(6 * frame.x) + 0.2 * frame.z
    frame["normal"] = eta + rng.normal(size=n)
    frame["poisson"] = rng.poisson(np.exp(eta)).astype(float)
    frame["gamma"] = rng.gamma(3.0, np.exp(eta) / 3)
    frame["bernoulli"] = (rng.uniform(size=n) < 1 / (1 + np.exp(-2 * eta))).astype(float)
    return frame


CASES = [
    *[("s(x) + s(z, k=6)", family, m) for family in ("normal", "poisson", "gamma", "bernoulli")
      for m in ("reml", "ml", "gcv")],
    ("s(x) + s(z, k=6)", Bernoulli(link="cloglog"), "reml"),
    ("s(x) + s(z, k=6)", Bernoulli(link="cloglog"), "gcv"),
    ({"loc": "s(x)", "scale": "s(z, k=6)"}, "normal", "reml"),
    ({"mean": "s(x)", "dispersion": "s(z, k=6)"}, "gamma", "ml"),
    ("te(x, z, k=[5, 5])", "poisson", "reml"),
]  # fmt: skip


@pytest.mark.parametrize(("formula", "family", "method"), CASES)
def test_gradient_is_the_derivative_through_the_coefficients(table, formula, family, method):
    name = family if isinstance(family, str) else "bernoulli"
    engine = Engine.of(make_problem(formula, table, table[name], family))
    rule = "edf" if method == "gcv" else method
    rho, free = np.log([3.0, 20.0]), np.ones(2, dtype=bool)
    start = engine.settle(np.exp(rho), engine.start, rule, polish=True)

    def value(at):
        settled = engine.settle(np.exp(at), start.point.beta, rule, polish=True)
        return engine.criterion(settled, method, free)

    gradient, h = value(rho).gradient, 1e-3
    for j, step in enumerate(h * np.eye(2)):
        slope = (value(rho + step).value - value(rho - step).value) / (2 * h)
        np.testing.assert_allclose(gradient[j], slope, rtol=DIFFERENCES, atol=DIFFERENCES)


@pytest.mark.parametrize("family", ["normal", "poisson", "gamma", "bernoulli"])
def test_deviance_from_the_saturated_likelihood(table, family):
    engine = Engine.of(make_problem("x + z", table, table[family], family))
    settled = engine.settle(np.zeros(0), engine.start, "edf", polish=True)
    eta, y = settled.point.eta, table[family].to_numpy()
    log_link = np.exp(np.minimum(eta[:, 0], 30))
    mu = {"normal": eta[:, 0], "bernoulli": 1 / (1 + np.exp(-eta[:, 0]))}.get(family, log_link)
    scale = engine.variance(settled.point.beta)
    deviance = {
        "normal": lambda: (y - mu) ** 2,
        "poisson": lambda: 2 * (xlogy(y, y / mu) - y + mu),
        "gamma": lambda: 2 * (y / mu - 1 - np.log(y / mu)),
        "bernoulli": lambda: -2 * (xlogy(y, mu) + xlogy(1 - y, 1 - mu)),
    }[family]().sum()
    found = 2 * scale * (saturated_loglik(engine.likelihood, eta) - settled.point.loglik)
    np.testing.assert_allclose(found, deviance, rtol=1e-7)


def test_fellner_schall_increases_the_restricted_likelihood(table):
    engine = Engine.of(make_problem("s(x) + s(z)", table, table.normal, "normal"))
    sp, free = np.array([1e4, 1e-4]), np.ones(2, dtype=bool)
    settled = engine.settle(sp, engine.start, "reml")
    state = FellnerSchall.start(settled.lam)
    before = engine.criterion(settled, "reml", free)
    slope = fellner_schall_slope(engine.penalties, settled.lam, settled.point.beta, settled.V, free)
    np.testing.assert_allclose(slope, before.gradient, rtol=1e-6, atol=1e-8)
    bounds = smoothing_bounds(engine.penalties, settled.point.H)
    moved = fellner_schall_update(
        state, engine.penalties, settled.point.beta, settled.V, free, bounds
    )
    assert moved.lam[0] < settled.lam[0] and moved.lam[1] > settled.lam[1]
    sp = moved.lam * engine.variance(settled.point.beta)
    after = engine.criterion(engine.settle(sp, settled.point.beta, "reml"), "reml", free)
    assert after.value > before.value + 1
    assert (np.abs(np.log(moved.lam / settled.lam)) <= 4.6 + 1e-12).all()
    held = fellner_schall_update(
        state, engine.penalties, settled.point.beta, settled.V, ~free, bounds
    )
    np.testing.assert_array_equal(held.lam, settled.lam)


def test_acceleration_grows_and_is_taken_back():
    state = FellnerSchall(np.ones(1), np.full(1, 4.0), np.ones(1))
    assert state.slowed().boost[0] == 1.0


def test_penalties_are_placed_and_grouped():
    S, eye = np.diag([0.0, 1.0]), np.eye(2)
    system = PenaltySystem.build(
        6,
        [
            PlacedPenalty("a", slice(1, 3), S),
            PlacedPenalty("b1", slice(3, 5), eye),
            PlacedPenalty("b2", slice(3, 5), S),
        ],
    )
    assert [group.members for group in system.groups] == [(0,), (1, 2)]
    lam, beta = np.array([2.0, 3.0, 4.0]), np.arange(6.0)
    matrix = system.matrix(lam)
    np.testing.assert_allclose(np.diag(matrix), [0, 0, 2, 3, 7, 0])
    np.testing.assert_allclose(lam @ system.quadratic(beta), beta @ matrix @ beta)
    found = system.determinant(lam)
    np.testing.assert_allclose(found.logdet, np.log(2 * 3 * 7))
    assert found.rank == 3 and found.traces.sum() == pytest.approx(3)
    V = np.arange(36.0).reshape(6, 6)
    V = V + V.T
    np.testing.assert_allclose(lam @ system.traces(V), np.trace(V @ matrix))
    np.testing.assert_allclose(system.apply(2, beta), [0, 0, 0, 0, 4, 0])
    U = system.null_basis()
    assert U.shape == (6, 3)
    np.testing.assert_allclose(matrix @ U, 0, atol=1e-12)


def test_profile_of_the_determinant():
    rng = np.random.default_rng(0)
    roots = [rng.normal(size=(3, 5)) for _ in range(2)]
    system = PenaltySystem.build(
        7,
        [
            PlacedPenalty("alone", slice(0, 2), np.eye(2)),
            *(PlacedPenalty("together", slice(2, 7), root.T @ root) for root in roots),
        ],
    )
    lam, values = np.array([0.3, 2.0, 5.0]), np.array([1e-3, 1.0, 50.0])
    here = system.determinant(lam).logdet
    for j in range(3):
        expected = [
            system.determinant(np.where(np.arange(3) == j, value, lam)).logdet - here
            for value in values
        ]
        np.testing.assert_allclose(system.logdet_profile(lam, j, values), expected, atol=1e-10)
