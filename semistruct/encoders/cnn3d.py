"""A small convolutional network for volumes such as CT or MRI scans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from semistruct._registry import lookup
from semistruct.encoders.activations import ACTIVATIONS
from semistruct.encoders.augmentation import Augmentation, resolved_augmentation
from semistruct.encoders.base import MapEncoder
from semistruct.encoders.randomness import Dropout, initial_weights, reseed
from semistruct.encoders.standardization import InputStandardization
from semistruct.exceptions import SpecificationError

__all__ = ["VOLUME_AUGMENTATION", "CNN3dEncoder"]

VOLUME_AUGMENTATION: Mapping[str, Any] = {"shift": 0.1, "brightness": 0.12, "contrast": 0.12}


class CNN3dEncoder(MapEncoder):
    """Convolutions down to a coarse grid in space, then one linear layer that knows where.

    Each axis is halved until it is below ``2 * grid``, so that a scan of few thick slices keeps
    them; then it is pooled to ``grid`` cells and read by a linear layer.

    Parameters
    ----------
    in_shape : (C, D, H, W)
        Channels, depth, height and width; any sizes.
    latent_dim : int
        Number of latent features, after a last activation.
    channels : sequence of int
        Widths of the stages; the last is repeated when the volume needs more stages.
    grid : int
        Cells per axis of the coarse grid; fewer where the volume is smaller.
    dropout : float
        Probability that a cell's feature is set to zero before the last layer, in training.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
    augmentation : Augmentation or mapping of its options, optional
        Random changes in training, the same in all slices ``(H, W)`` of a volume. By default
        shifts of up to a tenth of the side, a little brightness and contrast; ``{}`` for none.
    random_state : int, optional
        Seed of initial weights, dropout and augmentation; ``None`` uses torch's default generator.

    Attributes
    ----------
    standardization : InputStandardization
        Per channel, learned by :meth:`learn_inputs`.

    Examples
    --------
    >>> import torch
    >>> encoder = CNN3dEncoder((1, 10, 32, 32), latent_dim=8, random_state=0)
    >>> encoder(torch.zeros(2, 1, 10, 32, 32)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        latent_dim: int = 16,
        channels: Sequence[int] = (8, 16, 32),
        grid: int = 3,
        dropout: float = 0.5,
        activation: str = "relu",
        augmentation: Augmentation | Mapping[str, Any] | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        if len(in_shape) != 4 or min(in_shape) < 1:
            raise SpecificationError(
                "a cnn3d reads volumes of shape (channels, depth, height, width); got "
                f"{tuple(in_shape)}."
            )
        if not channels or min(*channels, latent_dim, grid) < 1:
            raise SpecificationError(
                "a cnn3d needs positive channels, latent_dim and grid; got "
                f"channels={tuple(channels)}, latent_dim={latent_dim}, grid={grid}."
            )
        act = lookup(ACTIVATIONS, activation, "activation")
        n_channels, *size = (int(side) for side in in_shape)
        cells = tuple(min(grid, side) for side in size)
        self.in_shape = (n_channels, *size)
        self.latent_dim = int(latent_dim)
        self.standardization = InputStandardization(n_channels, n_spatial=3)
        self.augmentation = resolved_augmentation(augmentation, VOLUME_AUGMENTATION)
        with initial_weights(random_state):
            stages: list[nn.Module] = []
            previous = n_channels
            for width, strides in _plan(size, channels, grid):
                stages.append(_stage(previous, width, strides, act))
                previous = width
            self.stages = nn.Sequential(*stages)
            self.map_channels = previous
            self.pool = nn.AdaptiveAvgPool3d(cells)
            self.dropout = Dropout(dropout)
            self.head = nn.Sequential(nn.Linear(previous * math.prod(cells), latent_dim), act())
        reseed(self, random_state)

    def learn_inputs(self, sample: Tensor, mask: Tensor | None = None) -> None:
        """Learn mean and standard deviation of every channel."""
        self.standardization.fit(sample)

    def maps(self, x: Tensor) -> Tensor:
        """Feature maps ``(b, map_channels, d, h, w)`` of volumes ``(b, C, D, H, W)``."""
        volumes = self.standardization(x)
        # All slices of all channels as the channels of one picture: they change together.
        changed = self.augmentation(volumes.flatten(1, 2)).reshape(volumes.shape)
        found: Tensor = self.stages(changed)
        return found

    def from_maps(self, maps: Tensor) -> Tensor:
        """Latent features ``(b, latent_dim)`` of feature maps ``(b, map_channels, d, h, w)``."""
        out: Tensor = self.head(self.dropout(self.pool(maps).flatten(1)))
        return out


def _plan(
    size: Sequence[int], channels: Sequence[int], grid: int
) -> list[tuple[int, tuple[int, ...]]]:
    """Width and strides of every stage; an axis with fewer halvings has them last.

    Examples
    --------
    >>> _plan((6, 48, 48), (8, 16, 32), 3)
    [(8, (1, 2, 2)), (16, (1, 2, 2)), (32, (1, 2, 2)), (32, (2, 2, 2))]
    """
    halvings = [max(0, math.floor(math.log2(side / grid))) for side in size]
    n_stages = max(len(channels), *halvings)
    widths = [*channels, *[channels[-1]] * (n_stages - len(channels))]
    return [
        (width, tuple(2 if n_stages - k <= h else 1 for h in halvings))
        for k, width in enumerate(widths)
    ]


def _stage(
    width_in: int, width_out: int, strides: tuple[int, ...], act: type[nn.Module]
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(width_in, width_out, 3, strides, 1, bias=False),  # type: ignore[arg-type]
        nn.GroupNorm(math.gcd(width_out, max(1, width_out // 8)), width_out),
        act(),
    )
