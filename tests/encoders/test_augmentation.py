from __future__ import annotations

import copy
import pickle

import pytest
import torch

from semistruct.encoders import Augmentation
from semistruct.exceptions import SpecificationError


def pictures(n=64, c=3, h=12, w=16):
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("option", "axis"), [("hflip", -1), ("vflip", -2)])
def test_each_picture_is_flipped_or_not(option, axis):
    x = pictures()
    changed = Augmentation(**{option: True}, random_state=0)(x)
    same = (changed - x).abs().amax((1, 2, 3)) == 0
    flipped = (changed - x.flip(axis)).abs().amax((1, 2, 3)) == 0
    assert (same ^ flipped).all()
    assert 16 < int(flipped.sum()) < 48


def test_shift_moves_whole_pictures_and_repeats_the_border():
    x = pictures(h=10, w=20)
    changed = Augmentation(shift=0.1, random_state=0)(x)
    seen = set()
    for before, after in zip(x, changed, strict=True):
        for dy in (-1, 0, 1):
            for dx in (-2, -1, 0, 1, 2):
                rows = (torch.arange(10) + dy).clamp(0, 9)
                columns = (torch.arange(20) + dx).clamp(0, 19)
                if torch.equal(before[:, rows][:, :, columns], after):
                    seen.add((dy, dx))
                    break
            else:
                continue
            break
        else:
            pytest.fail("a picture was not shifted as a whole")
    assert len(seen) > 8


def test_brightness_and_contrast_keep_the_pattern():
    x = pictures()
    brighter = Augmentation(brightness=0.5, random_state=0)(x) - x
    assert float(brighter.std(dim=(1, 2, 3)).max()) < 1e-6
    assert 0.3 < float(brighter.mean((1, 2, 3)).std()) < 0.7
    factor = Augmentation(contrast=0.3, random_state=0)(x) / x
    assert float(factor.flatten(1).std(1).max()) < 1e-5
    assert 0.2 < float(factor[:, 0, 0, 0].log().std()) < 0.4


def test_rotation_turns_about_the_centre():
    x = torch.zeros(200, 1, 21, 31)
    x[:, :, 9:12, 14:17] = 1.0  # the centre stays
    x[:, :, 10, 25] = 5.0
    changed = Augmentation(rotation=30, random_state=0)(x)
    assert float(changed[:, 0, 10, 15].min()) > 0.9
    moved = changed[:, 0] * (changed[:, 0] > 1)
    weight = moved.sum((1, 2))
    rows = (moved.sum(2) * torch.arange(21)).sum(1) / weight
    columns = (moved.sum(1) * torch.arange(31)).sum(1) / weight
    radius = ((rows - 10) ** 2 + (columns - 15) ** 2).sqrt()[weight > 0]
    assert float((radius - 10).abs().max()) < 0.8  # in pixels, whatever the aspect ratio
    assert float(rows[weight > 0].std()) > 1


def test_seeded_and_fresh_for_every_batch():
    x, options = pictures(), {"hflip": True, "shift": 0.2, "brightness": 0.1, "rotation": 5}
    a, b = Augmentation(**options, random_state=3), Augmentation(**options, random_state=3)
    first = a(x)
    assert torch.equal(first, b(x))
    assert not torch.equal(first, a(x))
    for other in (pickle.loads(pickle.dumps(a)), copy.deepcopy(a)):
        assert torch.equal(other(x), first)  # a copy starts from the seed again
    assert not torch.equal(Augmentation(**options, random_state=4)(x), first)


def test_nothing_happens_in_evaluation_or_without_options():
    x = pictures()
    assert Augmentation(hflip=True, shift=0.2, contrast=1.0).eval()(x) is x
    assert Augmentation()(x) is x


def test_gradients_pass():
    x = pictures().requires_grad_()
    Augmentation(True, True, 0.1, 0.1, 0.1, 10, random_state=0)(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("option", ["shift", "brightness", "contrast", "rotation"])
def test_refuses_negative_sizes(option):
    with pytest.raises(SpecificationError, match=option):
        Augmentation(**{option: -0.1})
    assert option in repr(Augmentation(**{option: 0.25}))
