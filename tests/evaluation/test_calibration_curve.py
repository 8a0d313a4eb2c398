"""Calibration curves: known distortions are found, under censoring too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.families.links import CLogLog

from semistruct import Surv
from semistruct.exceptions import DataError, SpecificationError
from semistruct.metrics import calibration_curve, integrated_calibration_index

NOISE = 0.02  # standard error of a curve of 4000 rows, twice


@pytest.fixture
def classes(rng):
    p = rng.uniform(0.05, 0.9, 4000)
    y = rng.random(4000) < p
    assert 0.2 < y.mean() < 0.8
    return y, p


def test_a_distortion_of_known_size_is_found(classes):
    y, p = classes
    assert integrated_calibration_index(y, p) < NOISE
    for distorted in (p**2, 1 - (1 - p) ** 2, 0.2 + 0.6 * p):
        curve = calibration_curve(y, distorted, n_knots=4)
        np.testing.assert_allclose(curve.ici, np.abs(distorted - p).mean(), atol=NOISE)
        np.testing.assert_allclose(curve.e50, np.median(np.abs(distorted - p)), atol=NOISE)
        np.testing.assert_allclose(curve.observed, p, atol=6 * NOISE)
        assert curve.e50 <= curve.e90 <= curve.e_max


def test_the_regression_is_that_of_patsy(classes):
    y, p = classes
    x = np.log(-np.log(1 - p))
    knots = np.quantile(x, [0.1, 0.5, 0.9])
    table = pd.DataFrame({"y": y.astype(float), "x": x})
    inner, lower, upper = knots[1], knots[0], knots[2]
    # patsy's natural cubic spline has the ends of the data as boundary unless told.
    formula = f"y ~ cr(x, knots=[{inner}], lower_bound={lower}, upper_bound={upper}) - 1"
    theirs = smf.glm(formula, table, family=Binomial(CLogLog())).fit()
    np.testing.assert_allclose(
        calibration_curve(y, p).observed, theirs.fittedvalues, rtol=1e-6, atol=1e-8
    )


def test_weights_are_frequencies(classes, rng):
    y, p = (values[:500] for values in classes)
    weights = rng.integers(0, 3, 500)
    twice = np.repeat(np.arange(500), weights)
    weighted = calibration_curve(y, p, sample_weight=weights)
    repeated = calibration_curve(y[twice], p[twice])
    # The knots are those of the rows, not of the weights.
    np.testing.assert_allclose(weighted.ici, repeated.ici, atol=2e-3)
    assert weighted.ici != calibration_curve(y, p).ici


def test_censored_follow_up(rng):
    n = 4000
    rate = np.exp(rng.normal(0, 0.7, n))
    time, end = rng.exponential(1 / rate), rng.exponential(1.5, n)
    y = Surv(np.minimum(time, end), time <= end)
    assert 0.3 < y.event.mean() < 0.8
    right = 1 - np.exp(-rate * 0.7)
    assert integrated_calibration_index(y, right, time=0.7) < NOISE
    wrong = 1 - np.exp(-2 * rate * 0.7)
    found = integrated_calibration_index(y, wrong, time=0.7)
    np.testing.assert_allclose(found, np.abs(wrong - right).mean(), atol=NOISE)
    # Counting the censored as event-free would see a distortion where there is none.
    naive = integrated_calibration_index(y.event & (y.time <= 0.7), right)
    assert naive > 3 * NOISE
    other = integrated_calibration_index(y[:2000], right[:2000], time=0.7, y_train=y)
    assert other != integrated_calibration_index(y[:2000], right[:2000], time=0.7)


MISUSE = {
    "no_time": (lambda y, p: calibration_curve(Surv(np.arange(1, 9), y), p), "give time="),
    "time": (lambda y, p: calibration_curve(y, p, time=1.0), "are for a follow-up"),
    "knots": (lambda y, p: calibration_curve(y, p, n_knots=2), "3, 4 or 5"),
    "outcome": (lambda y, p: calibration_curve(y + 1.0, p), "y must be 0 or 1"),
    "one": (lambda y, p: calibration_curve(np.ones(8), p), "with and without"),
    "constant": (lambda y, p: calibration_curve(y, np.full(8, 0.5)), "too few distinct"),
    "range": (lambda y, p: calibration_curve(y, 2 * p), "between 0 and 1"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_told(case):
    call, message = MISUSE[case]
    with pytest.raises((DataError, SpecificationError), match=message):
        call(np.array([0, 1, 0, 1, 0, 0, 1, 1]), np.linspace(0.1, 0.9, 8))
