"""The beta distribution with point masses at its ends: shares of which some are none or all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct._registry import lookup
from semistruct.families._arithmetic import weighted_mean
from semistruct.families.base import CurvatureKind
from semistruct.families.beta import Beta
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import Support
from semistruct.links import Link, Log, Logit, resolve_link

__all__ = ["ZeroOneInflatedBeta"]

_SUPPORTS = {
    "both": Support(
        "numbers from 0 to 1", lambda y: (y >= 0) & (y <= 1), "Divide percentages by 100."
    ),
    "zero": Support(
        "numbers from 0 to below 1",
        lambda y: (y >= 0) & (y < 1),
        "Shares of exactly 1 need inflated='both' or 'one'.",
    ),
    "one": Support(
        "numbers from above 0 to 1",
        lambda y: (y > 0) & (y <= 1),
        "Shares of exactly 0 need inflated='both' or 'zero'.",
    ),
}


@dataclass(frozen=True, repr=False)
class ZeroOneInflatedBeta(SeparableFamily):
    """Shares that are exactly 0 or 1 with probability ``inflation``, and else beta distributed.

    Parameters
    ----------
    inflated : {"both", "zero", "one"}, default="both"
        The ends with a point mass. With ``"both"`` a fourth parameter ``one`` is the probability
        that a share at one of the ends is 1.
    mean_link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of ``mean``, the mean of the shares strictly between 0 and 1. The precision has a log
        link, the probabilities have logit links.

    Raises
    ------
    SpecificationError
        If ``inflated`` is none of the three.

    Notes
    -----
    With ``p = inflation`` and ``o = one`` (1 for ``inflated="one"``, 0 for ``"zero"``),
    ``P(0) = p (1 - o)``, ``P(1) = p o``, and a share in between has the density ``1 - p`` times
    the beta density of ``mean`` and ``precision``. The mean of the response is
    ``p o + (1 - p) mean``. The likelihood is a product of three: which shares are at an end, which
    of those are 1, and how the others are distributed; their predictors have the fits they would
    have alone.

    References
    ----------
    Ospina and Ferrari (2010), Statistical Papers 51, 111-126.

    Examples
    --------
    >>> ZeroOneInflatedBeta().param_names
    ('mean', 'precision', 'inflation', 'one')
    >>> ZeroOneInflatedBeta(inflated="zero").param_names
    ('mean', 'precision', 'inflation')
    """

    inflated: Literal["both", "zero", "one"] = "both"
    mean_link: str | Link = "logit"

    def __post_init__(self) -> None:
        lookup(_SUPPORTS, self.inflated, "value of inflated")
        self._choose_link("mean_link", ("logit", "probit", "cloglog"))

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        names = ("mean", "precision", "inflation")
        return (*names, "one") if self.inflated == "both" else names

    @property
    def kernel_links(self) -> tuple[Link, ...]:  # type: ignore[override]
        return (Logit(), Log(), *[Logit()] * (len(self.param_names) - 2))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.mean_link), *self.kernel_links[1:])

    @property
    def response(self) -> Support:  # type: ignore[override]
        return _SUPPORTS[self.inflated]

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        inside, share = _interior(y)
        at_end = logsigmoid(omega[..., 2])
        if self.inflated == "both":
            at_end = at_end + logsigmoid(torch.where(y == 1, 1.0, -1.0) * omega[..., 3])
        between = logsigmoid(-omega[..., 2]) + Beta().log_density(omega[..., :2], share)
        return torch.where(inside, between, at_end)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        inside, share = _interior(y)
        beta = Beta().gradient(omega[..., :2], share)
        beta = torch.where(inside[..., None], beta, torch.zeros_like(beta))
        chances = omega[..., 2:].sigmoid()
        ends = [(~inside).to(omega) - chances[..., 0]]
        if self.inflated == "both":
            one = (y == 1).to(omega) - chances[..., 1]
            ends.append(torch.where(inside, torch.zeros_like(one), one))
        return torch.cat([beta, torch.stack(ends, dim=-1)], dim=-1)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        inside, share = _interior(y)
        beta = Beta().information(omega[..., :2], share, kind)
        spread = omega[..., 2:].sigmoid() * (-omega[..., 2:]).sigmoid()
        if kind == "expected":
            between, at_end = (-omega[..., 2]).sigmoid(), omega[..., 2].sigmoid()
        else:
            between, at_end = inside.to(omega), (~inside).to(omega)
        K = omega.shape[-1]
        w = omega.new_zeros(*torch.broadcast_shapes(omega.shape[:-1], y.shape), K, K)
        present = between[..., None, None]
        w[..., :2, :2] = torch.where(present > 0, present * beta, torch.zeros_like(beta))
        w[..., 2, 2] = spread[..., 0]
        if self.inflated == "both":
            w[..., 3, 3] = at_end * spread[..., 1]
        return w

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        inside, share = _interior(y)
        total = weight.sum()
        within = weight * inside
        # Half an observation of the kind that is absent keeps its predictor finite.
        if within.sum() > 0:
            mean, precision = Beta().initial_theta(share, within)
        else:
            mean, precision = share[0], torch.ones_like(total)
        at_end = total - within.sum()
        inflation = (at_end / total).clamp(0.5 / (total + 1), 1 - 0.5 / (total + 1))
        theta = [mean, precision.clamp(max=1e6), inflation]
        if self.inflated == "both":
            ones = weighted_mean((y == 1).to(y), weight) * total
            theta.append((ones + 0.5) / (at_end + 1))
        return torch.stack(theta)

    def distribution(self, eta: Tensor) -> RowDistribution:
        mean, precision = self.theta(eta)[..., :2].unbind(-1)
        zero, one = self._masses(eta)
        between = 1 - zero - one
        whole = between * mean + one
        square = between * (mean * (1 - mean) / (1 + precision) + mean**2) + one
        return RowDistribution(self, eta, whole, square - whole**2)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        zero, one = self._masses(eta)
        inside = zero + (1 - zero - one) * self._beta.cdf(eta[..., :2], y)
        inside = torch.where(y < 0, torch.zeros_like(inside), inside)
        return torch.where(y >= 1, torch.ones_like(inside), inside)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        zero, one = self._masses(eta)
        edges = torch.finfo(torch.promote_types(eta.dtype, q.dtype))
        level = ((q - zero) / (1 - zero - one)).clamp(edges.tiny, 1 - edges.eps / 2)
        share = self._beta.quantile(eta[..., :2], level)
        share = torch.where(q <= zero, torch.zeros_like(share), share)
        return torch.where(q > 1 - one, torch.ones_like(share), share)

    @property
    def _beta(self) -> Beta:
        return Beta(mean_link=self.mean_link)

    def _masses(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """``P(0)`` and ``P(1)``, each ``(..., n)``."""
        inflation = eta[..., 2].sigmoid()
        if self.inflated == "both":
            return inflation * (-eta[..., 3]).sigmoid(), inflation * eta[..., 3].sigmoid()
        none = torch.zeros_like(inflation)
        return (inflation, none) if self.inflated == "zero" else (none, inflation)


def _interior(y: Tensor) -> tuple[Tensor, Tensor]:
    """Which shares are strictly between 0 and 1, and the shares with one half for the others."""
    inside = (y > 0) & (y < 1)
    return inside, torch.where(inside, y, torch.full_like(y, 0.5))
