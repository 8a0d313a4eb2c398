from __future__ import annotations

import torch

from semistruct.fusion import GatedFusion


def test_weights_are_a_softmax_over_what_is_there():
    fusion = GatedFusion({"a": 3, "b": 2}, latent_dim=4, random_state=0)
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(6, 3, generator=generator), torch.randn(6, 2, generator=generator)
    present = {"a": torch.ones(6, dtype=torch.bool), "b": torch.arange(6) < 3}
    joined = fusion({"a": a, "b": b}, present)
    b = b * present["b"][:, None]
    values = [torch.tanh(layer(u)) for layer, u in zip(fusion.values, (a, b), strict=True)]
    gates = [layer(torch.cat([a, b], 1)).exp() for layer in fusion.gates]
    expected = (gates[0] * values[0] + gates[1] * values[1]) / (gates[0] + gates[1])
    torch.testing.assert_close(joined[:3], expected[:3])
    torch.testing.assert_close(joined[3:], values[0][3:])


def test_a_row_with_nothing_gets_zeros():
    fusion = GatedFusion({"a": 3, "b": 2}, random_state=0)
    nothing = torch.zeros(2, dtype=torch.bool)
    joined = fusion({"a": torch.ones(2, 3), "b": torch.ones(2, 2)}, {"a": nothing, "b": nothing})
    assert not joined.any()
