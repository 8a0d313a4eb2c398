"""Volumes: shapes, position, and changes that all slices share."""

from __future__ import annotations

import pytest
import torch

from semistruct.encoders import CNN3dEncoder
from semistruct.exceptions import SpecificationError


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 40, 17), (1, 20, 20, 20)])
def test_any_shape(shape):
    encoder = CNN3dEncoder(shape, latent_dim=5, random_state=0)
    x = torch.rand(2, *shape)
    assert encoder(x).shape == (2, 5)
    maps = encoder.eval().maps(x)
    assert maps.shape[1] == encoder.map_channels
    assert torch.equal(encoder.from_maps(maps), encoder(x))


def test_thick_slices_are_kept():
    encoder = CNN3dEncoder((1, 5, 48, 48), random_state=0).eval()
    maps = encoder.maps(torch.rand(1, 1, 5, 48, 48))
    assert maps.shape[2:] == (5, 3, 3)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_position_is_known_along_every_axis(axis):
    encoder = CNN3dEncoder((1, 16, 16, 16), random_state=0).eval()
    x = torch.zeros(1, 1, 16, 16, 16)
    x.movedim(axis, 0)[:4] = 1.0
    assert not torch.allclose(encoder(x), encoder(x.flip(axis)), atol=1e-3)


def test_all_slices_change_together():
    encoder = CNN3dEncoder((1, 6, 12, 12), augmentation={"shift": 0.3}, random_state=0)
    plane = torch.rand(12, 12, generator=torch.Generator().manual_seed(0))
    x = plane.expand(8, 1, 6, 12, 12)
    moved = encoder.augmentation(x.flatten(1, 2)).reshape(x.shape)
    assert not torch.equal(moved, x)
    assert torch.equal(moved, moved[:, :, :1].expand_as(moved))


def test_options_change_the_answer():
    x = torch.rand(3, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    default = CNN3dEncoder((1, 12, 12, 12), random_state=0).eval()(x)
    for options in ({"grid": 1}, {"channels": (4,)}, {"activation": "silu"}):
        other = CNN3dEncoder((1, 12, 12, 12), random_state=0, **options).eval()(x)
        assert not torch.allclose(default, other), options
    still = CNN3dEncoder((1, 12, 12, 12), augmentation={}, dropout=0.0, random_state=0)
    assert torch.equal(still(x), still(x))
    changed = CNN3dEncoder((1, 12, 12, 12), dropout=0.0, random_state=0)
    assert not torch.equal(changed(x), changed(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_shape": (1, 8, 8)}, "channels, depth, height, width"),
        ({"in_shape": (1, 8, 8, 8), "grid": 0}, "positive"),
        ({"in_shape": (1, 8, 8, 8), "channels": ()}, "positive"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(SpecificationError, match=message):
        CNN3dEncoder(**options)
