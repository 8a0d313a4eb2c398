"""What the fusions share: checks, seeded linear layers and masks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from semistruct.exceptions import SpecificationError

__all__ = ["check_latent_dims", "common_width", "linear", "projections", "seeded_generator", "zero"]


def check_latent_dims(latent_dims: Mapping[str, int]) -> dict[str, int]:
    """A copy of ``latent_dims``; refuses an empty mapping and widths below one."""
    dims = {name: int(d) for name, d in latent_dims.items()}
    if not dims or min(dims.values()) < 1:
        raise SpecificationError(
            f"a fusion needs at least one modality with positive latent dimension, got {dims}."
        )
    return dims


def common_width(latent_dims: Mapping[str, int], latent_dim: int | None) -> int:
    """Width to which all modalities are brought: ``latent_dim``, or the largest of theirs."""
    width = max(latent_dims.values()) if latent_dim is None else int(latent_dim)
    if width < 1:
        raise SpecificationError(f"latent_dim of a fusion must be positive, got {latent_dim}.")
    return width


def seeded_generator(random_state: int | None) -> torch.Generator | None:
    """Generator for initial weights; None leaves the draws to torch's default generator."""
    return None if random_state is None else torch.Generator().manual_seed(int(random_state))


def linear(
    n_in: int, n_out: int, generator: torch.Generator | None, *, bias: bool = True
) -> nn.Linear:
    """A linear layer with torch's usual initial weights, drawn from ``generator``."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias)
    bound = 1 / math.sqrt(n_in)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer


def projections(
    latent_dims: Mapping[str, int], width: int, generator: torch.Generator | None
) -> nn.ModuleList:
    """One layer per modality that brings it to ``width``; nothing where all have it already."""
    if all(d == width for d in latent_dims.values()):
        return nn.ModuleList(nn.Identity() for _ in latent_dims)
    return nn.ModuleList(linear(d, width, generator) for d in latent_dims.values())


def zero(latent: Tensor, present: Tensor, fill: float = 0.0) -> Tensor:
    """``latent`` with ``fill`` in rows where the modality is absent, whatever it held there.

    Examples
    --------
    >>> zero(torch.tensor([[1.0], [float("nan")]]), torch.tensor([True, False]))
    tensor([[1.],
            [0.]])
    """
    return latent.masked_fill(~present[:, None], fill)
