"""Encoders of rows of any length: what does not exist has no say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from semistruct.encoders import ENCODERS, RAGGED_ENCODERS, Encoder, build_encoder

FLOAT64 = 1e-10
FLOAT32 = 1e-5  # sums of other lengths are rounded otherwise

LENGTHS = [5, 0, 12, 1, 8, 12, 3]

EXAMPLES = {
    "conv1d": ("conv1d", (40, 3), {}),
    "conv1d, largest value": ("conv1d", (40, 3), {"pooling": "max", "grid": 2}),
    "conv1d, short": ("conv1d", (2, 1), {}),
    "gru": ("recurrent", (9, 3), {}),
    "gru, mean of both ways": ("recurrent", (9, 3), {"readout": "mean", "bidirectional": True}),
    "gru, ends of both ways": ("recurrent", (9, 3), {"bidirectional": True, "layers": 2}),
    "lstm": ("recurrent", (9, 3), {"cell": "lstm"}),
    "lstm, largest value": ("recurrent", (9, 3), {"cell": "lstm", "readout": "max"}),
    "bag, attention": ("bag", (4, 3, 8, 9), {}),
    "bag, mean": ("bag", (4, 6), {"pooling": "mean"}),
    "bag, largest value": ("bag", (4, 6), {"pooling": "max"}),
}


@pytest.fixture(params=EXAMPLES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def rows(name: str, lengths: list[int] = LENGTHS, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    longest = max(1, *lengths)
    x = 3 + 2 * torch.randn(len(lengths), longest, *EXAMPLES[name][1][1:], generator=generator)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return x * mask.reshape(*mask.shape, *(1,) * (x.ndim - 2)), mask


def make(name: str, dtype: torch.dtype = torch.float32) -> Encoder:
    encoder = build_encoder(*EXAMPLES[name], random_state=0)
    encoder.learn_inputs(*rows(name, [12, 7, 9, 2] * 10, seed=9))
    return encoder.to(dtype).eval()


def test_every_ragged_encoder_has_an_example():
    assert {entry[0] for entry in EXAMPLES.values()} == RAGGED_ENCODERS
    assert set(ENCODERS) > RAGGED_ENCODERS


def test_values_that_do_not_exist_change_nothing(name):
    encoder = make(name)
    x, mask = rows(name)
    other = x.clone()
    other[~mask] = 1e6
    assert (other != x).any()
    with torch.no_grad():
        assert torch.equal(encoder(x, mask), encoder(other, mask))


def test_values_that_do_not_exist_get_no_gradient_and_all_others_are_finite(name):
    encoder = make(name).train()
    x, mask = rows(name)
    x.requires_grad_()
    encoder(x, mask).square().sum().backward()
    assert not x.grad[~mask].any() and x.grad[mask].any()
    for key, parameter in encoder.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), key


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]
)
def test_a_row_alone_equals_the_row_beside_longer_ones(name, dtype, tolerance):
    encoder = make(name, dtype)
    x, mask = rows(name)
    x = x.to(dtype)
    with torch.no_grad():
        together = encoder(x, mask)
        cut = [(x[[i], : max(1, n)], mask[[i], : max(1, n)]) for i, n in enumerate(LENGTHS)]
        alone = torch.cat([encoder(*each) for each in cut])
        without_mask = encoder(x[[2, 5]])
    limit = tolerance * float(together.abs().max())
    assert float((alone - together).abs().max()) <= limit
    assert float((without_mask - together[[2, 5]]).abs().max()) <= limit
    assert float(together.std(0).max()) > 0


def test_rows_without_elements_are_finite_and_alike(name):
    encoder = make(name)
    with torch.no_grad():
        empty = encoder(*rows(name, [0, 0]))
    assert torch.isfinite(empty).all()
    assert torch.equal(empty[0], empty[1])


def test_the_scale_is_learned_from_what_exists(name):
    one, other = (build_encoder(*EXAMPLES[name], random_state=0) for _ in range(2))
    x, mask = rows(name)
    padded = torch.cat([x, torch.full_like(x, 77.0)], dim=1)
    one.learn_inputs(x, mask)
    other.learn_inputs(padded, torch.cat([mask, torch.zeros_like(mask)], dim=1))
    with torch.no_grad():
        assert torch.equal(one.eval()(x, mask), other.eval()(x, mask))
