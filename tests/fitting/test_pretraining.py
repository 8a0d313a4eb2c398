"""Objectives in training: before it, and in every step of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import semistruct as ss
from semistruct.exceptions import ConvergenceWarning
from semistruct.fitting.joint_model import JointModel
from semistruct.fitting.members import TrainingOptions
from semistruct.fitting.pretraining import pretrain
from semistruct.losses import canonical_correlations
from semistruct.network import SemiStructuredNet
from semistruct.objectives import CanonicalCorrelation, Reconstruction
from semistruct.objectives.bound import bind_objectives
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.weighted_sum import make_objectives
from semistruct.terms import deep
from tests._deep import make_deep_problem

N = 200
TRAIN, HELD_OUT = np.arange(140), np.arange(140, N)
TERM = deep("a", "b", latent_dim=2, hidden=(16,))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 2))

    def view():
        return z @ rng.normal(size=(2, 8)) + rng.normal(0, 1.0, (N, 8))

    table = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "a": ss.TensorArray(view()),
            "b": ss.TensorArray(view()),
            "y": z[:, 0] + rng.normal(size=N),
        }
    )
    assert table["y"].std() > 0
    return table


@pytest.fixture(scope="module")
def problem(frame):
    return make_deep_problem(frame, [[TERM], []])


def with_objectives(problem, frame, *objectives, option="pretraining"):
    bound = bind_objectives(objectives, problem.blueprint, frame, option)
    return replace(problem, **{option: bound})


def new_net(problem):
    seed = np.random.SeedSequence(0)
    return problem.blueprint.make(problem.modalities, TRAIN, problem.scale, seed)


def pretrained(problem, **options):
    net = new_net(problem)
    options = TrainingOptions(**{"learning_rate": 5e-3, **options})
    seed = np.random.SeedSequence(1)
    return net, pretrain(problem, net, TRAIN, HELD_OUT, options, seed)


def test_correlations_of_unseen_views_rise(problem, frame):
    wanted = with_objectives(problem, frame, CanonicalCorrelation(epochs=25))

    def correlation(net):
        features = ForwardPass.of(net.eval(), problem.modalities, HELD_OUT).features[0].inputs
        return float(canonical_correlations(features["a"], features["b"]).sum().detach())

    net, found = pretrained(wanted)
    assert correlation(net) > correlation(new_net(problem)) + 0.1
    last = -found.history["held_out_canonical_correlation"].iloc[-1]
    assert correlation(net) == pytest.approx(last, abs=0.01)  # another ridge


def test_what_the_objective_does_not_read_stays(problem, frame):
    net, _ = pretrained(with_objectives(problem, frame, Reconstruction(epochs=2)))
    before = new_net(problem).state_dict()
    changed = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    assert changed and all("encoders" in name for name in changed)


def test_without_objectives_nothing_is_done(problem):
    net, found = pretrained(problem)
    before = new_net(problem).state_dict()
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert found.history.empty and not found.losses


def test_entries_of_the_history(problem, frame):
    wanted = with_objectives(problem, frame, Reconstruction(epochs=30), CanonicalCorrelation())
    history = pretrained(wanted)[1].history
    assert list(history["epoch"]) == list(range(0, 31, 3))
    assert history.iloc[1:].notna().all(axis=None)


def test_divergence_goes_back_to_the_last_usable_weights(problem, frame):
    wanted = with_objectives(problem, frame, CanonicalCorrelation(epochs=20))
    with pytest.warns(ConvergenceWarning, match="pre-training diverged"):
        net, _ = pretrained(wanted, learning_rate=1e30)
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


def joint_model(problem, frame, *objectives):
    wanted = with_objectives(problem, frame, *objectives, option="auxiliary")
    auxiliary = make_objectives(
        wanted.auxiliary, problem.modalities, TRAIN, np.random.SeedSequence(2)
    )
    net = new_net(problem)
    with torch.no_grad():
        net.gammas[0].fill_(0.3)
    return JointModel(wanted, net, CPU, auxiliary)


def gradients(model):
    parameters = [*model.net.parameters(), *model.b, *model.auxiliary.parameters()]
    found = [None if p.grad is None else p.grad.clone() for p in parameters]
    for p in parameters:
        p.grad = None
    return found


def test_a_step_encodes_once(problem, frame, monkeypatch):
    model = joint_model(problem, frame, Reconstruction(cross=True), CanonicalCorrelation())
    calls = []
    encode = SemiStructuredNet.encode
    monkeypatch.setattr(
        SemiStructuredNet, "encode", lambda net, batch: calls.append(1) or encode(net, batch)
    )
    model.loss(TRAIN).backward()
    assert len(calls) == 1
    model.judged(HELD_OUT)
    assert len(calls) == 2


def test_the_loss_is_the_sum(problem, frame):
    plain, model = (
        joint_model(problem, frame),
        joint_model(problem, frame, Reconstruction(weight=3.0)),
    )
    loss = model.loss(TRAIN)
    torch.testing.assert_close(loss.fit, plain.loss(TRAIN).fit)
    torch.testing.assert_close(loss.aside.total.detach(), 3.0 * loss.aside.values[0])


def test_the_exact_gradient_of_a_cohort_in_parts(problem, frame):
    """Parts of one size: the mean of their reconstructions is that of all rows."""
    model = joint_model(problem, frame, Reconstruction(cross=True, weight=0.7))
    whole = model.loss(TRAIN).backward()
    expected = gradients(model)
    parts = model.backward_in_parts(list(TRAIN.reshape(4, 35)))
    for found, wanted in zip(gradients(model), expected, strict=True):
        if wanted is None:
            assert found is None
        else:
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(parts.aside.total, whole.aside.total)
    torch.testing.assert_close(parts.aside.values, whole.aside.values)
    assert parts.aside.counts[0] == len(TRAIN)
