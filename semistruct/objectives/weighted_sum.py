"""Several objectives as one loss, with the value of each for the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from semistruct.modalities import Modality
from semistruct.objectives.base import ObjectiveLoss, RepresentationObjective, TrainingRows
from semistruct.objectives.bound import BoundObjective
from semistruct.objectives.forward_pass import ForwardPass

__all__ = ["Mean", "ObjectiveSum", "SumValue", "make_objectives"]


@dataclass(frozen=True, eq=False)
class SumValue:
    """The objectives at some rows.

    Attributes
    ----------
    total : scalar tensor
        Weighted sum.
    values : (J,) tensor
        Of each objective, without its weight and without a graph.
    counts : (J,) array
        Rows that took part.
    """

    total: Tensor
    values: Tensor
    counts: np.ndarray

    def detached(self) -> SumValue:
        """The same without a graph."""
        return SumValue(self.total.detach(), self.values, self.counts)


class ObjectiveSum(nn.Module):
    """Weighted sum of J objectives for one network.

    Parameters
    ----------
    names : sequence of J str
    weights : sequence of J floats
    losses : sequence of J sequences of ObjectiveLoss
        Of every group of inputs that an objective acts on.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        weights: Sequence[float] = (),
        losses: Sequence[Sequence[ObjectiveLoss]] = (),
    ) -> None:
        super().__init__()
        self.names, self.weights = tuple(names), tuple(weights)
        self.groups = [list(own) for own in losses]
        self.losses = nn.ModuleList([loss for own in losses for loss in own])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def columns(self) -> list[str]:
        """Names of the values at training and at held-out rows, in a history."""
        return [f"{part}_{name}" for name in self.names for part in ("train", "held_out")]

    def forward(self, seen: ForwardPass) -> SumValue:
        """All objectives at the rows of a pass."""
        total = torch.zeros((), device=seen.net.scale.device)
        values, counts = [], []
        for weight, own in zip(self.weights, self.groups, strict=True):
            found = [loss(seen) for loss in own]
            value = torch.stack([each.loss for each in found]).sum()
            total = total + weight * value
            values.append(value.detach())
            counts.append(max(each.count for each in found))
        stacked = torch.stack(values) if values else total.new_zeros(0)
        return SumValue(total, stacked, np.array(counts, dtype=int))


def make_objectives(
    objectives: Sequence[BoundObjective],
    modalities: Mapping[str, Modality],
    rows: np.ndarray,
    random_state: np.random.SeedSequence,
    made: Mapping[RepresentationObjective, Sequence[ObjectiveLoss]] | None = None,
) -> ObjectiveSum:
    """The objectives for a network that is about to be trained.

    Parameters
    ----------
    objectives : sequence of J BoundObjective
    modalities : mapping of str to Modality
    rows : int array
        Training rows.
    random_state : SeedSequence
    made : mapping, optional
        Losses of equal objectives that go on being trained.
    """
    names: list[str] = []
    losses: list[Sequence[ObjectiveLoss]] = []
    for bound, seed in zip(objectives, random_state.spawn(len(objectives)), strict=True):
        objective = bound.objective
        before = [other.objective.name for other in objectives[: len(names)]]
        twice = before.count(objective.name)
        names.append(f"{objective.name}_{twice + 1}" if twice else objective.name)
        if made is not None and objective in made:
            losses.append(made[objective])
            continue
        seeds = seed.spawn(len(bound.groups))
        losses.append(
            [
                objective.make(group, TrainingRows(modalities, rows, own), bound.target)
                for group, own in zip(bound.groups, seeds, strict=True)
            ]
        )
    return ObjectiveSum(names, [bound.objective.weight for bound in objectives], losses)


class Mean:
    """Means of J objectives over batches, each weighted by the rows that took part."""

    def __init__(self, J: int) -> None:
        self._total, self._count = np.zeros(J), np.zeros(J)

    def add(self, value: SumValue) -> None:
        """Take the values of a batch in."""
        self._total += np.where(value.counts > 0, value.values.cpu().numpy(), 0.0) * value.counts
        self._count += value.counts

    def sum_value(self, total: Tensor) -> SumValue:
        """The means beside a weighted sum of theirs."""
        values = torch.from_numpy(np.nan_to_num(self.value))
        return SumValue(total, values.to(total.device, total.dtype), self._count.copy())

    @property
    def value(self) -> np.ndarray:
        """Means ``(J,)``, NaN where no row took part."""
        nothing = np.full(len(self._count), np.nan)
        return np.divide(self._total, self._count, out=nothing, where=self._count > 0)
