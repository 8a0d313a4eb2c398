"""Adaptive P-splines: weights that add up to the plain penalty, and what they are good for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import semistruct as ss
from semistruct.exceptions import SpecificationError
from semistruct.terms import s
from semistruct.terms.adaptive import AdaptiveSpline
from semistruct.terms.pspline import PSpline

X = np.random.default_rng(0).uniform(size=(200, 1))


@pytest.mark.parametrize("m", [1, 2, 3, 5, 7])
def test_penalties_share_the_plain_one(m):
    own = AdaptiveSpline(("x",), k=15, m=m).learn(X)
    plain = PSpline(("x",), k=15).learn(X)
    assert len(own.penalties) == m
    np.testing.assert_allclose(sum(own.penalties), plain.penalties[0], atol=1e-6)
    np.testing.assert_array_equal(own.features(X).toarray(), plain.features(X).toarray())
    for S, rank in zip(own.penalties, own.ranks, strict=True):
        assert np.linalg.matrix_rank(S, tol=1e-12) <= rank
        assert np.linalg.eigvalsh(S).min() > -1e-12


def test_follows_a_curve_that_is_calm_and_violent():
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(size=600))
    f = np.where(x < 0.6, 0.0, np.sin(40 * (x - 0.6)))
    table, y = pd.DataFrame({"x": x}), f + rng.normal(0, 0.3, 600)
    errors = {}
    for bs in ("ps", "ad"):
        model = ss.SemiStructuredRegressor(s("x", bs=bs, k=40)).fit(table, y)
        errors[bs] = np.mean((model.predict(table) - f) ** 2)
    assert errors["ad"] < 0.8 * errors["ps"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": (2, 2)}, "number of its penalties"),
        ({"m": 0}, "number of its penalties"),
        ({"k": 6}, "use at least 7"),
    ],
)
def test_options(options, message):
    with pytest.raises(SpecificationError, match=message):
        s("x", bs="ad", **options).build(pd.DataFrame({"x": X[:, 0]}))
