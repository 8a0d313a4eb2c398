"""Clamped and natural splines: spans and boundary conditions."""

from __future__ import annotations

import numpy as np
import pytest

from semistruct.exceptions import SpecificationError
from semistruct.terms.regression_splines import clamped_bspline, natural_spline

X = np.sort(np.random.default_rng(0).uniform(size=60))


def residual(basis, y):
    return np.abs(y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]).max()


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_clamped_span_polynomials(degree):
    B = clamped_bspline(X, degree + 4, degree=degree, intercept=True)
    np.testing.assert_allclose(B.sum(axis=1), 1.0, rtol=1e-12)
    assert residual(B, X**degree) < 1e-12
    assert residual(B, X ** (degree + 1)) > 1e-8
    np.testing.assert_array_equal(clamped_bspline(X, degree + 3, degree=degree), B[:, 1:])


def test_natural_splines_are_straight_at_the_ends():
    N = natural_spline(X, 6, intercept=True)
    assert N.shape == (60, 6)
    assert residual(N, np.ones(60)) < 1e-12
    assert residual(N, X) < 1e-12
    assert residual(N, X**2) > 1e-4
    assert natural_spline(X, 5).shape == (60, 5)


def test_too_few_columns():
    with pytest.raises(SpecificationError, match="use at least 4"):
        clamped_bspline(X, 3, intercept=True)
    with pytest.raises(SpecificationError, match="use at least 1"):
        natural_spline(X, 0)
