"""What every objective for representations promises, over the registry."""

from __future__ import annotations

import copy
import inspect
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

import semistruct as ss
from semistruct.batch import Batch
from semistruct.exceptions import SpecificationError
from semistruct.fitting.gradient import GradientSolver
from semistruct.fitting.members import TrainingOptions
from semistruct.objectives import OBJECTIVES
from semistruct.objectives.bound import bind_objectives
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.weighted_sum import make_objectives
from semistruct.terms import deep
from tests._deep import make_deep_problem

N = 90
TRAIN, HELD_OUT = np.arange(70), np.arange(70, N)
ABSENT = np.arange(N) % 5 == 0

# One of each registered class, and the variants whose arithmetic differs.
EXAMPLES = {
    "canonical_correlation": ss.objectives.CanonicalCorrelation(epochs=15),
    "contrastive": ss.objectives.Contrastive(epochs=15),
    "corrupted": ss.objectives.Contrastive(corruption=0.3, epochs=15),
    "cross": ss.objectives.Reconstruction(cross=True, epochs=15),
    "proxy": ss.objectives.Proxy("other", epochs=15),
    "proxy of levels": ss.objectives.Proxy("kind", epochs=15),
    "reconstruction": ss.objectives.Reconstruction(epochs=15),
    "similarity": ss.objectives.Similarity(margin=0.5, epochs=15),
}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 2))
    pixels = (z @ rng.normal(size=(2, 16)) + rng.normal(0, 0.5, (N, 16))).reshape(N, 1, 4, 4)
    genes = z @ rng.normal(size=(2, 6)) + rng.normal(0, 0.5, (N, 6))
    scans = zip(ABSENT, pixels, strict=True)
    table = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "scan": ss.TensorArray([None if no else p for no, p in scans]),
            "genes": ss.TensorArray(genes),
            "age": z[:, 0] + rng.normal(0, 0.3, N),
            "sex": rng.choice(["f", "m", "x"], N),
            "other": z[:, 0] + rng.normal(0, 0.1, N),
            "kind": np.where(z[:, 1] > 0, "high", "low"),
        }
    )
    table["y"] = z[:, 0] + rng.normal(0, 0.5, N)
    assert table[["x", "other", "y"]].std().gt(0).all() and pixels.std() > 0
    return table


TERM = deep("scan", "genes", "age", "sex", latent_dim=4, hidden=(16,), dropout=0.0, shift=0.0)


@pytest.fixture(scope="module")
def problem(frame):
    return make_deep_problem(frame, [[TERM], []])


def bound(problem, frame, objective, option="pretraining"):
    return bind_objectives([objective], problem.blueprint, frame, option)


def net_and_losses(problem, frame, objective, seed=0):
    one, two = np.random.SeedSequence(seed).spawn(2)
    net = problem.blueprint.make(problem.modalities, TRAIN, problem.scale, one)
    own = bound(problem, frame, objective)
    return net, make_objectives(own, problem.modalities, TRAIN, two)


def train(problem, frame, objective, seed=0, option="pretraining", **options):
    own = bound(problem, frame, objective, option)
    options = TrainingOptions(**{"max_epochs": 2, "learning_rate": 5e-3, **options})
    solver = GradientSolver(options)
    wanted = replace(problem, **{option: own})
    return solver.fit(wanted, TRAIN, HELD_OUT, np.random.SeedSequence(seed), lambda share: None)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_every_objective_has_an_example():
    assert {type(each) for each in EXAMPLES.values()} == set(OBJECTIVES.values())
    assert all(cls.__module__.endswith(name) for name, cls in OBJECTIVES.items())


@pytest.mark.parametrize("objective", EXAMPLES.values(), ids=EXAMPLES)
class TestEveryObjective:
    def test_is_frozen_and_equal_to_its_copy(self, objective):
        assert copy.deepcopy(objective) == objective and hash(objective) == hash(replace(objective))
        assert replace(objective, weight=2.0) != objective
        assert set(inspect.signature(type(objective)).parameters) == {
            field.name for field in fields(objective)
        }

    @pytest.mark.parametrize(
        "bad", [{"weight": 0.0}, {"weight": -1}, {"weight": "1"}, {"epochs": 0}, {"inputs": [3]}]
    )
    def test_bad_options_are_refused(self, objective, bad):
        with pytest.raises(SpecificationError, match=next(iter(bad))):
            replace(objective, **bad)

    def test_every_encoder_and_every_own_weight_gets_a_gradient(self, problem, frame, objective):
        net, losses = net_and_losses(problem, frame, objective)
        found = losses(ForwardPass.of(net, problem.modalities, TRAIN))
        found.total.backward()
        assert np.isfinite(float(found.values)) and found.counts[0] > 1
        for parameter in (*net.terms[0].encoders.parameters(), *losses.parameters()):
            assert parameter.grad is not None and parameter.grad.abs().max() > 0

    def test_the_pixels_of_an_absent_modality_change_nothing(self, problem, frame, objective):
        def value(change):
            net, losses = net_and_losses(problem, frame, objective)
            net.eval()
            losses.eval()
            batch = Batch.read(problem.modalities, TRAIN)
            change(batch.inputs["scan"])
            with torch.no_grad():
                return float(losses(ForwardPass(net, TRAIN, batch, net.encode(batch))).values)

        gone = torch.from_numpy(ABSENT[TRAIN])
        before = value(lambda scan: None)
        assert value(lambda scan: scan.masked_fill_(gone[:, None, None, None], 3.0)) == before
        assert abs(value(lambda scan: scan[:35].mul_(-1.5)) - before) > 1e-5

    def test_nothing_to_learn_from_is_zero_with_a_count_of_zero(self, problem, frame, objective):
        net, losses = net_and_losses(problem, frame, objective)
        found = losses(ForwardPass.of(net, problem.modalities, TRAIN[:0]))
        assert float(found.total.detach()) == 0 and found.counts[0] == 0

    def test_pretraining_lowers_it_on_rows_it_did_not_see(self, problem, frame, objective):
        history = train(problem, frame, objective).pretraining
        train_column, held_out_column = history.columns[1:]
        assert held_out_column == f"held_out_{objective.name}"
        assert np.isnan(history[train_column][0])
        assert history[train_column].iloc[-1] < history[train_column].iloc[1]
        assert history[held_out_column].iloc[-1] < history[held_out_column].iloc[0] - 0.02

    @pytest.mark.parametrize("option", ["pretraining", "auxiliary"])
    def test_it_changes_the_network_as_its_seed_says(
        self, problem, frame, objective, option, global_rng_untouched
    ):
        first, second = (train(problem, frame, objective, option=option) for _ in range(2))
        assert same(first.net.state_dict(), second.net.state_dict())
        assert list(first.net.state_dict()) == list(second.net.state_dict())
        own = replace(problem, pretraining=(), auxiliary=())
        without = GradientSolver(TrainingOptions(max_epochs=2, learning_rate=5e-3)).fit(
            own, TRAIN, HELD_OUT, np.random.SeedSequence(0), lambda share: None
        )
        # What is kept of a network has no decoders.
        assert set(first.net.state_dict()) == set(without.net.state_dict())
        encoders = [name for name in first.net.state_dict() if "encoders" in name]
        changed = [
            name
            for name in encoders
            if not torch.equal(first.net.state_dict()[name], without.net.state_dict()[name])
        ]
        assert changed

    def test_its_values_are_in_the_history_of_training(self, problem, frame, objective):
        history = train(problem, frame, objective, option="auxiliary", max_epochs=24).history
        columns = [f"train_{objective.name}", f"held_out_{objective.name}"]
        assert list(history) == ["epoch", "train_loss", "held_out_loss", *columns]
        assert history[columns].iloc[1:].notna().all(axis=None)
        assert history[columns[0]].iloc[-1] < history[columns[0]].iloc[1]
