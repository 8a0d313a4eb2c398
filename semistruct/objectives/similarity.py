"""The modalities of one subject should be nearer to each other than to those of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from semistruct.exceptions import SpecificationError
from semistruct.losses import similarity_loss
from semistruct.objectives.base import (
    ObjectiveLoss,
    ObjectiveValue,
    RepresentationObjective,
    TrainingRows,
)
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.sites import Site

__all__ = ["Similarity"]


@dataclass(frozen=True)
class Similarity(RepresentationObjective):
    """Hinge of the cosine similarity of one subject's modalities against those of other subjects.

    Parameters
    ----------
    margin : float
        By how much the own partner has to be nearer.
    weight, epochs, inputs
        See :class:`RepresentationObjective`.

    Notes
    -----
    The mean over subjects ``i != j`` and modalities ``m != l`` of
    ``max(0, margin - s(h_m(i), h_l(i)) + s(h_m(i), h_l(j)))``, where subject i has m and l and
    subject j has l. Latent features need one dimension: write ``deep(..., latent_dim=16)``.

    References
    ----------
    Cheerla, A. and Gevaert, O. (2019). Deep learning with multimodal representation for pancancer
    prognosis prediction. Bioinformatics 35, i446-i454, section 2.4.

    Examples
    --------
    >>> Similarity(margin=0.2).name
    'similarity'
    """

    margin: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.margin <= 2:
            raise SpecificationError(
                f"margin must be positive and at most 2, the range of a cosine, got "
                f"{self.margin!r}."
            )

    @property
    def name(self) -> str:
        """``"similarity"``."""
        return "similarity"

    def why_not(self, sites: Sequence[Site]) -> str | None:
        if len(sites) < 2:
            return "has one input, and two modalities are compared; write deep(a, b)"
        dims = {site.input: site.latent_dim for site in sites}
        if len(set(dims.values())) > 1:
            return (
                f"has latent features of several dimensions ({dims}), which have no similarity; "
                "write deep(..., latent_dim=16)"
            )
        return None

    def takes_part(self, present: np.ndarray) -> np.ndarray:
        return present.sum(axis=0) >= 2

    def least_batch(self, sites: Sequence[Site]) -> int:
        return 2

    def make(
        self, sites: Sequence[Site], training: TrainingRows, target: np.ndarray | None
    ) -> ObjectiveLoss:
        return _Similarity(sites, self.margin)


class _Similarity(ObjectiveLoss):
    def __init__(self, sites: Sequence[Site], margin: float) -> None:
        super().__init__(sites)
        self.margin = margin

    def forward(self, seen: ForwardPass) -> ObjectiveValue:
        latents = {str(n): seen.latent(site) for n, site in enumerate(self.sites)}
        present = {str(n): seen.present(site) for n, site in enumerate(self.sites)}
        loss = similarity_loss(latents, present, margin=self.margin)
        count = int((torch.stack(list(present.values())).sum(0) >= 2).sum())
        return ObjectiveValue(loss, count if count >= 2 else 0)
