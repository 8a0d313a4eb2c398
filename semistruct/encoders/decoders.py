"""Decoders: from latent features back to what they were read from."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from semistruct._registry import lookup
from semistruct.encoders.activations import ACTIVATIONS
from semistruct.encoders.randomness import initial_weights
from semistruct.encoders.standardization import InputStandardization
from semistruct.exceptions import SpecificationError

__all__ = [
    "DECODERS",
    "Decoder",
    "GridDecoder",
    "SequenceDecoder",
    "VectorDecoder",
    "build_decoder",
    "halved_sizes",
]

_WIDTHS = (16, 32, 64, 64)
_CELLS = 4


class Decoder(nn.Module, ABC):
    """Map latent features ``(b, latent_dim)`` to rows ``(b, *out_shape)`` on a standardised scale.

    What is drawn is compared with :meth:`target`, never with the raw rows: every channel then
    counts alike, whatever its unit.

    Parameters
    ----------
    latent_dim : int
    out_shape : tuple of int
        Shape of one row.
    n_channels, n_spatial : int
        Channels that are standardised, each over what follows it.

    Attributes
    ----------
    standardization : InputStandardization
        Learned by :meth:`learn_inputs`.
    """

    standardization: InputStandardization

    def __init__(
        self, latent_dim: int, out_shape: Sequence[int], n_channels: int, n_spatial: int
    ) -> None:
        super().__init__()
        if latent_dim < 1:
            raise SpecificationError(f"latent_dim must be positive, got {latent_dim}.")
        self.latent_dim = int(latent_dim)
        self.out_shape = tuple(int(size) for size in out_shape)
        self.standardization = InputStandardization(n_channels, n_spatial)

    def learn_inputs(self, sample: Tensor) -> None:
        """Learn the scale of the rows from training rows ``(m, *out_shape)``, once."""
        self.standardization.fit(self._channels(sample))

    def target(self, x: Tensor) -> Tensor:
        """Rows ``(b, *out_shape)`` on the scale of :meth:`forward`."""
        return self._rows(self.standardization(self._channels(x)))

    @abstractmethod
    def forward(self, latent: Tensor) -> Tensor:
        """Standardised rows ``(b, *out_shape)``."""

    @abstractmethod
    def _channels(self, x: Tensor) -> Tensor:
        """Rows ``(b, *out_shape)`` with the channels in dimension 1."""

    @abstractmethod
    def _rows(self, x: Tensor) -> Tensor:
        """Back from :meth:`_channels`."""


class VectorDecoder(Decoder):
    """Fully connected layers to a vector; any other shape is folded from one.

    Parameters
    ----------
    latent_dim : int
    out_shape : tuple of int
        Usually ``(p,)``.
    hidden : sequence of int
        Widths of the hidden layers, from the latent features outwards.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
    random_state : int, optional
        Seed of the initial weights; ``None`` uses torch's default generator.

    Examples
    --------
    >>> import torch
    >>> VectorDecoder(4, (3000,), random_state=0)(torch.zeros(2, 4)).shape
    torch.Size([2, 3000])
    """

    def __init__(
        self,
        latent_dim: int,
        out_shape: Sequence[int],
        hidden: Sequence[int] = (128,),
        activation: str = "silu",
        random_state: int | None = None,
    ) -> None:
        n_features = math.prod(out_shape)
        if min(*hidden, n_features, 1) < 1:
            raise SpecificationError(
                f"a decoder needs positive widths; got out_shape={tuple(out_shape)}, "
                f"hidden={tuple(hidden)}."
            )
        super().__init__(latent_dim, out_shape, n_features, 0)
        act = lookup(ACTIVATIONS, activation, "activation")
        layers: list[nn.Module] = []
        with initial_weights(random_state):
            for width_in, width_out in pairwise([latent_dim, *hidden]):
                layers += [nn.Linear(width_in, width_out), act()]
            layers.append(nn.Linear([latent_dim, *hidden][-1], n_features))
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Standardised rows ``(b, *out_shape)``."""
        return self._rows(self.layers(latent))

    def _channels(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def _rows(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.out_shape)


class GridDecoder(Decoder):
    """Pictures ``(C, H, W)`` or volumes ``(C, D, H, W)`` drawn from about four cells a side.

    The cells come from one linear layer and are doubled, with a convolution after each doubling
    (resizing to the nearest neighbour and convolving leaves no checkerboard).

    Parameters
    ----------
    latent_dim : int
    out_shape : tuple of int
        Channels first; any sizes.
    channels : sequence of int
        Widths by resolution, the finest first; the last is repeated where there are more.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
    random_state : int, optional
        Seed of the initial weights; ``None`` uses torch's default generator.

    References
    ----------
    Odena, Dumoulin and Olah (2016). Deconvolution and checkerboard artifacts. Distill.

    Examples
    --------
    >>> import torch
    >>> GridDecoder(4, (3, 30, 20), random_state=0)(torch.zeros(2, 4)).shape
    torch.Size([2, 3, 30, 20])
    """

    def __init__(
        self,
        latent_dim: int,
        out_shape: Sequence[int],
        channels: Sequence[int] = _WIDTHS,
        activation: str = "silu",
        random_state: int | None = None,
    ) -> None:
        if len(out_shape) not in (3, 4) or not channels or min(*out_shape, *channels) < 1:
            raise SpecificationError(
                "this decoder draws pictures (channels, height, width) or volumes (channels, "
                f"depth, height, width) with positive widths; got {tuple(out_shape)} and "
                f"channels={tuple(channels)}."
            )
        super().__init__(latent_dim, out_shape, out_shape[0], len(out_shape) - 1)
        act = lookup(ACTIVATIONS, activation, "activation")
        conv: Any = nn.Conv2d if len(out_shape) == 3 else nn.Conv3d
        sizes = halved_sizes(self.out_shape[1:])
        widths = [max(out_shape[0], channels[0]), *channels, *[channels[-1]] * len(sizes)]
        coarse = (widths[len(sizes) - 1], *sizes[-1])
        with initial_weights(random_state):
            layers: list[nn.Module] = [
                nn.Linear(latent_dim, math.prod(coarse)),
                act(),
                nn.Unflatten(1, coarse),
            ]
            for k in range(len(sizes) - 2, -1, -1):
                layers += [_Resize(sizes[k]), conv(widths[k + 1], widths[k], 3, 1, 1), act()]
            layers.append(conv(widths[0], out_shape[0], 3, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Standardised rows ``(b, *out_shape)``."""
        drawn: Tensor = self.layers(latent)
        return drawn

    def _channels(self, x: Tensor) -> Tensor:
        return x

    def _rows(self, x: Tensor) -> Tensor:
        return x


class SequenceDecoder(Decoder):
    """Sequences ``(L, C)`` of one length, drawn from about four steps as pictures are.

    Parameters
    ----------
    latent_dim : int
    out_shape : (L, C)
        Length and channels.
    channels : sequence of int
        Widths by resolution, the finest first; the last is repeated where there are more.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
    random_state : int, optional
        Seed of the initial weights; ``None`` uses torch's default generator.

    Examples
    --------
    >>> import torch
    >>> SequenceDecoder(4, (50, 2), random_state=0)(torch.zeros(3, 4)).shape
    torch.Size([3, 50, 2])
    """

    def __init__(
        self,
        latent_dim: int,
        out_shape: Sequence[int],
        channels: Sequence[int] = _WIDTHS,
        activation: str = "silu",
        random_state: int | None = None,
    ) -> None:
        if len(out_shape) != 2:
            raise SpecificationError(
                f"this decoder draws sequences (length, channels); got {tuple(out_shape)}."
            )
        length, n_channels = out_shape
        super().__init__(latent_dim, out_shape, n_channels, 1)
        # A sequence is a picture one pixel wide.
        self.grid = GridDecoder(
            latent_dim, (n_channels, length, 1), channels, activation, random_state
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Standardised rows ``(b, L, C)``."""
        return self._rows(self.grid.layers(latent)[..., 0])

    def _channels(self, x: Tensor) -> Tensor:
        return x.movedim(2, 1)

    def _rows(self, x: Tensor) -> Tensor:
        return x.movedim(1, 2)


# By the number of dimensions of a row.
DECODERS: dict[int, type[VectorDecoder | SequenceDecoder | GridDecoder]] = {
    1: VectorDecoder,
    2: SequenceDecoder,
    3: GridDecoder,
    4: GridDecoder,
}


def build_decoder(
    latent_dim: int,
    out_shape: Sequence[int],
    options: Mapping[str, Any] | None = None,
    random_state: int | None = None,
) -> Decoder:
    """Make the decoder for rows of a shape: vectors, sequences, pictures or volumes.

    Parameters
    ----------
    latent_dim : int
    out_shape : tuple of int
        Shape of one row: ``(p,)``, ``(L, C)``, ``(C, H, W)`` or ``(C, D, H, W)``.
    options : mapping, optional
        Further options of the decoder.
    random_state : int, optional
        Seed of the initial weights.

    Raises
    ------
    SpecificationError
        If there is no decoder for the shape, or it does not know an option.

    Examples
    --------
    >>> type(build_decoder(8, (3, 64, 64), random_state=0)).__name__
    'GridDecoder'
    """
    cls = DECODERS.get(len(out_shape))
    if cls is None or any(size is None for size in out_shape):
        raise SpecificationError(
            f"rows of shape {tuple(out_shape)} cannot be decoded; the shape must be fixed: (p,), "
            "(length, channels), (C, H, W) or (C, D, H, W)."
        )
    given = dict(options or {})
    known = ("hidden", "activation") if cls is VectorDecoder else ("channels", "activation")
    for option in given:
        lookup(dict.fromkeys(known), option, f"option of {cls.__name__}")
    return cls(latent_dim, out_shape, random_state=random_state, **given)


def halved_sizes(size: Sequence[int]) -> list[tuple[int, ...]]:
    """Sizes from ``size`` down to about four cells on the shorter side; at least two entries.

    Sides are halved together until the shortest has fewer than eight cells, at most four times;
    sides of one pixel do not count.

    Examples
    --------
    >>> halved_sizes((30, 20))
    [(30, 20), (15, 10), (8, 5)]
    >>> halved_sizes((5, 5))
    [(5, 5), (5, 5)]
    """
    wide = [side for side in size if side > 1]
    most = math.floor(math.log2(min(wide) / _CELLS)) if wide else 0
    halvings = max(0, min(len(_WIDTHS), most))
    sizes = [tuple(size)]
    for k in range(max(1, halvings)):
        stride = 2 if k < halvings else 1
        sizes.append(tuple((side - 1) // stride + 1 for side in sizes[-1]))
    return sizes


class _Resize(nn.Module):
    """Nearest neighbour to a given size."""

    def __init__(self, size: tuple[int, ...]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=self.size, mode="nearest")
