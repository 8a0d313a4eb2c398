"""Inference from folds: against the formulas, simulated coverage, published tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from semistruct.evaluation.resampled import (
    holm,
    honest_choice,
    mean_ranks,
    nemenyi_difference,
    resampled_mean,
)
from semistruct.exceptions import DataError, SpecificationError

EXACT = {"rtol": 1e-12}


def test_without_overlap_it_is_the_t_interval(rng):
    values = rng.normal(0.3, 1, 12)
    assert values.std() > 0
    # A vanishing test ratio leaves the interval of independent values.
    found = resampled_mean(values, 1e-15)
    lower, upper = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    np.testing.assert_allclose([found.lower, found.upper], [lower, upper], **EXACT)
    np.testing.assert_allclose(found.p_value, stats.ttest_1samp(values, 0).pvalue, **EXACT)
    corrected = resampled_mean(values, 1 / 9, level=0.9)
    ratio = corrected.std_error / found.std_error
    np.testing.assert_allclose(ratio, np.sqrt((1 / 12 + 1 / 9) * 12), **EXACT)
    assert corrected.upper - corrected.mean < found.upper - found.mean or ratio > 1


def test_differences_of_equal_models_are_rarely_significant():
    # Two guesses of the mean from the same folds: the naive test rejects far too often.
    rng = np.random.default_rng(1)
    rejected = np.zeros(2)
    n_samples = 300
    for _ in range(n_samples):
        y = rng.normal(size=60)
        noise = rng.normal(size=(2, 60))
        gains = []
        for _ in range(5):
            order = rng.permutation(60).reshape(5, 12)
            for test in order:
                train = np.setdiff1d(np.arange(60), test)
                slopes = noise[:, train] @ y[train] / 60
                errors = (y[test] - slopes[:, None] * noise[:, test]) ** 2
                gains.append(errors[0].mean() - errors[1].mean())
        rejected += [
            resampled_mean(np.array(gains), 0.25).p_value < 0.05,
            stats.ttest_1samp(gains, 0).pvalue < 0.05,
        ]
    corrected, naive = rejected / n_samples
    assert naive > 0.2
    assert corrected < 0.1


def test_missing_and_constant_scores():
    found = resampled_mean(np.array([0.1, np.nan, 0.3]), 0.5)
    assert found.n_folds == 2 and found.mean == pytest.approx(0.2)
    alone = resampled_mean(np.array([0.1, np.nan]), 0.5)
    assert alone.mean == 0.1 and np.isnan(alone.std_error)
    same = resampled_mean(np.zeros(5), 0.25)
    assert (same.lower, same.upper) == (0, 0) and np.isnan(same.p_value)
    assert np.isnan(resampled_mean(np.array([np.nan]), 0.5).mean)
    with pytest.raises(SpecificationError, match="level"):
        resampled_mean(np.zeros(3), 0.25, level=95)
    with pytest.raises(SpecificationError, match="test_ratio"):
        resampled_mean(np.zeros(3), 0.0)


def test_holm_is_that_of_statsmodels(rng):
    p_values = rng.uniform(0, 0.2, 9)
    theirs = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), theirs, **EXACT)
    with_gap = holm(np.array([0.01, np.nan, 0.04]))
    np.testing.assert_allclose(with_gap, [0.02, np.nan, 0.04], **EXACT)


@pytest.mark.parametrize(
    ("n_models", "quantile"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)]
)
def test_nemenyi_has_the_quantiles_of_demsar(n_models, quantile):
    # Table 5a of Demsar (2006) has three digits, some of them cut and not rounded.
    found = nemenyi_difference(n_models, 20) / np.sqrt(n_models * (n_models + 1) / 120)
    assert found == pytest.approx(quantile, abs=1.1e-3)


def test_ranks_need_every_score():
    with pytest.raises(DataError, match="missing"):
        mean_ranks(np.array([[1.0, np.nan]]))


def test_the_price_of_choosing_among_equal_models():
    # Forty equal models: the best mean is above the truth, the honest score is not.
    rng = np.random.default_rng(0)
    repeat = np.zeros(10, dtype=int)
    best, honest = [], []
    for _ in range(200):
        scores = rng.normal(size=(10, 40))
        best.append(scores.mean(axis=0).max())
        honest.append(honest_choice(scores, repeat))
    assert np.mean(best) > 0.5
    assert abs(np.mean(honest)) < 3 * np.std(honest) / np.sqrt(200)
    # One model has nothing to choose.
    np.testing.assert_allclose(honest_choice(scores[:, :1], repeat), scores[:, 0].mean(), **EXACT)
    with pytest.raises(DataError, match="two folds"):
        honest_choice(scores, np.arange(10))
