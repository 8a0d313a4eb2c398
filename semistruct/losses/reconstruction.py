"""How well inputs are rebuilt from latent features: each from its own, or from the others'."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from semistruct.exceptions import DataError

__all__ = ["cross_reconstruction_loss", "reconstruction_loss"]

Decoder = Callable[[Tensor], Tensor]


def reconstruction_loss(
    inputs: Mapping[str, Tensor],
    latents: Mapping[str, Tensor],
    decoders: Mapping[str, Decoder],
    present: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Sum over modalities of the mean squared error of rebuilding each from its own features.

    Parameters
    ----------
    inputs : mapping of str to (b, *shape) tensors
        What is to be rebuilt, on one scale (standardise it).
    latents : mapping of str to (b, d) tensors
    decoders : mapping of str to callables
        From latent features ``(b, d)`` to ``(b, *shape)``.
    present : mapping of str to (b,) bool tensors, optional
        Rows that have the modality; the others take no part, whatever they hold.

    Returns
    -------
    scalar tensor

    References
    ----------
    Tong, L., Mitchel, J., Chatlin, K. and Wang, M. D. (2020). Deep learning based feature-level
    integration of multi-omics data for breast cancer patients survival analysis. BMC Medical
    Informatics and Decision Making 20, 225 (ConcatAE).
    """
    return _total([(name, name) for name in inputs], inputs, latents, decoders, present)


def cross_reconstruction_loss(
    inputs: Mapping[str, Tensor],
    latents: Mapping[str, Tensor],
    decoders: Mapping[str, Decoder],
    present: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The same for rebuilding each modality from the features of every other one (CrossAE).

    All latent features need one dimension. A row counts for a pair that it has both of.
    """
    pairs = [(source, target) for source in latents for target in inputs if source != target]
    return _total(pairs, inputs, latents, decoders, present)


def _total(
    pairs: list[tuple[str, str]],
    inputs: Mapping[str, Tensor],
    latents: Mapping[str, Tensor],
    decoders: Mapping[str, Decoder],
    present: Mapping[str, Tensor] | None,
) -> Tensor:
    """Sum of mean squared errors of rebuilding targets from sources."""
    first = next(iter(latents.values()))
    total = torch.zeros((), dtype=first.dtype, device=first.device)
    for source, target in pairs:
        latent, wanted = latents[source], inputs[target]
        if present is not None:
            here = present[source] & present[target]
            latent, wanted = latent[here], wanted[here]
        if not len(latent):
            continue
        rebuilt = decoders[target](latent)
        if rebuilt.shape != wanted.shape:
            raise DataError(
                f"the decoder of {target!r} returns shape {tuple(rebuilt.shape)} where "
                f"{tuple(wanted.shape)} is to be rebuilt."
            )
        total = total + (rebuilt - wanted.to(rebuilt.dtype)).square().mean()
    return total
