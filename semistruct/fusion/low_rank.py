"""Products of all modalities with one another, by a tensor of low rank."""

from __future__ import annotations

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
from semistruct.fusion.base import LatentFusion

__all__ = ["LowRankFusion"]


class LowRankFusion(LatentFusion):
    """``mean_r prod_m (1 + A_mr z_m + a_mr)``: interactions of every order between the modalities.

    The product of all modalities, each with a one appended, has a weight for every combination of
    their features; a weight tensor of rank R never writes these out. An absent modality has no
    factor in the product. A row with no modality gets zeros.

    Parameters
    ----------
    latent_dims : mapping of str to int
        Latent dimension of every modality.
    latent_dim : int, optional
        Dimension of the joined features; by default the largest of ``latent_dims``.
    rank : int
        R, the number of products.
    random_state : int, optional
        Seed of the weights.

    References
    ----------
    Liu, Z. et al. (2018). Efficient low-rank multimodal fusion with modality-specific factors. ACL,
    equation (7).

    Examples
    --------
    >>> LowRankFusion({"ct": 32, "age": 8}, rank=2).latent_dim
    32
    """

    def __init__(
        self,
        latent_dims: Mapping[str, int],
        latent_dim: int | None = None,
        rank: int = 4,
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        dims = check_latent_dims(latent_dims)
        if rank < 1:
            raise SpecificationError(f"rank of a low-rank fusion must be positive, got {rank}.")
        self.modalities = tuple(dims)
        self.latent_dim = common_width(dims, latent_dim)
        self.rank = int(rank)
        generator = seeded_generator(random_state)
        width = self.rank * self.latent_dim
        self.factors = nn.ModuleList(linear(d, width, generator) for d in dims.values())

    def forward(self, latents: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        pairs = list(zip(self.modalities, self.factors, strict=True))
        parts = torch.stack([layer(zero(latents[name], present[name])) for name, layer in pairs])
        mask = torch.stack([present[name] for name in self.modalities])
        # One plus: products start near one, where they behave like sums.
        product = (1 + parts.masked_fill(~mask[:, :, None], 0.0)).prod(0)
        total = product.unflatten(-1, (self.rank, -1)).sum(1) / self.rank
        return total.masked_fill(~mask.any(0)[:, None], 0.0)
