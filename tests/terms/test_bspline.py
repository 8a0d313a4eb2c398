"""B-splines against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from semistruct.terms.bspline import bspline_design, extended_design

EXACT = {"rtol": 1e-12, "atol": 1e-12}  # two evaluations of the same recursion


def knots_of(degree, kind):
    if kind == "even":
        return np.arange(-degree, 6 + degree + 1.0)
    if kind == "clamped":
        return np.array([*[0.0] * (degree + 1), 1.0, 2.5, 4.0, *[6.0] * (degree + 1)])
    return np.cumsum(np.random.default_rng(degree).uniform(0.2, 2.0, 8 + 2 * degree))


@pytest.mark.parametrize("kind", ["even", "clamped", "uneven"])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_against_scipy(degree, kind):
    knots = knots_of(degree, kind)
    low, high = knots[degree], knots[-degree - 1]
    x = np.random.default_rng(0).uniform(low, high, 50)
    q = len(knots) - degree - 1
    for derivative in range(degree + 2):
        X = bspline_design(knots, degree, x, derivative).toarray()
        if derivative > degree:
            np.testing.assert_array_equal(X, np.zeros((50, q)))
            continue
        spline = BSpline(knots, np.eye(q), degree)
        np.testing.assert_allclose(X, spline(x, nu=derivative), **EXACT)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_ends_belong_to_the_range(degree):
    knots = knots_of(degree, "clamped")
    X = bspline_design(knots, degree, np.array([0.0, 6.0])).toarray()
    np.testing.assert_array_equal(X[0], np.eye(X.shape[1])[0])
    np.testing.assert_array_equal(X[1], np.eye(X.shape[1])[-1])


@pytest.mark.parametrize("degree", [1, 3])
def test_linear_continuation(degree):
    knots = knots_of(degree, "even")
    low, high = knots[degree], knots[-degree - 1]
    beta = np.random.default_rng(1).normal(size=len(knots) - degree - 1)

    def curve(x):
        return extended_design(knots, degree, np.asarray(x, float)) @ beta

    slope = bspline_design(knots, degree, np.array([low, high]), 1) @ beta
    np.testing.assert_allclose(
        curve([low - 3, low - 1]), curve([low])[0] - slope[0] * np.array([3, 1]), **EXACT
    )
    np.testing.assert_allclose(
        curve([high + 1, high + 9]), curve([high])[0] + slope[1] * np.array([1, 9]), **EXACT
    )
    inside = np.linspace(low, high, 20)
    np.testing.assert_array_equal(
        extended_design(knots, degree, inside).toarray(),
        bspline_design(knots, degree, inside).toarray(),
    )
