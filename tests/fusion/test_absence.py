"""Learned tokens for absent modalities."""

from __future__ import annotations

import pytest
import torch

from semistruct.exceptions import SpecificationError
from semistruct.fusion import FUSIONS, build_fusion, fusion_options

WITH_TOKENS = [name for name in FUSIONS if "absence" in fusion_options(name)]


def rows():
    generator = torch.Generator().manual_seed(0)
    latents = {name: torch.randn(8, 4, generator=generator) for name in ("ct", "gene")}
    present = {"ct": torch.arange(8) < 6, "gene": torch.arange(8) % 2 == 0}
    present["gene"][7] = False
    return latents, present


def test_several_fusions_have_them():
    assert {"attention", "concat", "max", "mean", "product", "sum"} <= set(WITH_TOKENS)


@pytest.mark.parametrize("name", WITH_TOKENS)
def test_tokens_are_learned_and_hide_what_was_there(name):
    fusion = build_fusion(name, {"ct": 4, "gene": 4}, {"absence": "token"}, 0)
    latents, present = rows()
    with torch.no_grad():
        fusion.absence.tokens[0] += 10.0  # large enough for a maximum
    joined = fusion(latents, present)
    joined[6].square().sum().backward()  # without "ct"
    ct, gene = fusion.absence.tokens
    assert ct.grad.any()
    assert gene.grad is None or not gene.grad.any()
    spoiled = {m: u.masked_fill(~present[m][:, None], float("nan")) for m, u in latents.items()}
    assert torch.equal(fusion(spoiled, present), joined)
    with torch.no_grad():
        ct += 1.0
    moved = (fusion(latents, present) != joined).any(1)
    # Rows 6 and 7 have no "ct"; 7 has nothing at all and nothing to be completed.
    assert moved.tolist() == [False] * 6 + [True, False]


def test_unknown_kind():
    with pytest.raises(SpecificationError, match="'mask' or 'token'"):
        build_fusion("mean", {"ct": 4}, {"absence": "zero"}, 0)
