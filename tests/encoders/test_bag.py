"""Bags of patches: attention against the formula, order, and drawing patches."""

from __future__ import annotations

import pytest
import torch

from semistruct.encoders import BagEncoder
from semistruct.exceptions import SpecificationError


@pytest.fixture
def bags():
    x = torch.randn(5, 9, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(9) < torch.tensor([9, 3, 1, 6, 4])[:, None]
    return x, mask


def test_attention_is_the_formula(bags):
    x, mask = bags
    encoder = BagEncoder((9, 6), random_state=0).eval()
    weights = encoder.attention(x, mask)
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    assert not weights[~mask].any() and weights[mask].all()
    for row, n in enumerate(mask.sum(1).tolist()):
        h = encoder.patches(x[row, :n])
        V, U = encoder.weigh.content, encoder.weigh.gate
        content, gate = h @ V.weight.T + V.bias, h @ U.weight.T + U.bias
        scores = (torch.tanh(content) * torch.sigmoid(gate)) @ encoder.weigh.score.weight[0]
        expected = torch.softmax(scores, 0)
        torch.testing.assert_close(weights[row, :n], expected, rtol=1e-5, atol=1e-6)
        pooled = (expected[:, None] * h).sum(0)
        torch.testing.assert_close(
            encoder(x, mask)[row], encoder.head(pooled), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("pooling", ["attention", "mean", "max"])
def test_the_order_of_patches_does_not_matter(bags, pooling):
    x, _ = bags
    encoder = BagEncoder((9, 6), pooling=pooling, random_state=0).eval()
    turned = encoder(x[:, torch.randperm(9, generator=torch.Generator().manual_seed(1))])
    torch.testing.assert_close(encoder(x), turned, rtol=1e-5, atol=1e-6)


def test_the_poolings_differ(bags):
    found = [
        BagEncoder((9, 6), pooling=pooling, random_state=0).eval()(*bags)
        for pooling in ("mean", "max")
    ]
    assert not torch.allclose(*found)
    mean, attention = (
        BagEncoder((9, 6), pooling=pooling, random_state=0) for pooling in ("mean", "attention")
    )
    attention.weigh.score.weight.data.zero_()  # equal weights
    attention.patches.load_state_dict(mean.patches.state_dict())
    attention.head.load_state_dict(mean.head.state_dict())
    torch.testing.assert_close(attention.eval()(*bags), mean.eval()(*bags), rtol=1e-5, atol=1e-6)


def test_patches_are_drawn_in_training_only(bags):
    x, mask = bags
    encoder = BagEncoder((9, 6), n_patches=4, random_state=0)
    drawn = [encoder.draw(mask) for _ in range(40)]
    for each in drawn:
        assert not (each & ~mask).any()
        assert torch.equal(each.sum(1), mask.sum(1).clamp_max(4))
    assert torch.equal(torch.stack(drawn).any(0), mask)  # every patch has its turn
    assert torch.equal(encoder.eval().draw(mask), mask)
    assert encoder(x, mask).shape == (5, 16)


def test_pictures_are_turned_over_in_training():
    x = torch.rand(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    encoder = BagEncoder((2, 1, 8, 8), dropout=0.0, random_state=0)
    assert not torch.equal(encoder(x), encoder(x))
    still = BagEncoder((2, 1, 8, 8), dropout=0.0, augmentation={}, random_state=0)
    assert torch.equal(still(x), still(x))


def test_extreme_scores_stay_finite(bags):
    x, mask = bags
    encoder = BagEncoder((9, 6), random_state=0).eval()
    encoder.weigh.score.weight.data *= 1e6
    weights = encoder.attention(1e3 * x, mask)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BagEncoder((9,)), "a bag holds patches"),
        (lambda: BagEncoder((9, 8, 8)), "a bag holds patches"),
        (lambda: BagEncoder((9, 4), pooling="sum"), "pooling must be one of"),
        (lambda: BagEncoder((9, 4), n_patches=0), "positive"),
        (lambda: BagEncoder((9, 4), patch_dim=0), "positive"),
        (lambda: BagEncoder((9, 4), augmentation={"hflip": True}), "leave out augmentation"),
        (lambda: BagEncoder((9, 4), pooling="max").attention(torch.zeros(1, 2, 4)), "no weights"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(SpecificationError, match=message):
        make()
