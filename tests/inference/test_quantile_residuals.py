"""Quantile residuals: standard normal under the model, for every family, and exact in the tails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from _plot_models import deep_model, with_gamma
from contracts._family_examples import EXAMPLES
from scipy import stats

import semistruct as ss
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.families import Gamma, Normal, Poisson
from semistruct.families.censored import Censored
from semistruct.families.cox import CoxPartialLikelihood
from semistruct.inference.quantile_residuals import (
    probability_interval,
    quantile_residuals,
    residual_rows,
    training_residuals,
)

N = 3000
# Kolmogorov's test of 30 families at once: one in a hundred runs would fail.
SMALLEST_P = 3e-4


def predictors(example):
    """Every parameter of the example, in turn."""
    theta = np.resize(np.array(example.theta, dtype=float), (N, len(example.theta[0])))
    columns = [
        link.forward(torch.from_numpy(np.ascontiguousarray(theta[:, k])))
        for k, link in enumerate(example.family.links)
    ]
    return torch.stack(columns, dim=-1).numpy()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_every_family_has_standard_normal_residuals(example):
    eta = predictors(example)
    generator = torch.Generator().manual_seed(7)
    y = example.family.sample(torch.from_numpy(eta), 1, generator)[0].numpy()
    assert np.ptp(y) > 0
    found = quantile_residuals(example.family, eta, y, random_state=3)
    assert np.isfinite(found).all()
    assert stats.kstest(found, "norm").pvalue > SMALLEST_P
    interval = probability_interval(example.family, eta, y)
    assert (interval.lower <= interval.upper).all()
    if example.family.discrete:
        with torch.no_grad():
            mass = example.family.contributions(torch.from_numpy(eta), torch.from_numpy(y))
        np.testing.assert_allclose(
            interval.upper - interval.lower, np.exp(mass.numpy()), rtol=1e-5, atol=1e-9
        )


def test_continuous_residuals_have_nothing_random():
    eta = np.column_stack([np.linspace(-1, 1, 9), np.full(9, np.log(2.0))])
    y = np.linspace(-3, 4, 9)
    np.testing.assert_allclose(
        quantile_residuals(Normal(), eta, y), (y - eta[:, 0]) / 2, rtol=1e-12, atol=1e-12
    )
    mean, dispersion = 2.0, 0.5
    eta = np.tile([np.log(mean), np.log(dispersion)], (3, 1))
    y = np.array([0.1, 1.5, 9.0])
    expected = stats.norm.ppf(stats.gamma.cdf(y, 1 / dispersion, scale=mean * dispersion))
    one, two = (quantile_residuals(Gamma(), eta, y, seed) for seed in (0, 1))
    np.testing.assert_allclose(one, expected, rtol=1e-9)
    np.testing.assert_array_equal(one, two)


def test_far_tails_keep_their_digits():
    y = np.array([-300.0, -40.0, 9.0, 40.0, 300.0])
    np.testing.assert_allclose(quantile_residuals(Normal(), np.zeros((5, 2)), y), y, rtol=1e-9)


def test_counts_lie_between_the_steps():
    eta = np.log([[2.0], [0.3], [5.0]])
    y = np.array([1.0, 0.0, 40.0])
    found = probability_interval(Poisson(), eta, y)
    rate = np.exp(eta[:, 0])
    np.testing.assert_allclose(found.upper, stats.poisson.cdf(y, rate), rtol=1e-10)
    np.testing.assert_allclose(found.lower, stats.poisson.cdf(y - 1, rate), rtol=1e-10)
    assert np.isfinite(quantile_residuals(Poisson(), eta, y)).all()


def test_a_row_depends_on_its_place_and_the_seed_only():
    rng = np.random.default_rng(0)
    eta, y = rng.normal(size=(20, 1)), rng.poisson(2, 20).astype(float)
    all_rows = quantile_residuals(Poisson(), eta, y, 5)
    np.testing.assert_array_equal(quantile_residuals(Poisson(), eta[:7], y[:7], 5), all_rows[:7])
    assert (quantile_residuals(Poisson(), eta, y, 6) != all_rows).all()


@pytest.mark.parametrize("kind", ["right", "interval", "late"])
def test_censored_rows_are_randomised_within_their_interval(kind):
    rng = np.random.default_rng(4)
    n = 2000
    family = Censored(Gamma())
    eta = np.tile([np.log(2.0), np.log(0.5)], (n, 1))
    gamma = stats.gamma(2.0, scale=1.0)
    time = gamma.rvs(n, random_state=rng)
    if kind == "right":
        stop = rng.uniform(0.5, 5, n)
        y = family.validate(ss.Surv(np.minimum(time, stop), time <= stop))
        lower, upper = gamma.cdf(np.minimum(time, stop)), np.where(time <= stop, gamma.cdf(time), 1)
    elif kind == "interval":
        low = np.floor(time)
        y = family.validate(ss.Interval(low, low + 1))
        lower, upper = gamma.cdf(low), gamma.cdf(low + 1)
    else:
        entry = rng.uniform(0, 2, n)
        kept = time > entry
        time, entry, eta = time[kept], entry[kept], eta[kept]
        y = family.validate(ss.Surv(time, np.ones(len(time), dtype=bool), entry=entry))
        upper = (gamma.cdf(time) - gamma.cdf(entry)) / gamma.sf(entry)
        lower = upper
    found = probability_interval(family, eta, y)
    np.testing.assert_allclose(found.lower, lower, atol=1e-9)
    np.testing.assert_allclose(found.upper, upper, atol=1e-9)
    residuals = quantile_residuals(family, eta, y)
    assert stats.kstest(residuals, "norm").pvalue > SMALLEST_P


def test_partial_likelihoods_have_no_distribution():
    with pytest.raises(UnsupportedCombinationError, match="martingale"):
        quantile_residuals(CoxPartialLikelihood(), np.zeros((2, 1)), np.zeros((2, 4)))


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.uniform(size=120)})
    frame["count"] = rng.poisson(np.exp(frame.x))
    weight = np.where(np.arange(120) < 100, 1.0, 0.0)
    fit = ss.SemiStructuredRegressor("count ~ s(x)", "poisson").fit(frame, sample_weight=weight)
    return fit, frame


@pytest.mark.usefixtures("global_rng_untouched")
def test_of_an_estimator(model):
    fit, frame = model
    training = fit.quantile_residuals(random_state=2)
    assert training.shape == (100,)
    new = fit.quantile_residuals(frame, frame["count"], random_state=2)
    np.testing.assert_allclose(new[:100], training, rtol=1e-8, atol=1e-10)
    with pytest.raises(SpecificationError, match="both X and y"):
        fit.quantile_residuals(frame)


def test_deep_scores_count_where_they_are_honest():
    closed = deep_model()
    n = len(closed.problem.y)
    np.testing.assert_array_equal(residual_rows(closed), np.arange(n))
    honest = np.arange(n) % 3 > 0
    scored = replace(closed.deep.fit, eta=closed.deep.fit.eta + np.array([0.5, 0.0]))
    fit = with_gamma(closed, 1.0)
    crossfit = replace(fit.deep.crossfit, honest=honest)
    fit = replace(fit, deep=replace(fit.deep, fit=scored, crossfit=crossfit))
    rows = residual_rows(fit)
    np.testing.assert_array_equal(rows, np.flatnonzero(honest))
    expected = (fit.problem.y - scored.eta[:, 0]) / np.exp(scored.eta[:, 1])
    np.testing.assert_allclose(training_residuals(fit), expected[rows], rtol=1e-9, atol=1e-12)
