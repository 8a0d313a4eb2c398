"""Modalities brought to one width and pooled element by element."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from semistruct.fusion._layers import (
    check_latent_dims,
    common_width,
    projections,
    seeded_generator,
    zero,
)
from semistruct.fusion.absence import Absence, AbsenceKind
from semistruct.fusion.base import LatentFusion

__all__ = ["MaxFusion", "MeanFusion", "PoolingFusion", "ProductFusion", "SumFusion"]


class PoolingFusion(LatentFusion):
    """Base of the fusions that pool the available modalities element by element.

    A row with no modality at all gets zeros.

    Parameters
    ----------
    latent_dims : mapping of str to int
        Latent dimension of every modality.
    latent_dim : int, optional
        Common width; by default the largest of ``latent_dims``. Unless all modalities have it
        already, each is brought to it by a linear layer of its own.
    absence : {"mask", "token"}
        Whether an absent modality takes no part, or a learned token stands for it.
    random_state : int, optional
        Seed of the linear layers.
    """

    def __init__(
        self,
        latent_dims: Mapping[str, int],
        latent_dim: int | None = None,
        absence: AbsenceKind = "mask",
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        dims = check_latent_dims(latent_dims)
        self.modalities = tuple(dims)
        self.latent_dim = common_width(dims, latent_dim)
        self.projections = projections(dims, self.latent_dim, seeded_generator(random_state))
        self.absence = Absence([self.latent_dim] * len(dims), absence)

    @abstractmethod
    def pool(self, stacked: Tensor, mask: Tensor) -> Tensor:
        """Pooled features ``(b, d)`` of ``stacked (m, b, d)`` where ``mask (m, b, 1)`` is True."""

    def forward(self, latents: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(self.modalities, self.projections, strict=True)
        # Absent rows are zeroed before the projection too: NaN times a zero gradient is NaN.
        parts = [layer(zero(latents[name], present[name])) for name, layer in pairs]
        filled, mask = self.absence(parts, [present[name] for name in self.modalities])
        stacked, mask = torch.stack(filled), mask[:, :, None]
        return self.pool(stacked, mask).masked_fill(~mask.any(0), 0.0)


class MeanFusion(PoolingFusion):
    """Mean over the available modalities.

    References
    ----------
    Cheerla, A. and Gevaert, O. (2019). Deep learning with multimodal representation for pancancer
    prognosis prediction. Bioinformatics 35, i446-i454.

    Examples
    --------
    >>> mean = MeanFusion({"a": 1, "b": 1})
    >>> latents = {"a": torch.tensor([[1.0], [1.0]]), "b": torch.tensor([[3.0], [9.0]])}
    >>> present = {"a": torch.tensor([True, True]), "b": torch.tensor([True, False])}
    >>> mean(latents, present)
    tensor([[2.],
            [1.]])
    """

    def pool(self, stacked: Tensor, mask: Tensor) -> Tensor:
        return stacked.masked_fill(~mask, 0.0).sum(0) / mask.sum(0).clamp(min=1)


class SumFusion(PoolingFusion):
    """Sum over the available modalities."""

    def pool(self, stacked: Tensor, mask: Tensor) -> Tensor:
        return stacked.masked_fill(~mask, 0.0).sum(0)


class MaxFusion(PoolingFusion):
    """Largest value over the available modalities.

    References
    ----------
    Vale-Silva, L. A. and Rohr, K. (2021). Long-term cancer survival prediction using multimodal
    deep learning. Scientific Reports 11, 13505.
    """

    def pool(self, stacked: Tensor, mask: Tensor) -> Tensor:
        return stacked.masked_fill(~mask, -torch.inf).amax(0)


class ProductFusion(PoolingFusion):
    """Product over the available modalities."""

    def pool(self, stacked: Tensor, mask: Tensor) -> Tensor:
        return stacked.masked_fill(~mask, 1.0).prod(0)
