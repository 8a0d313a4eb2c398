"""Smooths that contain others: what is left out, and that nothing else changes."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula

from semistruct.design import build_design
from semistruct.terms import parse_formula
from semistruct.terms.nesting import common_directions

# The same functions in other coordinates: rounding, magnified by the condition of the designs.
SAME_SPACE = 1e-9
# Two searches for smoothing parameters end at slightly different places.
SAME_OPTIMUM = 1e-4


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    n = 300
    frame = pd.DataFrame({name: rng.uniform(size=n) for name in "xzv"})
    frame["g"] = rng.choice(["a", "b", "c"], n)
    x, z = frame["x"].to_numpy(), frame["z"].to_numpy()
    frame["y"] = np.sin(5 * x) + z**2 + 2 * x * z + (frame["g"] == "a") * x
    frame["y"] += 0.3 * rng.normal(size=n)
    assert frame["y"].nunique() == n
    return frame


def fitted(formula: str, frame: pd.DataFrame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a model that is not identified warns
        return fit_formula(formula, frame, frame["y"].to_numpy())


def widths(formula: str, frame: pd.DataFrame) -> dict[str, int]:
    design = build_design(parse_formula(formula).terms, frame)
    return {label: own.stop - own.start for label, own in design.slices.items()}


def test_common_directions():
    A = np.array([[1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [1.0, 3.0, 4.0], [1.0, 5.0, 6.0]])
    assert np.linalg.matrix_rank(A) == 2
    B = np.column_stack([A[:, 1] ** 2, A[:, 0] + A[:, 1], A[:, 0] - A[:, 1]])
    found = B @ common_directions(A, B)
    assert found.shape == (4, 2)
    assert np.linalg.matrix_rank(np.hstack([A, found])) == 2
    assert common_directions(A, B[:, :1]).shape == (1, 0)


def test_only_functions_that_no_penalty_sees_are_left_out(frame):
    alone = widths("te(x, z)", frame)["te(x,z)"]
    assert widths("s(x) + te(x, z)", frame)["te(x,z)"] == alone - 1
    assert widths("s(x) + s(z) + te(x, z)", frame)["te(x,z)"] == alone - 2
    # The order in which they are written does not matter, other columns do not either.
    assert widths("te(x, z) + s(v) + s(z) + s(x)", frame)["te(x,z)"] == alone - 2
    assert widths("s(v) + te(x, z)", frame)["te(x,z)"] == alone
    assert (
        widths("s(x) + s(z) + ti(x, z)", frame)["ti(x,z)"] == widths("ti(x, z)", frame)["ti(x,z)"]
    )
    # A shrinkage basis is penalised throughout.
    assert widths("s(x, bs='cs') + te(x, z)", frame)["te(x,z)"] == alone
    assert widths("x + s(x)", frame) == {"Intercept": 1, "x": 1, "s(x)": 8}
    assert widths("s(x) + s(x, by=g)", frame)["s(x):g"] == 26
    assert widths("te(x, z) + te(x, v)", frame)["te(x,v)"] == alone - 1


def test_without_penalties_the_product_is_the_analysis_of_variance(frame):
    _, nested = fitted(
        "s(x, bs='cr', k=5, lam=0) + s(z, bs='cr', k=5, lam=0) + te(x, z, lam=[0, 0])", frame
    )
    _, split = fitted("ti(x, lam=0) + ti(z, lam=0) + ti(x, z, lam=[0, 0])", frame)
    assert nested.beta.size == split.beta.size == 1 + 4 + 4 + 16 + 1
    np.testing.assert_allclose(nested.eta, split.eta, atol=SAME_SPACE)
    np.testing.assert_allclose(nested.edf_total, split.edf_total, atol=SAME_SPACE)


def test_left_out_columns_change_neither_curve_nor_degrees_of_freedom(frame):
    # The linear parts may be in either term: with equal penalties the fits are the same.
    _, apart = fitted("s(x, lam=0.5)", frame)
    _, nested = fitted("x + s(x, lam=0.5)", frame)
    np.testing.assert_allclose(nested.eta, apart.eta, atol=SAME_SPACE)
    np.testing.assert_allclose(nested.edf_total, apart.edf_total, atol=SAME_SPACE)
    _, searched = fitted("s(x)", frame)
    _, both = fitted("x + s(x)", frame)
    np.testing.assert_allclose(both.smoothing, searched.smoothing, rtol=SAME_OPTIMUM)


def test_nested_fits_are_close_to_the_analysis_of_variance(frame):
    _, nested = fitted("s(x, bs='cr', k=5) + s(z, bs='cr', k=5) + te(x, z)", frame)
    _, split = fitted("ti(x) + ti(z) + ti(x, z)", frame)
    # Other penalties on the same functions: a small share of the curves' spread.
    assert np.abs(nested.eta - split.eta).max() < 0.1 * split.eta[:, 0].std()


def test_curves_by_group_beside_a_common_one(frame):
    problem, fit = fitted("g + s(x) + s(x, by=g)", frame)
    basis = problem.designs[0].bases[-1]
    assert [own.stop - own.start for _, own in basis.curves].count(8) == 1
    assert basis.null_dim == 2
    new = frame.iloc[[3, 5]]
    np.testing.assert_allclose(
        basis.design(new).dense(), basis.design(frame).dense()[[3, 5]], rtol=0, atol=0
    )
    # Without penalties the common curve adds nothing, and is left to it alone.
    _, both = fitted("g + s(x, lam=0) + s(x, by=g, lam=0)", frame)
    _, apart = fitted("g + s(x, by=g, lam=0)", frame)
    assert fit.beta.size > both.beta.size == apart.beta.size
    np.testing.assert_allclose(both.eta, apart.eta, atol=SAME_SPACE)
