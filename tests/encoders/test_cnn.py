from __future__ import annotations

import pytest
import torch

from semistruct.encoders import Augmentation, CNNEncoder
from semistruct.exceptions import SpecificationError


@pytest.mark.parametrize("n_channels", [1, 3, 4])
@pytest.mark.parametrize(
    "size", [(1, 1), (3, 5), (8, 8), (28, 28), (20, 60), (64, 64), (100, 7), (224, 224)]
)
def test_any_size_and_any_channels(n_channels, size):
    encoder = CNNEncoder((n_channels, *size), random_state=0)
    images = torch.randint(0, 256, (2, n_channels, *size), dtype=torch.uint8)
    encoder.learn_inputs(images)
    U = encoder(images)
    assert U.shape == (2, 32)
    assert torch.isfinite(U).all()
    U.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_cost_grows_slowly_with_the_size():
    def pixels(side):
        """Positions at which convolutions are computed."""
        counted = []
        encoder = CNNEncoder((3, side, side), random_state=0)
        for stage in encoder.stages:
            stage.register_forward_hook(lambda m, i, out: counted.append(out[0, 0].numel()))
        encoder(torch.zeros(1, 3, side, side))
        return counted

    assert sum(pixels(64)) < 0.4 * 64**2
    assert sum(pixels(224)) < 0.1 * 224**2
    assert pixels(224)[-1] == 7 * 7
    assert pixels(8) == [64, 64, 16]


def test_position_is_kept():
    encoder = CNNEncoder((1, 32, 32), augmentation={}, random_state=0).eval()
    top, bottom = torch.zeros(2, 1, 1, 32, 32)
    top[:, :, 4:8] = 1
    bottom[:, :, 24:28] = 1
    assert float((encoder(top) - encoder(bottom)).detach().abs().max()) > 0.01


def test_no_batch_statistics_and_shape_of_options():
    encoder = CNNEncoder((3, 32, 32), latent_dim=5, channels=(8, 12), grid=2, activation="relu")
    assert encoder.latent_dim == 5
    assert not any("BatchNorm" in type(m).__name__ for m in encoder.modules())
    assert encoder.head[0].in_features == 12 * 2 * 2
    assert encoder.stages[-1][1].num_groups in (1, 2, 3, 4)


def test_uint8_equals_scaled_floats():
    images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    encoder = CNNEncoder((3, 16, 16), random_state=0).eval()
    encoder.learn_inputs(images)
    torch.testing.assert_close(encoder(images), encoder(images / 255.0), rtol=1e-4, atol=1e-5)


def test_augmentation_is_on_in_training_only_and_can_be_replaced():
    images = torch.rand(10, 1, 32, 32)
    encoder = CNNEncoder((1, 32, 32), dropout=0.0, random_state=0)
    assert encoder.augmentation.shift > 0
    assert not torch.equal(encoder(images), encoder(images))
    assert torch.equal(encoder.eval()(images), encoder(images))
    off = CNNEncoder((1, 32, 32), dropout=0.0, augmentation={}, random_state=0)
    assert torch.equal(off(images), off(images))
    flips = CNNEncoder((1, 32, 32), augmentation=Augmentation(hflip=True))
    assert flips.augmentation.hflip


def test_dropout_changes_training():
    images = torch.rand(10, 1, 16, 16)
    encoder = CNNEncoder((1, 16, 16), dropout=0.5, augmentation={}, random_state=0)
    assert not torch.equal(encoder(images), encoder(images))


@pytest.mark.parametrize(
    ("in_shape", "options", "message"),
    [
        ((5,), {}, "mlp"),
        ((0, 8, 8), {}, "channels, height, width"),
        ((1, 8, 8), {"channels": ()}, "positive channels"),
        ((1, 8, 8), {"latent_dim": 0}, "latent_dim=0"),
        ((1, 8, 8), {"activation": "swish"}, "unknown activation"),
        ((1, 8, 8), {"augmentation": {"flip": True}}, "hflip"),
        ((1, 8, 8), {"dropout": 1.0}, "dropout"),
    ],
)
def test_refuses(in_shape, options, message):
    with pytest.raises(SpecificationError, match=message):
        CNNEncoder(in_shape, **options)


def test_learns_a_digit_sized_task_in_seconds():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 1, 8, 8, generator=generator)
    y = images[:, 0, :4].mean((1, 2)) - images[:, 0, 4:].mean((1, 2))
    y = (y - y.mean()) / y.std()
    encoder = CNNEncoder((1, 8, 8), random_state=0)
    encoder.learn_inputs(images)
    last = torch.nn.Parameter(torch.zeros(encoder.latent_dim))
    optimizer = torch.optim.AdamW([*encoder.parameters(), last], lr=3e-3)
    for _ in range(15):
        for rows in torch.randperm(300, generator=generator).split(50):
            optimizer.zero_grad()
            (encoder(images[rows]) @ last - y[rows]).square().mean().backward()
            optimizer.step()
    with torch.no_grad():
        unexplained = (encoder.eval()(images[300:]) @ last - y[300:]).square().mean()
    assert float(unexplained) < 0.5 * float(y[300:].var())
