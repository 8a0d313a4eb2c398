"""What every family promises, over the whole registry and every choice of links."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from scipy import stats

from semistruct.exceptions import DataError
from semistruct.families import FAMILIES, Family, resolve_family
from tests.contracts._family_examples import EXAMPLES, MULTIVARIATE, Example

LEVELS = (0.02, 0.2, 0.5, 0.8, 0.97)

AUTODIFF = {"rtol": 1e-9, "atol": 1e-10}  # two exact derivatives, rounding only
DIFFERENCES = {"rtol": 2e-6, "atol": 2e-6}  # central differences with relative h = 1e-5
SCIPY = {"rtol": 1e-10, "atol": 1e-13}  # scipy's own accuracy
QUADRATURE = {"rtol": 1e-6, "atol": 1e-7}  # tails cut at 1e-14 on either side
SINGLE = {"rtol": 2e-3, "atol": 2e-4}  # float32 special functions


@pytest.fixture(params=EXAMPLES, ids=lambda example: example.id)
def example(request) -> Example:
    return request.param


def eta_and_y(example: Example) -> tuple[torch.Tensor, torch.Tensor]:
    """Every example parameter with responses at several of its quantiles: (n, K) and (n,)."""
    theta = torch.tensor(example.theta, dtype=torch.float64)
    eta = torch.stack(
        [link.forward(theta[:, k]) for k, link in enumerate(example.family.links)], dim=-1
    )
    levels = torch.tensor(LEVELS, dtype=torch.float64)[:, None]
    y = example.family.quantile(eta, levels)
    eta = eta.expand(len(LEVELS), *eta.shape).reshape(-1, eta.shape[-1])
    # Responses on their own quantiles are special (zero residual at the median): move them off.
    return eta, y.flatten() if example.family.discrete else y.flatten() * 0.99


def expectation(example: Example, eta_row: torch.Tensor, function) -> torch.Tensor:
    """``E[function(y)]`` for one row of predictors; ``function`` maps (m,) to (m, ...)."""
    y, mass = outcomes(example, eta_row)
    values = function(y)
    return (mass.reshape(-1, *[1] * (values.ndim - 1)) * values).sum(0)


def atoms(example: Example, eta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ends of the support with a probability of their own, ``(m, 1)``, and theirs, ``(m, n)``."""
    at = torch.tensor(example.atoms, dtype=torch.float64)[:, None]
    return at, example.family.contributions(eta, at.expand(-1, len(eta))).exp()


def cdf_below(example: Example, eta: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """``P(Y < y)``, which differs from the distribution function where ``y`` has a probability."""
    family = example.family
    if family.discrete:
        return family.cdf(eta, y - 1)
    below = family.cdf(eta, y)
    for atom, mass in zip(*atoms(example, eta), strict=True):
        below = torch.where(y == atom, below - mass, below)
    return below


def outcomes(example: Example, eta_row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Responses covering the distribution and their masses (density times quadrature weight)."""
    family = example.family
    level = torch.tensor([1e-14, 1 - 1e-14], dtype=torch.float64)[:, None]
    if family.discrete:
        low, high = family.quantile(eta_row[None], level).flatten().tolist()
        y = torch.arange(low, high + 1, dtype=torch.float64)
        return y, family.contributions(eta_row.expand(len(y), -1), y).exp()
    tails = 10.0 ** np.arange(-14, -1)
    breaks = np.concatenate([tails, np.linspace(0.05, 0.95, 19), 1 - tails[::-1]])
    at, mass = (t.flatten() for t in atoms(example, eta_row[None]))
    lower = mass[at == at.clamp(max=0)].sum()
    levels = lower + (1 - mass.sum()) * torch.as_tensor(breaks)
    edges = family.quantile(eta_row[None], levels[:, None]).flatten()
    nodes, weights = (torch.as_tensor(a) for a in leggauss(24))
    half = (edges[1:] - edges[:-1])[:, None] / 2
    y = ((edges[1:] + edges[:-1])[:, None] / 2 + half * nodes).flatten()
    density = family.contributions(eta_row.expand(len(y), -1), y).exp()
    return torch.cat([at, y]), torch.cat([mass, density * (half * weights).flatten()])


def test_every_registered_family_has_an_example():
    examples = (*EXAMPLES, *MULTIVARIATE)
    assert {type(e.family) for e in examples} >= set(FAMILIES.values())
    assert all(resolve_family(name) == FAMILIES[name]() for name in FAMILIES)


def test_facts(example):
    family = example.family
    assert len(family.param_names) == len(family.links) == len(example.theta[0])
    assert family.separable
    assert isinstance(family.support, str) and family.support
    if family.dispersion is not None:
        assert family.dispersion[0] in family.param_names
        assert family.dispersion[1] in (1, 2)


def test_examples_vary(example):
    _, y = eta_and_y(example)
    assert y.unique().numel() > 1


def test_theta_inverts_the_links(example):
    eta, _ = eta_and_y(example)
    expected = torch.tensor(example.theta, dtype=torch.float64).repeat(len(LEVELS), 1)
    torch.testing.assert_close(example.family.theta(eta), expected)


def test_score_is_the_derivative(example):
    family = example.family
    eta, y = eta_and_y(example)
    leaf = eta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(family.contributions(leaf, y).sum(), leaf)
    score = family.score(eta, y)
    torch.testing.assert_close(score, gradient, **AUTODIFF)
    for k in range(eta.shape[-1]):
        # Relative where a predictor is small: the inverse link bends on the scale of eta itself.
        h = 1e-5 * eta[:, k].abs().clamp(1e-3, 1)
        step = torch.zeros_like(eta)
        step[:, k] = h
        difference = family.contributions(eta + step, y) - family.contributions(eta - step, y)
        torch.testing.assert_close(score[:, k], difference / (2 * h), **DIFFERENCES)


def test_observed_curvature_is_minus_the_hessian(example):
    family = example.family
    eta, y = eta_and_y(example)
    leaf = eta.clone().requires_grad_()
    value = family.contributions(leaf, y).sum()
    (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
    rows = [
        torch.autograd.grad(gradient[:, k].sum(), leaf, retain_graph=True, allow_unused=True)[0]
        for k in range(eta.shape[-1])
    ]
    hessian = torch.stack([torch.zeros_like(eta) if r is None else r for r in rows], dim=-2)
    w = family.row_information(eta, y)
    if example.kinked:
        torch.testing.assert_close(w, family.row_information(eta, y, "expected"))
        return
    torch.testing.assert_close(w, -hessian, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(w, w.transpose(-1, -2))


def test_expected_curvature_is_the_mean_of_the_observed(example):
    family = example.family
    eta, _ = eta_and_y(example)
    for row in eta[: len(example.theta)]:
        expected = family.row_information(row[None], torch.ones(1).to(row), "expected")[0]
        mean = expectation(
            example, row, lambda y, row=row: family.row_information(row.expand(len(y), -1), y)
        )
        torch.testing.assert_close(expected, mean, **QUADRATURE)
        assert (torch.linalg.eigvalsh(expected) >= -1e-10).all()


def test_curvature_is_weighted_rows(example):
    family = example.family
    eta, y = eta_and_y(example)
    weight = torch.linspace(0, 3, len(y), dtype=torch.float64)
    w = family.curvature(eta, y, sample_weight=weight).w
    assert w.dtype == np.float64
    rows = family.row_information(eta, y).numpy()
    np.testing.assert_allclose(w, weight.numpy()[:, None, None] * rows)
    np.testing.assert_allclose(family.curvature(eta, y).w, rows)


def test_density_has_mass_one(example):
    eta, _ = eta_and_y(example)
    for row in eta[: len(example.theta)]:
        one = expectation(example, row, torch.ones_like)
        torch.testing.assert_close(one, torch.ones_like(one), rtol=0, atol=1e-9)


def test_density_agrees_with_the_distribution_function(example):
    family = example.family
    eta, _ = eta_and_y(example)
    for row in eta[: len(example.theta)]:
        y, mass = outcomes(example, row)
        inside = torch.cumsum(mass, 0)
        if family.discrete:
            cdf = family.cdf(row[None], y[:, None]).flatten()
            torch.testing.assert_close(inside, cdf, rtol=0, atol=1e-9)
            half = family.cdf(row[None], (y + 0.5)[:, None]).flatten()
            torch.testing.assert_close(half, cdf)
        else:
            at = family.quantile(row[None], torch.tensor([[0.3], [0.7]], dtype=row.dtype)).flatten()
            between = mass[(y > at[0]) & (y < at[1])].sum()
            inside = cdf_below(example, row[None], at[1:]) - family.cdf(row[None], at[:1])
            # The nodes inside do not end exactly at the levels: a panel holds 5 % of the mass.
            assert abs(between - inside.clamp(min=0)).item() < 0.03
            assert example.atoms or abs(inside.item() - 0.4) < 1e-8


def test_quantile_inverts_the_distribution_function(example):
    family = example.family
    theta_rows = len(example.theta)
    eta = eta_and_y(example)[0][:theta_rows]
    levels = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999], dtype=torch.float64)[:, None]
    y = family.quantile(eta, levels)
    assert y.shape == (len(levels), theta_rows)
    reached = family.cdf(eta, y)
    if family.discrete:
        assert (reached >= levels - 1e-12).all()
        assert (family.cdf(eta, y - 1) < levels).all()
    else:
        # A level inside the probability of an end is exceeded there, and not below.
        apart = torch.isin(y, torch.tensor(example.atoms, dtype=torch.float64))
        assert apart.any() == bool(example.atoms)
        target = torch.where(apart, reached, levels.expand_as(reached))
        torch.testing.assert_close(reached, target, rtol=1e-8, atol=1e-12)
        assert (cdf_below(example, eta, y) <= levels + 1e-8).all()
        assert (reached >= levels - 1e-8).all()
    assert torch.equal(family.quantile(eta, torch.tensor(0.3, dtype=torch.float64)), y[2])


def test_samples_follow_the_distribution(example):
    family = example.family
    eta = eta_and_y(example)[0][: len(example.theta)]
    generator = torch.Generator().manual_seed(20)
    y = family.sample(eta, 2000, generator)
    assert y.shape == (2000, len(eta))
    again = family.sample(eta, 2000, torch.Generator().manual_seed(20))
    assert torch.equal(y, again)
    for draws in (y, family_draws(family, eta)):
        u = family.cdf(eta, draws)
        if family.discrete or example.atoms:
            below = cdf_below(example, eta, draws)
            u = below + torch.rand(u.shape, generator=generator, dtype=u.dtype) * (u - below)
        for column in u.T:
            assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-3
        family.validate(draws[:, 0].numpy())


def family_draws(family: Family, eta: torch.Tensor) -> torch.Tensor:
    """The torch distribution's own sampler, from a seed that is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(21)
        return family.distribution(eta).sample((2000,))


def test_mean_and_variance(example):
    family = example.family
    eta = eta_and_y(example)[0][: len(example.theta)]
    mean, variance = family.mean(eta), family.variance(eta)
    assert mean.shape == variance.shape == (len(eta),)
    for k, row in enumerate(eta):
        first = expectation(example, row, lambda y: y)
        second = expectation(example, row, lambda y, first=first: (y - first) ** 2)
        if mean[k].isfinite():
            torch.testing.assert_close(mean[k], first, **example.moments)
        if variance[k].isfinite():
            torch.testing.assert_close(variance[k], second, **example.moments)


def test_distribution_agrees_with_contributions(example):
    family = example.family
    eta, y = eta_and_y(example)
    distribution = family.distribution(eta)
    assert isinstance(distribution, torch.distributions.Distribution)
    assert distribution.batch_shape == (len(y),)
    torch.testing.assert_close(
        distribution.log_prob(y), family.contributions(eta, y), rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.scipy], ids=lambda e: e.id)
def test_scipy_agrees(example):
    family = example.family
    assert example.scipy is not None
    eta, y = eta_and_y(example)
    frozen = example.scipy(*family.theta(eta).T.numpy())
    density = frozen.logpmf if family.discrete else frozen.logpdf
    np.testing.assert_allclose(family.contributions(eta, y), density(y.numpy()), **SCIPY)
    np.testing.assert_allclose(family.cdf(eta, y), frozen.cdf(y.numpy()), **SCIPY)
    np.testing.assert_allclose(family.mean(eta), frozen.mean(), **SCIPY)
    np.testing.assert_allclose(family.variance(eta), frozen.var(), **SCIPY)
    levels = torch.linspace(0.01, 0.99, len(y), dtype=torch.float64)
    np.testing.assert_allclose(family.quantile(eta, levels), frozen.ppf(levels.numpy()), **SCIPY)


def test_batched_equals_loop(example):
    family = example.family
    eta, y = eta_and_y(example)
    batch = torch.stack([eta, eta.flip(0), eta * 1.001]).reshape(3, 1, *eta.shape)
    for method in (family.contributions, family.score, family.row_information):
        whole = method(batch, y)
        alone = torch.stack([method(one[0], y) for one in batch])[:, None]
        torch.testing.assert_close(whole, alone, rtol=1e-13, atol=1e-14)
    rows = torch.stack([family.score(eta[i : i + 1], y[i : i + 1])[0] for i in range(len(y))])
    torch.testing.assert_close(rows, family.score(eta, y), rtol=1e-13, atol=1e-14)
    assert family.mean(batch).shape == (3, 1, len(y))


def test_float32_stays_float32_and_close(example):
    family = example.family
    eta, y = eta_and_y(example)
    for method in (family.contributions, family.score):
        single = method(eta.float(), y.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single, method(eta, y).float(), **SINGLE)
    assert family.theta(eta.float()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_extreme_predictors_give_no_nan(example, dtype):
    family = example.family
    eta, y = eta_and_y(example)
    largest = 700.0 if dtype == torch.float64 else 80.0
    for k in range(eta.shape[-1]):
        for extreme in (-largest, largest):
            far = eta.to(dtype).clone()
            far[:, k] = extreme
            value = family.contributions(far, y.to(dtype))
            assert not value.isnan().any()
            # A predictor outside its link's domain has likelihood 0 and no derivative.
            assert not family.score(far, y.to(dtype))[value > -torch.inf].isnan().any()
            assert family.theta(far).isfinite().all()
            if example.bounded_score:
                leaf = far.requires_grad_()
                total = family.contributions(leaf, y.to(dtype)).sum()
                (gradient,) = torch.autograd.grad(total, leaf)
                assert gradient.isfinite().all()
                torch.testing.assert_close(gradient, family.score(far, y.to(dtype)), **SINGLE)


def test_initial_eta(example):
    family = example.family
    eta = eta_and_y(example)[0][:1]
    y = family.sample(eta, 400, torch.Generator().manual_seed(3))[:, 0]
    assert y.unique().numel() > 1
    start = family.initial_eta(y)
    assert start.shape == (eta.shape[-1],) and start.isfinite().all()
    total = family.score(start.expand(len(y), -1), y).sum(0)
    w = family.row_information(start.expand(len(y), -1), y, "expected").sum(0)
    decrement = total @ torch.linalg.solve(w, total)
    if example.exact_start:
        assert decrement < 1e-10
    else:
        assert decrement < 0.5 * len(y)
    weight = torch.arange(len(y)).to(y) % 3
    repeated = torch.repeat_interleave(y, weight.long())
    torch.testing.assert_close(family.initial_eta(y, weight), family.initial_eta(repeated))
    assert not torch.allclose(family.initial_eta(y, weight), start, rtol=1e-12)


def test_initial_eta_of_a_constant_response_is_finite(example):
    family = example.family
    value = float(family.quantile(eta_and_y(example)[0][:1], torch.tensor(0.5).double())[0])
    for constant in (value, *example.edges):
        y = torch.full((7,), constant, dtype=torch.float64)
        start = family.initial_eta(y)
        assert start.isfinite().all()
        assert family.contributions(start.expand(7, -1), y).isfinite().all()


def test_validate(example):
    family = example.family
    _, y = eta_and_y(example)
    checked = family.validate(y.numpy())
    assert checked.dtype == np.float64 and checked.shape == y.shape
    assert family.validate(list(y.tolist())).tolist() == y.tolist()
    good = float(y[0])
    for bad in example.outside:
        with pytest.raises(DataError, match="in row 1") as caught:
            family.validate([good, bad, good])
        assert family.support in str(caught.value)
    with pytest.raises(DataError, match="missing in row 2"):
        family.validate([good, good, np.nan])
    with pytest.raises(DataError, match="in row 0"):
        family.validate([np.inf, good])
    with pytest.raises(DataError, match="one-dimensional"):
        family.validate([[good], [good]])
    with pytest.raises(DataError, match="numeric"):
        family.validate(["low", "high"])


def test_families_are_immutable_values(example):
    family = example.family
    twin = dataclasses.replace(family)
    assert twin == family and hash(twin) == hash(family)
    assert pickle.loads(pickle.dumps(family)) == family
    assert eval(repr(family), {type(family).__name__: type(family)}) == family
    with pytest.raises(dataclasses.FrozenInstanceError):
        family.link = "log"
