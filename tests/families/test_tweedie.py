"""The Tweedie density against exact sums, its cumulants, and its limits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from statsmodels.genmod.families import Tweedie as StatsmodelsTweedie

from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Gamma, Tweedie
from semistruct.families.tweedie import PowerLogit

EXACT = {"rtol": 2e-13, "atol": 2e-13}  # a few roundings of numbers of order 1 to 100
# Rare claims, many small ones, powers near both ends, and series of thousands of terms.
CASES = [
    (2.0, 1.0, 1.5),
    (0.5, 2.0, 1.2),
    (5.0, 0.1, 1.7),
    (1.0, 0.01, 1.5),
    (1.0, 5e-4, 1.3),
    (3.0, 1.0, 1.05),
    (1.0, 1.0, 1.95),
    (10.0, 2e-3, 1.9),
    (0.05, 1.0, 1.4),
]


def predictors(mean: float, dispersion: float) -> torch.Tensor:
    return torch.tensor([[np.log(mean), np.log(dispersion)]], dtype=torch.float64)


def exact_log_density(y: float, mean: float, dispersion: float, power: float) -> float:
    with mpmath.workdps(40):
        y, mean, dispersion, power = (mpmath.mpf(t) for t in (y, mean, dispersion, power))
        rate = mean ** (2 - power) / (dispersion * (2 - power))
        shape = (2 - power) / (power - 1)
        scale = dispersion * (power - 1) * mean ** (power - 1)
        x = y / scale
        top = max(1, (rate * (x / shape) ** shape) ** (1 / (1 + shape)))
        reach = 14 * mpmath.sqrt(top) + 30
        total = mpmath.fsum(
            mpmath.exp(
                j * mpmath.log(rate)
                - rate
                - mpmath.loggamma(j + 1)
                + j * shape * mpmath.log(x)
                - x
                - mpmath.loggamma(j * shape)
            )
            for j in range(max(1, int(top - reach)), int(top + reach))
        )
        return float(mpmath.log(total) - mpmath.log(y))


@pytest.mark.parametrize(("mean", "dispersion", "power"), CASES)
def test_density_is_the_exact_sum(mean, dispersion, power):
    family = Tweedie(power=power)
    eta = predictors(mean, dispersion)
    levels = torch.tensor([0.01, 0.3, 0.6, 0.9, 0.9999], dtype=torch.float64)[:, None]
    y = family.quantile(eta, levels).flatten()
    y = y[y > 0]
    assert y.unique().numel() > 1
    expected = [exact_log_density(value, mean, dispersion, power) for value in y.tolist()]
    found = family.contributions(eta.expand(len(y), -1), y)
    np.testing.assert_allclose(found, expected, **EXACT)
    # The free power is the same distribution.
    logit = PowerLogit().forward(torch.tensor(power, dtype=torch.float64))
    free = torch.cat([eta, logit.reshape(1, 1)], dim=-1).expand(len(y), -1)
    np.testing.assert_allclose(Tweedie().contributions(free, y), expected, **EXACT)


def test_statsmodels_agrees():
    y = np.array([0.0, 0.3, 1.0, 4.0, 20.0])
    mean = np.array([0.7, 0.5, 2.0, 3.0, 8.0])
    theirs = StatsmodelsTweedie(var_power=1.6, eql=False).loglike_obs(y, mean, scale=1.3)
    eta = torch.as_tensor(np.column_stack([np.log(mean), np.full(5, np.log(1.3))]))
    ours = Tweedie(power=1.6).contributions(eta, torch.as_tensor(y))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_a_long_series_is_the_gamma_of_power_two():
    y = torch.tensor([0.2, 1.0, 2.5], dtype=torch.float64)
    eta = predictors(1.0, 0.3).expand(3, -1)
    near = Tweedie(power=2 - 1e-8).contributions(eta, y)
    np.testing.assert_allclose(near, Gamma().contributions(eta, y), atol=1e-6)


def test_mean_is_orthogonal_and_known():
    omega = torch.tensor([[0.4, -0.3, 0.5], [2.0, 0.1, -1.0]], dtype=torch.float64)
    w = Tweedie().row_information(omega, torch.ones(2, dtype=torch.float64), "expected")
    mean, dispersion, power = Tweedie().theta(omega).unbind(-1)
    torch.testing.assert_close(w[:, 0, 0], mean ** (2 - power) / dispersion)
    assert (w[:, 0, 1:] == 0).all()
    assert (w[:, 1, 2] != 0).all()


def test_moments_of_samples():
    family = Tweedie(power=1.5)
    eta = predictors(2.0, 1.0)
    y = family.sample(eta, 20_000, torch.Generator().manual_seed(1))
    assert (y == 0).any() and (y > 0).any()
    # Five standard errors.
    assert abs(y.mean().item() - 2.0) < 5 * (2.0**1.5 / 20_000) ** 0.5
    np.testing.assert_allclose((y == 0).double().mean(), np.exp(-2 * 2**0.5), atol=0.01)


@pytest.mark.parametrize("power", [1, 2.0, 0.5, 3, True, "1.5", float("nan")])
def test_refused_powers(power):
    with pytest.raises(SpecificationError, match="strictly between 1 and 2"):
        Tweedie(power=power)


def test_refused_responses():
    with pytest.raises(DataError, match="non-negative numbers"):
        Tweedie().validate([0.0, 1.0, -0.5])


def test_power_link_is_its_own_inverse():
    theta = torch.tensor([1.01, 1.5, 1.99], dtype=torch.float64)
    link = PowerLogit()
    torch.testing.assert_close(link.inverse(link.forward(theta)), theta)
    eta = torch.tensor([-1.3, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(link.inverse(eta).sum(), eta, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), eta)
    torch.testing.assert_close(link.derivative(eta), first)
    torch.testing.assert_close(link.second_derivative(eta), second)
