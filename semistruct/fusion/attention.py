"""Modalities as tokens that attend to one another."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from semistruct.exceptions import SpecificationError
from semistruct.fusion._layers import (
    check_latent_dims,
    common_width,
    linear,
    seeded_generator,
    zero,
)
from semistruct.fusion.absence import Absence, AbsenceKind
from semistruct.fusion.base import LatentFusion

__all__ = ["AttentionFusion"]


class AttentionFusion(LatentFusion):
    """Mean over tokens after each has looked at the others.

    Every modality is one token of a common width. Scaled dot-product attention with ``n_heads``
    heads lets each available token take in what the other available ones hold; the sum of a token
    and what it took in is normalised, and the available tokens are averaged. A row with no modality
    gets zeros.

    Parameters
    ----------
    latent_dims : mapping of str to int
        Latent dimension of every modality.
    latent_dim : int, optional
        Width of the tokens; by default the largest of ``latent_dims``.
    n_heads : int, optional
        A divisor of the width; by default the largest of 4, 2 and 1 that is one.
    absence : {"mask", "token"}
        Whether an absent modality takes no part, or a learned token stands for it.
    random_state : int, optional
        Seed of the weights.

    References
    ----------
    Vaswani, A. et al. (2017). Attention is all you need. NeurIPS 30, equation (1).

    Examples
    --------
    >>> AttentionFusion({"ct": 32, "age": 8}).latent_dim
    32
    """

    def __init__(
        self,
        latent_dims: Mapping[str, int],
        latent_dim: int | None = None,
        n_heads: int | None = None,
        absence: AbsenceKind = "mask",
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        dims = check_latent_dims(latent_dims)
        self.modalities = tuple(dims)
        self.latent_dim = width = common_width(dims, latent_dim)
        self.n_heads = _heads(width, n_heads)
        generator = seeded_generator(random_state)
        self.tokens = nn.ModuleList(linear(d, width, generator) for d in dims.values())
        self.query, self.value, self.out = (linear(width, width, generator) for _ in range(3))
        # A constant added to all keys would change no softmax over them.
        self.key = linear(width, width, generator, bias=False)
        self.norm = nn.LayerNorm(width)
        self.absence = Absence([width] * len(dims), absence)

    def forward(self, latents: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        here = [present[name] for name in self.modalities]
        pairs = zip(self.modalities, self.tokens, strict=True)
        parts = [layer(zero(latents[name], present[name])) for name, layer in pairs]
        filled, mask = self.absence(parts, here)
        tokens, mask = torch.stack(filled, dim=1), mask.T  # (b, m, d), (b, m)
        q, k, v = (self._split(layer(tokens)) for layer in (self.query, self.key, self.value))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        # The lowest finite number: a row with no modality would be 0/0 with minus infinity.
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(~mask[:, None, None, :], lowest).softmax(-1)
        taken = (weights @ v).transpose(1, 2).flatten(2)
        tokens = self.norm(tokens + self.out(taken)).masked_fill(~mask[..., None], 0.0)
        return tokens.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)

    def _split(self, x: Tensor) -> Tensor:
        """``(b, m, d)`` as ``(b, heads, m, d / heads)``."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


def _heads(width: int, n_heads: int | None) -> int:
    if n_heads is None:
        return math.gcd(width, 4)
    if n_heads < 1 or width % n_heads:
        raise SpecificationError(
            f"n_heads of an attention fusion must divide its width {width}, got {n_heads}."
        )
    return int(n_heads)
