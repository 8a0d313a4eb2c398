"""Networks of deep terms: scores, absence, sharing, chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semistruct.batch import Batch
from semistruct.encoders import build_encoder
from semistruct.fusion import FUSIONS
from semistruct.modalities import Modality
from semistruct.network import SemiStructuredNet, predict_latents, predict_scores
from semistruct.term_network import TermNetwork

SINGLE = 1e-5  # float32, sums in another order

N = 150


@pytest.fixture
def modalities():
    rng = np.random.default_rng(0)
    absent = np.arange(N) % 7 == 0
    found = {
        "a": Modality("a", rng.normal(size=(N, 4)).astype(np.float32), ~absent, (4,)),
        "b": Modality("b", rng.normal(size=(N, 3)).astype(np.float32), np.ones(N, bool), (3,)),
    }
    assert all(modality.values.std() > 0 for modality in found.values())
    return found


def mlp(n_features, latent_dim=3, seed=0):
    return build_encoder("mlp", (n_features,), {"latent_dim": latent_dim, "hidden": (5,)}, seed)


def net_of(terms, slots, scale=None, seed=0):
    scale = torch.ones(len(slots)) if scale is None else torch.tensor(scale)
    net = SemiStructuredNet(terms, slots, scale)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for gamma in net.gammas:
            gamma.copy_(torch.randn(gamma.shape, generator=generator))
    return net


def test_a_new_network_says_nothing(modalities):
    net = SemiStructuredNet([TermNetwork(["b"], [mlp(3)])], [(0, 0)], torch.ones(1))
    assert not predict_scores(net, modalities, np.arange(N)).any()


def test_scores_are_latents_times_gamma_times_scale(modalities):
    terms = [TermNetwork(["a"], [mlp(4)]), TermNetwork(["b"], [mlp(3, 2)])]
    net = net_of(terms, [(0, 0), (1, 1)], scale=[2.0, 0.5])
    rows = np.arange(N)
    latents = predict_latents(net, modalities, rows)
    scores = predict_scores(net, modalities, rows)
    assert [u.shape for u in latents] == [(N, 3), (N, 2)] and scores.shape == (N, 2)
    for t, scale in enumerate([2.0, 0.5]):
        expected = np.nan_to_num(latents[t]) @ net.gammas[t].detach().numpy() * scale
        np.testing.assert_allclose(scores[:, t], expected, rtol=SINGLE, atol=1e-6)
        assert scores[:, t].std() > 0


def test_absent_rows_score_zero_and_have_no_latents(modalities):
    net = net_of([TermNetwork(["a"], [mlp(4)])], [(0, 0)])
    absent = ~modalities["a"].present
    scores = predict_scores(net, modalities, np.arange(N))[:, 0]
    latents = predict_latents(net, modalities, np.arange(N))[0]
    assert (scores[absent] == 0).all() and (scores[~absent] != 0).all()
    assert np.isnan(latents[absent]).all() and np.isfinite(latents[~absent]).all()


def test_what_lies_in_absent_rows_does_not_matter(modalities):
    net = net_of([TermNetwork(["a"], [mlp(4)])], [(0, 0)])
    before = predict_scores(net, modalities, np.arange(N))
    values = modalities["a"].values.copy()
    values[~modalities["a"].present] = np.nan
    odd = {**modalities, "a": Modality("a", values, modalities["a"].present, (4,))}
    np.testing.assert_array_equal(predict_scores(net, odd, np.arange(N)), before)


def test_no_gradient_comes_from_absent_rows(modalities):
    net = net_of([TermNetwork(["a"], [mlp(4)])], [(0, 0)])
    absent = np.flatnonzero(~modalities["a"].present)
    net(Batch.read(modalities, absent)).sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in net.parameters())


def test_one_network_in_two_predictors(modalities):
    net = net_of([TermNetwork(["b"], [mlp(3)])], [(0, 0), (1, 0)])
    assert len(net.terms) == 1 and len(net.gammas) == 2
    scores = predict_scores(net, modalities, np.arange(N))
    assert scores.shape == (N, 2) and np.abs(scores[:, 0] - scores[:, 1]).max() > 0
    net(Batch.read(modalities, np.arange(1, 6))).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("name", FUSIONS)
def test_a_fused_row_is_present_with_one_of_its_inputs(name, modalities):
    fusion = FUSIONS[name]({"a": 3, "b": 3}, random_state=0)
    term = TermNetwork(["a", "b"], [mlp(4), mlp(3)], fusion)
    net = net_of([term], [(0, 0)])
    assert net.gammas[0].shape == (term.latent_dim,)
    gone = modalities["a"].present.copy()
    gone[:] = np.arange(N) % 2 == 0
    both = {**modalities, "b": Modality("b", modalities["b"].values, gone, (3,))}
    scores = predict_scores(net, both, np.arange(N))[:, 0]
    nothing = ~(both["a"].present | gone)
    assert nothing.any() and (scores[nothing] == 0).all() and (scores[~nothing] != 0).all()


def test_rows_do_not_depend_on_their_chunk(modalities):
    net = net_of([TermNetwork(["a"], [mlp(4)])], [(0, 0)])
    together = predict_scores(net, modalities, np.arange(N))
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_allclose(
        predict_scores(net, modalities, order), together[order], rtol=SINGLE, atol=1e-7
    )
    for row in (1, 80, N - 1):
        alone = predict_scores(net, modalities, np.array([row]))
        np.testing.assert_allclose(alone[0], together[row], rtol=SINGLE, atol=1e-7)
    assert predict_scores(net, modalities, np.arange(0)).shape == (0, 1)


def test_predicting_is_in_evaluation_mode(modalities):
    encoder = build_encoder("mlp", (3,), {"dropout": 0.5}, 0)
    net = net_of([TermNetwork(["b"], [encoder])], [(0, 0)]).train()
    rows = np.arange(N)
    np.testing.assert_array_equal(
        predict_scores(net, modalities, rows), predict_scores(net, modalities, rows)
    )


def test_a_double_network_scores_in_double(modalities):
    values = modalities["b"].values.astype(float)
    double = {"b": Modality("b", values, np.ones(N, bool), (3,))}
    net = net_of([TermNetwork(["b"], [mlp(3)])], [(0, 0)]).double()
    together = predict_scores(net, double, np.arange(N))
    alone = np.vstack([predict_scores(net, double, np.array([i])) for i in range(5)])
    np.testing.assert_allclose(alone, together[:5], rtol=1e-10)
