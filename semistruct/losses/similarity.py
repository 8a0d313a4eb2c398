"""Features of one subject should be nearer to each other than to those of other subjects."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from semistruct.exceptions import DataError

__all__ = ["similarity_loss"]


def similarity_loss(
    latents: Mapping[str, Tensor],
    present: Mapping[str, Tensor] | None = None,
    *,
    margin: float = 0.1,
) -> Tensor:
    """Mean hinge over subjects ``i != j`` and modalities ``m != l`` that both subjects have.

    ``max(0, margin - s(h_m(i), h_l(i)) + s(h_m(i), h_l(j)))`` with cosine similarity ``s``; subject
    i needs m and l, subject j needs l.

    Parameters
    ----------
    latents : mapping of str to (b, d) tensors
        Of one dimension.
    present : mapping of str to (b,) bool tensors, optional
        Rows that have the modality; the others take no part, whatever they hold.
    margin : float

    Returns
    -------
    scalar tensor
        Zero with zero gradient where there is no such pair.

    Raises
    ------
    DataError
        If the features differ in dimension.

    References
    ----------
    Cheerla, A. and Gevaert, O. (2019). Deep learning with multimodal representation for pancancer
    prognosis prediction. Bioinformatics 35, i446-i454, section 2.4 (the sum of such terms).
    """
    shapes = {tuple(latent.shape) for latent in latents.values()}
    if len(shapes) > 1:
        raise DataError(
            f"a similarity loss needs features of one shape (b, d), got {sorted(shapes)}."
        )
    first = next(iter(latents.values()))
    n = len(first)
    if present is None:
        present = {name: torch.ones(n, dtype=torch.bool, device=first.device) for name in latents}
    # Absent rows are zeroed before they are normalised: NaN times a zero gradient is NaN.
    unit = {
        name: normalize(latent.masked_fill(~present[name][:, None], 0.0), dim=1)
        for name, latent in latents.items()
    }
    total, count = first.new_zeros(()), first.new_zeros(())
    apart = ~torch.eye(n, dtype=torch.bool, device=first.device)
    for m, other in permutations(latents, 2):
        s = unit[m] @ unit[other].mT
        hinge = (margin - s.diagonal()[:, None] + s).clamp(min=0)
        counted = apart & (present[m] & present[other])[:, None] & present[other]
        total = total + hinge.masked_fill(~counted, 0.0).sum()
        count = count + counted.sum()
    return total / count.clamp(min=1)
