"""Simulated joint quantiles where they are known; bands of curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import semistruct as ss
from semistruct.exceptions import SpecificationError
from semistruct.inference.simultaneous import largest_deviation

# Of the 95 % quantile of 10,000 draws: three standard errors.
SIMULATED = 0.06


@pytest.mark.parametrize("m", [1, 3, 20])
def test_independent_statistics(m):
    found = largest_deviation(np.eye(m), 4 * np.eye(m))
    expected = stats.norm.isf((1 - 0.95 ** (1 / m)) / 2)
    assert found.quantile(0.95) == pytest.approx(expected, abs=SIMULATED)
    p = found.p_values(np.array([expected, -expected, 100.0]))
    np.testing.assert_allclose(p[:2], 0.05, atol=0.007)
    assert p[2] == pytest.approx(1e-4, rel=0.01)


def test_student_quantile_and_equal_rows():
    found = largest_deviation(np.ones((50, 1)), np.eye(1), df_resid=5.0, n_draws=40_000)
    assert found.quantile(0.95) == pytest.approx(stats.t.ppf(0.975, 5), abs=SIMULATED)


def test_rows_without_variance_are_left_out():
    found = largest_deviation(np.array([[1.0, 0.0], [0.0, 0.0]]), np.diag([1.0, 0.0]))
    assert found.quantile(0.95) == pytest.approx(1.96, abs=SIMULATED)


def test_seed_decides():
    one, two, other = (
        largest_deviation(np.eye(4), np.eye(4), random_state=seed).draws for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    with pytest.raises(SpecificationError, match="level"):
        largest_deviation(np.eye(1), np.eye(1)).quantile(1.0)


def test_band_of_a_curve_covers_all_of_it():
    """Over data sets: the whole curve lies inside the simultaneous band about as often as said."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=150)
    truth = lambda at: np.sin(2 * np.pi * at)  # noqa: E731
    whole = pointwise = 0
    for _ in range(40):
        frame = pd.DataFrame({"x": x, "y": truth(x) + 0.5 * rng.normal(size=150)})
        model = ss.SemiStructuredRegressor("y ~ s(x)").fit(frame)
        wide = model.smooth_curve("s(x)", simultaneous=True)
        narrow = model.smooth_curve("s(x)")
        assert (wide["upper"] > narrow["upper"]).all()
        np.testing.assert_array_equal(wide["fit"], narrow["fit"])
        target = truth(wide["x"]) - truth(x).mean()
        whole += bool(((wide["lower"] < target) & (target < wide["upper"])).all())
        pointwise += bool(((narrow["lower"] < target) & (target < narrow["upper"])).all())
    # Binomial(40, .95) is below 34 once in 300.
    assert whole >= 34 > pointwise
