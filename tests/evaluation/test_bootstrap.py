"""Bootstrap intervals: against formulas and analytic standard errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct import Surv
from semistruct.exceptions import DataError, SpecificationError
from semistruct.metrics import (
    bootstrap_interval,
    concordance,
    concordance_index,
    integrated_brier_score,
    log_score,
)

# Of a standard deviation of 1000 samples, three times its relative standard error.
SPREAD = 0.07


def test_of_a_mean_it_is_the_standard_error(rng):
    values = rng.exponential(size=300)
    assert values.std() > 0.5
    found = bootstrap_interval(lambda v: log_score(-v), values, n_samples=1000)
    np.testing.assert_allclose(found.std_error, values.std() / np.sqrt(300), rtol=SPREAD)
    assert found.estimate == pytest.approx(values.mean())
    assert found.samples.shape == (1000,)
    narrow = bootstrap_interval(lambda v: log_score(-v), values, n_samples=1000, level=0.5)
    assert found.lower < narrow.lower < narrow.upper < found.upper


def follow_up(rng, n, id=None):
    risk = rng.normal(size=n)
    time, end = rng.exponential(np.exp(-risk)), rng.exponential(2, n)
    return Surv(np.minimum(time, end), time <= end, id=id), risk


def test_of_a_concordance_it_is_the_infinitesimal_jackknife(rng):
    y, risk = follow_up(rng, 250)
    found = bootstrap_interval(concordance_index, y, risk, n_samples=1000)
    np.testing.assert_allclose(found.std_error, concordance(y, risk).std_error, rtol=2 * SPREAD)
    assert "standard error" in repr(found)
    same = bootstrap_interval(concordance_index, y, risk, n_samples=1000)
    np.testing.assert_array_equal(found.samples, same.samples)
    other = bootstrap_interval(concordance_index, y, risk, n_samples=1000, random_state=1)
    assert not np.array_equal(found.samples, other.samples)


def test_subjects_are_drawn_as_a_whole(rng):
    values = np.repeat(rng.normal(size=40), 10)
    together = bootstrap_interval(np.mean, values, groups=np.repeat(np.arange(40), 10))
    alone = bootstrap_interval(np.mean, values)
    np.testing.assert_allclose(together.std_error / alone.std_error, np.sqrt(10), rtol=3 * SPREAD)
    y, risk = follow_up(rng, 120, id=np.repeat(np.arange(30), 4))
    by_id = bootstrap_interval(concordance_index, y, risk, n_samples=50)
    given = bootstrap_interval(concordance_index, y, risk, groups=y.id, n_samples=50)
    np.testing.assert_array_equal(by_id.samples, given.samples)


def test_tables_of_curves_are_drawn_by_column(rng):
    y, risk = follow_up(rng, 80)
    times = [0.2, 0.5, 1.0]
    curves = np.exp(-np.outer(np.exp(risk), times))
    table = pd.DataFrame(curves.T, pd.Index(times, name="time"))
    one = bootstrap_interval(lambda y_, s: integrated_brier_score(y, y_, s), y, table, n_samples=20)
    other = bootstrap_interval(
        lambda y_, s: integrated_brier_score(y, y_, s, times), y, curves, n_samples=20
    )
    np.testing.assert_allclose(one.samples, other.samples, rtol=1e-12)


def test_misuse_is_told(rng):
    y, risk = follow_up(rng, 20)
    with pytest.raises(DataError, match="20"):
        bootstrap_interval(concordance_index, y, risk[:5])
    with pytest.raises(SpecificationError, match="n_samples"):
        bootstrap_interval(concordance_index, y, risk, n_samples=1)
    with pytest.raises(SpecificationError, match="level"):
        bootstrap_interval(concordance_index, y, risk, level=95)
    rare = Surv(np.arange(1.0, 21), np.arange(20) == 3)
    with pytest.raises(DataError, match="too few rows or events"):
        bootstrap_interval(concordance_index, rare, risk, n_samples=40)
