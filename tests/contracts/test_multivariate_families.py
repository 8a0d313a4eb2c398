"""What every family of several columns promises."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Dirichlet, MultivariateNormal
from tests.contracts._family_examples import MULTIVARIATE, MultivariateExample

AUTODIFF = {"rtol": 1e-9, "atol": 1e-10}  # exact derivatives, rounding only
DRAWS = 40_000
SIGMAS = 5.0  # of a mean over the draws


@pytest.fixture(params=MULTIVARIATE, ids=lambda example: example.id)
def example(request) -> MultivariateExample:
    return request.param


def eta_of(example: MultivariateExample) -> torch.Tensor:
    theta = torch.tensor(example.theta, dtype=torch.float64)
    links = example.family.links
    return torch.stack([link.forward(theta[:, k]) for k, link in enumerate(links)], dim=-1)


def rows_of(example: MultivariateExample, per: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictors and drawn responses, ``(n, K)`` and ``(n, D)``."""
    eta = eta_of(example)
    y = example.family.sample(eta, per, torch.Generator().manual_seed(2))
    return eta.expand(per, *eta.shape).reshape(-1, eta.shape[-1]), y.reshape(-1, y.shape[-1])


def test_facts_and_shapes(example):
    family = example.family
    eta, y = rows_of(example)
    n, D = y.shape
    assert family.columns == D and y.unique().numel() > 1
    assert len(family.param_names) == len(family.links) == eta.shape[-1]
    assert family.contributions(eta, y).shape == (n,)
    assert family.mean(eta).shape == family.variance(eta).shape == (n, D)
    assert family.cdf(eta, y).shape == (n, D)
    levels = torch.tensor([[0.1], [0.5]], dtype=torch.float64)
    assert family.quantile(eta, levels).shape == (2, n, D)
    torch.testing.assert_close(
        family.theta(eta), torch.tensor(example.theta, dtype=torch.float64).repeat(6, 1)
    )


def test_scipy_agrees(example):
    eta, y = rows_of(example)
    theta = example.family.theta(eta).numpy()
    expected = [
        example.scipy(row).logpdf(value) for row, value in zip(theta, y.numpy(), strict=True)
    ]
    np.testing.assert_allclose(example.family.contributions(eta, y), expected, rtol=1e-9, atol=1e-9)
    distribution = example.family.distribution(eta)
    np.testing.assert_allclose(distribution.log_prob(y), expected, rtol=1e-9, atol=1e-9)
    mean = [example.scipy(row).mean for row in theta]
    mean = [value() if callable(value) else value for value in mean]
    np.testing.assert_allclose(example.family.mean(eta), mean)


def test_score_and_observed_curvature_are_derivatives(example):
    family = example.family
    eta, y = rows_of(example)
    leaf = eta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(family.contributions(leaf, y).sum(), leaf, create_graph=True)
    torch.testing.assert_close(family.score(eta, y), gradient.detach(), **AUTODIFF)
    rows = [
        torch.autograd.grad(gradient[:, k].sum(), leaf, retain_graph=True)[0]
        for k in range(eta.shape[-1])
    ]
    w = family.row_information(eta, y)
    torch.testing.assert_close(w, -torch.stack(rows, dim=-2), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(w, w.transpose(-1, -2))
    for k in range(eta.shape[-1]):
        step = torch.zeros_like(eta)
        step[:, k] = 1e-5
        difference = family.contributions(eta + step, y) - family.contributions(eta - step, y)
        torch.testing.assert_close(gradient[:, k].detach(), difference / 2e-5, rtol=2e-6, atol=2e-6)


def test_expected_curvature_is_the_mean_of_the_observed(example):
    family = example.family
    for row in eta_of(example):
        y = family.sample(row[None], DRAWS, torch.Generator().manual_seed(5))[:, 0]
        eta = row.expand(DRAWS, -1)
        expected = family.row_information(row[None], y[:1], "expected")[0]
        assert (torch.linalg.eigvalsh(expected) > 0).all()
        for draws in (family.row_information(eta, y), outer(family.score(eta, y))):
            error = draws.std(0) / DRAWS**0.5
            assert ((draws.mean(0) - expected).abs() <= SIGMAS * error + 1e-9).all()


def outer(score: torch.Tensor) -> torch.Tensor:
    return score[:, :, None] * score[:, None, :]


def test_marginals_and_moments_of_the_draws(example):
    family = example.family
    eta = eta_of(example)
    for draws in (family.sample(eta, DRAWS, torch.Generator().manual_seed(6)), seeded(family, eta)):
        u = family.cdf(eta, draws)
        for column in u.reshape(DRAWS, -1).T:
            assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-4  # 34 such values
        error = (family.variance(eta) / DRAWS).sqrt()
        assert ((draws.mean(0) - family.mean(eta)).abs() < SIGMAS * error).all()
        family.validate(draws[:, 0].numpy())
    again = family.sample(eta, 10, torch.Generator().manual_seed(6))
    assert torch.equal(again, family.sample(eta, 10, torch.Generator().manual_seed(6)))
    q = torch.tensor([[0.05], [0.5], [0.99]], dtype=torch.float64)
    reached = family.cdf(eta, family.quantile(eta, q))
    torch.testing.assert_close(reached, q[..., None].expand_as(reached))


def seeded(family, eta: torch.Tensor) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return family.distribution(eta).sample((DRAWS,))


def test_batches_and_single_precision(example):
    family = example.family
    eta, y = rows_of(example)
    batch = torch.stack([eta, eta * 1.01])
    for method in (family.contributions, family.score, family.row_information):
        alone = torch.stack([method(one, y) for one in batch])
        torch.testing.assert_close(method(batch, y), alone, rtol=1e-12, atol=1e-12)
        single = method(eta.float(), y.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single, method(eta, y).float(), rtol=5e-3, atol=5e-3)


def test_extreme_predictors_give_no_nan(example):
    family = example.family
    eta, y = rows_of(example)
    for k in range(eta.shape[-1]):
        for extreme in (-700.0, 700.0):
            far = eta.clone()
            far[:, k] = extreme
            value = family.contributions(far, y)
            assert not value.isnan().any()
            assert not family.score(far, y)[value > -torch.inf].isnan().any()


def test_initial_eta(example):
    family = example.family
    eta = eta_of(example)[:1]
    y = family.sample(eta, 400, torch.Generator().manual_seed(3))[:, 0]
    start = family.initial_eta(y)
    total = family.score(start.expand(len(y), -1), y).sum(0)
    w = family.row_information(start.expand(len(y), -1), y, "expected").sum(0)
    assert total @ torch.linalg.solve(w, total) < 0.5 * len(y)
    weight = torch.arange(len(y)).double() % 3
    repeated = torch.repeat_interleave(y, weight.long(), dim=0)
    torch.testing.assert_close(family.initial_eta(y, weight), family.initial_eta(repeated))
    constant = y[:1].expand(7, -1)
    assert family.initial_eta(constant).isfinite().all()


def test_validate(example):
    family = example.family
    _, y = rows_of(example)
    frame = pd.DataFrame(y.numpy()).add_prefix("share ")
    np.testing.assert_allclose(family.validate(frame), y)
    assert family.validate(y.numpy().tolist()).dtype == np.float64
    with pytest.raises(DataError, match=f"has {family.columns} columns, got shape"):
        family.validate(y[:, 0].numpy())
    with pytest.raises(DataError, match=f"has {family.columns} columns, got shape"):
        family.validate(np.hstack([y, y]))
    hole = y.numpy().copy()
    hole[2, 1] = np.nan
    with pytest.raises(DataError, match="missing in row 2, column 1"):
        family.validate(hole)
    with pytest.raises(DataError, match="numeric"):
        family.validate([["low"] * family.columns])


def test_values(example):
    family = example.family
    assert dataclasses.replace(family) == family and hash(family) == hash(
        dataclasses.replace(family)
    )
    assert pickle.loads(pickle.dumps(family)) == family
    assert eval(repr(family), {type(family).__name__: type(family)}) == family


@pytest.mark.parametrize("number", [1, 0, 2.0, True, "3"])
def test_refused_numbers_of_columns(number):
    with pytest.raises(SpecificationError, match="components must be a whole number"):
        Dirichlet(components=number)
    with pytest.raises(SpecificationError, match="dimension must be a whole number"):
        MultivariateNormal(dimension=number)


def test_refused_shares():
    with pytest.raises(DataError, match=r"is 0.0 in row 1, column 0.*merge rare components"):
        Dirichlet(components=2).validate([[0.5, 0.5], [0.0, 1.0]])
    with pytest.raises(DataError, match=r"row 0 add up to 100 .*Divide each row by its sum"):
        Dirichlet(components=2).validate([[40.0, 60.0]])
