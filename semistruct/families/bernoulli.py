"""The Bernoulli distribution: probability of a one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import weighted_mean
from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import BINARY
from semistruct.links import Link, Logit, resolve_link

__all__ = ["Bernoulli"]


@dataclass(frozen=True, repr=False)
class Bernoulli(SeparableFamily):
    """Zeros and ones; a one has probability ``probability``.

    Parameters
    ----------
    link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of the probability.

    Notes
    -----
    Mean ``p``, variance ``p (1 - p)``. Everything is computed from the logit, so that a probability
    that rounds to 0 or 1 still has the right likelihood and score.
    """

    link: str | Link = "logit"

    param_names = ("probability",)
    kernel_links = (Logit(),)
    discrete = True
    response = BINARY

    def __post_init__(self) -> None:
        self._choose_link("link", ("logit", "probit", "cloglog"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.link),)

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        logit = omega[..., 0]
        return y * logsigmoid(logit) + (1 - y) * logsigmoid(-logit)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        one = y[..., None]
        return one * (-omega).sigmoid() - (1 - one) * omega.sigmoid()

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        return (omega.sigmoid() * (-omega).sigmoid())[..., None]

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        # All zeros or all ones: half an observation of the other kind keeps the start inside.
        half = 0.5 / (weight.sum() + 1)
        share = weighted_mean(y, weight)
        return torch.minimum(torch.maximum(share, half), 1 - half)[None]

    def distribution(self, eta: Tensor) -> torch.distributions.Bernoulli:
        logits = self.kernel_eta(eta)[..., 0]
        return torch.distributions.Bernoulli(logits=logits, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        zero = (-self.kernel_eta(eta)[..., 0]).sigmoid()
        y, zero = torch.broadcast_tensors(y, zero)
        certain = torch.where(y < 0, torch.zeros_like(zero), torch.ones_like(zero))
        return torch.where((y >= 0) & (y < 1), zero, certain)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        zero = (-self.kernel_eta(eta)[..., 0]).sigmoid()
        return (q > zero).to(zero.dtype)
