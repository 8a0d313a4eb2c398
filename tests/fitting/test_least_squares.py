"""Condensed normal responses: the same likelihood, score and information from a few rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _fits import make_problem

from semistruct.families import Gamma, Normal
from semistruct.fitting.engine import Engine
from semistruct.fitting.least_squares import condensed
from semistruct.fitting.newton import solve_dispersion

N = 400


def likelihood_of(formula="s(x) + z", family=None, offset=0.0, shift=0.0, n=N):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.uniform(size=n), "z": rng.normal(size=n)})
    y = np.exp(np.sin(5 * frame["x"]) + 0.3 * rng.normal(size=n)) + shift
    problem = make_problem(formula, frame, y, family or Normal())
    problem.sample_weight[:] = rng.uniform(0.5, 2.0, n)
    problem.offset[:, 0] += offset * frame["z"] ** 2
    return Engine.of(problem).likelihood


@pytest.mark.parametrize("offset", [0.0, 0.7])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_same_function_of_the_coefficients(offset, shift):
    every = likelihood_of(offset=offset, shift=shift)
    few = condensed(every)
    assert few is not None
    assert few.n == every.size  # one more than coefficients of the mean
    rng = np.random.default_rng(1)
    exact = 1e-9 if shift else 1e-12  # digits of the response are lost before we see it
    level = np.zeros(every.size)
    level[0] = shift
    for _ in range(3):
        beta = level + rng.normal(size=every.size)
        at_every, at_few = every.eta(beta), few.eta(beta)
        np.testing.assert_allclose(few.loglik(at_few), every.loglik(at_every), rtol=exact)
        gradients = [
            own.gradient(own.score(eta)) for own, eta in ((few, at_few), (every, at_every))
        ]
        np.testing.assert_allclose(*gradients, rtol=exact, atol=exact * np.abs(gradients[1]).max())
        for kind in ("observed", "expected"):
            H = [own.information(eta, kind) for own, eta in ((few, at_few), (every, at_every))]
            np.testing.assert_allclose(*H, rtol=exact, atol=exact * np.abs(H[1]).max())


def test_aliased_columns():
    few = condensed(likelihood_of("s(x) + s(x, bs='cr', label='again')"))
    assert few is not None
    assert np.isfinite(few.blocks[0].dense()).all()


def test_other_likelihoods_are_left_alone():
    assert condensed(likelihood_of(family=Gamma())) is None
    assert condensed(likelihood_of(family=Normal(loc_link="log"))) is None
    assert condensed(likelihood_of({"loc": "x", "scale": "x"})) is None
    assert condensed(likelihood_of(n=40)) is None


def test_dispersion_in_closed_form_is_the_root_that_a_search_finds():
    every = likelihood_of()
    few = condensed(every)
    beta = np.random.default_rng(2).normal(size=every.size)
    for degrees, quadratic in ((0.0, 0.0), (7.5, 0.0), (7.5, 300.0)):
        found = [
            solve_dispersion(own, own.eta(beta), degrees=degrees, quadratic=quadratic)
            for own in (every, few)
        ]
        assert abs(found[0]) > 0.1
        assert found[1] == pytest.approx(found[0], abs=1e-8)
