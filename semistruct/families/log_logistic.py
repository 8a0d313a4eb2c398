"""The log-logistic distribution: scale (the median) and shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import weighted_mean
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import POSITIVE
from semistruct.links import Log, bounded_exp

__all__ = ["LogLogistic"]


@dataclass(frozen=True, repr=False)
class LogLogistic(AutodiffFamily):
    """Positive response whose logarithm is logistic; its odds of survival are a power of time.

    Notes
    -----
    ``S(y) = 1 / (1 + (y / scale)^shape)``; median ``scale``, mean
    ``scale (pi / shape) / sin(pi / shape)`` for ``shape > 1``, variance finite for ``shape > 2``.
    A predictor of the log scale is an accelerated failure time model; with a constant shape it is
    also a proportional odds model.

    References
    ----------
    Kalbfleisch and Prentice (2002), section 2.2.6. Bennett (1983), Applied Statistics 32, 165-171.
    """

    param_names = ("scale", "shape")
    kernel_links = (Log(), Log())
    links = (Log(), Log())
    response = POSITIVE

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        z = _standard(omega, y)
        return omega[..., 1] - y.log() + logsigmoid(z) + logsigmoid(-z)

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        z = _standard(omega, y)
        return logsigmoid(z), logsigmoid(-z)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        z = y.log()
        mean = weighted_mean(z, weight)
        spread = weighted_mean((z - mean) ** 2, weight).sqrt() * math.sqrt(3) / math.pi
        return torch.stack([mean.exp(), spread.clamp(min=1e-6).reciprocal()])

    def distribution(self, eta: Tensor) -> RowDistribution:
        scale, shape = self.theta(eta).unbind(-1)
        infinite = torch.full_like(shape, math.inf)
        angle = math.pi / shape
        mean = scale * angle / angle.sin()
        square = scale**2 * 2 * angle / (2 * angle).sin()
        return RowDistribution(
            self,
            eta,
            torch.where(shape > 1, mean, infinite),
            torch.where(shape > 2, square - mean**2, infinite),
        )

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        scale, shape = self.theta(eta).unbind(-1)
        return (shape * (y.clamp(min=0).log() - scale.log())).sigmoid()

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        scale, shape = theta.unbind(-1)
        return scale * ((q.log() - (-q).log1p()) / shape).exp()


def _standard(omega: Tensor, y: Tensor) -> Tensor:
    """``shape (log y - log scale)``, the logit of the distribution function."""
    log_scale, log_shape = omega.unbind(-1)
    return bounded_exp(log_shape, 40.0) * (y.log() - log_scale)
