"""The network of one deep term: encoders and their fusion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semistruct.batch import Batch
from semistruct.encoders import Encoder
from semistruct.fusion import LatentFusion

__all__ = ["TermNetwork"]


class TermNetwork(nn.Module):
    """One deep term: an encoder for every input, and their fusion where there are several.

    Parameters
    ----------
    inputs : sequence of str
        Names of the inputs, as in :class:`Batch`.
    encoders : sequence of Encoder
        One per input.
    fusion : LatentFusion, optional
        Needed where there is more than one input; it knows the inputs by these names.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        encoders: Sequence[Encoder],
        fusion: LatentFusion | None = None,
    ) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.encoders = nn.ModuleList(encoders)
        self.fusion = fusion
        self.latent_dim = encoders[0].latent_dim if fusion is None else fusion.latent_dim

    def present(self, batch: Batch) -> Tensor:
        """Rows ``(b,)`` that have at least one of the inputs."""
        return torch.stack([batch.present[name] for name in self.inputs]).any(0)

    def forward(self, batch: Batch) -> Tensor:
        """Latent features ``(b, latent_dim)``."""
        latents = {
            name: encoder(batch.inputs[name], batch.masks.get(name))
            for name, encoder in zip(self.inputs, self.encoders, strict=True)
        }
        if self.fusion is None:
            return latents[self.inputs[0]]
        return self.fusion(latents, {name: batch.present[name] for name in self.inputs})
