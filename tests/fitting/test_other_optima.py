"""A second maximum of the restricted likelihood is found from the first."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _fits import make_problem
from _oracles import load_oracle

from semistruct.fitting.engine import Engine
from semistruct.fitting.other_optima import better_elsewhere
from semistruct.fitting.smoothing import smoothing_bounds
from semistruct.fitting.structured import fit_structured


@pytest.mark.oracle
def test_the_better_of_two():
    """Its curve of `crim` can follow single towns, at a criterion lower by six."""
    data = load_oracle("D02_gam_gaussian_boston_te").data
    formula = "s(lstat, by=chas, bs='cr', k=8) + chas + s(crim, by=nox, bs='cr', k=6)"
    problem = make_problem(formula, data, data["medv"], "normal")
    found = fit_structured(problem)
    assert found.converged
    worse = fit_structured(problem, smoothing=np.array([9.26441268, 2.65659387, 0.07817838]))
    assert found.reml < worse.reml - 6
    engine = Engine.of(problem).quick
    local = engine.settle(worse.smoothing, worse.beta, "reml")
    free = np.ones(3, bool)
    bounds = smoothing_bounds(engine.penalties, local.point.H)
    lam = better_elsewhere(
        engine.penalties, local, free, bounds, engine.likelihood.dispersion.column
    )
    assert lam is not None
    np.testing.assert_array_equal(lam[:2], local.lam[:2])
    near = np.log(lam[2] * engine.variance(worse.beta) / found.smoothing[2])
    assert abs(near) < 1.5


def test_the_promise_is_exact_for_the_normal():
    """At a fixed dispersion the profile along one smoothing parameter is that of whole fits."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.uniform(size=200), "z": rng.uniform(size=200)})
    y = np.sin(6 * frame["x"]) + rng.normal(0, 0.3, 200)
    problem = make_problem("s(x) + s(z)", frame, y, "normal")
    engine = Engine.of(problem).quick
    best = fit_structured(problem)
    far = best.smoothing * np.array([1e6, 1.0])  # a straight line for x
    settled = engine.settle(far, best.beta, "reml")
    free = np.array([True, False])
    bounds = smoothing_bounds(engine.penalties, settled.point.H)
    lam = better_elsewhere(
        engine.penalties, settled, free, bounds, engine.likelihood.dispersion.column
    )
    assert lam is not None
    assert lam[1] == settled.lam[1]
    assert lam[0] < 1e-3 * settled.lam[0]
    again = engine.settle(best.smoothing, best.beta, "reml")
    assert better_elsewhere(engine.penalties, again, free, bounds, None) is None
