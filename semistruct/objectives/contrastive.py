"""Which picture belongs to which row of the table, among all rows of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from semistruct._validation import is_positive_whole
from semistruct.encoders.randomness import SeededModule, initial_weights, reseed
from semistruct.exceptions import SpecificationError
from semistruct.losses import contrastive_loss, corrupted
from semistruct.objectives.base import (
    ObjectiveLoss,
    ObjectiveValue,
    RepresentationObjective,
    TrainingRows,
)
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.sites import Site

__all__ = ["Contrastive"]

_LARGEST_SCALE = 100.0  # a temperature of 0.01, as in CLIP
_GOOD_BATCH = 64


@dataclass(frozen=True)
class Contrastive(RepresentationObjective):
    """Symmetric cross-entropy of finding each row's partner among the rows of a batch.

    Partners are two inputs of a term: a picture and the table, two pictures. With ``corruption``
    the inputs of tabular columns are read with a share of their values replaced by draws from the
    training rows, and where a term reads nothing but tabular columns its rows are told from their
    corrupted selves.

    Parameters
    ----------
    temperature : float
        Where the temperature of the softmax starts; it is learned.
    corruption : float
        Probability that a tabular value is replaced, in training; the indicators of a factor are
        replaced together.
    projection : int
        Dimension in which features are compared, after a small network for each input that is
        thrown away.
    weight, epochs, inputs
        See :class:`RepresentationObjective`.

    References
    ----------
    Hager, P., Menten, M. J. and Rueckert, D. (2023). Best of both worlds: multimodal contrastive
    learning with tabular and imaging data. CVPR, equation (1). Bahri, D., Jiang, H., Tay, Y. and
    Metzler, D. (2022). SCARF: self-supervised contrastive learning using random feature corruption.
    ICLR, algorithm 1. Radford, A. et al. (2021). Learning transferable visual models from natural
    language supervision. ICML, section 2.3, for the learned temperature.

    Examples
    --------
    >>> Contrastive(corruption=0.3).name
    'contrastive'
    """

    temperature: float = 0.1
    corruption: float = 0.0
    projection: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 / _LARGEST_SCALE <= self.temperature < np.inf:
            raise SpecificationError(
                f"temperature must be at least {1 / _LARGEST_SCALE}, got {self.temperature!r}."
            )
        if not 0 <= self.corruption < 1:
            raise SpecificationError(
                "corruption is the probability that a value is replaced, at least 0 and below 1, "
                f"got {self.corruption!r}."
            )
        if not is_positive_whole(self.projection):
            raise SpecificationError(
                f"projection must be a positive whole number, got {self.projection!r}."
            )

    @property
    def name(self) -> str:
        """``"contrastive"``."""
        return "contrastive"

    def why_not(self, sites: Sequence[Site]) -> str | None:
        if len(sites) > 1:
            return None
        if not sites[0].is_table:
            return "has one input, and a picture needs a partner; write deep(picture, age, bmi)"
        if not self.corruption:
            return (
                "reads tabular columns only, whose rows are told from their corrupted selves; give "
                "corruption=0.3"
            )
        return None

    def takes_part(self, present: np.ndarray) -> np.ndarray:
        return present.sum(axis=0) >= min(2, len(present))

    def least_batch(self, sites: Sequence[Site]) -> int:
        return 2

    def good_batch(self, sites: Sequence[Site]) -> int:
        return _GOOD_BATCH

    def make(
        self, sites: Sequence[Site], training: TrainingRows, target: np.ndarray | None
    ) -> ObjectiveLoss:
        pools = {
            n: training.sample(site)
            for n, site in enumerate(sites)
            if self.corruption and site.is_table
        }
        *seeds, last = training.seeds(len(sites) + 1)
        heads = []
        for site, seed in zip(sites, seeds, strict=True):
            with initial_weights(seed):
                heads.append(
                    nn.Sequential(
                        nn.Linear(site.latent_dim, site.latent_dim),
                        nn.SiLU(),
                        nn.Linear(site.latent_dim, int(self.projection)),
                    )
                )
        loss = _Contrastive(sites, heads, self.temperature, self.corruption, pools)
        reseed(loss, last)
        return loss


class _Corruption(SeededModule):
    """Rows of a table with a share of the values drawn from training rows."""

    pool: Tensor
    variables: Tensor

    def __init__(self, site: Site, share: float, pool: Tensor) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("pool", pool)
        self.register_buffer("variables", torch.tensor(site.variables))

    def forward(self, x: Tensor) -> Tensor:
        generator = self.generator(x.device)
        return corrupted(x, self.share, generator, pool=self.pool, variables=self.variables)


class _Contrastive(ObjectiveLoss):
    def __init__(
        self,
        sites: Sequence[Site],
        heads: Sequence[nn.Module],
        temperature: float,
        corruption: float,
        pools: dict[int, Tensor],
    ) -> None:
        super().__init__(sites)
        self.heads = nn.ModuleList(heads)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.corruptions = nn.ModuleDict(
            {str(n): _Corruption(sites[n], corruption, pool) for n, pool in pools.items()}
        )

    def forward(self, seen: ForwardPass) -> ObjectiveValue:
        total, most = self.log_scale.new_zeros(()), 0
        scale = self.log_scale.clamp(max=math.log(_LARGEST_SCALE))
        if len(self.sites) == 1:
            first, second = seen.latent(self.sites[0]), self._corrupted(seen, 0)
            pairs = [(0, first, 0, second)]
        else:
            views = [
                self._corrupted(seen, n) if self.training else seen.latent(site)
                for n, site in enumerate(self.sites)
            ]
            pairs = [(i, views[i], j, views[j]) for i, j in combinations(range(len(views)), 2)]
        for i, first, j, second in pairs:
            both = seen.all_present([self.sites[i], self.sites[j]])
            count = int(both.sum())
            if count >= 2:
                found = contrastive_loss(
                    self.heads[i](first[both]), self.heads[j](second[both]), scale
                )
                total, most = total + found, max(most, count)
        return ObjectiveValue(total, most)

    def _corrupted(self, seen: ForwardPass, n: int) -> Tensor:
        """Latent features of an input with corrupted values, where it is to be corrupted."""
        site = self.sites[n]
        if str(n) not in self.corruptions:
            return seen.latent(site)
        x = self.corruptions[str(n)](seen.batch.inputs[site.input])
        found: Tensor = seen.net.terms[site.term].encoder(site.input)(x)  # type: ignore[operator]
        return found
