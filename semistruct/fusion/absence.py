"""What stands for an absent modality: nothing, or a vector that is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from semistruct.exceptions import SpecificationError
from semistruct.fusion._layers import zero

__all__ = ["Absence", "AbsenceKind"]

AbsenceKind = Literal["mask", "token"]


class Absence(nn.Module):
    """Replace absent rows by zeros that a mask hides, or by one learned vector per modality.

    Parameters
    ----------
    dims : sequence of m int
        Widths of the modalities.
    kind : {"mask", "token"}
        With "token" a row counts as having every modality, the absent ones with their tokens, as
        long as it has one at all.
    """

    def __init__(self, dims: Sequence[int], kind: AbsenceKind) -> None:
        super().__init__()
        if kind not in ("mask", "token"):
            raise SpecificationError(f"absence must be 'mask' or 'token', got {kind!r}.")
        self.kind = kind
        sizes = dims if kind == "token" else ()
        self.tokens = nn.ParameterList([nn.Parameter(torch.zeros(d)) for d in sizes])

    def forward(
        self, parts: Sequence[Tensor], present: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """Parts ``(b, d_m)`` without what absent rows held, and the mask ``(m, b)`` of what counts.

        A row that has no modality keeps none.
        """
        mask = torch.stack(list(present))
        pairs = zip(parts, present, strict=True)
        if self.kind == "mask":
            return [zero(part, here) for part, here in pairs], mask
        some = mask.any(0)
        filled = [
            torch.where(here[:, None], zero(part, here), token * some[:, None])
            for (part, here), token in zip(pairs, self.tokens, strict=True)
        ]
        return filled, some.expand_as(mask)
