"""Curves that keep a shape, against isotonic regression and bounded least squares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula, predict_link
from scipy.optimize import isotonic_regression, lsq_linear, minimize

from semistruct.exceptions import SpecificationError
from semistruct.fitting.shapes import inequalities
from semistruct.fitting.structured import fit_structured
from semistruct.inference.smooth_tests import smooth_table
from semistruct.terms import s, te

SAME = 1e-6  # two solvers of one convex problem, relative to a response of spread one
SHAPE = 1e-10  # rounding of differences of neighbouring values of a curve of size one
GRID = np.linspace(0.0, 1.0, 2001)
SHAPES = ["increasing", "decreasing", "convex", "concave"]


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    n = 250
    frame = pd.DataFrame({"x": rng.uniform(size=n), "z": rng.uniform(size=n)})
    frame["g"] = rng.choice(["a", "b"], n)
    frame["y"] = np.sin(7 * frame["x"]) + frame["z"] + 0.4 * rng.normal(size=n)
    frame["rise"] = 1 / (1 + np.exp(-12 * (frame["x"] - 0.5))) + 0.3 * rng.normal(size=n)
    frame["count"] = rng.poisson(np.exp(np.sin(6 * frame["x"])))
    assert frame.nunique().min() >= 2
    return frame


def curve(problem, fit, label: str, points: np.ndarray = GRID) -> np.ndarray:
    """Values of the term at points from 0 to 1."""
    own = problem.designs[0].slices[label]
    basis = next(one for one in problem.designs[0].bases if one.label == label)
    X = basis.design(pd.DataFrame({"x": points, "z": points, "g": "a"})).dense()
    return X @ fit.beta[own]


def holds(values: np.ndarray, shape: str) -> bool:
    order, sign = {
        "increasing": (1, 1.0),
        "decreasing": (1, -1.0),
        "convex": (2, 1.0),
        "concave": (2, -1.0),
    }[shape]
    return bool((sign * np.diff(values, n=order)).min() >= -SHAPE)


@pytest.mark.parametrize("response", ["y", "count"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_holds_on_the_whole_line(frame, shape, response):
    family = "normal" if response == "y" else "poisson"
    formula = f"s(x, k=15, constraint='{shape}') + s(z)"
    problem, fit = fit_formula(formula, frame, frame[response].to_numpy(), family)
    assert fit.converged
    beyond = np.linspace(-1.0, 2.0, 3001)
    assert holds(curve(problem, fit, "s(x)", beyond), shape)
    _, free = fit_formula(
        "s(x, k=15) + s(z)", frame, frame[response].to_numpy(), family, smoothing=fit.smoothing
    )
    _, best = fit_formula("s(x, k=15) + s(z)", frame, frame[response].to_numpy(), family)
    assert not holds(curve(problem, best, "s(x)"), shape)
    assert fit.loglik < best.loglik
    # The shape takes degrees of freedom away, and width from the band.
    own = problem.designs[0].slices["s(x)"]
    assert 0.0 <= fit.edf[own].sum() < free.edf[own].sum()
    new = pd.DataFrame({"x": GRID, "z": 0.5, "g": "a"})
    se, wide = (
        predict_link(problem.designs[0], one, 0, new)[1] / np.sqrt(one.dispersion)
        for one in (fit, free)
    )
    assert np.isfinite(se).all()
    assert (se > 0.0).all()
    assert se.mean() < wide.mean()
    assert np.isfinite(smooth_table(fit, problem)["p"]).all()


def test_isotonic_regression(rng):
    # Hat functions at every distinct value, no penalty: the isotonic regression itself.
    x = rng.integers(0, 15, 200).astype(float)
    x[:15] = np.arange(15)
    y = np.sqrt(x) + rng.normal(size=200)
    frame = pd.DataFrame({"x": x})
    for shape, sign in (("increasing", 1.0), ("decreasing", -1.0)):
        formula = f"s(x, k=15, m=(0, 1), knots=(0, 14), lam=0, constraint='{shape}')"
        _, fit = fit_formula(formula, frame, y)
        grouped = pd.Series(y).groupby(x)
        weights = grouped.size().to_numpy()
        best = isotonic_regression(grouped.mean().to_numpy() * sign, weights=weights).x
        np.testing.assert_allclose(fit.eta[:, 0], sign * best[x.astype(int)], atol=SAME)


def increments(k: int, shape: str) -> tuple[np.ndarray, int]:
    """``beta = M u`` where all of ``u`` but the first few are not negative."""
    order = 1 if shape in ("increasing", "decreasing") else 2
    M = np.tril(np.ones((k, k)))
    if order == 2:
        M = M @ np.block(
            [
                [np.eye(1), np.zeros((1, k - 1))],
                [np.zeros((k - 1, 1)), np.tril(np.ones((k - 1, k - 1)))],
            ]
        )
    sign = -1.0 if shape in ("decreasing", "concave") else 1.0
    M[:, order:] *= sign
    return M, order


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lam", [0.01, 1.0, 100.0])
def test_bounded_least_squares(frame, shape, lam):
    term = s("x", k=12, lam=lam, constraint=shape)
    _, fit = fit_formula(term.text(), frame, frame["y"].to_numpy())
    basis = term.build(frame)
    B = basis.raw.evaluate(frame[["x"]].to_numpy())
    D = np.diff(np.eye(12), n=2, axis=0) * np.sqrt(lam / basis.penalty_scales[0])
    M, free = increments(12, shape)
    low = np.where(np.arange(12) < free, -np.inf, 0.0)
    target = np.append(frame["y"].to_numpy(), np.zeros(10))
    found = lsq_linear(np.vstack([B, D]) @ M, target, (low, np.inf), method="bvls", tol=1e-14)
    np.testing.assert_allclose(fit.eta[:, 0], B @ M @ found.x, atol=SAME)


@pytest.mark.parametrize("shape", ["increasing", "convex"])
def test_bounded_poisson_likelihood(frame, shape):
    term = s("x", k=8, lam=2.0, constraint=shape)
    y = frame["count"].to_numpy(dtype=float)
    _, fit = fit_formula(term.text(), frame, y, "poisson")
    basis = term.build(frame)
    M, free = increments(8, shape)
    X = basis.raw.evaluate(frame[["x"]].to_numpy()) @ M
    D = np.diff(np.eye(8), n=2, axis=0) @ M * np.sqrt(2.0 / basis.penalty_scales[0])

    def loss(u: np.ndarray) -> tuple[float, np.ndarray]:
        mu = np.exp(X @ u)
        value = float(mu.sum() - y @ (X @ u) + 0.5 * np.square(D @ u).sum())
        return value, X.T @ (mu - y) + D.T @ (D @ u)

    bounds = [(None, None) if j < free else (0.0, None) for j in range(8)]
    options = {"maxiter": 1000, "ftol": 1e-15}
    found = minimize(loss, np.zeros(8), jac=True, bounds=bounds, method="SLSQP", options=options)
    mine = np.linalg.lstsq(X, fit.eta[:, 0])[0]
    assert loss(mine)[0] <= found.fun + 1e-9 * abs(found.fun)
    np.testing.assert_allclose(fit.eta[:, 0], X @ found.x, atol=1e-5)


def test_a_shape_that_the_data_have_changes_nothing(frame):
    rise = frame["x"].to_numpy() + 0.01 * frame["rise"].to_numpy()
    problem, shaped = fit_formula("s(x, constraint='increasing')", frame, rise)
    _, free = fit_formula("s(x)", frame, rise)
    assert (inequalities(problem) @ free.beta > 0.0).all()
    np.testing.assert_array_equal(shaped.eta, free.eta)


def test_a_shape_that_the_data_contradict_leaves_the_limit(frame):
    fall = -3.0 * frame["x"].to_numpy() + 0.1 * frame["rise"].to_numpy()
    problem, fit = fit_formula("s(x, constraint='increasing') + s(z)", frame, fall)
    np.testing.assert_allclose(curve(problem, fit, "s(x)"), 0.0, atol=SHAPE)
    _, without = fit_formula("s(z)", frame, fall)
    np.testing.assert_allclose(fit.eta, without.eta, atol=1e-4)
    problem, fit = fit_formula("s(x, constraint='convex')", frame, frame["y"].to_numpy() * 0 + fall)
    assert holds(curve(problem, fit, "s(x)"), "convex")


def test_curves_of_groups_products_of_shapes_and_names(frame):
    problem, fit = fit_formula("s(x, by=g, bs='mpi')", frame, frame["y"].to_numpy())
    for g in "ab":
        X = problem.designs[0].block(pd.DataFrame({"x": GRID, "g": g})).dense()
        assert holds(X @ fit.beta[fit.slices[0]], "increasing")
    both = "s(x, constraint=('increasing', 'concave'), k=12)"
    problem, fit = fit_formula(both, frame, frame["rise"].to_numpy())
    assert holds(curve(problem, fit, "s(x)"), "increasing")
    assert holds(curve(problem, fit, "s(x)"), "concave")
    for bs, shape in (("mpi", "increasing"), ("mpd", "decreasing"), ("cx", "convex")):
        assert s("x", bs=bs) == s("x", constraint=shape)
    assert s("x", bs="cv") == s("x", constraint="concave")


def test_uneven_knots(frame):
    inner = np.array([0.0, 0.05, 0.1, 0.2, 0.45, 0.8, 1.0])
    knots = np.concatenate([[-0.3, -0.2, -0.1], inner, [1.1, 1.3, 1.6]])
    for shape in SHAPES:
        term = s("x", k=9, knots=knots, constraint=shape)
        problem, fit = fit_formula(term.text(), frame, frame["y"].to_numpy())
        assert holds(curve(problem, fit, "s(x)"), shape)


def test_smoothing_from_elsewhere_is_kept(frame):
    problem, _ = fit_formula("s(x, bs='mpi') + s(z)", frame, frame["y"].to_numpy())
    held = fit_structured(problem, smoothing=np.array([0.3, 2.0]))
    np.testing.assert_allclose(held.smoothing, [0.3, 2.0], rtol=1e-12)
    assert holds(curve(problem, held, "s(x)"), "increasing")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: s("x", constraint="rising"), "'increasing', 'decreasing'"),
        (lambda: s("x", constraint=("convex", "concave")), "one of the first two"),
        (lambda: s("x", constraint=()), r"got \(\)"),
        (lambda: s("x", bs="cr", constraint="convex"), r"bs='cr'\) takes no constraint"),
        (lambda: s("x", bs="mpi", constraint="convex"), "leave one out"),
        (lambda: s("x", df=4, constraint="convex"), "both df= and constraint="),
    ],
)
def test_wrong_calls(make, match):
    with pytest.raises(SpecificationError, match=match):
        make()


def test_a_straight_line_beside_a_shape_is_refused(frame):
    with pytest.raises(SpecificationError, match="has a shape, but another term"):
        fit_formula("x + s(x, bs='mpi')", frame, frame["y"].to_numpy())
    # A product gives way instead.
    assert te("x", "z") is not None
    problem, _ = fit_formula("s(x, bs='mpi') + te(x, z)", frame, frame["y"].to_numpy())
    assert len(inequalities(problem)) == 9
