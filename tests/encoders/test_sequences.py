"""Convolutions and recurrent networks along sequences, against torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from semistruct.encoders import Conv1dEncoder, RecurrentEncoder
from semistruct.encoders.masking import MaskedGroupNorm, coarse_grid
from semistruct.exceptions import SpecificationError


@pytest.fixture
def x():
    return torch.randn(4, 30, 3, generator=torch.Generator().manual_seed(0))


def test_group_normalisation_is_torchs_where_all_exists(x):
    maps = torch.randn(4, 32, 30, generator=torch.Generator().manual_seed(1)) * 3 + 1
    norm = MaskedGroupNorm(32)
    theirs = nn.GroupNorm(norm.n_groups, 32)
    ours = norm(maps, torch.ones(4, 30, dtype=torch.bool))
    torch.testing.assert_close(ours, theirs(maps), rtol=1e-5, atol=1e-5)
    cut = torch.arange(30) < torch.tensor([30, 11, 4, 19])[:, None]
    for row, n in enumerate([30, 11, 4, 19]):
        expected = theirs(maps[[row], :, :n])
        found = norm(maps, cut)[[row]]
        torch.testing.assert_close(found[..., :n], expected, rtol=1e-4, atol=1e-5)
        assert not found[..., n:].any()


@pytest.mark.parametrize("grid", [1, 3, 4])
def test_parts_of_a_row_are_those_of_adaptive_pooling(grid):
    lengths = torch.tensor([1, 2, 5, 9, 16])
    maps = torch.randn(5, 2, 16, generator=torch.Generator().manual_seed(1))
    parts = coarse_grid(lengths, grid, 16).float()
    means = (parts / parts.sum(2, keepdim=True)) @ maps.movedim(2, 1)
    for row, n in enumerate(lengths.tolist()):
        expected = F.adaptive_avg_pool1d(maps[[row], :, :n], grid)
        torch.testing.assert_close(means[[row]], expected.movedim(2, 1))
        largest = F.adaptive_max_pool1d(maps[[row], :, :n], grid)
        ours = maps[[row], None].masked_fill(parts[row, None, :, None] == 0, -torch.inf).amax(-1)
        torch.testing.assert_close(ours, largest.movedim(2, 1))


def test_a_convolution_is_that_of_torch(x):
    # A typical length that needs no halving.
    encoder = Conv1dEncoder((2, 3), channels=(8,), grid=2, random_state=0).eval()
    (stage,) = encoder.stages
    maps = F.conv1d(x.movedim(2, 1), stage.convolution.weight, stride=stage.stride, padding=2)
    maps = F.relu(F.group_norm(maps, stage.norm.n_groups))
    pooled = F.adaptive_avg_pool1d(maps, 2).movedim(2, 1).flatten(1)
    torch.testing.assert_close(encoder(x), encoder.head(pooled), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_state_at_the_end_is_torchs(x, cell, bidirectional):
    encoder = RecurrentEncoder(
        (30, 3), cell=cell, bidirectional=bidirectional, random_state=0
    ).eval()
    states, _ = encoder.cells(x)
    forward, back = states[:, -1, :32], states[:, 0, 32:]
    expected = encoder.head(torch.cat([forward, back], 1))
    torch.testing.assert_close(encoder(x), expected, rtol=1e-5, atol=1e-6)
    short = encoder(x[:, :11])
    mask = torch.arange(30).expand(4, 30) < 11
    torch.testing.assert_close(encoder(x, mask), short, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("readout", ["mean", "max"])
def test_other_readouts(x, readout):
    encoder = RecurrentEncoder((30, 3), readout=readout, random_state=0).eval()
    states, _ = encoder.cells(x)
    read = states.mean(1) if readout == "mean" else states.amax(1)
    torch.testing.assert_close(encoder(x), encoder.head(read), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"cell": "lstm"}, {"readout": "mean"}, {"bidirectional": True}, {"layers": 2}]
)
def test_the_order_of_a_sequence_matters_to_a_recurrent_network(x, options):
    encoder = RecurrentEncoder((30, 3), random_state=0, **options).eval()
    assert not torch.allclose(encoder(x), encoder(x.flip(1)), atol=1e-3)


def test_a_convolution_knows_where_and_its_largest_values_that(x):
    bump = torch.zeros(2, 64, 1)
    bump[0, 4:9] = bump[1, 52:57] = 5.0
    knows = Conv1dEncoder((64, 1), random_state=0).eval()
    assert not torch.allclose(*knows(bump), atol=1e-3)
    options = {"grid": 1, "channels": (8,), "random_state": 0}
    anywhere = Conv1dEncoder((1, 1), pooling="max", **options).eval()
    torch.testing.assert_close(*anywhere(bump), rtol=1e-4, atol=1e-5)
    mean = Conv1dEncoder((1, 1), **options).eval()
    assert not torch.allclose(anywhere(bump), mean(bump), atol=1e-3)


def test_long_sequences_are_halved_more_often():
    assert len(Conv1dEncoder((1000, 1)).stages) > len(Conv1dEncoder((30, 1)).stages)
    assert len(Conv1dEncoder((2, 1)).stages) == 3
    assert Conv1dEncoder((5000, 2), random_state=0)(torch.zeros(2, 5000, 2)).shape == (2, 16)


def test_options_change_the_answer(x):
    default = Conv1dEncoder((30, 3), random_state=0).eval()(x)
    for options in ({"kernel": 3}, {"grid": 2}, {"channels": (8, 8)}, {"activation": "tanh"}):
        other = Conv1dEncoder((30, 3), random_state=0, **options).eval()(x)
        assert not torch.allclose(default, other), options
    wide = RecurrentEncoder((30, 3), hidden=8, latent_dim=5, random_state=0)
    assert wide.cells.hidden_size == 8 and wide(x).shape == (4, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv1dEncoder((3, 8, 8)), "length, channels"),
        (lambda: Conv1dEncoder((8, 3), kernel=4), "odd kernel"),
        (lambda: Conv1dEncoder((8, 3), pooling="sum"), "'mean' or 'max'"),
        (lambda: Conv1dEncoder((8, 3), channels=()), "positive channels"),
        (lambda: RecurrentEncoder((8,)), "length, channels"),
        (lambda: RecurrentEncoder((8, 3), hidden=0), "positive"),
        (lambda: RecurrentEncoder((8, 3), readout="first"), "readout must be"),
        (lambda: RecurrentEncoder((8, 3), cell="gruu"), "did you mean 'gru'"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(SpecificationError, match=message):
        make()
