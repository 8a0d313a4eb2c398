"""Modalities side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from semistruct.fusion._layers import (
    check_latent_dims,
    common_width,
    linear,
    seeded_generator,
)
from semistruct.fusion.absence import Absence, AbsenceKind
from semistruct.fusion.base import LatentFusion

__all__ = ["ConcatFusion"]


class ConcatFusion(LatentFusion):
    """Latent features side by side; absent modalities are zeros, or learned tokens.

    Parameters
    ----------
    latent_dims : mapping of str to int
        Latent dimension of every modality.
    latent_dim : int or None
        A linear layer and an activation map the joined features to this dimension, so that
        modalities interact. With None they are only joined, and their effects add up.
    flag_absent : bool
        Whether a column per modality says that it is absent, so that the zeros of an absent
        modality are not taken for a value.
    absence : {"mask", "token"}
        Whether zeros or a learned token stand for an absent modality.
    random_state : int, optional
        Seed of the linear layer.

    Examples
    --------
    >>> fusion = ConcatFusion({"ct": 3, "age": 2})
    >>> fusion.latent_dim, ConcatFusion({"ct": 3, "age": 2}, latent_dim=None).latent_dim
    (32, 7)
    """

    def __init__(
        self,
        latent_dims: Mapping[str, int],
        latent_dim: int | None = 32,
        flag_absent: bool = True,
        absence: AbsenceKind = "mask",
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        dims = check_latent_dims(latent_dims)
        self.modalities = tuple(dims)
        self.flag_absent = bool(flag_absent)
        width = sum(dims.values()) + len(dims) * self.flag_absent
        self.latent_dim = width if latent_dim is None else common_width(dims, latent_dim)
        generator = seeded_generator(random_state)
        self.absence = Absence(list(dims.values()), absence)
        self.mixing = None if latent_dim is None else linear(width, self.latent_dim, generator)

    def forward(self, latents: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        here = [present[name] for name in self.modalities]
        parts, _ = self.absence([latents[name] for name in self.modalities], here)
        if self.flag_absent:
            dtype = parts[0].dtype
            parts += [(~present[name]).to(dtype)[:, None] for name in self.modalities]
        joined = torch.cat(parts, dim=1)
        if self.mixing is None:
            return joined
        return torch.nn.functional.silu(self.mixing(joined))
