"""What a latent fusion is: a torch module that joins the features of several modalities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["LatentFusion"]


class LatentFusion(nn.Module, ABC):
    """Join latent features of several modalities into ``(b, latent_dim)``.

    Constructed with the latent dimensions of its inputs and the seed of its initial weights:
    ``Fusion({"ct": 32, "age": 8}, random_state=0, **options)``.

    Attributes
    ----------
    latent_dim : int
        Dimension of the joined features.
    """

    latent_dim: int

    @abstractmethod
    def forward(self, latents: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Joined features ``(b, latent_dim)``.

        Parameters
        ----------
        latents : mapping of str to (b, d_m) tensors
        present : mapping of str to (b,) bool tensors
            Which rows have the modality. What is absent is masked: changing the latents of an
            absent modality must not change the result.
        """
