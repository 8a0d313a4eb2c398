"""Tensor products: what they span, how margins are chosen, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms import s, te, ti
from semistruct.terms.tensor import MARGINS, row_tensor

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"x": rng.normal(size=200), "z": rng.uniform(0, 24, 200), "v": rng.uniform(0, 1, 200)}
)
SPAN = 1e-8  # residual of a function of size one that lies in the span


def residual(term, y):
    X = np.column_stack([np.ones(len(y)), term.build(FRAME).design(FRAME).dense()])
    return np.abs(y - X @ np.linalg.lstsq(X, y, rcond=None)[0]).max()


def main_effect(name, bs="cr", k=5):
    X = s(name, bs=bs, k=k).build(FRAME).design(FRAME).dense()
    return X @ np.arange(1.0, X.shape[1] + 1) / 10


def test_te_holds_main_effects_and_ti_does_not():
    f, g = main_effect("x"), main_effect("z")
    product = f * g
    for y in (f, g, product):
        assert residual(te("x", "z"), y) < SPAN
    assert residual(ti("x", "z"), product) < SPAN
    for y in (f, g):
        assert residual(ti("x", "z"), y) > 0.05


@pytest.mark.parametrize("bs", MARGINS)
def test_every_margin(bs):
    f, g = main_effect("x", bs, 6), main_effect("z")
    term = te("x", "z", bs=(bs, "cr"), k=(6, 5))
    assert residual(term, f * g) < 1e-6
    assert len(term.build(FRAME).penalties) == 2


def test_margins_are_matched_to_their_columns():
    basis = te("x", "z", bs=("ps", "cc"), k=(6, 7), knots={"z": (0, 24)}).build(FRAME)
    assert len(basis.names) == 6 * 6 - 1
    midnight = pd.DataFrame({"x": [0.3, 0.3], "z": [0.0, 24.0]})
    X = basis.design(midnight).dense()
    np.testing.assert_allclose(X[0], X[1], atol=1e-12)


def test_options_for_all_margins_or_each():
    assert te("x", "z", bs="ps", k=6) == te("x", "z", bs=("ps", "ps"), k=(6, 6))
    assert te("x", "z", bs="ps", m=(2, 1)).m == ((2,), (1,))
    orders = te("x", "z", bs="ps", m=((2, 1), (2, 2))).build(FRAME)
    assert orders.ranks == (20, 15)
    assert orders.null_dim == 1
    assert te("x", "z", knots=(None, (0, 24))) == te("x", "z", knots={"z": (0, 24)})


def test_one_centred_margin():
    np.testing.assert_allclose(residual(ti("x"), main_effect("x")), 0.0, atol=SPAN)
    basis = ti("x").build(FRAME)
    assert (basis.ranks, basis.null_dim, len(basis.names)) == ((3,), 1, 4)


def test_fixed_smoothing_parameters():
    assert te("x", "z", lam=(1.0, 2.0)).build(FRAME).lam == (1.0, 2.0)
    with pytest.raises(SpecificationError, match="1 values but the term has 2 penalties"):
        te("x", "z", lam=1.0).build(FRAME)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: te("x"), r"two or more columns; use s\(x\)"),
        (lambda: te("x", "x"), "names a column twice"),
        (lambda: te("x", "z", k=(5, 5, 5)), "k of te\\(x,z\\) has 3 entries for 2 columns"),
        (lambda: te("x", "z", bs="qq"), "unknown margin 'qq'"),
        (lambda: te("x", "z", bs="re"), "unknown margin 're'"),
        (lambda: te("x", "z", knots={"y": (0, 1)}), "names 'y'"),
        (lambda: te("x", "z", knots=(0, 1)), "mapping from column"),
        (lambda: te("x", "z", knots={"z": (1, 0)}), "increasing"),
        (lambda: te("x", "z", k=1), "above 1"),
    ],
)
def test_bad_options(make, match):
    with pytest.raises(SpecificationError, match=match):
        make()


def test_margin_of_several_penalties():
    with pytest.raises(SpecificationError, match=r"margin x .* has 2 penalties"):
        te("x", "z", bs="bs", m=((3, 2, 1), None)).build(FRAME)


def test_too_few_values_in_one_margin():
    with pytest.raises(DataError, match="distinct values of 'z' but there are 3"):
        te("x", "z").build(FRAME.assign(z=np.arange(200) % 3))


def test_row_tensor_of_sparse_and_dense():
    A, B = rng.normal(size=(6, 3)), rng.normal(size=(6, 4))
    expected = np.stack([np.kron(a, b) for a, b in zip(A, B, strict=True)])
    uneven = A * (rng.random((6, 3)) < 0.5)
    expected_uneven = np.stack([np.kron(a, b) for a, b in zip(uneven, B, strict=True)])
    for left, right, result in [
        (A, B, expected),
        (sp.csr_array(A), B, expected),
        (sp.csr_array(A), sp.csr_array(B), expected),
        (sp.csr_array(uneven), sp.csr_array(B), expected_uneven),
    ]:
        product = row_tensor(left, right)
        product = product.toarray() if sp.issparse(product) else product
        np.testing.assert_allclose(product, result, rtol=1e-15)
