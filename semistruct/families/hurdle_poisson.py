"""The hurdle Poisson distribution: rate of the positive counts and probability of one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._counts import poisson_log_mass
from semistruct.families._hurdle import Hurdle
from semistruct.links import Log, Logit

__all__ = ["HurdlePoisson"]


@dataclass(frozen=True, repr=False)
class HurdlePoisson(Hurdle):
    """Counts that are positive with probability ``presence``, and then zero-truncated Poisson.

    Parameters
    ----------
    presence_link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of the probability of a positive count; the rate has a log link.

    Notes
    -----
    ``P(0) = 1 - p`` and ``P(y) = p rate^y exp(-rate) / (y! (1 - exp(-rate)))`` for ``y > 0``, with
    ``p = presence``. Unlike with zero inflation, zeros may be fewer than Poisson's, and the two
    predictors separate: each has the fit it would have alone. ``rate`` is the mean before the
    truncation; the mean of the response is ``p rate / (1 - exp(-rate))``.

    References
    ----------
    Mullahy (1986), Journal of Econometrics 33, 341-365.
    """

    param_names = ("rate", "presence")
    kernel_links = (Log(), Logit())

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = torch.maximum(weighted_mean(y, weight), 0.5 / weight.sum())
        # Of the positive counts the factorial moment E[y (y - 1)] / E[y] is the rate.
        rate = (weighted_mean(y * (y - 1), weight) / mean).clamp(min=0.01)
        return torch.stack([rate, self.initial_presence(y, weight)])

    def count_log_mass(self, omega: Tensor, y: Tensor) -> Tensor:
        return poisson_log_mass(omega[..., 0], y)

    def count_log_zero(self, omega: Tensor) -> Tensor:
        return omega[..., 0]

    def count_excess(self, theta: Tensor) -> Tensor:
        return theta[..., 0]

    def count_chance(self, theta: Tensor) -> Tensor:
        return -torch.expm1(-theta[..., 0])

    def count_tail(self, theta: Tensor, y: Tensor) -> Tensor:
        return elementwise(stats.poisson.sf, y, theta[..., 0])

    def count_inverse_tail(self, theta: Tensor, q: Tensor) -> Tensor:
        return elementwise(stats.poisson.isf, q, theta[..., 0])
