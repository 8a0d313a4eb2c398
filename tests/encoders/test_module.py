from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from semistruct.encoders import Encoder, ModuleEncoder, build_encoder
from semistruct.exceptions import SpecificationError

SHAPE = (3, 16, 16)


def images(n=6, seed=0):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


class Returns(nn.Module):
    """A module that returns whatever a function makes of its input."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x: x.mean((2, 3)), lambda x: x.mean((2, 3))),
        (lambda x: x, lambda x: x.mean((2, 3))),
        (lambda x: x.flatten(2), lambda x: x.flatten(2).mean(1)),
        (lambda x: x.mean((1, 2, 3)), lambda x: x.mean((1, 2, 3))[:, None]),
        (lambda x: (x.mean((2, 3)),), lambda x: x.mean((2, 3))),
        (lambda x: x[:, :, None], lambda x: x.mean((2, 3))),
    ],
)
def test_outputs_become_rows_of_features(make, expected):
    encoder = ModuleEncoder(Returns(make), SHAPE)
    x = images()
    torch.testing.assert_close(encoder(x), expected(x))
    assert encoder.latent_dim == encoder.n_features == expected(x).shape[1]


@pytest.mark.parametrize(
    ("make", "output"), [(lambda x: (x, x[:, :2]), 1), (lambda x: {"a": x, "b": x[:, :2]}, "b")]
)
def test_one_of_several_outputs(make, output):
    assert ModuleEncoder(Returns(make), SHAPE, output=output).latent_dim == 2
    with pytest.raises(SpecificationError, match="output="):
        ModuleEncoder(Returns(make), SHAPE)
    with pytest.raises(SpecificationError, match="no entry 7"):
        ModuleEncoder(Returns(make), SHAPE, output=7)


class Found:
    """What some libraries return: neither a tensor nor a mapping."""

    def __init__(self, x):
        self.pooler_output = x[:, :3]


def test_a_function_finds_the_features():
    encoder = ModuleEncoder(Returns(Found), SHAPE, output=lambda found: found.pooler_output)
    assert encoder.latent_dim == 3
    with pytest.raises(SpecificationError, match="a Found"):
        ModuleEncoder(Returns(Found), SHAPE)
    with pytest.raises(SpecificationError, match="failed on two rows"):
        ModuleEncoder(Returns(Found), SHAPE, output=lambda found: found.nothing)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x.sum(), r"shape \(\)"),
        (lambda x: x[0], r"shape \(3, 16, 16\)"),
        (lambda x: x.argmax(1), "int64"),
        (lambda x: "features", "a str"),
        (lambda x: x @ x.new_ones(5, 5), "failed on two rows of shape"),
    ],
)
def test_impossible_outputs(make, message):
    with pytest.raises(SpecificationError, match=message):
        ModuleEncoder(Returns(make), SHAPE)


def test_wrong_number_of_channels_is_explained():
    with pytest.raises(SpecificationError, match=r"Conv2d failed.*\(3, 16, 16\).*channels"):
        ModuleEncoder(nn.Conv2d(1, 4, 3), SHAPE)


def test_frozen_stays_as_it_is():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    encoder = ModuleEncoder(module, SHAPE, frozen=True, latent_dim=2, random_state=0).train()
    before = copy.deepcopy(encoder.state_dict())
    assert not any(child.training for child in encoder.module.modules())
    assert encoder.head.training
    U = encoder(images())
    assert not encoder.features(images()).requires_grad
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    U.sum().backward()
    optimizer.step()
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key]) == (not key.startswith("head.2")), key
    torch.testing.assert_close(encoder.head.eval()(encoder.features(images())), encoder(images()))


def test_batch_normalisation_of_a_trainable_module_never_sees_the_batch():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    encoder = ModuleEncoder(module, SHAPE).train()
    encoder(images()).sum().backward()
    assert module[1].num_batches_tracked == 0
    assert module[1].weight.grad.any()
    torch.testing.assert_close(encoder(images())[:1], encoder(images()[:1]))
    with pytest.raises(SpecificationError, match="running"):
        ModuleEncoder(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), SHAPE)


def test_size_and_preprocess():
    seen = []
    module = Returns(lambda x: (seen.append(x), x.mean((2, 3)))[1])
    encoder = ModuleEncoder(module, SHAPE, size=8, preprocess=lambda x: 2 * x)
    x = images()
    encoder.learn_inputs(x + 100)
    encoder(x)
    assert seen[-1].shape == (6, 3, 8, 8)
    torch.testing.assert_close(seen[-1].mean(), 2 * x.mean(), rtol=0, atol=0.02)
    assert ModuleEncoder(module, SHAPE, size=(4, 9))(x).shape == (6, 3)
    assert seen[-1].shape == (6, 3, 4, 9)
    with pytest.raises(SpecificationError, match="size=8"):
        ModuleEncoder(nn.Linear(5, 2), (5,), size=8)


def test_learning_the_inputs_leaves_the_mode_and_dropout_alone():
    module = nn.Sequential(nn.Flatten(), nn.Linear(768, 5), nn.Dropout(0.9))
    encoder = ModuleEncoder(module, SHAPE, latent_dim=2)
    encoder.learn_inputs(images(50))
    first = encoder.head[0].mean.clone()
    encoder.learn_inputs(images(50))
    assert torch.equal(encoder.head[0].mean, first)
    assert encoder.training and module[2].training


def test_float64_modules():
    encoder = ModuleEncoder(nn.Linear(4, 2).double(), (4,), latent_dim=3)
    assert encoder(torch.zeros(2, 4)).dtype == torch.float64


def test_build_copies_what_was_handed_in():
    module = nn.Linear(4, 2)
    before = module.weight.clone()
    encoder = build_encoder(module, (4,), {"frozen": False})
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1)
    assert torch.equal(module.weight, before)
    frozen = build_encoder(module, (4,), {"frozen": True})
    assert frozen.frozen and module.weight.requires_grad


def test_build_from_a_function_draws_its_weights_from_the_seed():
    def make(in_shape):
        return nn.Linear(in_shape[0], 2)

    a, b, c = (build_encoder(make, (4,), random_state=seed) for seed in (1, 1, 2))
    assert torch.equal(a.module.weight, b.module.weight)
    assert not torch.equal(a.module.weight, c.module.weight)


def test_build_from_an_encoder_of_ones_own():
    class Mean(Encoder):
        latent_dim = 1

        def forward(self, x, mask=None):
            return x.mean(1, keepdim=True)

        def learn_inputs(self, sample):
            pass

    assert isinstance(build_encoder(Mean(), (4,)), Mean)
    with pytest.raises(SpecificationError, match="no further options"):
        build_encoder(Mean(), (4,), {"latent_dim": 2})


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("cmn", {}, "did you mean 'cnn'"),
        ("cnn", {"latent_dims": 3}, "did you mean 'latent_dim'"),
        ("cnn", {"hflip": True, "augmentation": {"vflip": True}}, "both augmentation"),
        ("mlp", {"hflip": True}, "hflip"),
        (nn.Linear(3, 2), {"width": 3}, "'Linear'"),
        (lambda shape: None, {}, "NoneType"),
        (3, {}, "got a int"),
    ],
)
def test_build_refuses(encoder, options, message):
    with pytest.raises(SpecificationError, match=message):
        build_encoder(encoder, (3, 8, 8), options)


def test_build_gathers_augmentation_options():
    encoder = build_encoder("cnn", (3, 8, 8), {"hflip": True, "shift": 0.1})
    assert encoder.augmentation.hflip and encoder.augmentation.shift == 0.1
    assert build_encoder("cnn", (3, 8, 8)).augmentation.hflip == "auto"
