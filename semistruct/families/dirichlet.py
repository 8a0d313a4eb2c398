"""The Dirichlet distribution of shares that add up to one: a concentration for each share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from semistruct.exceptions import DataError
from semistruct.families._arithmetic import (
    elementwise,
    log_minus_digamma,
    stirling_error,
    trigamma_excess,
    weighted_mean,
)
from semistruct.families._multivariate import MultivariateFamily, check_columns
from semistruct.families.base import CurvatureKind
from semistruct.links import Link, Log, bounded_exp

__all__ = ["Dirichlet"]

_LOG_2PI = math.log(2 * math.pi)
_CLOSURE = 1e-6  # how far from 1 the sum of written shares may be


@dataclass(frozen=True, repr=False)
class Dirichlet(MultivariateFamily):
    """Positive shares of a whole: a response of several columns that add up to one in each row.

    Parameters
    ----------
    components : int, default=3
        Number D of shares. The parameters are ``concentration_1`` to ``concentration_D``, each with
        a log link.

    Raises
    ------
    SpecificationError
        If ``components`` is not a whole number of at least 2.

    Notes
    -----
    ``f(y) = Gamma(a_0) / prod_j Gamma(a_j) prod_j y_j^(a_j - 1)`` with the concentrations ``a_j``
    and ``a_0 = sum_j a_j``: the density of the first ``D - 1`` shares. Share j has mean
    ``m_j = a_j / a_0`` and variance ``m_j (1 - m_j) / (1 + a_0)``; alone it is beta distributed,
    which is what ``cdf`` and ``quantile`` return, ``(..., n, D)``. Predictors act on the logarithms
    of the concentrations, so that a constant added to all of them changes the precision alone.
    Two components are the beta distribution.

    References
    ----------
    Hijazi and Jernigan (2009), Journal of Applied Probability and Statistics 4, 77-91.
    Maier (2014), Research Report 125, WU Vienna.

    Examples
    --------
    >>> Dirichlet(components=2).validate([[0.25, 0.75]])
    array([[0.25, 0.75]])
    """

    components: int = 3

    def __post_init__(self) -> None:
        check_columns("components", self.components, "Dirichlet(components=3)")

    @property
    def columns(self) -> int:
        return self.components

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"concentration_{j + 1}" for j in range(self.components))

    @property
    def kernel_links(self) -> tuple[Link, ...]:  # type: ignore[override]
        return (Log(),) * self.components

    @property
    def links(self) -> tuple[Link, ...]:
        return self.kernel_links

    @property
    def support(self) -> str:
        return "positive shares that add up to one"

    def _inside(self, values: np.ndarray) -> np.ndarray:
        wrong = np.argwhere(values <= 0)
        if wrong.size:
            row, column = wrong[0]
            raise DataError(
                f"the response is {values[row, column]} in row {row}, column {column}, but "
                f"Dirichlet needs {self.support}. A share of exactly 0 has no density; merge rare "
                "components or replace zeros before fitting."
            )
        total = values.sum(axis=1)
        open_rows = np.flatnonzero(np.abs(total - 1) > _CLOSURE)
        if open_rows.size:
            row = open_rows[0]
            raise DataError(
                f"the shares in row {row} add up to {total[row]:.8g} ({open_rows.size} rows in "
                f"all), but Dirichlet needs {self.support}. Divide each row by its sum."
            )
        return values / total[:, None]

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        whole, relative = _whole(omega)
        a = bounded_exp(omega, 40.0)
        divergence = (a * (relative - y.log())).sum(-1)
        errors = stirling_error(bounded_exp(whole, 40.0)) - stirling_error(a).sum(-1)
        constant = 0.5 * (omega.sum(-1) - whole - (omega.shape[-1] - 1) * _LOG_2PI)
        return constant + errors - divergence - y.log().sum(-1)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        whole, relative = _whole(omega)
        a = bounded_exp(omega, 40.0)
        common = relative.exp() * log_minus_digamma(bounded_exp(whole, 40.0))[..., None]
        return a * (y.log() - relative) + log_minus_digamma(a) - common

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        whole, relative = _whole(omega)
        a, total = bounded_exp(omega, 40.0), bounded_exp(whole, 40.0)
        share = relative.exp()
        own = a + trigamma_excess(a)  # a^2 trigamma(a)
        if kind == "observed":
            own = own - self.gradient(omega, y)
        common = (total + trigamma_excess(total))[..., None, None]
        return torch.diag_embed(own) - common * share[..., :, None] * share[..., None, :]

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        mean = torch.stack([weighted_mean(column, weight) for column in y.unbind(-1)])
        squares = ((y - mean) ** 2).unbind(-1)
        variance = torch.stack([weighted_mean(square, weight) for square in squares])
        precision = (mean * (1 - mean)).sum() / variance.sum().clamp(min=1e-12) - 1
        return (mean * precision.clamp(1e-2, 1e8)).clamp(min=1e-6)

    def distribution(self, eta: Tensor) -> torch.distributions.Dirichlet:
        return torch.distributions.Dirichlet(self.theta(eta), validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        a = self.theta(eta)
        rest = a.sum(-1, keepdim=True) - a
        return elementwise(special.betainc, a, rest, y.clamp(0, 1))

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        a = self.theta(eta)
        rest = a.sum(-1, keepdim=True) - a
        return elementwise(special.betaincinv, a, rest, q[..., None])

    def sample(self, eta: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(size, n, D)`` responses: gamma variables by inversion, divided by their sum."""
        a = self.theta(eta)
        grid = torch.randint(2**53, (size, *a.shape), generator=generator)
        levels = ((grid.double() + 0.5) / 2**53).clamp(max=1 - 2**-53).to(a.device)
        drawn = elementwise(special.gammaincinv, a, levels)
        drawn = drawn.clamp(min=torch.finfo(drawn.dtype).tiny ** 0.5)
        return (drawn / drawn.sum(-1, keepdim=True)).to(eta.dtype)


def _whole(omega: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm of the sum of concentrations ``(..., n)``, and of each one's share of it."""
    whole = torch.logsumexp(omega, dim=-1)
    return whole, omega - whole[..., None]
