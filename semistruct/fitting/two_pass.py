"""The exact gradient of a loss over all rows, in the memory of a few of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from semistruct.encoders.randomness import random_states, restore_random_states

__all__ = ["two_pass_backward"]


def two_pass_backward(
    net: nn.Module,
    predict: Callable[[np.ndarray], Tensor],
    loss: Callable[[Tensor], Tensor],
    chunks: Sequence[np.ndarray],
    device: torch.device,
    again: Callable[[np.ndarray], tuple[Tensor, Tensor]] | None = None,
) -> Tensor:
    """Add the gradient of ``loss(predict(all rows))`` to every parameter.

    Parameters
    ----------
    net : Module
        Whose random numbers (dropout, augmentation) are the same in both passes.
    predict : callable
        From row numbers ``(c,)`` to predictors ``(c, K)``, differentiable in the parameters.
    loss : callable
        From the predictors ``(n, K)`` of all rows, in the order of the chunks, to a number that
        need not be a sum over rows: a partial likelihood.
    chunks : sequence of (c,) int arrays
    device : torch device
    again : callable, optional
        What is called in the second pass in place of ``predict``: from row numbers to the same
        predictors, and a scalar of these rows whose gradient is added.

    Returns
    -------
    Tensor
        The loss, detached.

    Notes
    -----
    First pass: predictors of all rows, without a graph. The gradient ``g`` of the loss in them is
    one backward pass through the loss alone. Second pass: ``sum_i g_i eta_i`` is back-propagated
    chunk by chunk, so that the graph of one chunk is in memory at a time. By the chain rule the
    sum of these is the gradient of the loss; every row is read twice.
    """
    before = []
    with torch.no_grad():
        pieces = []
        for rows in chunks:
            before.append(random_states(net, device))
            pieces.append(predict(rows))
        after = random_states(net, device)
    eta = torch.cat(pieces).requires_grad_()
    value = loss(eta)
    (slopes,) = torch.autograd.grad(value, eta)
    for rows, own, states in zip(
        chunks, slopes.split([len(piece) for piece in pieces]), before, strict=True
    ):
        restore_random_states(net, device, states)
        if again is None:
            (predict(rows) * own).sum().backward()
        else:
            found, aside = again(rows)
            ((found * own).sum() + aside).backward()
    restore_random_states(net, device, after)
    return value.detach()
