"""The network of one deep term: encoders and their fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semistruct.batch import Batch
from semistruct.encoders import Encoder, MapEncoder
from semistruct.fusion import ConditionedFusion, LatentFusion

__all__ = ["TermFeatures", "TermNetwork"]


@dataclass(frozen=True, eq=False)
class TermFeatures:
    """What one pass through a term network finds.

    Attributes
    ----------
    inputs : mapping of str to (b, d) tensors
        Latent features of every input, before they are joined; arbitrary where it is absent.
    joined : (b, latent_dim) tensor
        What enters the predictors, times ``gamma``.
    present : mapping of str to (b,) bool tensors
        Which rows have the input.
    """

    inputs: Mapping[str, Tensor]
    joined: Tensor
    present: Mapping[str, Tensor]

    @property
    def some(self) -> Tensor:
        """Rows ``(b,)`` that have at least one of the inputs."""
        return torch.stack(list(self.present.values())).any(0)


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
    head : module, optional
        From joined features to features of the same dimension.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        encoders: Sequence[Encoder],
        fusion: LatentFusion | None = None,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.encoders = nn.ModuleList(encoders)
        self.fusion = fusion
        self.head = head
        self.latent_dim = encoders[0].latent_dim if fusion is None else fusion.latent_dim

    def present(self, batch: Batch) -> Tensor:
        """Rows ``(b,)`` that have at least one of the inputs."""
        return torch.stack([batch.present[name] for name in self.inputs]).any(0)

    def encoder(self, name: str) -> Encoder:
        """The encoder of an input."""
        found: Encoder = self.encoders[self.inputs.index(name)]  # type: ignore[assignment]
        return found

    def forward(self, batch: Batch) -> Tensor:
        """Latent features ``(b, latent_dim)``."""
        return self.encode(batch).joined

    def encode(self, batch: Batch) -> TermFeatures:
        """Features of every input and of all of them, from one pass through the encoders."""
        latents = self.latents(batch)
        present = {name: batch.present[name] for name in self.inputs}
        if self.fusion is None:
            return TermFeatures(latents, latents[self.inputs[0]], present)
        joined: Tensor = self.fusion(latents, present)
        if self.head is not None:
            joined = self.head(joined)
        return TermFeatures(latents, joined, present)

    def latents(self, batch: Batch) -> dict[str, Tensor]:
        """Latent features ``(b, d)`` of every input, before they are joined."""
        pairs = list(zip(self.inputs, self.encoders, strict=True))
        if not isinstance(self.fusion, ConditionedFusion):
            return {
                name: encoder(batch.inputs[name], batch.masks.get(name)) for name, encoder in pairs
            }
        vectors, maps = {}, {}
        for name, encoder in pairs:
            if isinstance(encoder, MapEncoder):
                maps[name] = encoder.maps(batch.inputs[name])
            else:
                vectors[name] = encoder(batch.inputs[name], batch.masks.get(name))
        changed = self.fusion.modulate(maps, vectors, batch.present)
        read = {
            name: encoder.from_maps(changed[name])
            for name, encoder in pairs
            if isinstance(encoder, MapEncoder)
        }
        return {name: read.get(name, vectors.get(name)) for name in self.inputs}  # type: ignore[misc]
