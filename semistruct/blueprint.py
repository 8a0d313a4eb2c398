"""From deep terms as written to readers of their columns and to new networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from semistruct._registry import lookup
from semistruct.encoders import ENCODERS, Encoder, FeatureEncoder, ModuleEncoder, build_encoder
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.fusion import FUSIONS
from semistruct.modalities import (
    FeatureReader,
    Modality,
    Reader,
    column_reader,
    is_tensor_column,
    table_reader,
)
from semistruct.network import SemiStructuredNet, TermNetwork
from semistruct.terms import DeepTerm

__all__ = ["NetworkBlueprint", "Slot", "draw_blueprint"]

_SCALING_ROWS = 2048
_FUSION = "concat"


@dataclass(frozen=True)
class Slot:
    """One column of the deep scores: a deep term in the predictor of one parameter."""

    param: int
    term: DeepTerm
    network: int


@dataclass(frozen=True)
class _Input:
    """One input of a term network and the recipe of its encoder."""

    name: str
    encoder: str | nn.Module
    options: Mapping[str, Any]
    in_shape: tuple[int, ...]

    def make(self, random_state: int) -> Encoder:
        if self.encoder == "features":
            return FeatureEncoder(self.in_shape)
        return build_encoder(self.encoder, self.in_shape, self.options, random_state)


@dataclass(frozen=True)
class _TermPlan:
    inputs: tuple[_Input, ...]
    fusion: str | None
    fusion_options: Mapping[str, Any]

    def make(self, random_state: np.random.SeedSequence) -> TermNetwork:
        seeds = random_state.generate_state(len(self.inputs) + 1)
        encoders = [
            part.make(int(seed)) for part, seed in zip(self.inputs, seeds[1:], strict=True)
        ]
        names = [part.name for part in self.inputs]
        if self.fusion is None:
            return TermNetwork(names, encoders)
        latent_dims = {
            name: encoder.latent_dim for name, encoder in zip(names, encoders, strict=True)
        }
        fusion = lookup(FUSIONS, self.fusion, "fusion")(
            latent_dims, random_state=int(seeds[0]), **self.fusion_options
        )
        return TermNetwork(names, encoders, fusion)


@dataclass(frozen=True)
class NetworkBlueprint:
    """Everything needed to read rows and to make networks for a set of deep terms. Frozen.

    Attributes
    ----------
    readers : mapping of str to Reader
    slots : tuple of T slots
    """

    readers: Mapping[str, Reader]
    plans: tuple[_TermPlan, ...]
    slots: tuple[Slot, ...]

    @property
    def is_linear(self) -> bool:
        """Whether nothing but the last linear layer is to be learned."""
        return all(
            plan.fusion is None and part.encoder == "features"
            for plan in self.plans
            for part in plan.inputs
        )

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
                present = rows[modalities[name].present[rows]]
                if len(present) > _SCALING_ROWS:
                    present = generator.choice(present, _SCALING_ROWS, replace=False)
                if len(present):
                    encoder.learn_inputs(modalities[name].batch(present))  # type: ignore[operator]
        slots = [(slot.param, slot.network) for slot in self.slots]
        return SemiStructuredNet(terms, slots, torch.as_tensor(scale))


def draw_blueprint(
    deep: Sequence[Sequence[DeepTerm]],
    frame: pd.DataFrame,
    *,
    encoders: Mapping[str, nn.Module] | None = None,
    share_encoders: bool = False,
) -> NetworkBlueprint:
    """Learn from the training rows how the deep terms of every parameter read their columns.

    Parameters
    ----------
    deep : sequence of K sequences of DeepTerm
    frame : DataFrame
    encoders : mapping of str to module, optional
        The user's own encoders by the names used in the formula.
    share_encoders : bool
        Whether equal terms of two parameters are read by one network.

    Raises
    ------
    DataError
        If a column does not exist or cannot be read.
    SpecificationError
        If an encoder, an option or a fusion is unknown or does not fit the column.
    """
    readers: dict[str, Reader] = {}
    plans: list[_TermPlan] = []
    slots: list[Slot] = []
    shared: dict[DeepTerm, int] = {}
    for k, terms in enumerate(deep):
        for term in terms:
            if term.by is not None:
                raise UnsupportedCombinationError(
                    f"{term.label}: an effect of a picture that varies with a covariate needs a "
                    "survival head with that covariate; leave out by= here."
                )
            if share_encoders and term in shared:
                slots.append(Slot(k, term, shared[term]))
                continue
            plan, needed = _plan_term(term, frame, dict(encoders or {}))
            readers.update(needed)
            plans.append(plan)
            shared[term] = len(plans) - 1
            slots.append(Slot(k, term, len(plans) - 1))
    return NetworkBlueprint(readers, tuple(plans), tuple(slots))


def _plan_term(
    term: DeepTerm, frame: pd.DataFrame, encoders: dict[str, nn.Module]
) -> tuple[_TermPlan, dict[str, Reader]]:
    if term.encoder == "deep":
        return _plan_fusion(term, frame)
    recipe: str | nn.Module = encoders.get(term.encoder, term.encoder)
    if isinstance(recipe, str):
        lookup({**ENCODERS, **encoders}, recipe, "encoder")
    reader = _single_reader(term, frame, image=recipe == "cnn")
    options = dict(term.options)
    if not isinstance(recipe, str):
        trial = build_encoder(recipe, reader.in_shape, options, 0)
        if isinstance(trial, ModuleEncoder) and trial.frozen:
            return _plan_frozen(term, frame, reader, trial, options)
    part = _Input(reader.name, recipe, options, reader.in_shape)
    return _TermPlan((part,), None, {}), {reader.name: reader}


def _plan_frozen(
    term: DeepTerm,
    frame: pd.DataFrame,
    reader: Reader,
    encoder: ModuleEncoder,
    options: dict[str, Any],
) -> tuple[_TermPlan, dict[str, Reader]]:
    if encoder.preprocess is None:
        rows = reader.read(frame)
        encoder.learn_inputs(rows.batch(np.flatnonzero(rows.present)[:_SCALING_ROWS]))
    features = FeatureReader(term.label, reader, encoder)
    if encoder.latent_dim == encoder.n_features and isinstance(encoder.head, nn.Identity):
        part = _Input(term.label, "features", {}, features.in_shape)
    else:
        head = {"latent_dim": encoder.latent_dim, "hidden": ()}
        head.update({key: options[key] for key in ("dropout", "activation") if key in options})
        part = _Input(term.label, "mlp", head, features.in_shape)
    return _TermPlan((part,), None, {}), {term.label: features}


def _single_reader(term: DeepTerm, frame: pd.DataFrame, *, image: bool) -> Reader:
    tensors = [c for c in term.variables if c in frame.columns and is_tensor_column(frame[c])]
    if len(term.variables) == 1 and (image or tensors):
        return column_reader(frame, term.variables[0], image=image)
    if image or tensors:
        raise SpecificationError(
            f"{term.label} reads one column of pictures, or only columns of the table; to join "
            f"several inputs write deep({', '.join(term.variables)})."
        )
    if len(term.variables) == 1 and term.encoder not in ENCODERS:
        column = term.variables[0]
        if column in frame.columns and not pd.api.types.is_numeric_dtype(frame[column].dtype):
            return column_reader(frame, column, image=True)
    return table_reader(frame, term.variables, term.label)


def _plan_fusion(term: DeepTerm, frame: pd.DataFrame) -> tuple[_TermPlan, dict[str, Reader]]:
    tensors = [c for c in term.variables if c in frame.columns and is_tensor_column(frame[c])]
    table = tuple(column for column in term.variables if column not in tensors)
    readers: list[Reader] = [column_reader(frame, column, image=False) for column in tensors]
    if table:
        readers.append(table_reader(frame, table, f"table of {term.label}"))
    options = dict(term.options)
    fusion = options.pop("fusion", _FUSION)
    encoder_options = {
        key: options.pop(key) for key in ("latent_dim", "dropout", "activation") if key in options
    }
    inputs = tuple(
        _Input(
            reader.name,
            "cnn" if len(reader.in_shape) == 3 else "mlp",
            encoder_options,
            reader.in_shape,
        )
        for reader in readers
    )
    plan = _TermPlan(inputs, str(fusion), options)
    return plan, {reader.name: reader for reader in readers}
