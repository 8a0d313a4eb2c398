from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from semistruct import Surv
from semistruct.exceptions import DataError
from semistruct.metrics import (
    censoring_kaplan_meier,
    cumulative_dynamic_auc,
    integrated_auc,
    kaplan_meier,
)

EXACT = {"rtol": 1e-10, "atol": 1e-12}  # the same sums in another order
TIMES = np.array([2.0, 5.0, 9.0])


def sample(rng, n=120):
    risk = np.round(rng.normal(size=n), 1)
    death = np.ceil(rng.exponential(8 * np.exp(-risk)))
    censored = np.ceil(rng.exponential(15, n))
    y = Surv(np.minimum(death, censored), death <= censored)
    assert y.time.max() > TIMES[-1]
    assert np.unique(risk).size < n
    return y, risk


def test_is_the_definition(rng):
    y, risk = sample(rng)
    train, _ = sample(rng, n=200)
    weights = rng.uniform(0.5, 2, len(y))
    censoring = censoring_kaplan_meier(train)
    expected = []
    for t in TIMES:
        case, control = y.event & (y.time <= t), y.time > t
        inverse = weights[case] / censoring.before(y.time[case])
        order = np.sign(risk[case][:, None] - risk[control]) / 2 + 0.5
        pairs = inverse[:, None] * weights[control]
        expected.append(np.sum(pairs * order) / np.sum(pairs))
    found = cumulative_dynamic_auc(train, y, risk, TIMES, sample_weight=weights)
    np.testing.assert_allclose(found, expected, **EXACT)
    assert not np.allclose(found, cumulative_dynamic_auc(train, y, risk, TIMES))


def test_without_censoring_is_the_area_of_a_classifier(rng):
    y, risk = sample(rng)
    y = Surv(y.time, np.ones(len(y)))
    expected = [roc_auc_score(y.time <= t, risk) for t in TIMES]
    np.testing.assert_allclose(cumulative_dynamic_auc(y, y, risk, TIMES), expected, **EXACT)


def test_risks_may_change_with_time(rng):
    y, risk = sample(rng)
    other = rng.normal(size=len(y))
    columns = np.column_stack([risk, other, risk])
    found = cumulative_dynamic_auc(y, y, columns, TIMES)
    fixed = [cumulative_dynamic_auc(y, y, r, TIMES)[k] for k, r in enumerate([risk, other, risk])]
    np.testing.assert_allclose(found, fixed, **EXACT)


def test_invariances(rng):
    y, risk = sample(rng)
    area = cumulative_dynamic_auc(y, y, risk, TIMES)
    np.testing.assert_allclose(cumulative_dynamic_auc(y, y, np.exp(risk), TIMES), area, **EXACT)
    np.testing.assert_allclose(cumulative_dynamic_auc(y, y, -risk, TIMES), 1 - area, **EXACT)
    rows = rng.permutation(len(y))
    shuffled = cumulative_dynamic_auc(y[rows], y[rows], risk[rows], TIMES)
    np.testing.assert_allclose(shuffled, area, **EXACT)


def test_mean_is_over_the_times_of_events(rng):
    y, risk = sample(rng)
    survival = kaplan_meier(y).at(TIMES)
    falls = np.array([1 - survival[0], survival[0] - survival[1], survival[1] - survival[2]])
    expected = cumulative_dynamic_auc(y, y, risk, TIMES) @ falls / (1 - survival[2])
    np.testing.assert_allclose(integrated_auc(y, y, risk, TIMES), expected, **EXACT)
    weighted = integrated_auc(y, y, risk, TIMES, sample_weight=np.arange(len(y)))
    assert weighted != pytest.approx(expected)


Y = Surv([2, 3, 4, 5], [1, 0, 1, 0])
RISK = [4.0, 3.0, 2.0, 1.0]
MISUSE = {
    "nobody_yet": (lambda: cumulative_dynamic_auc(Y, Y, RISK, [1]), "had the event by time 1"),
    "nobody_left": (lambda: cumulative_dynamic_auc(Y, Y, RISK, [5]), "observation after time 5"),
    "late": (lambda: cumulative_dynamic_auc(Y, Y, RISK, [6]), "longest follow-up of y, 5"),
    "length": (lambda: cumulative_dynamic_auc(Y, Y, RISK[:3], [2]), r"shape \(4,\) or \(4, 1\)"),
    "columns": (
        lambda: cumulative_dynamic_auc(Y, Y, np.ones((4, 3)), [2, 3]),
        r"\(4, 2\), .* got \(4, 3\)",
    ),
    "nan": (lambda: cumulative_dynamic_auc(Y, Y, [1, np.nan, 2, 3], [2]), "first in row 1"),
    "follow_up": (
        lambda: cumulative_dynamic_auc(Surv([1], [0]), Y, RISK, [2]),
        "censored before time 2, when y has an event",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_told(case):
    call, message = MISUSE[case]
    with pytest.raises(DataError, match=message):
        call()
