"""Coefficients of mixtures against a general optimiser, and where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from semistruct.families.cox import CoxPartialLikelihood
from semistruct.fitting.mixed_solve import solve_mixture
from semistruct.fitting.score_nodes import Nodes
from semistruct.fitting.structured import fit_structured
from semistruct.terms import DenseBlock
from tests._fits import make_problem

N = 300
# EM stops at a change of 1e-4 standard deviations of the deep part.
CLOSE = 2e-3


def study(rng, family):
    frame = pd.DataFrame({"x": rng.normal(size=N)})
    u = rng.choice([-1.0, 1.0], N)
    lacking = np.arange(N) % 2 == 0
    eta = 0.5 * frame["x"] + u
    if family == "poisson":
        y = rng.poisson(np.exp(eta)).astype(float)
    else:
        y = eta.to_numpy() + rng.normal(0, 0.5, N)
    count = np.where(lacking, 2, 1)
    row = np.repeat(np.arange(N), count)
    K = 1 if family == "poisson" else 2
    values = np.zeros((len(row), K))
    values[:, 0] = u[row]
    first = np.cumsum(count) - count
    values[first[lacking], 0], values[first[lacking] + 1, 0] = -1.0, 1.0
    return make_problem("x", frame, y, family), Nodes(N, row, values)


def optimum(problem, nodes, owner=None):
    """The mixture's likelihood, maximised without knowing of EM."""
    row = nodes.row
    sizes = [block.shape[1] for block in problem.blocks]
    bound = problem.family.bind(problem.y[row], np.ones(len(row)))
    owner = np.arange(nodes.n) if owner is None else owner

    def loss(beta):
        parts = np.split(beta, np.cumsum(sizes)[:-1])
        eta = np.column_stack(
            [block.matvec(own) for block, own in zip(problem.blocks, parts, strict=True)]
        )
        rows = bound.contributions(np.ascontiguousarray(eta[row] + nodes.values))
        total = 0.0
        for one in np.unique(owner):
            mine = [rows[row == i] for i in np.flatnonzero(owner == one)]
            parts = np.sum(mine, axis=0)
            total += logsumexp(parts) - np.log(len(parts))
        return -total

    return minimize(loss, np.zeros(sum(sizes)), method="BFGS").x


@pytest.mark.parametrize("family", ["normal", "poisson"])
def test_rows_of_their_own(rng, family):
    problem, nodes = study(rng, family)
    fit = solve_mixture(problem, nodes)
    best = optimum(problem, nodes)
    np.testing.assert_allclose(fit.beta[:2], best[:2], atol=CLOSE)
    # A scale is estimated with the degrees of freedom of the coefficients: 1 in 300 larger.
    np.testing.assert_allclose(fit.beta[2:], best[2:] + 1 / N, atol=CLOSE)
    ignorant = fit_structured(problem)
    assert np.abs(fit.beta - ignorant.beta).max() > 0.1
    assert fit.eta.shape == (N, len(problem.designs))


def test_rows_that_share_a_picture(rng):
    """Three rows a picture: all of them say which node it is."""
    problem, _ = study(rng, "poisson")
    owner = np.arange(N) // 3
    lacking = owner % 2 == 0
    row = np.repeat(np.arange(N), np.where(lacking, 2, 1))
    values = np.where(np.r_[True, row[1:] != row[:-1]], -1.0, 1.0)[:, None]
    shared = Nodes(N, row, values)
    fit = solve_mixture(problem, shared, owner)
    np.testing.assert_allclose(fit.beta, optimum(problem, shared, owner), atol=CLOSE)
    assert np.abs(fit.beta - solve_mixture(problem, shared).beta).max() > CLOSE


def test_without_mixtures_it_is_the_fit_with_an_offset(rng):
    problem, nodes = study(rng, "normal")
    single = Nodes.single(nodes.values[nodes.start])
    fit = solve_mixture(problem, single)
    x = pd.DataFrame({"x": problem.blocks[0].dense()[:, 1]})
    zero = fit_structured(make_problem("x", x, problem.y - single.values[:, 0], "normal"))
    np.testing.assert_allclose(fit.beta, zero.beta, atol=1e-6)


def test_a_partial_likelihood():
    """Where frailty would bias, the coefficient given the picture is found."""
    rng = np.random.default_rng(1)
    n = 4000
    x, u = rng.normal(size=n), rng.choice([-1.2, 1.2], n)
    time = rng.exponential(np.exp(-(0.8 * x + u)))
    y = CoxPartialLikelihood.encode(np.minimum(time, 3.0), (time < 3.0).astype(float))
    problem = make_problem("x", pd.DataFrame({"x": x}), u, "normal")
    design, block = problem.designs[0], problem.blocks[0]
    columns = DenseBlock(block.dense()[:, 1:])
    problem = type(problem)(
        CoxPartialLikelihood("breslow"),
        y,
        (_only_x(design),),
        (columns,),
        np.zeros((n, 1)),
        np.ones(n),
    )
    lacking = np.arange(n) % 2 == 0
    row = np.repeat(np.arange(n), np.where(lacking, 2, 1))
    first = np.r_[True, row[1:] != row[:-1]]
    values = np.where(lacking[row], np.where(first, -1.2, 1.2), u[row])[:, None]
    fit = solve_mixture(problem, Nodes(n, row, values))
    zero = fit_structured(
        type(problem)(
            problem.family,
            y,
            problem.designs,
            problem.blocks,
            np.where(lacking, 0.0, u)[:, None],
            np.ones(n),
        )
    )
    se = np.sqrt(fit.V[0, 0])
    assert abs(fit.beta[0] - 0.8) < 3 * se
    assert zero.beta[0] < 0.8 - 3 * se


def _only_x(design):
    return replace(
        design,
        bases=(),
        slices={"x": slice(0, 1)},
        names=("x",),
        kinds=np.array(["parametric"], dtype=object),
        penalties=(),
    )
