"""A small convolutional network for sequences, of one length or of many."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semistruct._registry import lookup
from semistruct.encoders.activations import ACTIVATIONS
from semistruct.encoders.base import Encoder
from semistruct.encoders.cnn import plan_stages
from semistruct.encoders.masking import (
    MaskedGroupNorm,
    coarse_grid,
    existing_elements,
    full_mask,
)
from semistruct.encoders.randomness import Dropout, initial_weights, reseed
from semistruct.encoders.standardization import InputStandardization
from semistruct.exceptions import SpecificationError

__all__ = ["Conv1dEncoder"]

_LONGEST_KERNEL = 7


class Conv1dEncoder(Encoder):
    """Convolutions along a sequence, read on a coarse grid from its start to its end.

    Parameters
    ----------
    in_shape : (L, C)
        Length, of a typical row where they differ, and channels. Length comes first.
    latent_dim : int
        Number of latent features, after a last activation.
    channels : sequence of int
        Widths of the stages; the last is repeated when the length needs more stages.
    kernel : int
        Width of the convolutions, odd.
    grid : int
        Parts into which every sequence is cut, whatever its length; each is pooled.
    pooling : {"mean", "max"}
        What is kept of a part: the mean of every channel, or its largest value, for patterns that
        occur once somewhere.
    dropout : float
        Probability that a feature of a part is set to zero before the last layer, in training.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
    random_state : int, optional
        Seed of initial weights and dropout; ``None`` uses torch's default generator.

    Attributes
    ----------
    standardization : InputStandardization
        Per channel, over the elements that exist, learned by :meth:`learn_inputs`.

    Notes
    -----
    Group normalisation over the elements that exist. A sequence alone gives what it gives beside
    longer ones: beyond its end there are zeros for every convolution, as there are before its
    start.

    Examples
    --------
    >>> encoder = Conv1dEncoder((40, 2), latent_dim=8, random_state=0)
    >>> encoder(torch.zeros(3, 25, 2)).shape
    torch.Size([3, 8])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        latent_dim: int = 16,
        channels: Sequence[int] = (16, 32, 64),
        kernel: int = 5,
        grid: int = 4,
        pooling: str = "mean",
        dropout: float = 0.5,
        activation: str = "relu",
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        if len(in_shape) != 2 or min(in_shape) < 1:
            raise SpecificationError(
                "a conv1d reads sequences of shape (length, channels), in this order; got "
                f"{tuple(in_shape)}."
            )
        if not channels or min(*channels, latent_dim, grid) < 1 or kernel < 1 or kernel % 2 == 0:
            raise SpecificationError(
                "a conv1d needs positive channels, latent_dim and grid and an odd kernel; got "
                f"channels={tuple(channels)}, latent_dim={latent_dim}, grid={grid}, "
                f"kernel={kernel}."
            )
        if pooling not in ("mean", "max"):
            raise SpecificationError(f"pooling must be 'mean' or 'max', got {pooling!r}.")
        act = lookup(ACTIVATIONS, activation, "activation")
        length, n_channels = (int(size) for size in in_shape)
        self.in_shape = (length, n_channels)
        self.latent_dim = int(latent_dim)
        self.grid = min(int(grid), length)
        self.pooling = pooling
        self.standardization = InputStandardization(n_channels)
        with initial_weights(random_state):
            stages: list[nn.Module] = []
            previous = n_channels
            for width, stride in plan_stages(length, channels, grid):
                stages.append(_Stage(previous, width, kernel, stride, act))
                previous = width
            self.stages = nn.ModuleList(stages)
            self.dropout = Dropout(dropout)
            self.head = nn.Sequential(nn.Linear(previous * self.grid, latent_dim), act())
        reseed(self, random_state)

    def learn_inputs(self, sample: Tensor, mask: Tensor | None = None) -> None:
        """Learn mean and standard deviation of every channel."""
        self.standardization.fit(existing_elements(sample, mask))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latent features ``(b, latent_dim)`` of sequences ``(b, L, C)``.

        Elements that exist come first in a row.
        """
        exists = full_mask(x, mask)
        maps = self.standardization(x).movedim(2, 1) * exists[:, None]
        for stage in self.stages:
            maps, exists = stage(maps, exists)
        parts = coarse_grid(exists.sum(1), self.grid, maps.shape[2])
        features = _largest(maps, parts) if self.pooling == "max" else _mean(maps, parts)
        out: Tensor = self.head(self.dropout(features.flatten(1)))
        return out


class _Stage(nn.Module):
    """Convolution, group normalisation and activation of what exists."""

    def __init__(
        self, width_in: int, width_out: int, kernel: int, stride: int, act: type[nn.Module]
    ) -> None:
        super().__init__()
        kernel = max(kernel, _LONGEST_KERNEL) if stride > 2 else kernel
        self.stride = stride
        self.convolution = nn.Conv1d(width_in, width_out, kernel, stride, kernel // 2, bias=False)
        self.norm = MaskedGroupNorm(width_out)
        self.activation = act()

    def forward(self, maps: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
        exists = exists[:, :: self.stride]
        maps = self.activation(self.norm(self.convolution(maps), exists))
        return maps * exists[:, None], exists


def _mean(maps: Tensor, parts: Tensor) -> Tensor:
    """Mean of ``(b, c, L)`` over each part, ``(b, grid, c)``."""
    weight = parts.to(maps.dtype)
    weight = weight / weight.sum(2, keepdim=True).clamp_min(1.0)
    return weight @ maps.movedim(2, 1)


def _largest(maps: Tensor, parts: Tensor) -> Tensor:
    """Largest value of ``(b, c, L)`` in each part, ``(b, grid, c)``; zero in rows without any."""
    largest = [maps.masked_fill(~part[:, None], -torch.inf).amax(2) for part in parts.unbind(1)]
    return torch.where(parts.any(2)[..., None], torch.stack(largest, 1), 0.0)
