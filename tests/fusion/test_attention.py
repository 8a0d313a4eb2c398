"""Attention between modalities: against torch's own, and its options."""

from __future__ import annotations

import pytest
import torch

from semistruct.exceptions import SpecificationError
from semistruct.fusion import AttentionFusion


def test_agrees_with_torch():
    fusion = AttentionFusion({"a": 8, "b": 8, "c": 8}, n_heads=2, random_state=0).double()
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        layers = (fusion.query, fusion.key, fusion.value)
        reference.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        zeros = torch.zeros(8, dtype=torch.float64)
        reference.in_proj_bias.copy_(torch.cat([fusion.query.bias, zeros, fusion.value.bias]))
        reference.out_proj.weight.copy_(fusion.out.weight)
        reference.out_proj.bias.copy_(fusion.out.bias)
    generator = torch.Generator().manual_seed(1)
    draw = lambda: torch.randn(6, 8, generator=generator, dtype=torch.float64)  # noqa: E731
    latents = {name: draw() for name in "abc"}
    present = {"a": torch.ones(6, dtype=bool), "b": torch.arange(6) > 2, "c": torch.arange(6) < 5}
    tokens = torch.stack(
        [layer(latents[name]) for name, layer in zip("abc", fusion.tokens, strict=True)], dim=1
    )
    mask = torch.stack([present[name] for name in "abc"], dim=1)
    taken, _ = reference(tokens, tokens, tokens, key_padding_mask=~mask)
    expected = fusion.norm(tokens + taken).masked_fill(~mask[..., None], 0.0).sum(1)
    torch.testing.assert_close(fusion(latents, present), expected / mask.sum(1, keepdim=True))


def test_heads_divide_the_width():
    assert AttentionFusion({"a": 6, "b": 3}).n_heads == 2
    with pytest.raises(SpecificationError, match="divide its width 6"):
        AttentionFusion({"a": 6, "b": 3}, n_heads=4)
