"""Losses of representations: against numpy, by hand, and without absent rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

import semistruct as ss
from semistruct.exceptions import DataError, SpecificationError

N = 40


def views(n=N, p=3, q=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, p + q, generator=generator, dtype=torch.float64)
    first = torch.cat([shared, noise[:, : p - 2]], 1) + 0.3 * noise[:, :p]
    return first, shared[:, :q] @ torch.tensor([[1.0, 0.4], [-0.3, 2.0]]).double() + noise[:, p:]


def by_numpy(first, second, ridge):
    A, B = (x - x.mean(0) for x in (first, second))
    n = len(A)

    def root(X):
        S = X.T @ X / (n - 1)
        return np.linalg.inv(sqrtm(S + ridge * np.trace(S) / len(S) * np.eye(len(S))).real)

    return np.linalg.svd(root(A) @ (A.T @ B / (n - 1)) @ root(B), compute_uv=False)


@pytest.mark.parametrize("ridge", [0.0, 1e-4, 0.1])
def test_canonical_correlations_by_numpy(ridge):
    first, second = views()
    found = ss.losses.canonical_correlations(first, second, ridge=ridge)
    expected = by_numpy(first.numpy(), second.numpy(), ridge)
    np.testing.assert_allclose(found, expected[:2], rtol=1e-10)
    loss = ss.losses.correlation_loss(first, second, ridge=ridge)
    np.testing.assert_allclose(-loss, expected[:2].sum(), rtol=1e-10)


def test_gradient_of_the_correlation():
    first, second = (view.requires_grad_() for view in views())
    assert torch.autograd.gradcheck(ss.losses.correlation_loss, (first, second))
    ss.losses.correlation_loss(first, second).backward()
    step = 1e-6
    moved = first.detach().numpy().copy()
    moved[3, 1] += step
    lower = first.detach().numpy().copy()
    lower[3, 1] -= step
    other = second.detach().numpy()
    slope = -(by_numpy(moved, other, 1e-4).sum() - by_numpy(lower, other, 1e-4).sum()) / (2 * step)
    np.testing.assert_allclose(first.grad[3, 1], slope, rtol=1e-5)


def test_units_do_not_matter():
    first, second = views()
    loss = ss.losses.correlation_loss
    torch.testing.assert_close(loss(1e3 * first, second), loss(first, second))


def test_correlations_need_rows():
    first, second = views()
    with pytest.raises(DataError, match="more than 3 rows"):
        ss.losses.correlation_loss(first[:3], second[:3])
    with pytest.raises(DataError, match="same rows"):
        ss.losses.correlation_loss(first[:3], second)
    with pytest.raises(SpecificationError, match="ridge"):
        ss.losses.correlation_loss(first, second, ridge=-1.0)


def test_contrastive_by_hand():
    first, second = views(6, 3, 2)
    second = torch.cat([second, first[:, :1]], 1)
    a, b = (x.numpy() / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    s = np.exp(1.5) * a @ b.T
    rows = -np.log(np.exp(s).diagonal() / np.exp(s).sum(1))
    columns = -np.log(np.exp(s).diagonal() / np.exp(s).sum(0))
    found = ss.losses.contrastive_loss(first, second, 1.5)
    np.testing.assert_allclose(found, (rows.mean() + columns.mean()) / 2, rtol=1e-12)
    log_scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    ss.losses.contrastive_loss(first, second, log_scale).backward()
    assert log_scale.grad.abs() > 0
    assert torch.autograd.gradcheck(
        ss.losses.contrastive_loss, (first.requires_grad_(), second.requires_grad_(), log_scale)
    )


def test_corruption():
    x = torch.arange(4000.0).reshape(1000, 4)
    found = ss.losses.corrupted(x, 0.3, torch.Generator().manual_seed(0))
    changed = found != x
    assert abs(changed.double().mean() - 0.3) < 0.03
    assert torch.equal(found % 4, x % 4)  # every entry stays in its column
    assert torch.equal(ss.losses.corrupted(x, 0.0), x)
    with pytest.raises(SpecificationError, match="share"):
        ss.losses.corrupted(x, 1.5)


def test_reconstruction_by_hand():
    first, second = views()
    inputs, latents = {"a": first, "b": second}, {"a": first[:, :2], "b": second}
    decoders = {"a": lambda z: torch.cat([z, z[:, :1]], 1), "b": lambda z: 2 * z}
    own = ss.losses.reconstruction_loss(inputs, latents, decoders)
    wanted = (decoders["a"](latents["a"]) - first).square().mean() + second.square().mean()
    torch.testing.assert_close(own, wanted)
    cross = ss.losses.cross_reconstruction_loss(inputs, latents, decoders)
    wanted = (decoders["a"](second) - first).square().mean() + (
        2 * first[:, :2] - second
    ).square().mean()
    torch.testing.assert_close(cross, wanted)
    with pytest.raises(DataError, match="decoder of 'b'"):
        ss.losses.reconstruction_loss(inputs, latents, decoders | {"b": lambda z: z[:, :1]})


def test_similarity_by_hand():
    first, second = views(7, 2, 2)
    third = first + second**2
    latents = {"a": first, "b": second, "c": third}
    present = {
        name: torch.rand(7, generator=torch.Generator().manual_seed(i)) < 0.7
        for i, name in enumerate(latents)
    }
    total, count = 0.0, 0

    def s(x, y):
        return float(x @ y / x.norm() / y.norm())

    for m in latents:
        for other in latents:
            for i in range(7):
                for j in range(7):
                    here = present[m][i] and present[other][i] and present[other][j]
                    if m != other and i != j and here:
                        x, y = latents[m][i], latents[other]
                        total += max(0.0, 0.1 - s(x, y[i]) + s(x, y[j]))
                        count += 1
    assert count > 20
    found = ss.losses.similarity_loss(latents, present, margin=0.1)
    np.testing.assert_allclose(found, total / count, rtol=1e-12)
    with pytest.raises(DataError, match="one shape"):
        ss.losses.similarity_loss({"a": first, "b": second[:, :1]})


@pytest.mark.parametrize("spoiled", [1e6, float("nan")])
def test_absent_rows_do_not_matter(spoiled):
    first, second = views(N, 3, 2)
    second = torch.cat([second, first[:, :1]], 1)
    here = torch.arange(N) % 4 != 0
    present = {"a": torch.ones(N, dtype=torch.bool), "b": here}
    decoders = {"a": lambda z: z, "b": lambda z: z}
    clean = second.masked_fill(~here[:, None], 0.0)
    losses = {
        "correlation": lambda b: ss.losses.correlation_loss(first, b, present=here),
        "contrastive": lambda b: ss.losses.contrastive_loss(first, b, present=here),
        "own": lambda b: ss.losses.reconstruction_loss(
            {"a": first, "b": b}, {"a": first, "b": 2 * b}, decoders, present
        ),
        "cross": lambda b: ss.losses.cross_reconstruction_loss(
            {"a": first, "b": b}, {"a": first, "b": 2 * b}, decoders, present
        ),
        "similarity": lambda b: ss.losses.similarity_loss({"a": first, "b": b}, present),
    }
    for name, loss in losses.items():
        dirty = second.masked_fill(~here[:, None], spoiled).requires_grad_()
        value = loss(dirty)
        # The decomposition rounds otherwise where it keeps what its gradient needs.
        torch.testing.assert_close(value, loss(clean), rtol=1e-14, atol=0, msg=name)
        value.backward()
        assert not dirty.grad[~here].any(), name
        assert dirty.grad[here].any() and torch.isfinite(dirty.grad).all(), name


def test_nothing_to_compare():
    first = torch.randn(4, 2, requires_grad=True)
    nobody = torch.zeros(4, dtype=torch.bool)
    for value in (
        ss.losses.contrastive_loss(first, first, present=nobody),
        ss.losses.similarity_loss({"a": first, "b": first}, {"a": nobody, "b": nobody}),
        ss.losses.reconstruction_loss({"a": first}, {"a": first}, {"a": abs}, {"a": nobody}),
    ):
        assert value == 0
