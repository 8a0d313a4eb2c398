"""Absorbed constraints are orthonormal null spaces."""

from __future__ import annotations

import numpy as np
import pytest

from semistruct.terms.constraints import absorb_constraint, null_space_of_rows

ORTHOGONAL = {"rtol": 0, "atol": 1e-13}  # reflections of vectors of size one


@pytest.mark.parametrize("k", [1, 2, 7])
def test_absorb_constraint(k):
    c = np.random.default_rng(k).normal(size=k)
    Z = absorb_constraint(c)
    assert Z.shape == (k, k - 1)
    np.testing.assert_allclose(c @ Z, np.zeros(k - 1), **ORTHOGONAL)
    np.testing.assert_allclose(Z.T @ Z, np.eye(k - 1), **ORTHOGONAL)
    if k > 1:
        Q = np.linalg.qr(c[:, None], mode="complete")[0]
        np.testing.assert_allclose(Z, Q[:, 1:], **ORTHOGONAL)


def test_absorb_nothing():
    np.testing.assert_array_equal(absorb_constraint(np.zeros(3)), np.eye(3)[:, 1:])


@pytest.mark.parametrize("r", [1, 2, 3])
def test_null_space_of_rows(r):
    A = np.random.default_rng(r).normal(size=(r, 6))
    Z = null_space_of_rows(A)
    np.testing.assert_allclose(A @ Z, np.zeros((r, 6 - r)), **ORTHOGONAL)
    np.testing.assert_allclose(Z.T @ Z, np.eye(6 - r), **ORTHOGONAL)


def test_null_space_follows_signs():
    """Eigenvectors have arbitrary signs; sizes of what is derived from them must not change."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(2, 6))
    signs = np.array([1, -1, -1, 1, 1, -1])
    np.testing.assert_allclose(
        np.abs(null_space_of_rows(A * signs)), np.abs(null_space_of_rows(A)), **ORTHOGONAL
    )
