"""Symmetric contrastive loss: to find which picture belongs to which row of the table."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from semistruct.exceptions import DataError, SpecificationError

__all__ = ["contrastive_loss", "corrupted"]


def contrastive_loss(
    first: Tensor,
    second: Tensor,
    log_scale: Tensor | float = 0.0,
    *,
    present: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of finding each row's partner among all rows, in both directions.

    With ``s_ij = exp(log_scale) cos(first_i, second_j)``, the mean of ``-log softmax_j(s_ij)`` at
    ``j = i`` and of ``-log softmax_j(s_ji)`` at ``j = i``.

    Parameters
    ----------
    first, second : (n, d) tensors
        Latent features of two views of the same subjects.
    log_scale : scalar tensor or float
        Minus the logarithm of the temperature; give a parameter for it to be learned.
    present : (n,) bool tensor, optional
        Rows that have both views; the others are neither partners nor alternatives.

    Returns
    -------
    scalar tensor
        Zero with zero gradient where fewer than two rows have both views.

    Raises
    ------
    DataError
        If the views differ in shape.

    References
    ----------
    Hager, P., Menten, M. J. and Rueckert, D. (2023). Best of both worlds: multimodal contrastive
    learning with tabular and imaging data. CVPR, equation (1). Radford, A. et al. (2021). Learning
    transferable visual models from natural language supervision. ICML, figure 3.
    """
    if first.ndim != 2 or first.shape != second.shape:
        raise DataError(
            "a contrastive loss needs two views of one shape (n, d), got "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    if present is not None:
        first, second = first[present], second[present]
    if len(first) < 2:
        return (first.sum() + second.sum()) * 0.0
    scale = torch.as_tensor(log_scale, dtype=first.dtype, device=first.device).exp()
    similarity = scale * normalize(first, dim=1) @ normalize(second, dim=1).mT
    partner = torch.arange(len(first), device=first.device)
    return (cross_entropy(similarity, partner) + cross_entropy(similarity.mT, partner)) / 2


def corrupted(
    x: Tensor,
    share: float,
    generator: torch.Generator | None = None,
    *,
    pool: Tensor | None = None,
    variables: Tensor | None = None,
) -> Tensor:
    """Rows in which a random share of the entries comes from other rows.

    Parameters
    ----------
    x : (n, p) tensor
    share : float
        Probability that an entry is replaced by that of a random row, column by column.
    generator : torch.Generator, optional
    pool : (m, p) tensor, optional
        Rows to draw from; by default those of ``x``.
    variables : (p,) tensor of whole numbers, optional
        Columns with one number are replaced together, from one row: the indicators of a factor.

    Raises
    ------
    SpecificationError
        If the share is no probability.

    References
    ----------
    Bahri, D., Jiang, H., Tay, Y. and Metzler, D. (2022). SCARF: self-supervised contrastive
    learning using random feature corruption. ICLR, algorithm 1.
    """
    if not 0 <= share <= 1:
        raise SpecificationError(f"the share of corrupted entries is in [0, 1], got {share}.")
    if not len(x):
        return x
    source = x if pool is None else pool
    width = x.shape[1] if variables is None else int(variables.max()) + 1
    shape = (len(x), width)
    donors = torch.randint(len(source), shape, generator=generator, device=x.device)
    replaced = torch.rand(shape, generator=generator, device=x.device) < share
    if variables is not None:
        donors, replaced = donors[:, variables], replaced[:, variables]
    return torch.where(replaced, source.gather(0, donors), x)
