from __future__ import annotations

import pytest
import torch

from semistruct.encoders import InputStandardization
from semistruct.exceptions import DataError


def test_scaled_sample_has_mean_zero_and_sd_one():
    x = torch.randn(50, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([1.0, 10.0, 0.1])[:, None, None] + 4
    scale = InputStandardization(3, n_spatial=2)
    scale.fit(x)
    scaled = scale(x)
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_large_values_keep_their_spread():
    x = 1e6 + torch.randn(500, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scale = InputStandardization(1)
    scale.fit(x)
    assert float(scale.std) == pytest.approx(float(x.std()), rel=0.01)


def test_constant_channels_become_zero():
    scale = InputStandardization(2)
    scale.fit(torch.tensor([[5.0, 1.0], [5.0, 3.0]]))
    assert scale(torch.tensor([[5.0, 3.0]])).tolist() == [[0.0, 1.0]]


def test_identity_before_fit_and_the_sample_is_not_changed():
    scale = InputStandardization(2)
    x = torch.tensor([[5.0, 1.0], [7.0, 3.0]], dtype=torch.float64)
    assert torch.equal(scale(x.float()), x.float())
    before = x.clone()
    scale.fit(x)
    scale.double()(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (torch.zeros(0, 2), "at least one row"),
        (torch.zeros(4, 3), "2 channels"),
        (torch.zeros(4), "2 dimensions"),
        (torch.tensor([[1.0, 2.0], [float("nan"), 1.0]]), "channel 0"),
    ],
)
def test_refuses(sample, message):
    with pytest.raises(DataError, match=message):
        InputStandardization(2).fit(sample)
