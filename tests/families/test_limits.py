"""Families at the edges of their parameters, against their limits and exact arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import special

from semistruct.families import (
    Bernoulli,
    Beta,
    Gamma,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
)
from semistruct.families._arithmetic import log_minus_digamma, stirling_error, trigamma_excess

EXACT = {"rtol": 1e-12, "atol": 1e-15}  # a few roundings


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("a", [1e-300, 1e-8, 0.3, 2.0, 14.9, 15.0, 15.1, 40.0, 1e6, 1e12])
def test_differences_from_stirling(a):
    with mpmath.workdps(400):
        x = mpmath.mpf(a)
        stirling = (x - 0.5) * mpmath.log(x) - x + mpmath.log(2 * mpmath.pi) / 2
        reference = (
            mpmath.loggamma(x) - stirling,
            x * (mpmath.log(x) - mpmath.digamma(x)),
            x * (x * mpmath.psi(1, x) - 1),
        )
        expected = [float(r) for r in reference]
    values = [f(column(a)).item() for f in (stirling_error, log_minus_digamma, trigamma_excess)]
    np.testing.assert_allclose(values, expected, rtol=2e-12)


def test_gamma_of_a_tiny_dispersion_is_lognormal():
    dispersion = 1e-10
    z = column(-1.0, 0.3, 2.0)
    y = (z * dispersion**0.5).exp() * 3.0
    eta = column(np.log(3.0), np.log(dispersion)).expand(3, 2)
    normal = -0.5 * z**2 - 0.5 * np.log(2 * np.pi * dispersion) - np.log(3.0)
    # The third cumulant, of the order of the square root of the dispersion, remains.
    torch.testing.assert_close(Gamma().contributions(eta, y), normal, rtol=0, atol=1e-4)
    torch.testing.assert_close(Gamma().score(eta, y)[:, 1], 0.5 * (z**2 - 1), rtol=0, atol=1e-4)


def test_negative_binomial_of_a_tiny_dispersion_is_poisson():
    y = column(0, 1, 7, 30)
    for dispersion in (1e-12, 1e-300):
        eta = column(np.log(4.0), np.log(dispersion)).expand(4, 2)
        torch.testing.assert_close(
            NegativeBinomial().contributions(eta, y),
            Poisson().contributions(eta[:, :1], y),
            rtol=1e-9,
            atol=1e-9,
        )


def test_student_t_of_huge_df_is_normal():
    y = column(-3.0, 0.1, 2.5)
    for df in (1e9, 1e290):
        eta = column(0.5, np.log(1.7), np.log(df)).expand(3, 3)
        torch.testing.assert_close(
            StudentT().contributions(eta, y),
            Normal().contributions(eta[:, :2], y),
            rtol=1e-7,
            atol=1e-7,
        )


@pytest.mark.parametrize("df", [1e-6, 0.5, 4.0, 499.0, 501.0, 1e4])
def test_student_t_information_of_df(df):
    with mpmath.workdps(60):
        v = mpmath.mpf(df)
        psi = mpmath.psi(1, v / 2) - mpmath.psi(1, (v + 1) / 2)
        expected = v**2 * (psi / 4 - (v + 5) / (2 * v * (v + 1) * (v + 3)))
    eta = column(0.0, 0.0, np.log(df))[None]
    information = StudentT().row_information(eta, column(0.0), "expected")[0, 2, 2].item()
    # Either side of the switch to the series; below it the closed form cancels.
    assert information == pytest.approx(float(expected), rel=2e-8)


def test_beta_of_a_large_precision():
    mean, precision, y = 0.3, 1e10, 0.3 + 2e-6
    eta = column(special.logit(mean), np.log(precision))[None]
    with mpmath.workdps(50):
        a, b = mpmath.mpf(mean) * precision, (1 - mpmath.mpf(mean)) * precision
        expected = (
            -mpmath.log(mpmath.beta(a, b))
            + (a - 1) * mpmath.log(y)
            + (b - 1) * mpmath.log(1 - mpmath.mpf(y))
        )
    # The mean itself is rounded: 1e-16 of the precision times the slope 1e-6 of the divergence.
    assert Beta().contributions(eta, column(y)).item() == pytest.approx(float(expected), abs=1e-5)


def test_bernoulli_keeps_probabilities_that_round_to_one():
    eta = column(50.0, -50.0, 700.0)[:, None]
    value = Bernoulli().contributions(eta, column(1, 0, 1))
    torch.testing.assert_close(value, -torch.exp(-eta[:, 0].abs()), rtol=1e-12, atol=0)
    assert (value < 0).all()


@pytest.mark.parametrize("family", [Poisson(link="identity"), Gamma(mean_link="identity")], ids=str)
def test_outside_the_domain_of_a_link_the_likelihood_is_zero(family):
    eta = torch.ones(2, len(family.links), dtype=torch.float64)
    eta[0, 0] = -0.1
    value = family.contributions(eta, column(2.0, 2.0))
    assert value[0] == -torch.inf and value[1].isfinite()
