"""From deep terms to networks: what is read, what is shared, what the seed decides."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

import semistruct as ss
from semistruct.blueprint import row_weights
from semistruct.encoders import CNNEncoder, FeatureEncoder, MLPEncoder, ModuleEncoder
from semistruct.estimators._deep_terms import draw_blueprint
from semistruct.fusion import FUSIONS
from semistruct.terms import cnn, deep, encoder, linear, mlp
from tests._deep import frozen, picture_table

N = 90


@pytest.fixture(scope="module")
def frame():
    return picture_table(N)


def network(blueprint, frame, seed=0, rows=None):
    rows = np.arange(N) if rows is None else rows
    scale = np.ones(len(blueprint.slots))
    return blueprint.make(blueprint.read(frame), rows, scale, np.random.SeedSequence(seed))


def weights(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_slots_follow_the_order_of_the_terms(frame):
    blueprint = draw_blueprint([[cnn("scan"), mlp("x")], [cnn("scan")]], frame)
    assert [slot.param for slot in blueprint.slots] == [0, 0, 1]
    assert [slot.network for slot in blueprint.slots] == [0, 1, 2]
    assert set(blueprint.readers) == {"scan", "mlp(x)"}
    net = network(blueprint, frame)
    assert len(net.terms) == 3 and net.slots == ((0, 0), (0, 1), (1, 2))
    assert isinstance(net.terms[0].encoders[0], CNNEncoder)
    assert isinstance(net.terms[1].encoders[0], MLPEncoder)
    assert not blueprint.is_linear


def test_equal_terms_are_shared_on_request(frame):
    terms = [[cnn("scan")], [cnn("scan"), cnn("scan", latent_dim=3)]]
    shared = draw_blueprint(terms, frame, share_encoders=True)
    assert [slot.network for slot in shared.slots] == [0, 0, 1]
    assert len(shared.plans) == 2


def test_the_seed_decides_the_weights(frame):
    blueprint = draw_blueprint([[cnn("scan"), deep("scan", "x")]], frame)
    first, again = network(blueprint, frame), network(blueprint, frame)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(network(blueprint, frame, seed=1)))
    encoders = [term.encoders[0].state_dict() for term in first.terms]
    assert not same(encoders[0], encoders[1])  # each term has a seed of its own


@pytest.mark.usefixtures("global_rng_untouched")
def test_no_global_generator_is_moved(frame):
    network(draw_blueprint([[cnn("scan"), mlp("x"), deep("scan", "x")]], frame), frame)


def test_inputs_are_scaled_by_the_rows_given(frame):
    blueprint = draw_blueprint([[mlp("x")]], frame)
    rows = np.arange(20)
    scaling = network(blueprint, frame, rows=rows).terms[0].encoders[0].standardization
    standard = scaling(torch.tensor(frame[["x"]].to_numpy()[rows], dtype=torch.float32))
    assert float(standard.mean()) == pytest.approx(0, abs=1e-5)
    assert float(standard.std(correction=0)) == pytest.approx(1, abs=1e-3)
    other = network(blueprint, frame, rows=np.arange(20, N)).terms[0].encoders[0].standardization
    assert not torch.equal(other.mean, scaling.mean)


def test_missing_rows_do_not_enter_the_scaling(frame):
    gaps = frame.copy()
    column = frame["scan"].array.copy()
    column[:30] = None
    gaps["scan"] = column
    blueprint = draw_blueprint([[cnn("scan")]], frame)
    whole = network(blueprint, frame, rows=np.arange(30, N)).terms[0].encoders[0]
    holes = network(blueprint, gaps).terms[0].encoders[0]
    assert same(whole.state_dict(), holes.state_dict())


def test_a_user_module_is_copied_for_every_network(frame):
    own = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    blueprint = draw_blueprint([[encoder("own", "scan")]], frame, encoders={"own": own})
    nets = [network(blueprint, frame, seed) for seed in (0, 1)]
    copies = [net.terms[0].encoders[0] for net in nets]
    assert all(isinstance(copy, ModuleEncoder) for copy in copies)
    assert copies[0].module is not own and copies[0].module is not copies[1].module
    assert torch.equal(copies[0].module[1].weight, own[1].weight)


def test_a_function_makes_new_weights_for_every_seed(frame):
    def make(in_shape):
        return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(in_shape)), 4))

    blueprint = draw_blueprint([[encoder("own", "scan")]], frame, encoders={"own": make})
    first, again, other = (network(blueprint, frame, seed) for seed in (0, 0, 1))
    assert same(weights(first), weights(again)) and not same(weights(first), weights(other))


def test_frozen_features_are_linear_unless_a_layer_lies_on_top(frame):
    bare = draw_blueprint([[encoder("own", "u")]], frame, encoders={"own": frozen()})
    assert bare.is_linear
    assert isinstance(network(bare, frame).terms[0].encoders[0], FeatureEncoder)
    own = nn.Flatten()
    topped = draw_blueprint(
        [[encoder("own", "scan", frozen=True, latent_dim=3)]], frame, encoders={"own": own}
    )
    assert not topped.is_linear
    assert network(topped, frame).terms[0].latent_dim == 3
    mixed = draw_blueprint([[encoder("own", "u"), cnn("scan")]], frame, encoders={"own": frozen()})
    assert not mixed.is_linear


def test_fusions(frame):
    for name in FUSIONS:
        blueprint = draw_blueprint([[deep("scan", "u", "x", "group", fusion=name)]], frame)
        term = network(blueprint, frame).terms[0]
        assert isinstance(term.fusion, FUSIONS[name])
        assert term.inputs == ("scan", "u", next(k for k in blueprint.readers if "table" in k))
    default = draw_blueprint([[deep("scan", "x", latent_dim=5)]], frame)
    encoders = network(default, frame).terms[0].encoders
    assert [one.latent_dim for one in encoders] == [5, 5]


def test_a_blueprint_survives_pickling(frame):
    blueprint = draw_blueprint(
        [[cnn("scan"), deep("scan", "x"), encoder("own", "u")]], frame, encoders={"own": frozen()}
    )
    again = pickle.loads(pickle.dumps(blueprint))
    assert same(weights(network(blueprint, frame)), weights(network(again, frame)))


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (cnn("scann"), "'scann'"),
        (encoder("cnn", "scan", "x"), "deep"),
        (encoder("resnet", "scan"), "'resnet'"),
        (cnn("scan", depth=3), "'depth'"),
        (mlp("x", activation="swish"), "'swish'"),
        (deep("scan", "x", fusion="fim"), "'fim'"),
        (deep("scan", "x", rank=3), "'rank'"),
        (cnn("u"), "u|cnn"),
    ],
    ids=str,
)
def test_terms_that_cannot_be(frame, term, message):
    with pytest.raises((ss.SpecificationError, ss.DataError), match=message):
        network(draw_blueprint([[term]], frame), frame)


def test_an_effect_may_vary_with_a_column(frame):
    blueprint = draw_blueprint([[cnn("scan", by=linear("x"))]], frame)
    assert len(blueprint.plans) == 1
    assert [slot.label for slot in blueprint.slots] == ["cnn(scan, by=x)", "cnn(scan, by=x).1"]
    weights = row_weights(blueprint.slots, frame)
    np.testing.assert_array_equal(weights[:, 0], 1.0)
    np.testing.assert_array_equal(weights[:, 1], frame["x"])
    assert row_weights(draw_blueprint([[cnn("scan")]], frame).slots, frame) is None
