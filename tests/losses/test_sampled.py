"""Sampled risk sets: who is drawn, how often, and what is estimated from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from semistruct.exceptions import DataError, SpecificationError
from semistruct.losses import (
    cox_partial_likelihood,
    cox_sampled_likelihood,
    sample_risk_sets,
)


def cohort(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    death, limit = rng.exponential(np.exp(-0.7 * x)), rng.exponential(1.0, n)
    return x, np.minimum(death, limit), death <= limit, rng


@pytest.mark.parametrize("kind", ["plain", "entry", "strata", "entry and strata"])
def test_controls_are_at_risk_different_and_as_many_as_there_are(kind):
    _, time, event, rng = cohort(80)
    event[np.argsort(time)[-4:]] = True  # where few are left
    entry = time * rng.uniform(0.0, 0.9, 80) if "entry" in kind else None
    strata = rng.choice(["a", "b"], 80) if "strata" in kind else None
    found = sample_risk_sets(time, event, entry, strata, n_controls=6, random_state=1)
    assert len(found) == event.sum() and sorted(found.members[:, 0]) == sorted(
        np.flatnonzero(event)
    )
    short = 0
    for rows, present, size in zip(
        found.members.numpy(), found.present.numpy(), found.n_at_risk, strict=True
    ):
        case, controls = rows[0], rows[1:][present[1:]]
        at_risk = time >= time[case]
        at_risk &= True if entry is None else entry < time[case]
        at_risk &= True if strata is None else strata == strata[case]
        assert size == at_risk.sum() and at_risk[controls].all()
        assert case not in controls and len(set(controls)) == len(controls)
        assert len(controls) == min(6, size - 1)
        short += len(controls) < 6
    assert 0 < short < len(found)


@pytest.mark.parametrize("entry", [False, True])
def test_every_control_is_as_likely(entry):
    time = np.arange(1.0, 9.0)
    event = np.array([0, 0, 1, 0, 0, 0, 0, 0])
    counts = np.zeros(8)
    draws = 4000
    for seed in range(draws):
        start = np.zeros(8) if entry else None
        counts[sample_risk_sets(time, event, start, n_controls=2, random_state=seed).rows] += 1
    assert (counts[:2] == 0).all() and counts[2] == draws
    # Binomial with probability 2 / 5; five standard deviations.
    assert_allclose(counts[3:] / draws, 0.4, atol=5 * np.sqrt(0.24 / draws))


@pytest.mark.parametrize("kind", ["plain", "entry", "strata"])
def test_with_everybody_as_control_it_is_the_partial_likelihood(kind):
    _, time, event, rng = cohort(40)
    assert len(np.unique(time)) == 40
    entry = time * rng.uniform(0.0, 0.9, 40) if kind == "entry" else None
    strata = rng.choice([1, 2], 40) if kind == "strata" else None
    sets = sample_risk_sets(time, event, entry, strata, n_controls=40, random_state=0)
    eta = torch.from_numpy(rng.normal(size=40)).requires_grad_()
    sampled = cox_sampled_likelihood(eta, sets)
    full = cox_partial_likelihood(eta, time, event, entry=entry, strata=strata, reduction="mean")
    assert_allclose(sampled.item(), full.item(), rtol=1e-12)
    slopes = [torch.autograd.grad(loss, eta)[0] for loss in (sampled, full)]
    assert_allclose(slopes[0], slopes[1], atol=1e-14)


def test_the_estimate_is_that_of_the_cohort_within_its_error():
    x, time, event, _ = cohort(3000)

    def estimate(loss):
        return minimize_scalar(
            lambda beta: float(loss(torch.from_numpy(beta * x))), bounds=(-3, 3), method="bounded"
        ).x

    full = estimate(lambda eta: cox_partial_likelihood(eta, time, event, reduction="mean"))
    found = []
    for seed in range(20):
        sets = sample_risk_sets(time, event, n_controls=3, random_state=seed)
        found.append(estimate(lambda eta, sets=sets: cox_sampled_likelihood(eta, sets)))
    assert 0.6 < full < 0.8 and np.std(found) > 0.005
    assert abs(np.mean(found) - full) < 4 * np.std(found) / np.sqrt(20)


def test_bad_input():
    with pytest.raises(SpecificationError, match="n_controls"):
        sample_risk_sets([1.0, 2.0], [1, 0], n_controls=0)
    with pytest.raises(DataError, match="none of the 2 rows"):
        sample_risk_sets([1.0, 2.0], [0, 0])
    sets = sample_risk_sets([1.0, 2.0], [1, 0], n_controls=1)
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        cox_sampled_likelihood(torch.zeros(3), sets)
