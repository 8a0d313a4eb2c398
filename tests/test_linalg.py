"""Penalised Cholesky and determinants of sums of penalties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import null_space

from semistruct.linalg import PenaltySum, penalised_cholesky, pseudo_root

EXACT = 1e-10  # float64 algebra on small well-scaled problems


def difference_penalty(k: int, order: int) -> np.ndarray:
    D = np.diff(np.eye(k), n=order, axis=0)
    return D.T @ D


def tensor_penalties(k: int) -> list[np.ndarray]:
    S, eye = difference_penalty(k, 2), np.eye(k)
    return [np.kron(S, eye), np.kron(eye, S)]


def rotated(matrices, seed=0):
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=matrices[0].shape))
    return [Q.T @ M @ Q for M in matrices], Q


def test_factor_agrees_with_numpy_on_a_badly_scaled_matrix():
    rng = np.random.default_rng(1)
    A = rng.normal(size=(30, 6))
    scale = 10.0 ** np.array([-8, -4, 0, 2, 5, 8])
    A = (A.T @ A) * scale * scale[:, None]
    factor = penalised_cholesky(A)
    assert factor.positive_definite
    unit = scale[:, None] * scale
    np.testing.assert_allclose(factor.inverse() * unit, np.linalg.inv(A / unit), rtol=1e-8)
    logdet = np.linalg.slogdet(A / unit)[1] + 2 * np.log(scale).sum()
    np.testing.assert_allclose(factor.logdet, logdet)
    b = scale * rng.normal(size=6)
    x = np.linalg.solve(A / unit, b / scale)
    np.testing.assert_allclose(factor.solve(b) * scale, x, rtol=1e-8)
    np.testing.assert_allclose((factor.half_solve(b) ** 2).sum(), b @ factor.solve(b))
    assert np.array_equal(factor.inverse(), factor.inverse().T)


@pytest.mark.parametrize("A", [np.ones((3, 3)), np.diag([1.0, 0.0]), np.diag([1.0, -1e-3])])
def test_singular_matrices_get_a_ridge(A):
    factor = penalised_cholesky(A)
    assert not factor.positive_definite
    assert factor.ridge >= 1e-6
    assert np.isfinite(factor.inverse()).all()


def test_matrix_that_is_not_finite_is_refused():
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        penalised_cholesky(np.array([[np.nan]]))


def test_empty_matrix():
    factor = penalised_cholesky(np.zeros((0, 0)))
    assert factor.logdet == 0.0
    assert factor.inverse().shape == (0, 0)
    assert factor.solve(np.zeros(0)).shape == (0,)


def test_pseudo_root_squares_back():
    S = difference_penalty(8, 2)
    B = pseudo_root(S)
    assert B.shape == (6, 8)
    np.testing.assert_allclose(B.T @ B, S, atol=EXACT)


@pytest.mark.parametrize("lam", [1e-8, 1.0, 1e8])
def test_single_penalty(lam):
    S = difference_penalty(9, 2)
    found = PenaltySum.prepare([S]).at([lam])
    values = np.linalg.eigvalsh(S)[2:]
    assert found.rank == 7
    np.testing.assert_allclose(found.logdet, np.log(lam * values).sum(), rtol=EXACT)
    np.testing.assert_allclose(found.traces, [7.0])


def test_identity_penalty_of_many_levels():
    found = PenaltySum.prepare([np.eye(500)]).at([2.0])
    np.testing.assert_allclose(found.logdet, 500 * np.log(2.0))
    assert found.rank == 500


@pytest.mark.parametrize("lam", [(1.0, 1.0), (1e-8, 1e8), (1e8, 1e-8), (1e8, 1.0), (0.3, 40.0)])
def test_tensor_penalties_keep_accuracy_when_lam_differ_by_1e16(lam):
    k = 6
    penalties, _ = rotated(tensor_penalties(k))
    found = PenaltySum.prepare(penalties).at(lam)
    # Kronecker sums have eigenvalues lam_1 a_i + lam_2 a_j: exact whatever the ratio.
    a = np.linalg.eigvalsh(difference_penalty(k, 2))
    a[:2] = 0.0
    values = lam[0] * a[:, None] + lam[1] * a
    keep = values > 0
    assert found.rank == keep.sum() == k * k - 4
    np.testing.assert_allclose(found.logdet, np.log(values[keep]).sum(), rtol=1e-8)
    first = np.divide(lam[0] * a[:, None], values, out=np.zeros_like(values), where=keep)
    np.testing.assert_allclose(found.traces, [first.sum(), found.rank - first.sum()], rtol=1e-6)


def test_traces_are_the_derivative_of_the_logdet():
    penalties, _ = rotated(tensor_penalties(5))
    parts = PenaltySum.prepare(penalties)
    rho, step = np.log([0.2, 30.0]), 1e-5
    for j in range(2):
        move = step * np.eye(2)[j]
        slope = parts.at(np.exp(rho + move)).logdet - parts.at(np.exp(rho - move)).logdet
        np.testing.assert_allclose(parts.at(np.exp(rho)).traces[j], slope / (2 * step), rtol=1e-6)


def test_zero_lam_removes_its_penalty():
    penalties, _ = rotated([np.diag([1.0, 2.0, 0.0]), np.diag([0.0, 0.0, 5.0])])
    found = PenaltySum.prepare(penalties).at([0.0, 3.0])
    assert found.rank == 1
    np.testing.assert_allclose(found.logdet, np.log(15.0))
    np.testing.assert_allclose(found.traces, [0.0, 1.0], atol=EXACT)
    assert PenaltySum.prepare(penalties).at([0.0, 0.0]).rank == 0


def test_pseudo_inverse_is_moore_penrose():
    penalties, _ = rotated(tensor_penalties(4))
    parts = PenaltySum.prepare(penalties)
    S = 2.0 * penalties[0] + 0.5 * penalties[1]
    np.testing.assert_allclose(parts.pinv([2.0, 0.5]), np.linalg.pinv(S), atol=1e-8)
    assert null_space(S).shape[1] == 4
