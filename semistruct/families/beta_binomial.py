"""The beta-binomial distribution: successes in trials whose probability varies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.families._arithmetic import stirling_error, weighted_mean
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.binomial import check_trials, log_choose, successes
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.supports import Support
from semistruct.links import Link, Log, Logit, bounded_exp, resolve_link

__all__ = ["BetaBinomial"]


@dataclass(frozen=True, repr=False)
class BetaBinomial(AutodiffFamily):
    """The number of successes in ``trials`` trials whose probability is a beta variable.

    Parameters
    ----------
    trials : int, default=2
        Number of trials, the same for every row. One trial says nothing of the dispersion.
    probability_link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of the mean probability; the dispersion has a log link.

    Raises
    ------
    SpecificationError
        If ``trials`` is not a positive whole number.

    Notes
    -----
    The beta shapes are ``a = probability / dispersion`` and ``b = (1 - probability) / dispersion``.
    Mean ``trials p``, variance ``trials p (1 - p) (1 + (trials - 1) dispersion / (1 +
    dispersion))``. The binomial limit of a small dispersion is computed without cancellation.
    Distribution function and quantiles are sums over ``0 ... trials``.

    References
    ----------
    Williams (1975), Biometrics 31, 949-952.
    """

    trials: int = 2
    probability_link: str | Link = "logit"

    param_names = ("probability", "dispersion")
    kernel_links = (Logit(), Log())
    discrete = True

    def __post_init__(self) -> None:
        check_trials(self.trials)
        self._choose_link("probability_link", ("logit", "probit", "cloglog"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.probability_link), Log())

    @property
    def response(self) -> Support:  # type: ignore[override]
        return successes(self.trials)

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        logit, log_dispersion = omega.unbind(-1)
        # Below this it is the binomial distribution to the last digit.
        log_dispersion = log_dispersion.clamp(min=2 * math.log(torch.finfo(omega.dtype).eps))
        log_chance, log_rest = logsigmoid(logit), logsigmoid(-logit)
        total = torch.full_like(y, float(self.trials))
        rising = (
            _log_rising(log_chance - log_dispersion, y)
            + _log_rising(log_rest - log_dispersion, total - y)
            - _log_rising(-log_dispersion, total)
        )
        chances = y * log_chance + (total - y) * log_rest
        return log_choose(self.trials, y) + chances + rising

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        half = 0.5 / (self.trials * weight.sum())
        share = weighted_mean(y, weight) / self.trials
        chance = torch.minimum(torch.maximum(share, half), 1 - half)
        binomial = self.trials * chance * (1 - chance)
        variance = weighted_mean((y - self.trials * chance) ** 2, weight)
        # The correlation of two trials of one row
        correlation = ((variance / binomial - 1) / max(self.trials - 1, 1)).clamp(0.01, 0.9)
        return torch.stack([chance, correlation / (1 - correlation)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        chance, dispersion = self.theta(eta).unbind(-1)
        mean = self.trials * chance
        excess = 1 + (self.trials - 1) * dispersion / (1 + dispersion)
        return RowDistribution(self, eta, mean, mean * (1 - chance) * excess)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        below = self._cumulative(self.theta(eta))
        shape = torch.broadcast_shapes(below.shape[:-1], y.shape)
        index = y.expand(shape).floor().clamp(0, self.trials).long()[..., None]
        inside = below.expand(*shape, -1).gather(-1, index)[..., 0]
        return torch.where(y.expand(shape) < 0, torch.zeros_like(inside), inside)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        below = self._cumulative(theta)[..., :-1]
        return (below < q[..., None]).sum(-1).to(theta)

    def _cumulative(self, theta: Tensor) -> Tensor:
        """``P(Y <= k)`` for ``k = 0 ... trials``, ``(..., trials + 1)``."""
        columns = zip(theta.unbind(-1), self.kernel_links, strict=True)
        omega = torch.stack([link.forward(column) for column, link in columns], dim=-1)
        counts = torch.arange(self.trials + 1, device=theta.device).to(theta)
        mass = self.log_density(omega[..., None, :], counts).exp()
        return (mass.cumsum(-1) / mass.sum(-1, keepdim=True)).clamp(max=1.0)


def _log_rising(log_a: Tensor, y: Tensor) -> Tensor:
    """``log(a (a + 1) ... (a + y - 1) / a^y)`` at ``a = exp(log_a)``, by Stirling's formula."""
    a = bounded_exp(log_a, 40.0)
    log_ratio = (y * bounded_exp(-log_a, 40.0)).log1p()
    return (y + a - 0.5) * log_ratio - y + stirling_error(y + a) - stirling_error(a)
