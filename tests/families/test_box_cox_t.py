"""The Box-Cox t distribution: its limits, its truncation and its tails."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from semistruct.families import BoxCoxColeGreen, BoxCoxT

PARAMETERS = [(2.0, 0.3, 0.5, 6.0), (5.0, 0.4, -0.8, 3.0), (1.0, 0.8, 1.5, 2.5)]
Y = torch.tensor([0.05, 0.7, 1.9, 6.0, 40.0], dtype=torch.float64)


def predictors(median: float, variation: float, power: float, df: float) -> torch.Tensor:
    row = torch.tensor([np.log(median), np.log(variation), power, np.log(df)], dtype=torch.float64)
    return row.expand(len(Y), -1)


@pytest.mark.parametrize("theta", PARAMETERS)
def test_density_and_tails_are_exact(theta):
    median, variation, power, df = theta
    eta = predictors(*theta)
    with mpmath.workdps(30):

        def t_cdf(z):
            half = mpmath.betainc(df / 2, 0.5, 0, df / (df + z * z), regularized=True) / 2
            return 1 - half if z > 0 else half

        kept = t_cdf(1 / (variation * abs(mpmath.mpf(power))))
        below, density = [], []
        for y in Y.tolist():
            z = ((mpmath.mpf(y) / median) ** power - 1) / (power * variation)
            pdf = mpmath.gamma((df + 1) / 2) / mpmath.gamma(df / 2) / mpmath.sqrt(df * mpmath.pi)
            pdf *= (1 + z * z / df) ** (-(df + 1) / 2)
            jacobian = (mpmath.mpf(y) / median) ** power / (y * variation)
            density.append(float(mpmath.log(pdf * jacobian / kept)))
            cut = 1 - kept if power > 0 else mpmath.mpf(0)
            below.append((t_cdf(z) - cut) / kept)
        lower = [float(mpmath.log(p)) for p in below]
        upper = [float(mpmath.log(1 - p)) for p in below]
    np.testing.assert_allclose(BoxCoxT().contributions(eta, Y), density, rtol=1e-11)
    found = BoxCoxT().log_tails(eta, Y)
    np.testing.assert_allclose(found[0], lower, rtol=1e-9)
    np.testing.assert_allclose(found[1], upper, rtol=1e-9)


@pytest.mark.parametrize("theta", PARAMETERS)
def test_tails_have_the_derivatives_of_their_differences(theta):
    leaf = predictors(*theta).clone().requires_grad_()
    for side in range(2):
        value = BoxCoxT().log_tails(leaf, Y)[side]
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        for k in range(4):
            step = torch.zeros(4, dtype=torch.float64)
            step[k] = 1e-5
            with torch.no_grad():
                up = BoxCoxT().log_tails(leaf + step, Y)[side]
                down = BoxCoxT().log_tails(leaf - step, Y)[side]
            torch.testing.assert_close(gradient[:, k], (up - down) / 2e-5, rtol=1e-6, atol=1e-7)


def test_many_degrees_of_freedom_are_the_normal_ones():
    theta = (2.0, 0.3, 0.5)
    eta = predictors(*theta, 1e9)
    normal = BoxCoxColeGreen().contributions(eta[:, :3], Y[1:4].new_tensor(Y.tolist()))
    inside = slice(1, 4)  # far out the tails of 1e9 degrees of freedom still differ
    torch.testing.assert_close(
        BoxCoxT().contributions(eta, Y)[inside], normal[inside], rtol=1e-6, atol=1e-6
    )


def test_power_zero_is_the_log_t_distribution():
    eta = predictors(2.0, 0.4, 0.0, 5.0)
    log_y = Y.log().numpy()
    expected = stats.t(5.0, np.log(2.0), 0.4).logpdf(log_y) - log_y
    np.testing.assert_allclose(BoxCoxT().contributions(eta, Y), expected, rtol=1e-11)
