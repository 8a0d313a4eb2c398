"""Modalities weighed row by row by a learned gate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from semistruct.fusion._layers import (
    check_latent_dims,
    common_width,
    linear,
    seeded_generator,
    zero,
)
from semistruct.fusion.base import LatentFusion

__all__ = ["GatedFusion"]


class GatedFusion(LatentFusion):
    """Weighted mean over the available modalities, element by element, with learned weights.

    Each modality is brought to a common width, ``h_m = tanh(A_m z_m + a_m)``, and weighed by
    ``w_m = softmax_m(B_m z + b_m)`` where ``z`` are the latent features of all modalities, absent
    ones as zeros. The softmax runs over the modalities that a row has. A row with none gets zeros.

    Parameters
    ----------
    latent_dims : mapping of str to int
        Latent dimension of every modality.
    latent_dim : int, optional
        Common width; by default the largest of ``latent_dims``.
    random_state : int, optional
        Seed of the weights.

    References
    ----------
    Arevalo, J., Solorio, T., Montes-y-Gomez, M. and Gonzalez, F. A. (2017). Gated multimodal units
    for information fusion. ICLR workshop.

    Examples
    --------
    >>> GatedFusion({"ct": 32, "age": 8}).latent_dim
    32
    """

    def __init__(
        self,
        latent_dims: Mapping[str, int],
        latent_dim: int | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        dims = check_latent_dims(latent_dims)
        generator = seeded_generator(random_state)
        self.modalities = tuple(dims)
        self.latent_dim = common_width(dims, latent_dim)
        total = sum(dims.values())
        self.values = nn.ModuleList(linear(d, self.latent_dim, generator) for d in dims.values())
        self.gates = nn.ModuleList(linear(total, self.latent_dim, generator) for _ in dims)

    def forward(self, latents: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        parts = [zero(latents[name], present[name]) for name in self.modalities]
        joined = torch.cat(parts, dim=1)
        pairs = zip(self.values, parts, strict=True)
        values = torch.stack([torch.tanh(layer(part)) for layer, part in pairs])
        mask = torch.stack([present[name] for name in self.modalities])[:, :, None]
        # The lowest finite number: a row with no modality would be 0/0 with minus infinity.
        lowest = torch.finfo(joined.dtype).min
        scores = torch.stack([gate(joined) for gate in self.gates]).masked_fill(~mask, lowest)
        return (scores.softmax(0) * values.masked_fill(~mask, 0.0)).sum(0)
