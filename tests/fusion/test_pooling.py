from __future__ import annotations

import pytest
import torch

from semistruct.fusion import ConcatFusion, MaxFusion, MeanFusion, ProductFusion, SumFusion

LATENTS = {"a": torch.tensor([[1.0, -2.0]] * 3), "b": torch.tensor([[5.0, -3.0]] * 3)}
PRESENT = {"a": torch.tensor([True, True, False]), "b": torch.tensor([True, False, False])}


@pytest.mark.parametrize(
    ("fusion", "both"),
    [
        (MeanFusion, [3.0, -2.5]),
        (SumFusion, [6.0, -5.0]),
        (MaxFusion, [5.0, -2.0]),
        (ProductFusion, [5.0, 6.0]),
    ],
)
def test_values_by_hand(fusion, both):
    joined = fusion({"a": 2, "b": 2})(LATENTS, PRESENT)
    torch.testing.assert_close(joined, torch.tensor([both, [1.0, -2.0], [0.0, 0.0]]))


def test_equal_widths_need_no_layers():
    assert not list(MeanFusion({"a": 2, "b": 2}).parameters())
    assert list(MeanFusion({"a": 2, "b": 3}).parameters())
    assert list(MeanFusion({"a": 2, "b": 2}, latent_dim=3).parameters())


def test_concat_flags_what_is_absent():
    joined = ConcatFusion({"a": 2, "b": 2}, latent_dim=None)(LATENTS, PRESENT)
    assert joined.tolist() == [
        [1, -2, 5, -3, 0, 0],
        [1, -2, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 1],
    ]
    plain = ConcatFusion({"a": 2, "b": 2}, latent_dim=None, flag_absent=False)
    assert plain.latent_dim == 4
