"""The two-pass gradient: equal to the one-shot gradient, with randomness, in flat memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import semistruct as ss
from semistruct.encoders.randomness import Dropout, random_states, reseed, restore_random_states
from semistruct.fitting.two_pass import two_pass_backward
from semistruct.losses import cox_partial_likelihood

CPU = torch.device("cpu")
N = 60


@pytest.fixture
def cohort():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(N, 5)))
    time = torch.from_numpy(rng.exponential(size=N).round(1) + 0.1)  # with ties
    event = torch.from_numpy(rng.integers(0, 2, N))
    return x, time, event


def network(dropout):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), dropout, nn.Linear(8, 1)).double()
    reseed(net, 3)
    return net.train()


def gradients(net):
    return torch.cat([p.grad.flatten() for p in net.parameters()])


@pytest.mark.parametrize("own", [True, False], ids=["seeded dropout", "torch's dropout"])
def test_equals_the_one_shot_gradient(cohort, own):
    x, time, event = cohort
    net = network(Dropout(0.4) if own else nn.Dropout(0.4))
    chunks = np.array_split(np.random.default_rng(1).permutation(N), 7)
    rows = np.concatenate(chunks)
    loss = lambda eta: cox_partial_likelihood(eta[:, 0], time[rows], event[rows])  # noqa: E731
    start = random_states(net, CPU)
    found = two_pass_backward(net, lambda part: net(x[part]), loss, chunks, CPU)
    ours = gradients(net)
    ended = random_states(net, CPU)
    restore_random_states(net, CPU, start)
    net.zero_grad()
    whole = loss(torch.cat([net(x[part]) for part in chunks]))
    whole.backward()
    assert found.item() == pytest.approx(whole.item(), rel=1e-14)
    torch.testing.assert_close(ours, gradients(net), rtol=1e-10, atol=1e-12)
    # Both leave the random numbers at the same place, and the dropout did something.
    assert torch.equal(ended.cpu, random_states(net, CPU).cpu)
    again = loss(torch.cat([net(x[part]) for part in chunks]))
    assert abs(again.item() - whole.item()) > 1e-6


def test_holds_the_graph_of_one_chunk(cohort):
    x = cohort[0]
    net = network(Dropout(0.0))
    alive, most = 0, 0

    def saved(tensor):
        nonlocal alive, most
        alive += tensor.numel()
        most = max(most, alive)
        return tensor

    def used(tensor):
        nonlocal alive
        alive -= tensor.numel()
        return tensor

    peaks = {}
    for parts in (1, 12):
        alive = most = 0
        chunks = np.array_split(np.arange(N), parts)
        with torch.autograd.graph.saved_tensors_hooks(saved, used):
            two_pass_backward(
                net,
                lambda part: net(x[part]),
                lambda eta: (eta**2).sum(),
                chunks,
                CPU,
            )
        peaks[parts] = most
    assert peaks[12] < 0.3 * peaks[1]


def test_training_on_full_risk_sets():
    rng = np.random.default_rng(0)
    table = {f"z{j}": rng.normal(size=150) for j in range(3)}
    time = rng.exponential(np.exp(-1.5 * np.sin(table["z0"])))
    y = ss.Surv(time, np.ones(150))

    frame = pd.DataFrame(table)
    options = {
        "n_folds": 2,
        "n_repeats": 1,
        "max_epochs": 60,
        "learning_rate": 1e-2,
        "random_state": 0,
        "progress": False,
    }
    # Without dropout the size of the parts changes nothing but rounding.
    formula = "z1 + mlp(z0, z2, dropout=0.0)"
    full, parts = (
        ss.CoxPH(formula, risk_sets="full", batch_size=size, **options).fit(frame, y)
        for size in (150, 32)
    )
    np.testing.assert_allclose(parts.predict(frame), full.predict(frame), atol=0.02)
    assert full.history_["epoch"].max() == 60
    assert full.score(frame, y) > ss.CoxPH("z1").fit(frame, y).score(frame, y) + 0.05
    batches = ss.CoxPH(formula, batch_size=32, **options).fit(frame, y)
    assert np.abs(batches.predict(frame) - parts.predict(frame)).max() > 0.05
    with pytest.raises(ss.SpecificationError, match="risk_sets"):
        ss.CoxPH("z1", risk_sets="all").fit(frame, y)
