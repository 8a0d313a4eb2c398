"""What a network is given: the inputs of some rows, and which of them exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from semistruct.modalities import Modality

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """Inputs of some rows.

    Attributes
    ----------
    inputs : mapping of str to (b, *shape) tensors
    present : mapping of str to (b,) bool tensors
        Which rows have the modality.
    masks : mapping of str to (b, length) bool tensors
        For inputs whose rows differ in length: which elements exist.
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    masks: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        modalities: Mapping[str, Modality],
        rows: np.ndarray,
        device: torch.device | str = "cpu",
    ) -> Batch:
        """The given rows of every modality on ``device``."""
        inputs = {name: modality.batch(rows, device) for name, modality in modalities.items()}
        present = {
            name: torch.from_numpy(modality.present[rows]).to(device)
            for name, modality in modalities.items()
        }
        masks = {name: modality.mask(rows, device) for name, modality in modalities.items()}
        return cls(inputs, present, {k: mask for k, mask in masks.items() if mask is not None})
