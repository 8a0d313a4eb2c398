"""The binomial distribution: successes in a known number of trials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.exceptions import SpecificationError
from semistruct.families._arithmetic import elementwise, weighted_mean
from semistruct.families.base import CurvatureKind
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import Support
from semistruct.links import Link, Logit, resolve_link

__all__ = ["Binomial", "check_trials", "log_choose", "successes"]


@dataclass(frozen=True, repr=False)
class Binomial(SeparableFamily):
    """The number of successes in ``trials`` independent trials of one ``probability``.

    Parameters
    ----------
    trials : int, default=1
        Number of trials, the same for every row; one is Bernoulli's distribution.
    link : {"logit", "probit", "cloglog"} or Link, default="logit"
        Link of the probability.

    Raises
    ------
    SpecificationError
        If ``trials`` is not a positive whole number.

    Notes
    -----
    ``P(y) = C(trials, y) p^y (1 - p)^(trials - y)``; mean ``trials p``, variance
    ``trials p (1 - p)``.

    References
    ----------
    McCullagh and Nelder (1989), section 4.2.

    Examples
    --------
    >>> Binomial(trials=12).support
    'whole numbers from 0 to 12'
    """

    trials: int = 1
    link: str | Link = "logit"

    param_names = ("probability",)
    kernel_links = (Logit(),)
    discrete = True

    def __post_init__(self) -> None:
        check_trials(self.trials)
        self._choose_link("link", ("logit", "probit", "cloglog"))

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.link),)

    @property
    def response(self) -> Support:  # type: ignore[override]
        return successes(self.trials)

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        logit = omega[..., 0]
        chances = y * logsigmoid(logit) + (self.trials - y) * logsigmoid(-logit)
        return log_choose(self.trials, y) + chances

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        logit = omega[..., 0]
        return (y * (-logit).sigmoid() - (self.trials - y) * logit.sigmoid())[..., None]

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        logit = omega[..., 0]
        w = self.trials * logit.sigmoid() * (-logit).sigmoid()
        return w.expand(torch.broadcast_shapes(w.shape, y.shape))[..., None, None]

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        half = 0.5 / (self.trials * weight.sum())
        share = weighted_mean(y, weight) / self.trials
        return torch.minimum(torch.maximum(share, half), 1 - half)[None]

    def distribution(self, eta: Tensor) -> RowDistribution:
        chance = self._chance(eta)
        mean = self.trials * chance
        return RowDistribution(self, eta, mean, mean * (1 - chance))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        return elementwise(lambda p, k: stats.binom.cdf(k, self.trials, p), self._chance(eta), y)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        return elementwise(
            lambda p, level: stats.binom.ppf(level, self.trials, p), self._chance(eta), q
        )

    def _chance(self, eta: Tensor) -> Tensor:
        return self.theta(eta)[..., 0]


def check_trials(trials: int) -> None:
    """Refuse a number of trials that is not a positive whole number."""
    whole = isinstance(trials, int | np.integer) and not isinstance(trials, bool)
    if not whole or trials < 1:
        raise SpecificationError(
            f"trials must be a positive whole number, the same for every row, got {trials!r}."
        )


def successes(trials: int) -> Support:
    """The whole numbers from 0 to ``trials``."""
    return Support(
        f"whole numbers from 0 to {trials}",
        lambda y: (y >= 0) & (y <= trials) & (y == np.floor(y)),
        "The number of trials is the family's option trials.",
    )


def log_choose(trials: int, y: Tensor) -> Tensor:
    """``log C(trials, y)``."""
    total = torch.lgamma(torch.tensor(trials + 1.0, dtype=torch.float64)).item()
    return total - torch.lgamma(y + 1) - torch.lgamma(trials - y + 1)
