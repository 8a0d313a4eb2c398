"""From a name or a user's module to an encoder for a column of a given shape."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from semistruct._registry import lookup
from semistruct.encoders.augmentation import Augmentation
from semistruct.encoders.bag import PATCH_AUGMENTATION, BagEncoder
from semistruct.encoders.base import Encoder
from semistruct.encoders.cnn import DEFAULT_AUGMENTATION, CNNEncoder
from semistruct.encoders.cnn3d import VOLUME_AUGMENTATION, CNN3dEncoder
from semistruct.encoders.conv1d import Conv1dEncoder
from semistruct.encoders.mlp import MLPEncoder
from semistruct.encoders.module import ModuleEncoder
from semistruct.encoders.randomness import initial_weights, reseed
from semistruct.encoders.recurrent import RecurrentEncoder
from semistruct.exceptions import SpecificationError

__all__ = ["ENCODERS", "RAGGED_ENCODERS", "build_encoder", "encoder_options"]

ENCODERS: dict[str, type[Encoder]] = {
    "bag": BagEncoder,
    "cnn": CNNEncoder,
    "cnn3d": CNN3dEncoder,
    "conv1d": Conv1dEncoder,
    "mlp": MLPEncoder,
    "recurrent": RecurrentEncoder,
}

# Those that read rows of any number of elements, and use the mask.
RAGGED_ENCODERS = frozenset({"bag", "conv1d", "recurrent"})

_DEFAULT_AUGMENTATIONS: dict[type[Encoder], Mapping[str, Any]] = {
    BagEncoder: PATCH_AUGMENTATION,
    CNNEncoder: DEFAULT_AUGMENTATION,
    CNN3dEncoder: VOLUME_AUGMENTATION,
}

_AUGMENTATION_OPTIONS = tuple(
    name for name in inspect.signature(Augmentation).parameters if name != "random_state"
)


def encoder_options(name: str) -> frozenset[str]:
    """Names of the options that an encoder takes, those of its augmentation included.

    Examples
    --------
    >>> sorted(encoder_options("mlp"))
    ['activation', 'dropout', 'hidden', 'input_dropout', 'latent_dim']
    """
    own = _options_of(lookup(ENCODERS, name, "encoder"))
    return frozenset([*own, *(_AUGMENTATION_OPTIONS if "augmentation" in own else ())])


def _options_of(cls: type[Encoder]) -> list[str]:
    reserved = ("self", "module", "in_shape", "random_state")
    return [p for p in inspect.signature(cls).parameters if p not in reserved]


def build_encoder(
    encoder: str | nn.Module | Callable[[tuple[int, ...]], nn.Module],
    in_shape: Sequence[int],
    options: Mapping[str, Any] | None = None,
    random_state: int | None = None,
) -> Encoder:
    """Make a new encoder; nothing that was handed in is changed by training it.

    Parameters
    ----------
    encoder : str, nn.Module or callable
        A name of ``ENCODERS``; or a module, which is copied with its weights and, unless it is an
        :class:`Encoder` already, adapted by :class:`ModuleEncoder`; or a function of ``in_shape``
        that returns a new module, whose initial weights then come from ``random_state``.
    in_shape : tuple of int
        Shape of one row.
    options : mapping, optional
        Options of the encoder. Those of :class:`Augmentation` may be given directly, for example
        ``{"hflip": True}``.
    random_state : int, optional
        Seed of everything random in the encoder.

    Raises
    ------
    SpecificationError
        If the name or an option is unknown, or the encoder cannot read such rows.

    Examples
    --------
    >>> build_encoder("mlp", (3,), {"latent_dim": 5}, random_state=1).latent_dim
    5
    >>> build_encoder("mlp", (3,), {"latnt_dim": 5})
    Traceback (most recent call last):
    ...
    semistruct.exceptions.SpecificationError: unknown option of encoder 'mlp' 'latnt_dim'; \
did you mean 'latent_dim'? Known: activation, dropout, hidden, input_dropout, latent_dim.
    """
    shape = tuple(int(size) for size in in_shape)
    given = dict(options or {})
    if isinstance(encoder, str):
        cls = lookup(ENCODERS, encoder, "encoder")
        checked = _checked(cls, given, encoder)
        try:
            return cls(in_shape=shape, random_state=random_state, **checked)
        except TypeError as error:
            written = ", ".join(f"{name}={value!r}" for name, value in checked.items())
            raise SpecificationError(
                f"encoder {encoder!r} has an option of the wrong type among {written}: {error}."
            ) from error
    if isinstance(encoder, nn.Module):
        module = copy.deepcopy(encoder)
    elif callable(encoder):
        with initial_weights(random_state):
            module = encoder(shape)
        if not isinstance(module, nn.Module):
            raise SpecificationError(
                f"the encoder function returned a {type(module).__name__}, not a torch module."
            )
    else:
        raise SpecificationError(
            "an encoder is a name, a torch module or a function that returns one; got a "
            f"{type(encoder).__name__}."
        )
    name = type(module).__name__
    if isinstance(module, Encoder):
        if given:
            raise SpecificationError(
                f"{name} is an encoder already and takes no further options, got {sorted(given)}."
            )
        reseed(module, random_state)
        return module
    checked = _checked(ModuleEncoder, given, name)
    return ModuleEncoder(module, shape, random_state=random_state, **checked)


def _checked(cls: type[Encoder], given: dict[str, Any], name: str) -> dict[str, Any]:
    """Options with those of the augmentation gathered; refuses what ``cls`` does not know."""
    allowed = _options_of(cls)
    if "augmentation" in allowed:
        chosen = {k: given.pop(k) for k in _AUGMENTATION_OPTIONS if k in given}
        if chosen and given.get("augmentation") is not None:
            raise SpecificationError(
                f"encoder {name!r} got both augmentation= and {sorted(chosen)}; give one of them."
            )
        if chosen:
            # What is not named keeps its default: asking for flips does not switch off shifts.
            given["augmentation"] = {**_DEFAULT_AUGMENTATIONS[cls], **chosen}
        known = dict.fromkeys([*allowed, *_AUGMENTATION_OPTIONS])
    else:
        known = dict.fromkeys(allowed)
    for option in given:
        lookup(known, option, f"option of encoder {name!r}")
    return given
