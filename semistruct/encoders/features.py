"""Features that are already computed, taken as latent features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from semistruct.encoders.base import Encoder
from semistruct.encoders.standardization import InputStandardization
from semistruct.exceptions import SpecificationError

__all__ = ["FeatureEncoder"]


class FeatureEncoder(Encoder):
    """Standardised inputs as latent features; nothing to train.

    Used for the features of a frozen network: what is left to learn is the linear layer on top,
    which a penalised least-squares fit finds exactly.

    Parameters
    ----------
    in_shape : (d,)
        Number of features.

    Examples
    --------
    >>> FeatureEncoder((1280,)).latent_dim
    1280
    """

    def __init__(self, in_shape: Sequence[int], random_state: int | None = None) -> None:
        super().__init__()
        if len(in_shape) != 1:
            raise SpecificationError(f"features must be one row of numbers, got {tuple(in_shape)}.")
        self.in_shape = (int(in_shape[0]),)
        self.latent_dim = int(in_shape[0])
        self.standardization = InputStandardization(self.latent_dim)

    def learn_inputs(self, sample: Tensor, mask: Tensor | None = None) -> None:
        """Learn mean and standard deviation of every feature."""
        self.standardization.fit(sample)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Standardised features ``(b, d)``; ``mask`` is unused."""
        return self.standardization(x)
