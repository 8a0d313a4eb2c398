"""Tails of chi-square mixtures against exact distributions, tables and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from semistruct.inference.quadratic_forms import chi_square_mixture_sf

EXACT = 1e-10  # relative, also far into the tail


@pytest.mark.parametrize("df", [1, 2, 5, 50, 500])
@pytest.mark.parametrize("p", [1 - 1e-6, 0.7, 0.5, 0.3, 0.05, 1e-8, 1e-100])
@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_one_weight_is_chi_square(df, p, unit):
    x = unit * stats.chi2.isf(p, df)
    np.testing.assert_allclose(chi_square_mixture_sf(x, [unit], [df]), p, rtol=1e-7)
    np.testing.assert_allclose(
        chi_square_mixture_sf(x, np.full(df, unit)), stats.chi2.sf(x / unit, df), rtol=EXACT
    )


@pytest.mark.parametrize("degrees", [(1, 1), (1, 5), (5, 10), (13, 120), (3, 1)])
@pytest.mark.parametrize("x", [0.01, 0.5, 1.0, 3.0, 50.0])
def test_a_negative_weight_gives_the_f_distribution(degrees, x):
    a, b = degrees
    found = chi_square_mixture_sf(0.0, [1.0, -x * a / b], [a, b])
    np.testing.assert_allclose(found, stats.f.sf(x, a, b), rtol=EXACT)


@pytest.mark.parametrize(("x", "p"), [(0.1, 0.9458), (0.7, 0.5064), (2.0, 0.1240)])
def test_imhofs_table(x, p):
    """Imhof (1961), table 1, the form 0.6 chi2 + 0.3 chi2 + 0.1 chi2."""
    np.testing.assert_allclose(chi_square_mixture_sf(x, [0.6, 0.3, 0.1]), p, atol=5e-5)


@pytest.mark.parametrize("x", [-2.0, -0.1, 0.0, 0.5, 3.0])
def test_indefinite_forms_against_simulation(rng, x):
    weights = np.array([1.0, 0.5, 0.2, -0.3, -0.7])
    draws = rng.normal(size=(200_000, 5)) ** 2 @ weights
    assert draws.std() > 0
    error = 4 * np.sqrt(0.25 / draws.size)
    assert abs(chi_square_mixture_sf(x, weights) - (draws > x).mean()) < error


@pytest.mark.parametrize("x", [-5.0, -0.3])
def test_negative_weights_mirror(x):
    np.testing.assert_allclose(
        chi_square_mixture_sf(x, [-1.0, -2.0]), 1 - chi_square_mixture_sf(-x, [1.0, 2.0])
    )


def test_degenerate_arguments():
    assert chi_square_mixture_sf(1.0, []) == 0.0
    assert chi_square_mixture_sf(-1.0, [0.0]) == 1.0
    assert chi_square_mixture_sf(-1.0, [1.0]) == 1.0
    assert chi_square_mixture_sf(0.0, [1.0]) == 1.0
    assert chi_square_mixture_sf(1.0, [-1.0]) == 0.0
    assert chi_square_mixture_sf(np.inf, [1.0, -1.0]) == 0.0
    assert np.isnan(chi_square_mixture_sf(np.nan, [1.0]))
    assert np.isnan(chi_square_mixture_sf(1.0, [np.nan]))
