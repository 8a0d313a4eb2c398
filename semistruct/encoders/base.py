"""What an encoder is: a torch module from one column's tensors to latent features."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["Encoder", "MapEncoder"]


class Encoder(nn.Module, ABC):
    """Map a batch of tensors ``(b, *shape)`` to latent features ``(b, latent_dim)``.

    An encoder treats rows independently: no batch statistics, so that a row alone gives what it
    gives in any batch (use group or layer normalisation).

    Attributes
    ----------
    latent_dim : int
        Number of latent features.
    """

    latent_dim: int

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latent features ``(b, latent_dim)``.

        Parameters
        ----------
        x : (b, *shape) tensor
        mask : tensor, optional
            For inputs of varying length (sequences, bags of patches): True where an element exists.
        """

    @abstractmethod
    def learn_inputs(self, sample: Tensor, mask: Tensor | None = None) -> None:
        """Learn the scaling of the inputs from training rows; nothing else changes it later.

        Called once before training, with a sample ``(m, *shape)`` of the training rows, and with
        their ``mask`` only where rows differ in length. An encoder that needs no scaling does
        nothing.
        """


class MapEncoder(Encoder):
    """An encoder of two parts: feature maps, and what is read from them.

    ``encoder(x) == encoder.from_maps(encoder.maps(x))``; between the two, fusions may change the
    maps.

    Attributes
    ----------
    map_channels : int
        Number of feature maps.
    """

    map_channels: int

    @abstractmethod
    def maps(self, x: Tensor) -> Tensor:
        """Feature maps ``(b, map_channels, ...)`` of ``x`` ``(b, *shape)``."""

    @abstractmethod
    def from_maps(self, maps: Tensor) -> Tensor:
        """Latent features ``(b, latent_dim)`` of feature maps."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latent features ``(b, latent_dim)``; ``mask`` is unused."""
        return self.from_maps(self.maps(x))
