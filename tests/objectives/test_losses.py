"""What the objectives hand to the losses: which features, which rows, which targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import semistruct as ss
from semistruct.losses import (
    contrastive_loss,
    correlation_loss,
    corrupted,
    cross_reconstruction_loss,
    reconstruction_loss,
    similarity_loss,
)
from semistruct.objectives.bound import bind_objectives
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.weighted_sum import Mean, make_objectives
from semistruct.terms import deep
from tests._deep import make_deep_problem, picture_table

N = 60
ROWS = np.arange(N)
GONE = np.arange(N) % 7 == 0


@pytest.fixture(scope="module")
def frame():
    table = picture_table(N)
    table["scan"] = ss.ImageArray(
        [None if no else np.asarray(s) for no, s in zip(GONE, table["scan"], strict=True)]
    )
    table["light"] = np.where(np.arange(N) % 5 == 0, np.nan, table["y"] * 100 + 7)
    return table


@pytest.fixture(scope="module")
def seen(frame):
    problem = make_deep_problem(frame, [[deep("scan", "u", latent_dim=4)], []])
    net = problem.blueprint.make(
        problem.modalities, ROWS, problem.scale, np.random.SeedSequence(0)
    ).eval()
    return problem, ForwardPass.of(net, problem.modalities, ROWS)


def losses_of(seen, frame, *objectives):
    problem, _ = seen
    bound = bind_objectives(objectives, problem.blueprint, frame, "pretraining")
    return make_objectives(bound, problem.modalities, ROWS, np.random.SeedSequence(1)).eval()


def parts(seen):
    features = seen[1].features[0]
    return features.inputs["scan"], features.inputs["u"], torch.from_numpy(~GONE)


def test_correlation_of_the_rows_with_both(seen, frame):
    losses = losses_of(seen, frame, ss.objectives.CanonicalCorrelation(ridge=0.01, weight=3.0))
    found = losses(seen[1])
    scan, u, here = parts(seen)
    expected = correlation_loss(scan[here], u[here], ridge=0.01)
    torch.testing.assert_close(found.values[0], expected.detach())
    torch.testing.assert_close(found.total, 3 * expected)
    assert found.counts[0] == (~GONE).sum()


def test_a_batch_with_too_few_rows_is_left_out(seen, frame):
    losses = losses_of(seen, frame, ss.objectives.CanonicalCorrelation())
    problem, whole = seen
    some = ROWS[~GONE]
    for n, count in ((4, 0), (5, 5)):
        found = losses(ForwardPass.of(whole.net, problem.modalities, some[:n]))
        assert found.counts[0] == count and (float(found.values[0]) == 0) == (count == 0)


def test_similarity(seen, frame):
    found = losses_of(seen, frame, ss.objectives.Similarity(margin=0.7))(seen[1])
    scan, u, here = parts(seen)
    present = {"a": here, "b": torch.ones(N, dtype=torch.bool)}
    expected = similarity_loss({"a": scan, "b": u}, present, margin=0.7)
    torch.testing.assert_close(found.total, expected)


@pytest.mark.parametrize("cross", [False, True])
def test_inputs_are_drawn_on_a_standard_scale(seen, frame, cross):
    losses = losses_of(seen, frame, ss.objectives.Reconstruction(cross=cross))
    scan, u, here = parts(seen)
    first, second = losses.groups[0][0].decoders
    pixels = seen[1].batch.inputs["scan"].double() / 255
    kept = pixels[here]
    targets = {"a": ((pixels - kept.mean()) / kept.std(unbiased=False)).float()}
    features = seen[1].batch.inputs["u"]
    targets["b"] = (features - features.mean(0)) / features.std(0, unbiased=False)
    given = (
        targets,
        {"a": scan, "b": u},
        {"a": first, "b": second},
        {"a": here, "b": torch.ones(N, dtype=torch.bool)},
    )
    expected = reconstruction_loss(*given)
    if cross:
        expected = expected + cross_reconstruction_loss(*given)
    torch.testing.assert_close(losses(seen[1]).total, expected, rtol=1e-5, atol=1e-5)


def test_contrast_after_projections(seen, frame):
    losses = losses_of(seen, frame, ss.objectives.Contrastive(temperature=0.5, projection=3))
    own = losses.groups[0][0]
    scan, u, here = parts(seen)
    assert own.heads[0](scan).shape == (N, 3)
    expected = contrastive_loss(own.heads[0](scan)[here], own.heads[1](u)[here], -np.log(0.5))
    torch.testing.assert_close(losses(seen[1]).total, expected)


def test_a_proxy_in_units_of_its_standard_deviation(seen, frame):
    losses = losses_of(seen, frame, ss.objectives.Proxy("light"))
    light = frame["light"].to_numpy()
    known = np.isfinite(light)
    wanted = (light - light[known].mean()) / light[known].std()
    predicted = losses.groups[0][0].layer(seen[1].features[0].joined)[:, 0].detach().numpy()
    found = losses(seen[1])
    assert found.counts[0] == known.sum()
    expected = np.mean((predicted - wanted)[known] ** 2)
    assert float(found.values[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(np.where(np.arange(N) % 3 == 0, "low", "high")),
        pd.Series(np.arange(N) % 3 == 0),
        pd.Series(pd.Categorical(np.where(np.arange(N) % 3 == 0, "low", "high"))),
    ],
)
def test_levels_of_a_proxy(seen, frame, values):
    losses = losses_of(seen, frame.assign(kind=values), ss.objectives.Proxy("kind"))
    own = losses.groups[0][0]
    _, codes = np.unique(values.astype(str), return_inverse=True)
    expected = torch.nn.functional.cross_entropy(
        own.layer(seen[1].features[0].joined), torch.from_numpy(codes)
    )
    torch.testing.assert_close(losses(seen[1]).total, expected)


def test_levels_that_are_missing_take_no_part(seen, frame):
    kind = pd.Series(np.where(np.arange(N) % 3 == 0, "low", "high"), dtype=object)
    kind[:20] = None
    losses = losses_of(seen, frame.assign(kind=kind), ss.objectives.Proxy("kind"))
    assert losses(seen[1]).counts[0] == N - 20


def test_a_proxy_of_one_input(seen, frame):
    losses = losses_of(seen, frame, ss.objectives.Proxy("light", inputs="scan"))
    assert losses.groups[0][0].layer.in_features == 4
    known = np.isfinite(frame["light"].to_numpy())
    assert losses(seen[1]).counts[0] == (known & ~GONE).sum()


def test_several_objectives_are_summed(seen, frame):
    one, two = ss.objectives.Similarity(weight=2.0), ss.objectives.CanonicalCorrelation(weight=0.5)
    found = losses_of(seen, frame, one, two)(seen[1])
    first, second = found.values
    torch.testing.assert_close(found.total.detach(), 2 * first + 0.5 * second)


def test_means_over_batches_are_weighted_by_rows(seen, frame):
    losses = losses_of(seen, frame, ss.objectives.Proxy("light"))
    problem, whole = seen
    mean = Mean(1)
    assert np.isnan(mean.value).all()
    for rows in (ROWS[:17], ROWS[17:]):
        mean.add(losses(ForwardPass.of(whole.net, problem.modalities, rows)))
    assert mean.value[0] == pytest.approx(float(losses(whole).values[0]), rel=1e-5)


class TestCorruption:
    def test_values_come_from_the_pool_a_variable_at_a_time(self, torch_rng):
        x = torch.zeros(500, 4)
        pool = torch.tensor([[1.0, 2.0, 10.0, 20.0], [3.0, 4.0, 30.0, 40.0]])
        found = corrupted(x, 0.5, torch_rng, pool=pool, variables=torch.tensor([0, 1, 2, 2]))
        assert set(found[:, 0].tolist()) == {0.0, 1.0, 3.0}
        together = {tuple(row) for row in found[:, 2:].tolist()}
        assert together == {(0.0, 0.0), (10.0, 20.0), (30.0, 40.0)}
        share = (found[:, [0, 1, 2]] != 0).double().mean()
        assert abs(float(share) - 0.5) < 0.06

    def test_only_tables_and_only_in_training(self, frame):
        problem = make_deep_problem(frame, [[deep("scan", "x", "group", latent_dim=4)], []])
        net = problem.blueprint.make(
            problem.modalities, ROWS, problem.scale, np.random.SeedSequence(0)
        ).eval()
        objective = ss.objectives.Contrastive(corruption=0.5)
        bound = bind_objectives([objective], problem.blueprint, frame, "pretraining")
        losses = make_objectives(bound, problem.modalities, ROWS, np.random.SeedSequence(1))
        whole = ForwardPass.of(net, problem.modalities, ROWS)
        assert set(losses.groups[0][0].corruptions) == {"1"}
        clean = [float(losses.eval()(whole).values[0]) for _ in range(2)]
        changed = [float(losses.train()(whole).values[0]) for _ in range(2)]
        assert len({clean[0], *changed}) == 3 and clean[0] == clean[1]
