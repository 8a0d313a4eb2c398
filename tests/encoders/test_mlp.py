from __future__ import annotations

import pytest
import torch

from semistruct.encoders import MLPEncoder
from semistruct.encoders.activations import ACTIVATIONS
from semistruct.exceptions import SpecificationError


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_options_change_the_network(activation):
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    encoder = MLPEncoder((3,), hidden=(6, 5), latent_dim=2, activation=activation, random_state=0)
    linears = [m for m in encoder.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == [(3, 6), (6, 5), (5, 2)]
    other = MLPEncoder((3,), hidden=(6, 5), latent_dim=2, activation="tanh", random_state=0)
    assert torch.equal(encoder(x), other(x)) == (activation == "tanh")


def test_no_hidden_layers_and_other_shapes():
    assert MLPEncoder((3,), hidden=())(torch.zeros(2, 3)).shape == (2, 16)
    assert MLPEncoder((2, 4))(torch.zeros(3, 2, 4)).shape == (3, 16)


def test_dropout_in_training_only():
    x = torch.ones(4, 3)
    encoder = MLPEncoder((3,), dropout=0.5, random_state=0)
    assert not torch.equal(encoder(x), encoder(x))
    assert torch.equal(encoder.eval()(x), encoder(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"hidden": (0,)}, "positive widths"), ({"activation": "relo"}, "did you mean 'relu'")],
)
def test_refuses(options, message):
    with pytest.raises(SpecificationError, match=message):
        MLPEncoder((3,), **options)


def test_features_of_the_input_are_dropped_in_training_only():
    x = torch.ones(200, 50)
    plain = MLPEncoder((50,), random_state=0)
    dropped = MLPEncoder((50,), input_dropout=0.5, random_state=0)
    assert torch.equal(plain(x), plain(x)) and not torch.equal(dropped(x), dropped(x))
    assert torch.equal(plain.eval()(x), dropped.eval()(x))
    with pytest.raises(SpecificationError, match="below 1"):
        MLPEncoder((50,), input_dropout=1.0)
