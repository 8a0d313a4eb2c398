"""Low-rank fusion: against the full tensor, and what it can represent."""

from __future__ import annotations

import pytest
import torch

from semistruct.exceptions import SpecificationError
from semistruct.fusion import LowRankFusion


def test_agrees_with_the_full_tensor():
    fusion = LowRankFusion({"a": 3, "b": 2}, latent_dim=4, rank=5, random_state=0).double()
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(7, d, generator=generator, dtype=torch.float64) for d in (3, 2))
    one = torch.ones(7, 1, dtype=torch.float64)
    tensor = 0.0
    factors = [
        torch.cat([layer.weight, layer.bias[:, None] + 1], dim=1).unflatten(0, (5, 4))
        for layer in fusion.factors
    ]
    tensor = torch.einsum("rki,rkj->kij", *factors) / 5
    expected = torch.einsum("kij,ni,nj->nk", tensor, torch.cat([a, one], 1), torch.cat([b, one], 1))
    here = torch.ones(7, dtype=bool)
    torch.testing.assert_close(fusion({"a": a, "b": b}, {"a": here, "b": here}), expected)


def test_rank_is_positive():
    with pytest.raises(SpecificationError, match="rank"):
        LowRankFusion({"a": 3}, rank=0)
