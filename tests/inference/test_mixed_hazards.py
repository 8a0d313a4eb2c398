"""Mixtures of hazards against averages of survival functions and incidences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semistruct.families.discrete_hazard import DiscreteHazards
from semistruct.inference.mixed_hazards import mix_intervals, mixed_hazards, mixed_log_hazards

Q, J = 7, 5
EXACT = 1e-10
LENGTHS = np.array([0.5, 1.0, 0.2, 2.0, 1.0])


def nodes(rng, K):
    etas = rng.normal(-1, 1.5, (3, Q, K, J))
    assert etas.std() > 0
    return etas


def continuous(etas):
    """Survival and incidences at the ends of intervals, ``(J,)`` and ``(K, J)``."""
    hazards = np.exp(etas)
    total = hazards.sum(axis=0)
    end = np.exp(-np.cumsum(total * LENGTHS))
    begin = np.concatenate([[1.0], end[:-1]])
    steps = hazards / total * (begin - end)
    return end, np.cumsum(steps, axis=1)


def discrete(etas, link):
    family = DiscreteHazards(tuple(range(1, len(etas) + 1)), link)
    hazards, survived = family.hazards(etas), np.exp(family.log_survival(etas))
    end = np.cumprod(survived)
    return end, np.cumsum(hazards * np.concatenate([[1.0], end[:-1]]), axis=1)


CASES = [("continuous", 1), ("continuous", 2), ("logit", 1), ("logit", 3), ("cloglog", 1)]


def both(kind):
    if kind == "continuous":
        lengths = torch.from_numpy(LENGTHS)
        return continuous, lambda etas: mixed_log_hazards(etas, lengths)
    return (lambda etas: discrete(etas, kind)), (lambda etas: mixed_hazards(etas, kind))


@pytest.mark.parametrize(("kind", "K"), CASES)
def test_survival_and_incidences_are_those_of_the_mixture(rng, kind, K):
    curves, mixing = both(kind)
    etas = nodes(rng, K)
    found, _ = mix_intervals(torch.from_numpy(etas), mixing)
    for i in range(len(etas)):
        survival, incidence = curves(found[i].numpy())
        parts = [curves(one) for one in etas[i]]
        np.testing.assert_allclose(survival, np.mean([s for s, _ in parts], axis=0), rtol=EXACT)
        np.testing.assert_allclose(incidence, np.mean([c for _, c in parts], axis=0), rtol=EXACT)


@pytest.mark.parametrize(("kind", "K"), CASES)
def test_derivatives(rng, kind, K):
    _, mixing = both(kind)
    etas = torch.from_numpy(nodes(rng, K))
    found, slopes = mix_intervals(etas, mixing, derivatives=True)
    direction = torch.from_numpy(rng.normal(size=(K, J)))
    h = 1e-5
    up, down = (mix_intervals(etas + s * h * direction, mixing)[0] for s in (1, -1))
    along = torch.einsum("rajbl,bl->raj", slopes, direction)
    torch.testing.assert_close(along, (up - down) / (2 * h), rtol=1e-5, atol=1e-7)
    assert found.shape == (3, K, J)


@pytest.mark.parametrize(("kind", "K"), CASES)
def test_one_kind_of_subjects_is_left_as_it_is(rng, kind, K):
    _, mixing = both(kind)
    etas = torch.from_numpy(nodes(rng, K))[:, :1]
    found, slopes = mix_intervals(etas, mixing, derivatives=True)
    torch.testing.assert_close(found, etas[:, 0], rtol=1e-9, atol=1e-9)
    unit = torch.eye(K * J, dtype=torch.float64).reshape(1, K, J, K, J).expand_as(slopes)
    torch.testing.assert_close(slopes, unit, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("size", [-40.0, 6.0])
@pytest.mark.parametrize(("kind", "K"), CASES)
def test_hazards_that_are_tiny_or_leave_nobody(rng, kind, K, size):
    _, mixing = both(kind)
    etas = torch.from_numpy(nodes(rng, K) + size)
    found, slopes = mix_intervals(etas, mixing, derivatives=True)
    assert torch.isfinite(found).all() and torch.isfinite(slopes).all()
    assert (found <= etas.amax(1) + 1e-6).all() or K > 1
