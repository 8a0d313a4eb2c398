"""Design blocks against dense arithmetic, every kind with every other."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from semistruct.terms import _factored
from semistruct.terms.base import DesignBlock
from semistruct.terms.blocks import (
    ConstrainedBlock,
    DenseBlock,
    FactoredBlock,
    IndexedBlock,
    ScaledBlock,
    SparseBlock,
    StackedBlock,
)

ROUNDING = {"rtol": 1e-10, "atol": 1e-10}  # sums of products of order-one numbers


def sparse(rng, n, p, density=0.5):
    return SparseBlock(rng.normal(size=(n, p)) * (rng.random((n, p)) < density))


def kinds(rng, n):
    """One block of every kind, and combinations of kinds."""
    dense = DenseBlock(rng.normal(size=(n, 3)))
    banded = sparse(rng, n, 6)
    levels = IndexedBlock(sparse(rng, 5, 4), rng.integers(0, 5, n))
    values = IndexedBlock(DenseBlock(rng.normal(size=(7, 2))), rng.integers(0, 7, n))
    curve = ConstrainedBlock(banded, rng.normal(size=(6, 5)))
    shared = ConstrainedBlock(levels, rng.normal(size=(4, 3)))
    sparse_change = ConstrainedBlock(levels, sp.csr_array(np.eye(4)[:, 1:]))
    slope = ScaledBlock(shared, rng.normal(size=n))
    twice = IndexedBlock(
        ScaledBlock(IndexedBlock(dense, rng.integers(0, n, 4)), rng.normal(size=4)),
        rng.integers(0, 4, n),
    )
    empty = DenseBlock(np.zeros((n, 0)))
    stacked = StackedBlock([dense, curve, empty, slope, values])
    again = IndexedBlock(stacked, rng.permutation(n))
    return [
        dense, banded, levels, values, curve, shared, sparse_change, slope, twice, empty, stacked,
        again,
    ]  # fmt: skip


def check_operations(block, rng):
    X = block.dense()
    n, p = X.shape
    assert block.shape == (n, p)
    for m in ((), (3,)):
        beta, r = rng.normal(size=(p, *m)), rng.normal(size=(n, *m))
        np.testing.assert_allclose(block.matvec(beta), X @ beta, **ROUNDING)
        np.testing.assert_allclose(block.rmatvec(r), X.T @ r, **ROUNDING)
    w = rng.normal(size=n)
    assert n == 0 or n == 1 or (w < 0).any() or n < 8
    H = block.gram(w)
    np.testing.assert_allclose(H, X.T @ (w[:, None] * X), **ROUNDING)
    np.testing.assert_array_equal(H, H.T)
    if n:
        rows = rng.integers(0, n, 2 * n)
        np.testing.assert_array_equal(block.take(rows).dense(), X[rows])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(block)).dense(), X)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60))
def test_every_kind_agrees_with_its_dense_form(seed, n):
    rng = np.random.default_rng(seed)
    for block in kinds(rng, n):
        check_operations(block, rng)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60), table=st.sampled_from([0, 1 << 20]))
def test_gram_of_every_pair(seed, n, table):
    rng = np.random.default_rng(seed)
    blocks = kinds(rng, n)
    w = rng.normal(size=n)
    with pytest.MonkeyPatch.context() as patch:
        # Without room for a dense joint table the table is sparse.
        patch.setattr(_factored, "TABLE_CELLS", table)
        for a in blocks:
            for b in blocks:
                expected = a.dense().T @ (w[:, None] * b.dense())
                np.testing.assert_allclose(a.gram(w, b), expected, **ROUNDING)


@pytest.mark.parametrize("cost", [0.0, 1e9])
def test_both_ways_to_multiply_sparse_rows(cost, monkeypatch):
    monkeypatch.setattr(_factored, "SPARSE_COST", cost)
    monkeypatch.setattr(_factored, "CHUNK_ELEMENTS", 500)  # several chunks of 64 rows or more
    rng = np.random.default_rng(1)
    n = 300
    a = ConstrainedBlock(sparse(rng, n, 6), rng.normal(size=(6, 5)))
    b = ScaledBlock(sparse(rng, n, 4), rng.normal(size=n))
    dense = DenseBlock(rng.normal(size=(n, 20)))
    w = rng.normal(size=n)
    for left in (a, b, dense):
        for right in (a, b, dense):
            expected = left.dense().T @ (w[:, None] * right.dense())
            np.testing.assert_allclose(left.gram(w, right), expected, **ROUNDING)


def test_a_block_from_elsewhere():
    class Elsewhere(DesignBlock):
        def __init__(self, X):
            self.X = X

        shape = property(lambda self: self.X.shape)

        def matvec(self, beta):
            return self.X @ beta

        def rmatvec(self, r):
            return self.X.T @ r

        def gram(self, weights, other=None):
            raise AssertionError("the block of this package does the work")

        def take(self, rows):
            return Elsewhere(self.X[rows])

        def dense(self):
            return self.X

    rng = np.random.default_rng(2)
    other = Elsewhere(rng.normal(size=(40, 3)))
    block = StackedBlock([sparse(rng, 40, 30), DenseBlock(rng.normal(size=(40, 5)))])
    w = rng.normal(size=40)
    expected = block.dense().T @ (w[:, None] * other.X)
    np.testing.assert_allclose(block.gram(w, other), expected, **ROUNDING)


def test_gathered_rows_are_not_copied():
    unique = DenseBlock(np.ones((3, 2)))
    block = IndexedBlock(unique, np.zeros(1000, dtype=int))
    assert block.parts[0].M is unique.parts[0].M


def test_no_rows():
    block = StackedBlock([DenseBlock(np.zeros((0, 2))), sparse(np.random.default_rng(0), 0, 3)])
    assert block.matvec(np.ones(5)).shape == (0,)
    np.testing.assert_array_equal(block.rmatvec(np.zeros(0)), np.zeros(5))
    np.testing.assert_array_equal(block.gram(np.zeros(0)), np.zeros((5, 5)))


def test_blocks_are_frozen():
    X = np.ones((3, 2))
    block = DenseBlock(X)
    with pytest.raises(AttributeError):
        block.parts = ()
    with pytest.raises(ValueError, match="read-only"):
        block.parts[0].M[0, 0] = 5.0
    X[0, 0] = 1.0  # the caller's array stays writeable
    assert repr(block) == "DenseBlock(shape=(3, 2))"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: DenseBlock(np.ones(3)), r"\(n, p\) array"),
        (lambda: IndexedBlock(DenseBlock(np.ones((2, 1))), [0, 2]), "between 0 and 1"),
        (lambda: IndexedBlock(DenseBlock(np.ones((2, 1))), [-1]), "between 0 and 1"),
        (lambda: ScaledBlock(DenseBlock(np.ones((2, 1))), np.ones(3)), "do not match 2 rows"),
        (
            lambda: ConstrainedBlock(DenseBlock(np.ones((2, 1))), np.ones((2, 1))),
            "cannot transform",
        ),
        (
            lambda: StackedBlock([DenseBlock(np.ones((2, 1))), DenseBlock(np.ones((3, 1)))]),
            r"equal numbers of rows, got \[2, 3\]",
        ),
        (lambda: DenseBlock(np.ones((2, 1))).matvec(np.ones(2)), "do not match 1 columns"),
        (lambda: DenseBlock(np.ones((2, 1))).rmatvec(np.ones(3)), "do not match 2 rows"),
        (lambda: DenseBlock(np.ones((2, 1))).gram(np.ones(3)), "do not match 2 rows"),
        (
            lambda: DenseBlock(np.ones((2, 1))).gram(np.ones(2), DenseBlock(np.ones((3, 1)))),
            "2 and 3 rows",
        ),
    ],
)
def test_wrong_shapes(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_a_factored_block_is_what_take_returns():
    assert type(DenseBlock(np.ones((2, 1))).take(np.array([1]))) is FactoredBlock


def test_products_of_rows_are_kept_for_other_weights():
    """The second cross-product is made from the kept products of the first pair of designs."""
    rng = np.random.default_rng(0)
    n = 200
    starts = rng.integers(0, 5, n)
    width = np.arange(4)
    banded = [
        SparseBlock(
            sp.csr_array(
                (rng.normal(size=4 * n), (starts[:, None] + width).ravel(), np.arange(n + 1) * 4),
                shape=(n, 8),
            )
        )
        for _ in range(2)
    ]
    curve = ConstrainedBlock(banded[1], rng.normal(size=(8, 7)))
    block = StackedBlock([DenseBlock(np.ones((n, 1))), banded[0], curve])
    X = block.dense()
    for _ in range(3):
        w = rng.normal(size=n)
        np.testing.assert_allclose(block.gram(w), X.T @ (w[:, None] * X), **ROUNDING)
        np.testing.assert_allclose(
            block.gram(w, curve), X.T @ (w[:, None] * curve.dense()), **ROUNDING
        )
    kept = [known for known in block.pairs._known.values() if known[2] is not None]
    assert len(kept) == 3  # sparse with sparse; those with the other block are among them
    assert not pickle.loads(pickle.dumps(block)).pairs._known
