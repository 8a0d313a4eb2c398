"""Penalties of a smooth made ready for a model: the null space of ``select=True``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula

import semistruct as ss
from semistruct.exceptions import SpecificationError
from semistruct.terms import s, te, ti

SOLVED = 1e-8  # normal equations of ten unknowns, solved in two ways


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    frame = pd.DataFrame(rng.uniform(size=(300, 4)), columns=list("xzvw"))
    frame["g"] = rng.choice(["a", "b", "c"], 300)
    # Noise without any chance association with v and w, and a signal of the other columns.
    nothing = [s(name, k=15).build(frame).design(frame).dense() for name in "vwxz"]
    basis = np.linalg.qr(np.hstack([np.ones((300, 1)), *nothing]))[0]
    noise = rng.normal(size=300)
    frame["y"] = np.sin(5 * frame["x"]) + 2 * frame["z"] + 0.3 * (noise - basis @ (basis.T @ noise))
    assert frame["y"].nunique() == 300
    return frame


def edf(formula: str, frame: pd.DataFrame) -> dict[str, float]:
    problem, fit = fit_formula(formula, frame, frame["y"].to_numpy())
    own = problem.designs[0].slices
    return {label: float(fit.edf[at].sum()) for label, at in own.items()}


def test_selection_removes_what_has_no_effect_and_keeps_the_rest(frame):
    kept = edf("s(x) + s(z) + s(v) + s(w, bs='cr')", frame)
    chosen = edf(
        "s(x, select=True) + s(z, select=True) + s(v, select=True) + s(w, bs='cr', select=True)",
        frame,
    )
    assert min(kept["s(v)"], kept["s(w)"]) > 0.99
    assert min(chosen["s(v)"], chosen["s(w)"]) < 0.05
    assert sum(chosen.values()) < sum(kept.values()) - 0.5
    assert chosen["s(z)"] > 0.9
    np.testing.assert_allclose(chosen["s(x)"], kept["s(x)"], atol=0.1)


def test_the_second_penalty_is_the_projection_on_the_null_space_of_the_first(frame):
    basis = s("x", bs="cr", select=True).build(frame)
    S, null = basis.penalties
    assert (basis.ranks, basis.null_dim, basis.penalty_scales[1]) == ((8, 1), 0, 1.0)
    np.testing.assert_allclose(S @ null, 0.0, atol=1e-9 * np.abs(S).max())
    np.testing.assert_allclose(null @ null, null, atol=1e-10)
    # Fixed, both enter the normal equations.
    lam = (2.0, 5.0)
    _, fit = fit_formula(s("x", bs="cr", select=True, lam=lam).text(), frame, frame["y"].to_numpy())
    X = np.column_stack([np.ones(len(frame)), basis.design(frame).dense()])
    A = X.T @ X
    A[1:, 1:] += lam[0] * S + lam[1] * null
    np.testing.assert_allclose(
        fit.eta[:, 0], X @ np.linalg.solve(A, X.T @ frame["y"].to_numpy()), atol=SOLVED
    )


def test_groups_and_products_are_selected_too(frame):
    basis = s("x", by="g", select=True).build(frame)
    assert (len(basis.penalties), basis.null_dim) == (6, 0)
    product = te("x", "z", select=True).build(frame)
    assert (len(product.penalties), product.ranks[2], product.null_dim) == (3, 3, 0)


def test_a_selected_smooth_contains_the_others_whole(frame):
    alone = len(te("x", "z", select=True).build(frame).names)
    problem, _ = fit_formula("s(x) + te(x, z, select=True)", frame, frame["y"].to_numpy())
    assert problem.designs[0].slices["te(x,z)"].stop - alone == 10


def test_wrong_options(frame):
    with pytest.raises(SpecificationError, match="True or False"):
        te("x", "z", select=1)
    with pytest.raises(SpecificationError, match=r"1 values but the term has 2.*select=True"):
        s("x", select=True, lam=1.0).build(frame)


# --- beyond the training range ------------------------------------------------------------------

BEYOND = [1.5, 2.0, 2.5]
STRAIGHT = 1e-9  # second differences of three values of a curve of size one


def values(term, frame: pd.DataFrame, rng, **columns) -> np.ndarray:
    """A random curve of the term at new rows."""
    basis = term.build(frame)
    beta = rng.normal(size=len(basis.names))
    size = max(len(column) for column in columns.values())
    new = {name: np.resize(np.asarray(column), size) for name, column in columns.items()}
    return basis.design(pd.DataFrame(new)).matvec(beta)


@pytest.mark.parametrize("bs", ["ps", "bs", "cr", "cs", "tp", "ts"])
@pytest.mark.parametrize("by", ["g", "v"])
def test_curves_that_vary_go_on_as_plain_ones_do(frame, rng, bs, by):
    other = {"g": {"g": ["b"]}, "v": {"v": [0.7]}}[by]
    line = values(s("x", bs=bs, by=by), frame, rng, x=BEYOND, **other)
    np.testing.assert_allclose(np.diff(line, n=2), 0.0, atol=STRAIGHT * np.abs(line).max())
    assert np.abs(np.diff(line)).min() > 1e-3
    held = values(s("x", bs=bs, by=by, extrapolate="constant"), frame, rng, x=BEYOND, **other)
    np.testing.assert_allclose(held, held[0], rtol=1e-12)


@pytest.mark.parametrize("make", [te, ti])
@pytest.mark.parametrize("bs", ["ps", "cr", ("cr", "ps")])
def test_products_go_on_linearly_in_each_column(frame, rng, make, bs):
    for outside, inside in (("x", "z"), ("z", "x")):
        line = values(make("x", "z", bs=bs), frame, rng, **{outside: BEYOND, inside: [0.3]})
        np.testing.assert_allclose(np.diff(line, n=2), 0.0, atol=STRAIGHT * np.abs(line).max())
        assert np.abs(np.diff(line)).min() > 1e-3
    corner = values(make("x", "z", bs=bs), frame, rng, x=BEYOND, z=BEYOND)
    # Linear in each column is quadratic along the diagonal.
    assert abs(np.diff(corner, n=2)[0]) > 1e-6


@pytest.mark.parametrize("make", [te, ti])
def test_products_held_constant_keep_the_value_of_the_nearest_point(frame, rng, make):
    term = make("x", "z", extrapolate="constant")
    low, high = frame["x"].min(), frame["z"].max()
    basis = term.build(frame)
    new = pd.DataFrame({"x": [-3.0, low, -9.0], "z": [0.4, 0.4, 7.0]})
    held = pd.DataFrame({"x": [low, low, low], "z": [0.4, 0.4, high]})
    X = basis.design(new).dense()
    np.testing.assert_array_equal(X, basis.design(held).dense())
    np.testing.assert_array_equal(X[0], X[1])


def test_predictions_of_a_model_beyond_the_training_rows(frame):
    grid = pd.DataFrame({"x": [0.5, *BEYOND]})
    straight = ss.SemiStructuredRegressor("s(x)").fit(frame[["x"]], frame["y"]).predict(grid)
    held = (
        ss.SemiStructuredRegressor("s(x, extrapolate='constant')")
        .fit(frame[["x"]], frame["y"])
        .predict(grid)
    )
    straight, held = np.asarray(straight), np.asarray(held)
    np.testing.assert_allclose(straight[0], held[0], rtol=1e-8)
    np.testing.assert_allclose(np.diff(straight[1:], n=2), 0.0, atol=1e-8)
    np.testing.assert_allclose(held[1:], held[1], rtol=1e-12)
    assert abs(straight[3] - held[3]) > 0.1
