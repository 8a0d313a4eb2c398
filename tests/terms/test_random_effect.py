"""Random intercepts and slopes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms import re, s

FRAME = pd.DataFrame({"ward": ["b", "a", "b", "c"], "dose": [1.0, -2.0, 0.5, 0.0], "one": "x"})


def test_intercept():
    basis = re("ward").build(FRAME)
    assert basis.kind == "random"
    assert basis.names == ("re(ward).a", "re(ward).b", "re(ward).c")
    assert basis.lam == (None,)
    np.testing.assert_array_equal(basis.penalties[0], np.eye(3))
    X = basis.design(FRAME).dense()
    np.testing.assert_array_equal(X, [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_slope():
    basis = re("ward", "dose", lam=2.0).build(FRAME)
    X = basis.design(FRAME).dense()
    np.testing.assert_array_equal(X, [[0, 1, 0], [-2, 0, 0], [0, 0.5, 0], [0, 0, 0]])
    # mgcv's scaling: the raw penalty is the identity.
    np.testing.assert_array_equal(basis.penalties[0] * basis.penalty_scales[0], np.eye(3))
    assert basis.penalty_scales == (0.25,)
    assert basis.lam == (2.0,)


def test_unseen_group_is_the_population_mean():
    basis = re("ward").build(FRAME)
    new = pd.DataFrame({"ward": ["z", "a"]})
    np.testing.assert_array_equal(basis.design(new).dense(), [[0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(basis.design(new).matvec(np.array([5.0, 6.0, 7.0])), [0.0, 5.0])


def test_unused_categories_have_no_column():
    column = pd.Categorical(FRAME["ward"], categories=["c", "b", "unused", "a"])
    basis = re("ward").build(FRAME.assign(ward=column))
    assert basis.levels == ("c", "b", "a")


def test_same_term_in_two_spellings():
    assert s("ward", bs="re") == re("ward")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: re("ward", "dose", "x"), "one numeric column"),
        (lambda: re("ward", lam=-1.0), "not negative"),
        (lambda: re("ward", lam=(1.0, 2.0)), "one number"),
        (lambda: re("ward", lam=np.inf), "finite"),
        (lambda: s("ward", bs="re", by="dose"), r"takes no by.*re\(g, x\)"),
        (lambda: s("ward", bs="re", m=2), "takes no m"),
        (lambda: s("ward", bs="re", knots=(0, 1)), "takes no knots"),
    ],
)
def test_bad_options(make, match):
    with pytest.raises(SpecificationError, match=match):
        make()


@pytest.mark.parametrize(
    ("term", "frame", "match"),
    [
        (re("one"), FRAME, "at least two groups in the column 'one' but there is one: 'x'"),
        (re("ward"), FRAME.iloc[:0], "no rows"),
        (re("ward"), FRAME.assign(ward=["a", None, "b", "c"]), "without a group.*row 1"),
        (re("ward", "dose"), FRAME.assign(dose=0.0), "'dose'.*zero everywhere"),
        (re("ward", "one"), FRAME, "needs numbers in the column 'one'"),
    ],
)
def test_bad_data(term, frame, match):
    with pytest.raises(DataError, match=match):
        term.build(frame)


def test_missing_group_in_new_rows():
    basis = re("ward").build(FRAME)
    with pytest.raises(DataError, match="row 0"):
        basis.design(pd.DataFrame({"ward": [None, "a"]}))


def test_many_groups_stay_sparse():
    n = 3000
    frame = pd.DataFrame({"ward": np.arange(n) % 1500})
    block = re("ward").build(frame).design(frame)
    assert block.parts[0].M.nnz == 1500
    np.testing.assert_array_equal(np.diag(block.gram(np.ones(n))), np.full(1500, 2.0))
