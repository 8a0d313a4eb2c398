"""What is needed to read the columns of deep terms and to make networks for them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from semistruct.encoders import Augmentation, Encoder, FeatureEncoder, MapEncoder, build_encoder
from semistruct.fusion import MLPHead, build_fusion
from semistruct.modalities import Modality, Reader
from semistruct.modality_dropout import DropRates, ModalityDropout
from semistruct.network import SemiStructuredNet
from semistruct.term_network import TermNetwork
from semistruct.terms import Basis, DeepTerm

__all__ = ["SCALING_ROWS", "InputPlan", "NetworkBlueprint", "Slot", "TermPlan", "row_weights"]

SCALING_ROWS = 2048
_FEWEST_SCALING_ROWS = 16
_SCALING_NUMBERS = 2**26


@dataclass(frozen=True, eq=False)
class Slot:
    """One column of the deep scores: a deep term in the predictor of one parameter.

    Attributes
    ----------
    param : int
        Position of the predictor.
    term : DeepTerm
    network : int
        Position of the term network that reads it.
    by : Basis or None
        With ``by=`` the score is multiplied by a column of this basis; None for the constant.
    column : int
    """

    param: int
    term: DeepTerm
    network: int
    by: Basis | None = None
    column: int = 0

    @property
    def label(self) -> str:
        """Of the term, with the column that multiplies it."""
        return self.term.label if self.by is None else f"{self.term.label}.{self.column + 1}"


def row_weights(slots: Sequence[Slot], frame: pd.DataFrame) -> np.ndarray | None:
    """What multiplies the scores of every row, ``(n, T)``; None where nothing does."""
    if all(slot.by is None for slot in slots):
        return None
    weights = np.ones((len(frame), len(slots)))
    designs: dict[int, np.ndarray] = {}
    for t, slot in enumerate(slots):
        if slot.by is not None:
            if id(slot.by) not in designs:
                designs[id(slot.by)] = slot.by.design(frame).dense()
            weights[:, t] = designs[id(slot.by)][:, slot.column]
    return weights


@dataclass(frozen=True)
class InputPlan:
    """One input of a term network and the recipe of its encoder."""

    name: str
    encoder: str | nn.Module
    options: Mapping[str, Any]
    in_shape: tuple[int, ...]

    def make(self, random_state: int) -> Encoder:
        """A new encoder."""
        if self.encoder == "features":
            return FeatureEncoder(self.in_shape)
        return build_encoder(self.encoder, self.in_shape, self.options, random_state)


@dataclass(frozen=True)
class TermPlan:
    """One deep term: its inputs and how they are fused.

    Attributes
    ----------
    inputs : tuple of InputPlan
    fusion : str or None
        None for a single input.
    fusion_options : mapping
    head : {"linear", "mlp"}
        Whether a network follows the fusion.
    """

    inputs: tuple[InputPlan, ...]
    fusion: str | None = None
    fusion_options: Mapping[str, Any] = field(default_factory=dict)
    head: str = "linear"

    def make(self, random_state: np.random.SeedSequence) -> TermNetwork:
        """A new network."""
        seeds = random_state.generate_state(len(self.inputs) + 1)
        encoders = [part.make(int(seed)) for part, seed in zip(self.inputs, seeds[1:], strict=True)]
        names = [part.name for part in self.inputs]
        if self.fusion is None:
            return TermNetwork(names, encoders)
        latent_dims = {
            name: encoder.latent_dim for name, encoder in zip(names, encoders, strict=True)
        }
        map_channels = {
            name: encoder.map_channels
            for name, encoder in zip(names, encoders, strict=True)
            if isinstance(encoder, MapEncoder)
        }
        fusion = build_fusion(
            self.fusion,
            latent_dims,
            self.fusion_options,
            int(seeds[0]),
            map_channels=map_channels,
        )
        head = None
        if self.head == "mlp":
            head = MLPHead(fusion.latent_dim, int(random_state.generate_state(len(seeds) + 1)[-1]))
        return TermNetwork(names, encoders, fusion, head)


@dataclass(frozen=True)
class NetworkBlueprint:
    """Everything needed to read rows and to make networks for a set of deep terms. Frozen.

    Attributes
    ----------
    readers : mapping of str to Reader
    slots : tuple of T slots
    mirrored : frozenset of str
        Inputs whose pictures are mirrored at random in training, where the encoder left that open.
    dropout : None, float, mapping or "one"
        How often inputs count as absent in training, see
        :class:`~semistruct.modality_dropout.ModalityDropout`.
    """

    readers: Mapping[str, Reader]
    plans: tuple[TermPlan, ...]
    slots: tuple[Slot, ...]
    mirrored: frozenset[str] = frozenset()
    dropout: DropRates = None

    @property
    def columns(self) -> dict[str, str]:
        """Inputs that rows may lack, and the column of pictures or tensors each of them reads."""
        own = {name: reader.column for name, reader in self.readers.items()}
        return {name: column for name, column in own.items() if column is not None}

    def columns_of(self, slot: Slot) -> frozenset[str]:
        """The columns of pictures and tensors that a slot reads."""
        names = [part.name for part in self.plans[slot.network].inputs]
        return frozenset(self.columns[name] for name in names if name in self.columns)

    def without(
        self, modalities: Mapping[str, Modality], columns: Collection[str]
    ) -> dict[str, Modality]:
        """The inputs as they are when all rows lack these columns."""
        own = self.columns
        return {
            name: replace(read, present=np.zeros(len(read), dtype=bool))
            if own.get(name) in columns
            else read
            for name, read in modalities.items()
        }

    def present(self, modalities: Mapping[str, Modality]) -> np.ndarray:
        """Which rows have at least one input of every slot, ``(n, T)``."""
        found = []
        for slot in self.slots:
            inputs = self.plans[slot.network].inputs
            found.append(np.any([modalities[part.name].present for part in inputs], axis=0))
        return np.column_stack(found)

    def lacking(self, modalities: Mapping[str, Modality], columns: Sequence[str]) -> np.ndarray:
        """Which rows lack each of these columns, ``(n, M)``."""
        reads = {column: name for name, column in self.columns.items()}
        return np.column_stack([~modalities[reads[column]].present for column in columns])

    @property
    def is_linear(self) -> bool:
        """Whether nothing but the last linear layer is to be learned."""
        return all(
            plan.fusion is None and part.encoder == "features"
            for plan in self.plans
            for part in plan.inputs
        )

    def undecided(self) -> tuple[str, ...]:
        """Inputs with an encoder that leaves open whether pictures may be mirrored."""
        parts = [part for plan in self.plans for part in plan.inputs]
        names = dict.fromkeys(part.name for part in parts if _open_augmentations(part.make(0)))
        return tuple(names)

    def read(self, frame: pd.DataFrame) -> dict[str, Modality]:
        """The inputs of every row of ``frame``."""
        return {name: reader.read(frame) for name, reader in self.readers.items()}

    def make(
        self,
        modalities: Mapping[str, Modality],
        rows: np.ndarray,
        scale: np.ndarray,
        random_state: np.random.SeedSequence,
    ) -> SemiStructuredNet:
        """A new network whose inputs are scaled by what is seen in ``rows`` of ``modalities``."""
        seeds = random_state.spawn(len(self.plans) + 1)
        terms = [plan.make(seed) for plan, seed in zip(self.plans, seeds[1:], strict=True)]
        generator = np.random.default_rng(seeds[0])
        for term in terms:
            for name, encoder in zip(term.inputs, term.encoders, strict=True):
                for augmentation in _open_augmentations(encoder):
                    augmentation.hflip = name in self.mirrored or "auto"
                present = rows[modalities[name].present[rows]]
                most = _scaling_rows(modalities[name])
                if len(present) > most:
                    present = generator.choice(present, most, replace=False)
                if len(present):
                    sample = [modalities[name].batch(present)]
                    mask = modalities[name].mask(present)
                    sample += [] if mask is None else [mask]
                    encoder.learn_inputs(*sample)  # type: ignore[operator]
        slots = [(slot.param, slot.network) for slot in self.slots]
        dropout = None
        if self.dropout is not None:
            seed = int(seeds[0].spawn(1)[0].generate_state(1)[0])
            dropout = ModalityDropout(self.columns, self.dropout, seed)
        return SemiStructuredNet(terms, slots, torch.as_tensor(scale), dropout)


def _scaling_rows(modality: Modality) -> int:
    """How many rows are read to learn the scaling; fewer where rows differ in length and are long.

    All of a padded batch is in memory at once.
    """
    if modality.lengths is None:
        return SCALING_ROWS
    elements = max(1, modality.lengths.max(initial=0)) * math.prod(modality.in_shape[1:])
    return min(SCALING_ROWS, max(_FEWEST_SCALING_ROWS, _SCALING_NUMBERS // elements))


def _open_augmentations(encoder: nn.Module) -> list[Augmentation]:
    return [
        module
        for module in encoder.modules()
        if isinstance(module, Augmentation) and module.hflip == "auto"
    ]
