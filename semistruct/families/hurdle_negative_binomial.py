"""The hurdle negative binomial distribution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families._counts import negative_binomial_log_mass, negative_binomial_log_zero
from semistruct.families._hurdle import Hurdle
from semistruct.links import Log, Logit

__all__ = ["HurdleNegativeBinomial"]


@dataclass(frozen=True, repr=False)
class HurdleNegativeBinomial(Hurdle):
    """Counts that are positive with probability ``presence``, and then truncated NB2.

    Parameters
    ----------
    presence_link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of the probability of a positive count; mean and dispersion have log links.

    Notes
    -----
    ``mean`` and ``dispersion`` are those of the negative binomial distribution before its zeros
    are taken out, of variance ``mean + dispersion mean^2`` and ``P(0) = (1 + dispersion
    mean)^(-1 / dispersion)``. The mean of the response is ``presence mean / (1 - P(0))``.

    References
    ----------
    Mullahy (1986), Journal of Econometrics 33, 341-365.
    """

    param_names = ("mean", "dispersion", "presence")
    kernel_links = (Log(), Log(), Logit())

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        presence = self.initial_presence(y, weight)
        mean = (weighted_mean(y, weight) / presence - 0.5).clamp(min=0.1)
        return torch.stack([mean, torch.full_like(mean, 0.5), presence])

    def count_log_mass(self, omega: Tensor, y: Tensor) -> Tensor:
        return negative_binomial_log_mass(omega[..., 0], omega[..., 1], y)

    def count_log_zero(self, omega: Tensor) -> Tensor:
        return negative_binomial_log_zero(omega[..., 0], omega[..., 1])

    def count_excess(self, theta: Tensor) -> Tensor:
        mean, dispersion = theta.unbind(-1)
        return mean * (1 + dispersion)

    def count_chance(self, theta: Tensor) -> Tensor:
        mean, dispersion = theta.unbind(-1)
        return -torch.expm1(-(dispersion * mean).log1p() / dispersion)

    def count_tail(self, theta: Tensor, y: Tensor) -> Tensor:
        return elementwise(stats.nbinom.sf, y, *_as_scipy(theta))

    def count_inverse_tail(self, theta: Tensor, q: Tensor) -> Tensor:
        return elementwise(stats.nbinom.isf, q, *_as_scipy(theta))


def _as_scipy(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Number and probability of successes."""
    mean, dispersion = theta.unbind(-1)
    return 1 / dispersion, 1 / (1 + dispersion * mean)
