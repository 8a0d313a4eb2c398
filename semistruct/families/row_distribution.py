"""A torch distribution made from a family, for those torch has no class of."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from semistruct.families.base import Family

__all__ = ["RowDistribution"]


class RowDistribution(Distribution):
    """The predictive distributions of the rows of ``eta``, through the family's own functions.

    Parameters
    ----------
    family : Family
        Supplies density, distribution function and quantiles.
    eta : (..., n, K) Tensor
        Predictors.
    mean, variance : (..., n) Tensor
        Moments; NaN or infinite where they do not exist.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    has_rsample = False

    def __init__(self, family: Family, eta: Tensor, mean: Tensor, variance: Tensor) -> None:
        self.family = family
        self.eta = eta
        self._mean = mean
        self._variance = variance
        super().__init__(batch_shape=eta.shape[:-1], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def variance(self) -> Tensor:
        return self._variance

    def log_prob(self, value: Tensor) -> Tensor:
        return self.family.contributions(self.eta, value)

    def cdf(self, value: Tensor) -> Tensor:
        return self.family.cdf(self.eta, value)

    def icdf(self, value: Tensor) -> Tensor:
        return self.family.quantile(self.eta, value)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws by inversion, from torch's global generator as every torch distribution."""
        levels = torch.rand(
            (*sample_shape, *self.batch_shape), dtype=torch.float64, device=self.eta.device
        )
        return self.icdf(levels.clamp(2.0**-54, 1 - 2.0**-53)).to(self.eta.dtype)
