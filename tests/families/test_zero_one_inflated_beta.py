"""The beta distribution with point masses at its ends: factorisation, options, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from _fits import fit_formula
from scipy import stats

from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import ZeroOneInflatedBeta

THETA = (0.3, 12.0, 0.35, 0.6)


def shares(n: int) -> np.ndarray:
    family = ZeroOneInflatedBeta()
    theta = torch.tensor(THETA, dtype=torch.float64)
    eta = torch.stack([link.forward(t) for link, t in zip(family.links, theta, strict=True)])
    return family.sample(eta[None], n, torch.Generator().manual_seed(4))[:, 0].numpy()


def test_density_is_a_mixture():
    family = ZeroOneInflatedBeta()
    theta = torch.tensor(THETA, dtype=torch.float64)
    eta = torch.stack([link.forward(t) for link, t in zip(family.links, theta, strict=True)])
    y = torch.tensor([0.0, 1.0, 0.2, 0.9], dtype=torch.float64)
    mean, precision, inflation, one = THETA
    inside = (1 - inflation) * stats.beta(mean * precision, (1 - mean) * precision).pdf([0.2, 0.9])
    expected = np.log([inflation * (1 - one), inflation * one, *inside])
    np.testing.assert_allclose(family.contributions(eta.expand(4, -1), y), expected, rtol=1e-12)
    at = torch.tensor([-0.1, 0.0, 1.0, 2.0], dtype=torch.float64)
    cdf = family.cdf(eta.expand(4, -1), at)
    np.testing.assert_allclose(cdf, [0, inflation * (1 - one), 1, 1], rtol=1e-12)


def test_the_parts_are_fitted_as_they_would_be_alone():
    y = shares(1500)
    x = np.linspace(-1, 1, y.size)
    frame = pd.DataFrame({"x": x, "y": y})
    formulas = {"mean": "x", "inflation": "x", "one": "x"}
    _, whole = fit_formula(formulas, frame, y, ZeroOneInflatedBeta())
    ends = (y == 0) | (y == 1)
    assert 0 < ends.sum() < y.size and np.unique(y[ends]).size == 2
    _, beta = fit_formula("x", frame[~ends], y[~ends], "beta")
    _, inflation = fit_formula("x", frame, ends.astype(float), "bernoulli")
    _, one = fit_formula("x", frame[ends], y[ends], "bernoulli")
    alone = np.concatenate([beta.beta, inflation.beta, one.beta])
    np.testing.assert_allclose(whole.beta, alone, atol=1e-7)
    np.testing.assert_allclose(whole.loglik, beta.loglik + inflation.loglik + one.loglik)


@pytest.mark.parametrize(("end", "atom", "other"), [("zero", 0.0, 1.0), ("one", 1.0, 0.0)])
def test_one_end_alone(end, atom, other):
    family = ZeroOneInflatedBeta(inflated=end)
    assert family.param_names == ("mean", "precision", "inflation")
    with pytest.raises(DataError, match=f"is {other} in row 1.*inflated='both'"):
        family.validate([0.5, other])
    eta = family.initial_eta(torch.tensor([atom, 0.4, 0.6, 0.5], dtype=torch.float64))
    np.testing.assert_allclose(family.theta(eta)[2], 0.25)
    mass = family.contributions(eta[None], torch.tensor([atom], dtype=torch.float64)).exp()
    np.testing.assert_allclose(mass, 0.25)


def test_refused_options():
    with pytest.raises(SpecificationError, match="Known: both, one, zero"):
        ZeroOneInflatedBeta(inflated="none")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="Divide percentages by 100"):
        ZeroOneInflatedBeta().validate([0.0, 12.0])
