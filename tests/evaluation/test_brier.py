from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from semistruct import Surv
from semistruct.exceptions import DataError, SpecificationError
from semistruct.metrics import (
    brier_score,
    censoring_kaplan_meier,
    integrated_brier_score,
    kaplan_meier,
)

EXACT = {"rtol": 1e-10, "atol": 1e-12}  # the same sums in another order
TIMES = np.array([2.0, 5.0, 9.0])


def sample(rng, n=150):
    rate = np.exp(rng.normal(size=n))
    death = np.ceil(rng.exponential(8 / rate))
    censored = np.ceil(rng.exponential(15, n))
    y = Surv(np.minimum(death, censored), death <= censored)
    assert y.time.max() > TIMES[-1]
    assert 0.2 < y.event.mean() < 0.9
    return y, np.exp(-np.outer(rate, TIMES) / 8)


def by_definition(y_train, y, survival, times):
    censoring = censoring_kaplan_meier(y_train)
    scores = []
    for k, t in enumerate(times):
        total = 0.0
        for i in range(len(y)):
            if y.time[i] <= t and y.event[i]:
                total += survival[i, k] ** 2 / censoring.before(y.time[i])
            elif y.time[i] > t:
                total += (1 - survival[i, k]) ** 2 / censoring.at(t)
        scores.append(total / len(y))
    return scores


def test_is_the_definition(rng):
    y, survival = sample(rng)
    train, _ = sample(rng, n=300)
    expected = by_definition(train, y, survival, TIMES)
    np.testing.assert_allclose(brier_score(train, y, survival, TIMES), expected, **EXACT)
    assert not np.allclose(brier_score(y, y, survival, TIMES), expected)


def test_without_censoring_is_the_mean_squared_error(rng):
    y, survival = sample(rng)
    y = Surv(y.time, np.ones(len(y)))
    expected = np.mean(((y.time[:, None] > TIMES) - survival) ** 2, axis=0)
    np.testing.assert_allclose(brier_score(y, y, survival, TIMES), expected, **EXACT)


def test_kaplan_meier_is_the_best_prediction_without_covariates(rng):
    y, _ = sample(rng)
    curve = kaplan_meier(y).at(TIMES)
    best = brier_score(y, y, np.tile(curve, (len(y), 1)), TIMES)
    np.testing.assert_allclose(best, curve * (1 - curve), **EXACT)
    for shift in (-0.05, 0.05):
        other = np.tile(np.clip(curve + shift, 0, 1), (len(y), 1))
        assert (brier_score(y, y, other, TIMES) > best).all()


def test_weights_are_numbers_of_rows_in_the_mean(rng):
    y, survival = sample(rng)
    weights = rng.integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), weights)
    weighted = brier_score(y, y, survival, TIMES, sample_weight=weights)
    np.testing.assert_allclose(weighted, brier_score(y, y[rows], survival[rows], TIMES), **EXACT)


def test_order_of_rows_does_not_matter(rng):
    y, survival = sample(rng)
    rows = rng.permutation(len(y))
    shuffled = brier_score(y[rows], y[rows], survival[rows], TIMES)
    np.testing.assert_allclose(shuffled, brier_score(y, y, survival, TIMES), **EXACT)


def test_tables_are_read_row_by_row(rng):
    y, survival = sample(rng)
    table = pd.DataFrame(survival, columns=TIMES)
    expected = brier_score(y, y, survival, TIMES)
    np.testing.assert_array_equal(brier_score(y, y, table, TIMES), expected)


def test_integrals(rng):
    y, survival = sample(rng)
    scores = brier_score(y, y, survival, TIMES)
    line = integrate.trapezoid(scores, TIMES) / 7
    step = (scores[0] * 3 + scores[1] * 4) / 7
    np.testing.assert_allclose(integrated_brier_score(y, y, survival, TIMES), line, **EXACT)
    found = integrated_brier_score(y, y, survival, TIMES, rule="step")
    np.testing.assert_allclose(found, step, **EXACT)
    weights = np.arange(len(y))
    weighted = integrated_brier_score(y, y, survival, TIMES, sample_weight=weights)
    assert weighted != pytest.approx(line)


def test_at_the_end_of_follow_up_nobody_is_left():
    y = Surv([1, 2, 3], [1, 1, 0])
    np.testing.assert_allclose(brier_score(y, y, [[0.3], [0.6], [0.9]], [3]), [0.15], **EXACT)


Y = Surv([1, 2, 3, 4], [1, 0, 1, 0])
S = np.full((4, 2), 0.5)
MISUSE = {
    "shape": (lambda: brier_score(Y, Y, S[:3], [1, 2]), r"\(4, 2\), got shape \(3, 2\)"),
    "turned": (lambda: brier_score(Y, Y, S.T, [1, 2]), r"shape \(2, 4\)\. .* pass survival\.T"),
    "turned_table": (
        lambda: brier_score(Y, Y, pd.DataFrame(0.5, [1, 2], range(3))),
        r"one column per row of y, 4, and a row per time.*\(2, 3\)",
    ),
    "which_times": (lambda: brier_score(Y, Y, S), r"give times=, or the DataFrame"),
    "range": (lambda: brier_score(Y, Y, S * 3, [1, 2]), "row 0, column 0 has 1.5"),
    "nan": (lambda: brier_score(Y, Y, S * np.nan, [1, 2]), "column 0 has nan"),
    "order": (lambda: brier_score(Y, Y, S, [2, 1]), "2 is followed by 1"),
    "negative": (lambda: brier_score(Y, Y, S, [-1, 1]), "not negative, got -1"),
    "no_times": (lambda: brier_score(Y, Y, S[:, :0], []), "one or more times"),
    "late": (lambda: brier_score(Y, Y, S, [1, 5]), "longest follow-up of y, 4; 1 are"),
    "late_train": (lambda: brier_score(Y[:1], Y, S, [1, 2]), "known up to 1, the longest"),
    "all_censored": (
        lambda: brier_score(Surv([1, 2], [1, 0]), Y, S, [1, 2]),
        "censored before time 2, when y is still under observation",
    ),
    "entry": (
        lambda: brier_score(Y, Surv([2, 3], [1, 0], [0, 1]), S[:2], [1, 2]),
        "y has delayed entry, first row 1",
    ),
    "entry_train": (
        lambda: brier_score(Surv([2, 3], [1, 0], [0, 1]), Y, S, [1, 2]),
        "y_train has delayed entry",
    ),
    "causes": (lambda: brier_score(Y, Surv(Y.time, Y.cause, n_causes=2), S, [1, 2]), "of_cause"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_told(case):
    call, message = MISUSE[case]
    with pytest.raises(DataError, match=message):
        call()


def test_integrals_that_do_not_exist():
    with pytest.raises(SpecificationError, match="trapezoid, step"):
        integrated_brier_score(Y, Y, S, [1, 2], rule="simpson")
    with pytest.raises(SpecificationError, match="two times or more"):
        integrated_brier_score(Y, Y, S[:, :1], [1])


def test_tables_of_curves_are_read_as_they_are(rng):
    n = 7
    y = Surv(np.arange(1.0, n + 1), rng.random(n) < 0.6)
    times = [1.5, 2.5, 4.0]
    survival = np.sort(rng.random((n, 3)))[:, ::-1]
    assert np.unique(survival).size == 3 * n
    table = pd.DataFrame(survival.T, pd.Index(times, name="time"), [f"row {i}" for i in range(n)])
    expected = brier_score(y, y, survival, times)
    np.testing.assert_array_equal(brier_score(y, y, table), expected)
    np.testing.assert_array_equal(brier_score(y, y, table, times[1:]), expected[1:])
    np.testing.assert_array_equal(brier_score(y, y, table.loc[:3]), expected[:2])
    np.testing.assert_array_equal(brier_score(y, y, table.T, times), expected)
    mean = integrated_brier_score(y, y, survival, times)
    assert integrated_brier_score(y, y, table) == mean
    # As many times as rows: the index says which is which.
    grid = np.arange(1.0, n + 1)
    square = np.sort(rng.random((n, n)))[:, ::-1]
    expected = brier_score(y, y, square, grid)
    np.testing.assert_array_equal(brier_score(y, y, pd.DataFrame(square.T, grid)), expected)
    np.testing.assert_array_equal(
        brier_score(y, y, pd.DataFrame(square, columns=grid), grid), expected
    )
