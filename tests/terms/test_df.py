"""Degrees of freedom and smoothing parameters determine each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.exceptions import SpecificationError
from semistruct.terms.blocks import DenseBlock
from semistruct.terms.df import demmler_reinsch, df_for_lambda, lambda_for_df
from semistruct.terms.smooths import s


@pytest.fixture
def smoother():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.uniform(size=80)})
    basis = s("x", k=9).build(frame)
    return basis.design(frame), basis.penalties[0], rng.uniform(0.2, 2.0, 80)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["trH", "tr2H_HH"])
def test_round_trip_is_the_trace_of_the_smoother(smoother, kind, weighted):
    block, S, w = smoother
    w = w if weighted else None
    lam = lambda_for_df(block, S, 3.5, kind, w)
    A = block.gram(np.ones(80) if w is None else w)
    H = np.linalg.solve(A + lam * S, A)
    trace = np.trace(H) if kind == "trH" else 2 * np.trace(H) - np.sum(H * H.T)
    np.testing.assert_allclose(trace, 3.5, rtol=1e-9)
    np.testing.assert_allclose(df_for_lambda(demmler_reinsch(block, S, w), lam, kind), 3.5)
    np.testing.assert_allclose(lambda_for_df(block.dense(), S, 3.5, kind, w), lam, rtol=1e-8)


def test_scale_of_the_penalty(smoother):
    block, S, _ = smoother
    lam = lambda_for_df(block, S, 3.5)
    np.testing.assert_allclose(lambda_for_df(block, S * 1e20, 3.5), lam * 1e-20, rtol=1e-8)


@pytest.mark.parametrize("df", [1.0, 0.5, 8.0, 20.0])
def test_unreachable(smoother, df):
    block, S, _ = smoother
    with pytest.raises(SpecificationError, match="more than 1 and fewer than 8"):
        lambda_for_df(block, S, df)


def test_next_to_unreachable(smoother):
    block, S, _ = smoother
    d = demmler_reinsch(block, S)
    for df in (1.0 + 1e-12, 8.0 - 1e-12):
        np.testing.assert_allclose(df_for_lambda(d, lambda_for_df(block, S, df)), df, rtol=1e-14)


@pytest.mark.parametrize("as_block", [False, True])
def test_aliased_columns(smoother, as_block):
    X = np.column_stack([np.arange(5.0), 2 * np.arange(5.0)])
    with pytest.raises(SpecificationError, match="linearly dependent"):
        demmler_reinsch(DenseBlock(X) if as_block else X, np.eye(2))
