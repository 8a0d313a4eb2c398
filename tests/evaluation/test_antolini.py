from __future__ import annotations

import numpy as np
import pytest

from semistruct import Surv
from semistruct.evaluation import antolini
from semistruct.exceptions import DataError, SpecificationError
from semistruct.metrics import antolini_concordance, concordance_index

EXACT = {"rtol": 1e-10, "atol": 1e-12}  # the same sums in another order
TIMES = np.array([1.0, 3.0, 4.0, 8.0, 12.0, 25.0])


def sample(rng, n=70, entry=False):
    start = rng.integers(0, 6, n) if entry else None
    end = rng.integers(1, 15, n) + (0 if start is None else start)
    y = Surv(end, rng.random(n) < 0.6, start)
    hazards = np.round(rng.exponential(0.2, (n, TIMES.size)), 1)
    survival = np.exp(-np.cumsum(hazards, axis=1))
    assert np.unique(survival[:, 0]).size < n  # ties
    assert (np.argsort(survival[:, 0]) != np.argsort(survival[:, -1])).any()  # crossing
    return y, survival, rng.uniform(0.5, 2, n)


def by_definition(y, survival, weights, tau=np.inf):
    entry = np.full(len(y), -1.0) if y.entry is None else y.entry
    concordant = pairs = 0.0
    for i in np.flatnonzero(y.event & (y.time <= tau)):
        k = np.searchsorted(TIMES, y.time[i], side="right") - 1
        curve = np.ones(len(y)) if k < 0 else survival[:, k]
        for j in range(len(y)):
            later = y.time[j] > y.time[i] or (y.time[j] == y.time[i] and not y.event[j])
            if later and entry[j] < y.time[i]:
                weight = weights[i] * weights[j]
                pairs += weight
                concordant += weight * (np.sign(curve[j] - curve[i]) / 2 + 0.5)
    return concordant / pairs


@pytest.mark.parametrize("entry", [False, True])
@pytest.mark.parametrize("block", [1, 200, 1 << 21])
def test_is_the_definition(rng, entry, block, monkeypatch):
    monkeypatch.setattr(antolini, "_BLOCK", block)
    y, survival, weights = sample(rng, entry=entry)
    ones = np.ones(len(y))
    found = antolini_concordance(y, survival, TIMES)
    np.testing.assert_allclose(found, by_definition(y, survival, ones), **EXACT)
    weighted = antolini_concordance(y, survival, TIMES, sample_weight=weights)
    np.testing.assert_allclose(weighted, by_definition(y, survival, weights), **EXACT)
    assert weighted != pytest.approx(found)
    early = antolini_concordance(y, survival, TIMES, tau=8)
    np.testing.assert_allclose(early, by_definition(y, survival, ones, tau=8), **EXACT)
    assert early != pytest.approx(found)


@pytest.mark.parametrize("entry", [False, True])
def test_is_harrell_where_curves_do_not_cross(rng, entry):
    y, _, weights = sample(rng, entry=entry)
    risk = np.round(rng.normal(size=len(y)), 1)
    survival = np.exp(-np.outer(np.exp(risk), TIMES) / 20)
    found = antolini_concordance(y, survival, TIMES, sample_weight=weights)
    expected = concordance_index(y, risk, sample_weight=weights)
    np.testing.assert_allclose(found, expected, **EXACT)


def test_order_of_rows_does_not_matter(rng):
    y, survival, _ = sample(rng)
    rows = rng.permutation(len(y))
    found = antolini_concordance(y[rows], survival[rows], TIMES)
    np.testing.assert_allclose(found, antolini_concordance(y, survival, TIMES), **EXACT)


def test_misuse_is_told():
    y = Surv([2, 4, 6], [1, 1, 0])
    survival = np.full((3, 2), 0.5)
    with pytest.raises(DataError, match=r"up to time 3, but y has events up to 4; .* tau=3"):
        antolini_concordance(y, survival, [1, 3])
    assert antolini_concordance(y, survival, [1, 3], tau=3) == 0.5
    with pytest.raises(DataError, match="no comparable pairs: 3 rows with 0"):
        antolini_concordance(Surv([2, 4, 6], [0, 0, 0]), survival, [1, 3])
    with pytest.raises(DataError, match="no comparable pairs: 1 rows with 1"):
        antolini_concordance(Surv([2], [1]), survival[:1], [1, 3])
    with pytest.raises(DataError, match=r"\(3, 2\), got shape \(3, 1\)"):
        antolini_concordance(y, survival[:, :1], [1, 3])
    with pytest.raises(SpecificationError, match="tau must be"):
        antolini_concordance(y, survival, [1, 3], tau=0)
