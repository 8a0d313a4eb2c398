"""Scaling of inputs learned from training rows and stored with the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semistruct.exceptions import DataError

__all__ = ["InputStandardization"]

_HELD_NUMBERS = 2**20


class InputStandardization(nn.Module):
    """``(x - mean) / std`` per channel, with ``mean`` and ``std`` learned once.

    Batches of pictures may travel as ``uint8``; they are divided by 255 and converted to the
    module's dtype here. Before :meth:`fit` the scaling is the identity.

    Parameters
    ----------
    n_channels : int
        Size of dimension 1 of the input: channels of a picture, features of a table.
    n_spatial : int
        Number of further dimensions: 2 for pictures, 0 for features.

    Attributes
    ----------
    mean, std : (n_channels, 1, ...) tensors
        Buffers. A channel that is constant in training keeps ``std`` 1.

    Examples
    --------
    >>> scale = InputStandardization(1, n_spatial=2)
    >>> scale.fit(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    >>> scale(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    tensor([[[[-1.,  1.]]]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_channels: int, n_spatial: int = 0) -> None:
        super().__init__()
        shape = (n_channels, *(1,) * n_spatial)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    @torch.no_grad()
    def fit(self, sample: Tensor) -> None:
        """Learn mean and standard deviation from ``sample`` of shape ``(m, n_channels, ...)``.

        Raises
        ------
        DataError
            If there are no rows, the shape is wrong or a value is not finite.
        """
        n_channels = self.mean.shape[0]
        if sample.ndim != 1 + self.mean.ndim or sample.shape[1] != n_channels or not len(sample):
            raise DataError(
                f"to learn the scaling, {n_channels} channels and at least one row are needed in "
                f"{1 + self.mean.ndim} dimensions; got shape {tuple(sample.shape)}."
            )
        # A few channels at a time, so that only these are ever held in float64.
        mean = torch.zeros(n_channels, dtype=torch.float64)
        std = torch.ones(n_channels, dtype=torch.float64)
        together = max(1, _HELD_NUMBERS // max(1, sample[:, 0].numel()))
        for start in range(0, n_channels, together):
            part = slice(start, start + together)
            values = _as_float(sample[:, part], torch.float64).transpose(0, 1).flatten(1)
            centre = values.mean(1)
            spread = (values - centre[:, None]).square_().mean(1).sqrt()
            wrong = (~torch.isfinite(spread)).nonzero()
            if len(wrong):
                raise DataError(
                    f"channel {start + int(wrong[0])} of the input has missing or infinite values."
                )
            mean[part] = centre
            varies = spread > 1e-7 * centre.abs().clamp_min(1.0)
            std[part] = torch.where(varies, spread, 1.0)
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.std.copy_(std.reshape(self.std.shape))

    def forward(self, x: Tensor) -> Tensor:
        """Scaled input, same shape, in the dtype of the module."""
        return (_as_float(x, self.mean.dtype) - self.mean) / self.std


def _as_float(x: Tensor, dtype: torch.dtype) -> Tensor:
    if x.dtype == torch.uint8:
        return x.to(dtype).div_(255)
    return x.to(dtype)
