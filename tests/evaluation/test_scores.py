from __future__ import annotations

import numpy as np
import pytest
from _oracles import load_oracle
from scipy import integrate, stats

from semistruct.exceptions import DataError, SpecificationError
from semistruct.metrics import (
    crps_normal,
    crps_sample,
    dawid_sebastiani,
    interval_score,
    log_score,
    pinball_loss,
)

EXACT = {"rtol": 1e-10, "atol": 1e-12}  # the same sums in another order
QUADRATURE = {"rtol": 1e-6}
MIDPOINTS = {"rtol": 2e-4}  # a distribution replaced by 20,000 of its quantiles


def crps_by_definition(y, cdf):
    below = integrate.quad(lambda x: cdf(x) ** 2, -np.inf, y)[0]
    return below + integrate.quad(lambda x: (1 - cdf(x)) ** 2, y, np.inf)[0]


def test_crps_normal_is_the_integral(rng):
    y, mean, sd = rng.normal(size=5), rng.normal(size=5), rng.uniform(0.5, 2, 5)
    expected = [
        crps_by_definition(y[i], lambda x, i=i: stats.norm.cdf(x, mean[i], sd[i])) for i in range(5)
    ]
    np.testing.assert_allclose(crps_normal(y, mean, sd), np.mean(expected), **QUADRATURE)
    weighted = crps_normal(y, mean, sd, sample_weight=[1, 2, 0, 4, 0])
    expected = np.average(expected, weights=[1, 2, 0, 4, 0])
    np.testing.assert_allclose(weighted, expected, **QUADRATURE)


@pytest.mark.oracle
def test_crps_normal_agrees_with_r():
    expected = load_oracle("E09_dist_functions").expected["crps"]
    ours = [crps_normal([y], 1.0, 2.0) for y in expected["y_real"]]
    np.testing.assert_allclose(ours, expected["norm_1_2"], **EXACT)


DISTRIBUTIONS = {
    "norm_1_2": ("y_real", stats.norm(1, 2)),
    "logis_05_13": ("y_real", stats.logistic(0.5, 1.3)),
    "gamma_shape2_rate08": ("y_pos", stats.gamma(2, scale=1 / 0.8)),
    "lnorm_06_08": ("y_pos", stats.lognorm(0.8, scale=np.exp(0.6))),
    "exp_rate06": ("y_pos", stats.expon(scale=1 / 0.6)),
    "pois_23": ("y_count", stats.poisson(2.3)),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_scores_of_samples_and_quantiles_agree_with_r(name):
    expected = load_oracle("E09_dist_functions").expected["crps"]
    responses, distribution = DISTRIBUTIONS[name]
    levels = (np.arange(20_000) + 0.5) / 20_000
    draws = distribution.ppf(levels)[None, :]
    for y, theirs in zip(expected[responses], expected[name], strict=True):
        np.testing.assert_allclose(crps_sample([y], draws), theirs, **MIDPOINTS)
        from_quantiles = 2 * pinball_loss([y], draws, levels).mean()
        np.testing.assert_allclose(from_quantiles, theirs, **MIDPOINTS)


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_crps_sample_is_the_double_sum(rng, shift):
    y, draws = rng.normal(size=6) + shift, np.round(rng.normal(size=(6, 9)), 1) + shift
    near = np.abs(draws - y[:, None]).mean(axis=1)
    apart = np.abs(draws[:, :, None] - draws[:, None, :]).sum(axis=(1, 2)) / 2
    rounding = {"rtol": 1e-12 * max(1, shift)}
    empirical, fair = near - apart / 81, near - apart / 72
    np.testing.assert_allclose(crps_sample(y, draws), empirical.mean(), **rounding)
    np.testing.assert_allclose(crps_sample(y, draws, estimator="fair"), fair.mean(), **rounding)
    weights = np.arange(6)
    weighted = crps_sample(y, draws, sample_weight=weights)
    np.testing.assert_allclose(weighted, np.average(empirical, weights=weights), **rounding)


def test_fair_estimate_does_not_depend_on_the_number_of_draws(rng):
    draws = rng.normal(size=(40_000, 4))
    expected = crps_normal(np.zeros(40_000), 0.0, 1.0)
    fair = crps_sample(np.zeros(40_000), draws, estimator="fair")
    assert abs(fair - expected) < 0.01
    assert crps_sample(np.zeros(40_000), draws) > expected + 0.1


def test_one_draw_is_the_absolute_error(rng):
    y, draw = rng.normal(size=10), rng.normal(size=10)
    np.testing.assert_allclose(crps_sample(y, draw[:, None]), np.abs(y - draw).mean(), **EXACT)


def test_the_truth_scores_best(rng):
    y = rng.normal(1, 2, 4000)
    level = 0.8
    score = {
        "log": lambda m, s: log_score(stats.norm.logpdf(y, m, s)),
        "crps": lambda m, s: crps_normal(y, m, s),
        "dawid_sebastiani": lambda m, s: dawid_sebastiani(y, m, s),
        "interval": lambda m, s: interval_score(y, *stats.norm.interval(level, m, s), level=level),
        "pinball": lambda m, s: pinball_loss(y, np.full(4000, stats.norm.ppf(0.9, m, s)), 0.9),
    }
    for name, function in score.items():
        for other in ((0.0, 2.0), (2.0, 2.0), (1.0, 3.0), (1.0, 1.3)):
            assert function(1.0, 2.0) < function(*other), (name, other)


def test_dawid_sebastiani_is_the_log_score_of_a_normal_distribution(rng):
    y, mean, sd = rng.normal(size=8), rng.normal(size=8), rng.uniform(0.5, 2, 8)
    logs = log_score(stats.norm.logpdf(y, mean, sd))
    expected = 2 * logs - np.log(2 * np.pi)
    np.testing.assert_allclose(dawid_sebastiani(y, mean, sd), expected, **EXACT)


def test_interval_score_is_two_pinball_losses(rng):
    y, lower = rng.normal(size=20), rng.normal(size=20) - 1
    upper = lower + rng.uniform(0, 2, 20)
    assert (y < lower).any()
    assert (y > upper).any()
    losses = pinball_loss(y, np.column_stack([lower, upper]), [0.05, 0.95])
    found = interval_score(y, lower, upper, level=0.9)
    np.testing.assert_allclose(found, losses.sum() / 0.05, **EXACT)
    weights = np.arange(20)
    weighted = pinball_loss(y, np.column_stack([lower, upper]), [0.05, 0.95], sample_weight=weights)
    found = interval_score(y, lower, upper, level=0.9, sample_weight=weights)
    np.testing.assert_allclose(found, weighted.sum() / 0.05, **EXACT)


def test_log_score_of_the_impossible():
    assert log_score([0.0, -np.inf]) == np.inf
    assert log_score([-1.0, -np.inf], sample_weight=[1, 0]) == 1
    assert log_score([-1.0, -3.0], sample_weight=[1, 3]) == 2.5


MISUSE = {
    "nan": (lambda: crps_normal([np.nan], 0.0, 1.0), DataError, "y is missing in 1 row"),
    "infinite": (lambda: crps_normal([np.inf], 0.0, 1.0), DataError, "y must be finite; row 0"),
    "empty": (lambda: crps_normal([], 0.0, 1.0), DataError, "y has no rows"),
    "length": (lambda: crps_normal([1, 2], [1, 2, 3], 1.0), DataError, "mean has 3 rows but 2"),
    "sd": (lambda: dawid_sebastiani([1, 2], 0.0, [1, 0]), DataError, "positive; row 1 has 0"),
    "draws": (lambda: crps_sample([1, 2], [1, 2]), DataError, r"shape \(2, S\).*got \(2,\)"),
    "draws_nan": (lambda: crps_sample([1], [[1, np.nan]]), DataError, "first row 0"),
    "density": (lambda: log_score([np.inf]), DataError, "must not be infinity; row 0"),
    "crossed": (lambda: interval_score([1], [2], [1]), DataError, "row 0 has 2 and 1"),
    "quantiles": (lambda: pinball_loss([1], [1], [0.1, 0.9]), DataError, r"\(1, 2\).*got \(1,\)"),
    "quantiles_nan": (lambda: pinball_loss([1], [np.nan], 0.1), DataError, "row 0 has a value"),
    "weights": (
        lambda: crps_normal([1.0], 0.0, 1.0, sample_weight=[1, 2]),
        DataError,
        "sample_weight has 2 rows",
    ),
    "level": (lambda: interval_score([1], 0, 1, level=95), SpecificationError, "got 95"),
    "levels": (lambda: pinball_loss([1], [1], 1.0), SpecificationError, "between 0 and 1"),
    "estimator": (
        lambda: crps_sample([1], [[1]], estimator="mean"),
        SpecificationError,
        "empirical, fair",
    ),
    "fair": (
        lambda: crps_sample([1], [[1]], estimator="fair"),
        SpecificationError,
        "two draws per row",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_told(case):
    call, error, message = MISUSE[case]
    with pytest.raises(error, match=message):
        call()
