"""One pass of some rows through a network, from which every loss is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semistruct.batch import Batch
from semistruct.modalities import Modality
from semistruct.network import SemiStructuredNet
from semistruct.objectives.sites import Site
from semistruct.term_network import TermFeatures

__all__ = ["ForwardPass"]


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """Rows, what the network was given of them, and the features it found.

    Attributes
    ----------
    net : SemiStructuredNet
    units : (b,) int array
        The rows, by position in the training data.
    batch : Batch
    features : tuple of TermFeatures
        Of every term.
    """

    net: SemiStructuredNet
    units: np.ndarray
    batch: Batch
    features: tuple[TermFeatures, ...]

    @classmethod
    def of(
        cls,
        net: SemiStructuredNet,
        modalities: Mapping[str, Modality],
        units: np.ndarray,
        device: torch.device | str = "cpu",
    ) -> ForwardPass:
        """Read the rows and encode them, once."""
        batch = Batch.read(modalities, units, device)
        return cls(net, units, batch, net.encode(batch))

    @property
    def scores(self) -> Tensor:
        """Deep scores ``(b, T)``."""
        return self.net.scores_of(self.features)

    def latent(self, site: Site) -> Tensor:
        """Latent features ``(b, d)`` of an input; arbitrary where it is absent."""
        return self.features[site.term].inputs[site.input]

    def present(self, site: Site) -> Tensor:
        """Rows ``(b,)`` that have an input, as the network sees it."""
        return self.features[site.term].present[site.input]

    def all_present(self, sites: Sequence[Site]) -> Tensor:
        """Rows ``(b,)`` that have all of the inputs."""
        return torch.stack([self.present(site) for site in sites]).all(0)
