"""Counts whose zeros have a process of their own: what the hurdle families share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import weighted_mean
from semistruct.families._counts import log_one_minus_exp
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import COUNTS
from semistruct.links import Link, resolve_link

__all__ = ["Hurdle"]


@dataclass(frozen=True, repr=False)
class Hurdle(AutodiffFamily):
    """Counts that are positive with probability ``presence``, and then a zero-truncated count.

    ``P(0) = 1 - p`` and ``P(y) = p f(y) / (1 - f(0))`` for ``y > 0``, with ``p = presence``, which
    is the last parameter, and the mass ``f`` of the count, which a subclass describes by the
    others: what the ``count_...`` methods get is without the presence.
    """

    presence_link: str | Link = "logit"

    discrete = True
    response = COUNTS

    def __post_init__(self) -> None:
        self._choose_link("presence_link", ("logit", "probit", "cloglog"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (*self.kernel_links[:-1], resolve_link(self.presence_link))

    @abstractmethod
    def count_log_mass(self, omega: Tensor, y: Tensor) -> Tensor:
        """``log f(y)``."""

    @abstractmethod
    def count_log_zero(self, omega: Tensor) -> Tensor:
        """``log(-log f(0))``."""

    @abstractmethod
    def count_excess(self, theta: Tensor) -> Tensor:
        """``E[Y (Y - 1)] / E[Y]`` of the count; its first parameter is ``E[Y]``."""

    @abstractmethod
    def count_chance(self, theta: Tensor) -> Tensor:
        """``1 - f(0)``."""

    @abstractmethod
    def count_tail(self, theta: Tensor, y: Tensor) -> Tensor:
        """``P(Y > y)`` of the count."""

    @abstractmethod
    def count_inverse_tail(self, theta: Tensor, q: Tensor) -> Tensor:
        """The smallest count with ``P(Y > y) <= q``."""

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        count, logit = omega[..., :-1], omega[..., -1]
        truncated = self.count_log_mass(count, y) - log_one_minus_exp(self.count_log_zero(count))
        return torch.where(y == 0, logsigmoid(-logit), logsigmoid(logit) + truncated)

    def distribution(self, eta: Tensor) -> RowDistribution:
        count, presence = self._split(self.theta(eta))
        mean = presence * count[..., 0] / self.count_chance(count)
        return RowDistribution(self, eta, mean, mean * (1 + self.count_excess(count) - mean))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        count, presence = self._split(self.theta(eta))
        above = self.count_tail(count, y.clamp(min=0)) / self.count_chance(count)
        inside = 1 - presence * above
        return torch.where(y < 0, torch.zeros_like(inside), inside)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        parameters, presence = self._split(theta)
        above = (1 - q) / presence * self.count_chance(parameters)
        count = self.count_inverse_tail(parameters, above.clamp(max=1.0)).clamp(min=1.0)
        return torch.where(q <= 1 - presence, torch.zeros_like(count), count)

    @staticmethod
    def initial_presence(y: Tensor, weight: Tensor) -> Tensor:
        """Share of positive counts, inside its domain."""
        half = 0.5 / weight.sum()
        presence = weighted_mean((y > 0).to(y), weight)
        return torch.minimum(torch.maximum(presence, half), 1 - half)

    @staticmethod
    def _split(theta: Tensor) -> tuple[Tensor, Tensor]:
        return theta[..., :-1], theta[..., -1]
