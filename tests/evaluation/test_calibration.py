from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from semistruct import Surv
from semistruct.exceptions import DataError, SpecificationError
from semistruct.metrics import d_calibration, pit_values

EXACT = {"rtol": 1e-10, "atol": 1e-12}  # the same sums in another order


def by_definition(event, survival, n_bins):
    counts = np.zeros(n_bins)
    for observed, s in zip(event, survival, strict=True):
        own = min(int(s * n_bins), n_bins - 1)
        if observed:
            counts[own] += 1
        else:
            counts[own] += (s - own / n_bins) / s
            counts[:own] += 1 / n_bins / s
    return counts


@pytest.mark.parametrize("n_bins", [2, 4, 16])
def test_is_the_definition(rng, n_bins):
    event, survival = rng.random(200) < 0.5, rng.uniform(0.01, 1, 200)
    found = d_calibration(Surv(np.ones(200), event), survival, n_bins=n_bins)
    expected = by_definition(event, survival, n_bins)
    np.testing.assert_allclose(found.observed, expected, **EXACT)
    np.testing.assert_allclose(found.observed.sum(), 200, **EXACT)
    test = stats.chisquare(expected)
    np.testing.assert_allclose([found.statistic, found.p_value], test, rtol=1e-9)


def test_edges_are_kept():
    y = Surv([1, 1, 1, 1], [1, 1, 0, 0])
    np.testing.assert_allclose(d_calibration(y, [0, 1, 0, 1], n_bins=2).observed, [2.5, 1.5])


def test_right_predictions_pass_and_wrong_ones_do_not(rng):
    n, n_samples = 400, 200
    passed, caught = 0, 0
    for _ in range(n_samples):
        death, censored = rng.exponential(1, n), rng.exponential(3, n)
        y = Surv(np.minimum(death, censored), death <= censored)
        passed += d_calibration(y, np.exp(-y.time)).p_value > 0.05
        caught += d_calibration(y, np.exp(-0.6 * y.time)).p_value < 0.05
    assert passed >= 0.92 * n_samples  # at least 95 percent; two standard errors less
    assert caught > 0.95 * n_samples


def test_misuse_of_d_calibration():
    y = Surv([1, 2], [1, 0])
    with pytest.raises(DataError, match="survival_at_time has 3 rows but 2"):
        d_calibration(y, [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match=r"row 1 has 1\.2"):
        d_calibration(y, [0.1, 1.2])
    with pytest.raises(DataError, match="missing in 1 row"):
        d_calibration(y, [0.1, np.nan])
    with pytest.raises(SpecificationError, match="whole number of 2 or more, got 1"):
        d_calibration(y, [0.1, 0.2], n_bins=1)
    with pytest.raises(DataError, match="delayed entry"):
        d_calibration(Surv([3, 2], [1, 0], [1, 0]), [0.1, 0.2])


def test_pit_is_uniform(rng):
    y = rng.normal(1, 2, 2000)
    assert stats.kstest(pit_values(stats.norm.cdf(y, 1, 2)), "uniform").pvalue > 0.05
    assert stats.kstest(pit_values(stats.norm.cdf(y, 1, 3)), "uniform").pvalue < 1e-6
    counts = rng.poisson(2.5, 2000)
    upper, lower = stats.poisson.cdf(counts, 2.5), stats.poisson.cdf(counts - 1, 2.5)
    drawn = pit_values(upper, lower, random_state=1)
    assert stats.kstest(drawn, "uniform").pvalue > 0.05
    assert stats.kstest(pit_values(upper), "uniform").pvalue < 1e-6
    np.testing.assert_array_equal(drawn, pit_values(upper, lower, random_state=1))
    assert (drawn != pit_values(upper, lower, random_state=2)).any()


@pytest.mark.usefixtures("global_rng_untouched")
def test_pit_draws_from_its_own_generator():
    pit_values([0.5], [0.1])
    pit_values([0.5], [0.1], random_state=np.random.default_rng(0))


def test_misuse_of_pit():
    with pytest.raises(DataError, match=r"row 0 has 0\.5 and 0\.4"):
        pit_values([0.4], [0.5])
    with pytest.raises(DataError, match="cdf_before has 2 rows but 1"):
        pit_values([0.4], [0.5, 0.1])
    with pytest.raises(DataError, match=r"between 0 and 1; row 0 has -0\.4"):
        pit_values([-0.4])
    with pytest.raises(SpecificationError, match="nothing without cdf_before"):
        pit_values([0.4], random_state=0)
