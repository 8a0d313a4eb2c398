"""Decoders: shapes, scale, seeds; and that they learn to draw."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from semistruct.encoders import DECODERS, build_decoder
from semistruct.encoders.decoders import halved_sizes
from semistruct.exceptions import SpecificationError

SHAPES = [(1,), (7,), (12, 3), (1, 2), (50, 1), (1, 8, 8), (3, 33, 20), (1, 1, 1), (2, 8, 9, 10)]


def rows(shape: tuple[int, ...], n: int = 6) -> Tensor:
    x = 3 + 2 * torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))
    assert x.std() > 0
    return x


@pytest.mark.parametrize("shape", SHAPES)
def test_a_decoder_draws_rows_of_the_shape_on_the_scale_of_its_target(shape):
    decoder = build_decoder(4, shape, random_state=0)
    sample = rows(shape, 40)
    decoder.learn_inputs(sample)
    target = decoder.target(sample)
    assert decoder(torch.randn(5, 4)).shape == (5, *shape)
    assert target.shape == sample.shape
    assert float(target.mean()) == pytest.approx(0, abs=1e-5)
    assert float(target.std(correction=0)) == pytest.approx(1, abs=1e-3)
    assert isinstance(decoder, DECODERS[len(shape)])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_gets_a_gradient_and_rows_are_independent(shape):
    decoder = build_decoder(4, shape, random_state=0)
    latent = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    decoder(latent).square().sum().backward()
    for key, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key
    together = decoder(latent)
    torch.testing.assert_close(decoder(latent[[2]]), together[[2]], rtol=1e-5, atol=1e-6)
    latent.grad = None
    decoder(latent)[2].sum().backward()
    assert not latent.grad[[0, 1, 3, 4, 5]].any() and latent.grad[2].any()


def test_pixels_as_bytes_are_a_target_too():
    decoder = build_decoder(2, (1, 8, 8), random_state=0)
    pictures = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    decoder.learn_inputs(pictures)
    as_numbers = pictures.float() / 255
    other = build_decoder(2, (1, 8, 8), random_state=0)
    other.learn_inputs(as_numbers)
    torch.testing.assert_close(decoder.target(pictures), other.target(as_numbers))


def test_channels_of_a_sequence_are_scaled_apart():
    sequences = torch.stack([torch.arange(5.0), 100 * torch.arange(5.0) + 7], dim=1)[None]
    decoder = build_decoder(2, (5, 2), random_state=0)
    decoder.learn_inputs(sequences)
    target = decoder.target(sequences)[0]
    torch.testing.assert_close(target[:, 0], target[:, 1], rtol=1e-5, atol=1e-6)


def test_same_seed_same_decoder():
    before = torch.random.get_rng_state()
    a, b, c = (build_decoder(3, (3, 16, 16), random_state=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    latent = torch.ones(2, 3)
    assert torch.equal(a(latent), b(latent)) and not torch.equal(a(latent), c(latent))


@pytest.mark.parametrize("shape", [(30,), (16, 2), (1, 12, 12)])
def test_a_decoder_learns_to_draw(shape):
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(64, 3, generator=generator)
    smooth = F.interpolate(torch.randn(1, 3, 4, generator=generator), size=144, mode="linear")
    drawn = torch.tanh(latent @ smooth[0])[:, : torch.zeros(shape).numel()].reshape(64, *shape)
    decoder = build_decoder(3, shape, random_state=0)
    decoder.learn_inputs(drawn)
    target = decoder.target(drawn)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(decoder(latent), target)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.3  # the mean alone leaves 1


def test_options_change_the_network():
    def count(shape, **options):
        return sum(p.numel() for p in build_decoder(3, shape, options).parameters())

    assert count((9,), hidden=(5,)) < count((9,)) < count((9,), hidden=(200, 200))
    assert count((9,), hidden=()) == 4 * 9
    assert count((1, 16, 16), channels=(4,)) < count((1, 16, 16))
    latent = torch.ones(1, 3)
    silu, tanh = (build_decoder(3, (9,), {"activation": a}, 0) for a in ("silu", "tanh"))
    assert not torch.equal(silu(latent), tanh(latent))
    wide_outside = build_decoder(3, (1, 40, 40), {"channels": (32, 8)}, 0)
    assert wide_outside(latent).shape == (1, 1, 40, 40)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 2, 2, 2, 2), {}, "cannot be decoded"),
        ((), {}, "cannot be decoded"),
        ((None, 3), {}, "must be fixed"),
        ((9,), {"hiden": (3,)}, "did you mean 'hidden'"),
        ((9,), {"hidden": (0,)}, "positive widths"),
        ((1, 8, 8), {"channels": ()}, "positive widths"),
        ((1, 8, 8), {"hidden": (3,)}, "Known: activation, channels"),
    ],
)
def test_wrong_requests_are_refused(shape, options, message):
    with pytest.raises(SpecificationError, match=message):
        build_decoder(3, shape, options)


def test_a_latent_dimension_is_positive():
    with pytest.raises(SpecificationError, match="latent_dim"):
        build_decoder(0, (4,))


def test_halving():
    assert halved_sizes((224, 224))[-1] == (14, 14)  # at most four times
    assert halved_sizes((64, 1))[-1] == (4, 1)
    assert halved_sizes((1, 1)) == [(1, 1), (1, 1)]
