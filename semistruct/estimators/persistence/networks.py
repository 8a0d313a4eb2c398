"""Networks as recipes and weights: what stands for them in a file, and how they are made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from semistruct.blueprint import InputPlan, NetworkBlueprint
from semistruct.encoders import Augmentation, ModuleEncoder, build_encoder
from semistruct.exceptions import DataError, SpecificationError
from semistruct.fitting.model import ModelFit
from semistruct.modalities import FeatureReader, Reader, TensorReader
from semistruct.network import SemiStructuredNet

__all__ = ["StoredEncoder", "StoredNetwork", "UserEncoder", "attached", "detached"]


@dataclass(frozen=True)
class UserEncoder:
    """Stands for a module of the user's, known by its name in the formula."""

    name: str


@dataclass(frozen=True)
class StoredEncoder:
    """Stands for a frozen encoder around a module of the user's.

    Attributes
    ----------
    name : str
        Of the module in the formula.
    in_shape : tuple of int
    options : dict
        As written in the formula.
    state : dict from str to Tensor
    """

    name: str
    in_shape: tuple[int, ...]
    options: dict[str, Any]
    state: dict[str, Tensor]


@dataclass(frozen=True)
class StoredNetwork:
    """Stands for a trained network, which the blueprint knows how to build.

    Attributes
    ----------
    state : dict from str to Tensor
    """

    state: dict[str, Tensor]


def detached(fit: ModelFit, tabular: tuple[str, ...]) -> ModelFit:
    """The fit without modules and without pictures: what a file can hold.

    Parameters
    ----------
    fit : ModelFit
    tabular : tuple of str
        Columns that structured terms read, which stay in the training rows.
    """
    if fit.blueprint is None or fit.deep is None:
        return fit
    pictures = {
        reader.name
        for reader in map(_source, fit.blueprint.readers.values())
        if isinstance(reader, TensorReader)
    } - set(tabular)
    crossfit = fit.deep.crossfit
    members = [
        replace(member, net=StoredNetwork(dict(member.net.state_dict())))  # type: ignore[arg-type]
        for member in crossfit.members
    ]
    return replace(
        fit,
        blueprint=_named(fit.blueprint),
        deep=replace(fit.deep, crossfit=replace(crossfit, members=tuple(members))),
        frame=_without(fit.frame, pictures),
        inputs=_without(fit.inputs, pictures),
    )


def attached(fit: ModelFit, encoders: Mapping[str, Any]) -> ModelFit:
    """The fit with its networks, made from the blueprint's recipes and the stored weights.

    Parameters
    ----------
    fit : ModelFit
        As :func:`detached` gives it.
    encoders : mapping from str to module
        The user's own.

    Raises
    ------
    SpecificationError
        If a module of the user's is missing.
    DataError
        If a module is another one than the model was fitted with.
    """
    if fit.blueprint is None or fit.deep is None:
        return fit
    blueprint = fit.blueprint
    stored = [
        part.encoder
        for plan in blueprint.plans
        for part in plan.inputs
        if isinstance(part.encoder, UserEncoder)
    ]
    stored += [
        reader.encoder  # type: ignore[misc]
        for reader in blueprint.readers.values()
        if isinstance(reader, FeatureReader)
    ]
    missing = sorted({each.name for each in stored} - set(encoders))
    if missing:
        wanted = ", ".join(f"{name!r}: module" for name in missing)
        raise SpecificationError(
            "the model has networks of your own, of which a file holds the weights and not the "
            f"code; load it with encoders={{{wanted}}}."
        )
    plans = tuple(
        replace(plan, inputs=tuple(_with_module(part, encoders) for part in plan.inputs))
        for plan in blueprint.plans
    )
    readers = {name: _with_encoder(r, encoders) for name, r in blueprint.readers.items()}
    blueprint = replace(blueprint, plans=plans, readers=readers)
    crossfit = fit.deep.crossfit
    members = tuple(
        replace(member, net=_network(blueprint, member.net.state))  # type: ignore[arg-type]
        for member in crossfit.members
    )
    # The slots of the deep fit are those of the blueprint.
    return replace(
        fit,
        blueprint=blueprint,
        deep=replace(fit.deep, crossfit=replace(crossfit, members=members)),
    )


def _named(blueprint: NetworkBlueprint) -> NetworkBlueprint:
    """Names instead of modules of the user's."""
    written = {slot.network: slot.term for slot in blueprint.slots}
    plans = tuple(
        replace(
            plan,
            inputs=tuple(
                part
                if isinstance(part.encoder, str)
                else replace(part, encoder=UserEncoder(written[network].encoder))  # type: ignore[arg-type]
                for part in plan.inputs
            ),
        )
        for network, plan in enumerate(blueprint.plans)
    )
    readers: dict[str, Reader] = dict(blueprint.readers)
    for network, plan in enumerate(blueprint.plans):
        for part in plan.inputs:
            reader = readers[part.name]
            if isinstance(reader, FeatureReader) and isinstance(reader.encoder, nn.Module):
                stored = StoredEncoder(
                    written[network].encoder,
                    reader.reader.in_shape,
                    dict(written[network].options),
                    dict(reader.encoder.state_dict()),
                )
                readers[part.name] = replace(reader, encoder=stored)  # type: ignore[arg-type]
    return replace(blueprint, plans=plans, readers=readers)


def _source(reader: Reader) -> Reader:
    return reader.reader if isinstance(reader, FeatureReader) else reader


def _without(frame: pd.DataFrame | None, columns: set[str]) -> pd.DataFrame | None:
    return None if frame is None else frame.drop(columns=[c for c in frame if c in columns])


def _with_module(part: InputPlan, encoders: Mapping[str, Any]) -> InputPlan:
    if isinstance(part.encoder, UserEncoder):
        return replace(part, encoder=encoders[part.encoder.name])
    return part


def _with_encoder(reader: Reader, encoders: Mapping[str, Any]) -> Reader:
    if not isinstance(reader, FeatureReader):
        return reader
    stored: Any = reader.encoder
    encoder = build_encoder(encoders[stored.name], stored.in_shape, stored.options, 0)
    if not isinstance(encoder, ModuleEncoder):
        raise DataError(f"the module given as {stored.name!r} is another one than in the fit.")
    _load(encoder, stored.state, stored.name)
    return replace(reader, encoder=encoder)


def _network(blueprint: NetworkBlueprint, state: Mapping[str, Tensor]) -> SemiStructuredNet:
    seeds = np.random.SeedSequence(0).spawn(len(blueprint.plans))
    terms = [plan.make(seed) for plan, seed in zip(blueprint.plans, seeds, strict=True)]
    for term in terms:
        for name, encoder in zip(term.inputs, term.encoders, strict=True):
            for module in encoder.modules():
                if isinstance(module, Augmentation) and module.hflip == "auto":
                    module.hflip = name in blueprint.mirrored or "auto"
    slots = [(slot.param, slot.network) for slot in blueprint.slots]
    net = SemiStructuredNet(terms, slots, torch.zeros(len(slots)))
    _load(net, state, ", ".join(dict.fromkeys(slot.term.label for slot in blueprint.slots)))
    return net.eval()


def _load(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Put the weights into a module, in the precision they had."""
    for own, tensor in (*module.named_parameters(), *module.named_buffers()):
        if own in state:
            tensor.data = tensor.data.to(state[own].dtype)
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise DataError(
            f"the weights saved for {name} do not fit: the module handed in is another one than "
            f"the model was fitted with. {error}"
        ) from error
