"""Random changes of pictures in training that leave their meaning alone."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from semistruct._registry import lookup
from semistruct.encoders.randomness import SeededModule
from semistruct.exceptions import SpecificationError

__all__ = ["Augmentation", "resolved_augmentation"]


class Augmentation(SeededModule):
    """Flips, shifts, brightness, contrast and rotation, drawn anew for every picture.

    Acts on standardised pictures, in training mode only. Ask only for what cannot change the
    outcome: a mirrored house has the same price, a mirrored chest does not have the same
    diagnosis, and where intensity carries the signal brightness must stay.

    Parameters
    ----------
    hflip : bool or "auto"
        Mirror left-right with probability one half. With "auto" pictures stay as they are until a
        model that is being fitted finds that mirror images say the same; see
        :func:`~semistruct.fitting.mirroring.mirrored_inputs`.
    vflip : bool
        Mirror upside-down with probability one half.
    shift : float
        Largest shift in each direction as a fraction of the side; the border pixels are repeated.
    brightness : float
        Standard deviation of a constant added to a picture, in units of the pixels' standard
        deviation.
    contrast : float
        Standard deviation of the logarithm of a factor multiplying a picture.
    rotation : float
        Largest rotation in degrees, either way.
    random_state : int, optional
        Seed of the draws.

    Examples
    --------
    >>> flip = Augmentation(hflip=True, random_state=0)
    >>> x = torch.arange(3.0).expand(100, 1, 1, 3)
    >>> sorted({tuple(row.flatten().tolist()) for row in flip(x)})
    [(0.0, 1.0, 2.0), (2.0, 1.0, 0.0)]
    >>> torch.equal(flip.eval()(x), x)
    True
    """

    def __init__(
        self,
        hflip: bool | Literal["auto"] = False,
        vflip: bool = False,
        shift: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        rotation: float = 0.0,
        random_state: int | None = None,
    ) -> None:
        super().__init__(random_state)
        limits = {"shift": (shift, 0.5), "brightness": (brightness, math.inf)}
        limits |= {"contrast": (contrast, math.inf), "rotation": (rotation, 180.0)}
        for name, (value, largest) in limits.items():
            if not 0 <= value <= largest:
                raise SpecificationError(
                    f"augmentation {name} must lie between 0 and {largest}, got {value!r}."
                )
        if isinstance(hflip, str) and hflip != "auto":
            raise SpecificationError(
                f"augmentation hflip must be True, False or 'auto', got {hflip!r}."
            )
        self.hflip: bool | Literal["auto"] = hflip if hflip == "auto" else bool(hflip)
        self.vflip = bool(vflip)
        self.shift = float(shift)
        self.brightness = float(brightness)
        self.contrast = float(contrast)
        self.rotation = float(rotation)

    def forward(self, x: Tensor) -> Tensor:
        """Changed pictures ``(b, C, H, W)`` in training, ``x`` itself otherwise (or where none)."""
        if not self.training or not len(x):
            return x
        generator = self.generator(x.device)
        if self.hflip is True or self.vflip or self.shift:
            x = self._move(x, generator)
        if self.rotation:
            x = self._rotate(x, generator)
        if self.contrast:
            x = x * self._normal(x, self.contrast, generator).exp()
        if self.brightness:
            x = x + self._normal(x, self.brightness, generator)
        return x

    def _move(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        # Flip and shift are one look-up of source rows and columns per picture.
        b, _, height, width = x.shape
        rows = self._source(b, height, self.vflip, x.device, generator)
        columns = self._source(b, width, self.hflip is True, x.device, generator)
        pictures = torch.arange(b, device=x.device)[:, None, None]
        moved = x.permute(0, 2, 3, 1)[pictures, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2)

    def _source(
        self,
        b: int,
        side: int,
        flip: bool,
        device: torch.device,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Source position ``(b, side)`` of every row or column of the new pictures."""
        index = torch.arange(side, device=device).expand(b, side)
        most = round(self.shift * side)
        if most:
            step = torch.randint(-most, most + 1, (b, 1), generator=generator, device=device)
            index = (index + step).clamp(0, side - 1)
        if flip:
            coin = torch.rand((b, 1), generator=generator, device=device) < 0.5
            index = torch.where(coin, side - 1 - index, index)
        return index

    def _rotate(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        b, _, height, width = x.shape
        draw = torch.rand(b, generator=generator, device=x.device, dtype=x.dtype)
        angle = (2 * draw - 1) * math.radians(self.rotation)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        # Coordinates run from -1 to 1 on both sides, hence the aspect ratio off the diagonal.
        first = torch.stack([cos, -sin * height / width, zero], dim=-1)
        second = torch.stack([sin * width / height, cos, zero], dim=-1)
        grid = F.affine_grid(torch.stack([first, second], dim=1), list(x.shape), False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    @staticmethod
    def _normal(x: Tensor, sd: float, generator: torch.Generator | None) -> Tensor:
        shape = (len(x), 1, 1, 1)
        return sd * torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)

    def extra_repr(self) -> str:
        """The options that do something, for ``repr``."""
        names = ("hflip", "vflip", "shift", "brightness", "contrast", "rotation")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name))


def resolved_augmentation(
    augmentation: Augmentation | Mapping[str, Any] | None, default: Mapping[str, Any]
) -> Augmentation:
    """The augmentation asked for: itself, from its options, or from those of ``default``."""
    if augmentation is None:
        return Augmentation(**default)
    if isinstance(augmentation, Augmentation):
        return augmentation
    known = dict.fromkeys(name for name in inspect.signature(Augmentation).parameters)
    for option in augmentation:
        lookup(known, option, "augmentation")
    return Augmentation(**augmentation)
