"""The Tweedie distribution with exact zeros: mean, dispersion and the power of the variance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.exceptions import SpecificationError
from semistruct.families._arithmetic import symmetric, weighted_mean
from semistruct.families._compound_poisson import (
    compound_cdf,
    compound_log_density,
    compound_moments,
    compound_nodes,
    compound_quantile,
)
from semistruct.families.base import CurvatureKind
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import Support
from semistruct.links import Link, Log, Logit, bounded_exp, resolve_link

__all__ = ["PowerLogit", "Tweedie"]

_NON_NEGATIVE = Support(
    "non-negative numbers",
    lambda y: y >= 0,
    "A response that may be negative has no power between 1 and 2.",
)


@dataclass(frozen=True, repr=False)
class PowerLogit(Link):
    """``eta = log((theta - 1) / (2 - theta))``, ``theta`` in (1, 2)."""

    name = "power_logit"

    def forward(self, theta: Tensor) -> Tensor:
        return (theta - 1).log() - (2 - theta).log()

    def inverse(self, eta: Tensor) -> Tensor:
        return 1 + eta.sigmoid()

    def derivative(self, eta: Tensor) -> Tensor:
        return Logit().derivative(eta)

    def second_derivative(self, eta: Tensor) -> Tensor:
        return Logit().second_derivative(eta)


@dataclass(frozen=True, repr=False)
class Tweedie(SeparableFamily):
    """Non-negative response with exact zeros and variance ``dispersion * mean^power``.

    Parameters
    ----------
    power : float or None, default=None
        The power of the variance, between 1 and 2. None makes it a third parameter ``power`` with
        a predictor of its own, on the scale ``log((power - 1) / (2 - power))``.
    mean_link : {"log", "identity"} or Link, default="log"
        Link of the mean; the dispersion has a log link.

    Raises
    ------
    SpecificationError
        If ``power`` is not strictly between 1 and 2.

    Notes
    -----
    The response is the sum of a Poisson number of gamma variables: rainfall, claims, catches. With
    ``p = power`` the number has mean ``lam = mean^(2 - p) / (dispersion (2 - p))``, each variable
    the shape ``a = (2 - p) / (p - 1)`` and the scale ``dispersion (p - 1) mean^(p - 1)``. Hence
    ``P(0) = exp(-lam)``, and the density of ``y > 0`` is a series over the number, summed around
    its largest term. Its derivatives are moments of the number given ``y``, so that they are as
    exact as the density. Near the powers 1 and 2 the distribution tends to Poisson's (on multiples
    of the dispersion) and to the gamma; the series has more terms there. The mean is orthogonal to
    the other two parameters, which are not orthogonal to each other.

    References
    ----------
    Jorgensen (1987), JRSS B 49, 127-162.
    Dunn and Smyth (2005), Statistics and Computing 15, 267-280: the series.

    Examples
    --------
    >>> Tweedie().param_names
    ('mean', 'dispersion', 'power')
    >>> Tweedie(power=1.5).param_names
    ('mean', 'dispersion')
    """

    power: float | None = None
    mean_link: str | Link = "log"

    def __post_init__(self) -> None:
        power = self.power
        if power is not None and not (
            isinstance(power, int | float) and not isinstance(power, bool) and 1 < power < 2
        ):
            raise SpecificationError(
                f"power must be a number strictly between 1 and 2, or None to estimate it, got "
                f"{power!r}. Power 1 is the Poisson family, 2 the gamma, 3 the inverse Gaussian."
            )
        self._choose_link("mean_link", ("log", "identity"))

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("mean", "dispersion") if self.power else ("mean", "dispersion", "power")

    @property
    def dispersion(self) -> tuple[str, int] | None:  # type: ignore[override]
        return ("dispersion", 1) if self.power else None

    @property
    def kernel_links(self) -> tuple[Link, ...]:  # type: ignore[override]
        return (Log(), Log()) if self.power else (Log(), Log(), PowerLogit())

    @property
    def links(self) -> tuple[Link, ...]:
        return (resolve_link(self.mean_link), *self.kernel_links[1:])

    @property
    def response(self) -> Support:  # type: ignore[override]
        return _NON_NEGATIVE

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        return compound_log_density(*self._compound(omega), y)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        first, _ = compound_moments(*self._compound(omega), y)
        slope, _ = self._chart(omega)
        return (first[..., None, :] @ slope)[..., 0, :]

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "expected":
            return self._expected(omega)
        first, second = compound_moments(*self._compound(omega), y)
        slope, bend = self._chart(omega)
        bent = (first[..., None, None] * bend).sum(-3)
        return -(slope.transpose(-1, -2) @ second @ slope + bent)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        total = weight.sum()
        mean = weighted_mean(y, weight).clamp(min=1e-6)
        variance = weighted_mean((y - mean) ** 2, weight)
        zeros = (weighted_mean((y == 0).to(y), weight) * total + 0.5) / (total + 1)
        # -log P(0) = mean^2 / (variance (2 - p)) by moments.
        rest = mean**2 / (variance.clamp(min=1e-12 * mean**2) * -zeros.log())
        power = 2 - rest.clamp(0.05, 0.95) if self.power is None else mean.new_tensor(self.power)
        dispersion = (variance / mean**power).clamp(min=1e-6 * mean ** (2 - power))
        return torch.stack([mean, dispersion, power][: len(self.param_names)])

    def distribution(self, eta: Tensor) -> RowDistribution:
        mean, dispersion, power = self._natural(eta)
        return RowDistribution(self, eta, mean, dispersion * mean**power)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        return compound_cdf(*self._rates(eta), y)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        return compound_quantile(*self._rates(eta), q)

    def _natural(self, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        theta = self.theta(eta)
        power = theta[..., 2] if self.power is None else torch.full_like(eta[..., 0], self.power)
        return theta[..., 0], theta[..., 1], power

    def _rates(self, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rate, shape and scale of the compound, each ``(..., n)``."""
        log_rate, log_shape, log_scale = self._compound(self.kernel_eta(eta))
        return bounded_exp(log_rate), bounded_exp(log_shape), bounded_exp(log_scale)

    def _logit_power(self, omega: Tensor) -> Tensor:
        if self.power is None:
            return omega[..., 2]
        logit = math.log(self.power - 1) - math.log(2 - self.power)
        return torch.full_like(omega[..., 0], logit)

    def _compound(self, omega: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of rate, shape and scale of the compound, each ``(..., n)``."""
        log_mean, log_dispersion = omega[..., 0], omega[..., 1]
        logit = self._logit_power(omega)
        log_s, log_r = _log_shares(logit)
        log_rate = log_r.exp() * log_mean - log_dispersion - log_r
        return log_rate, -logit, log_dispersion + log_s + log_s.exp() * log_mean

    def _chart(self, omega: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivatives of :meth:`_compound`, ``(..., n, 3, K)``, ``(.., K, K)``."""
        log_mean, logit = omega[..., 0], self._logit_power(omega)
        s, r = logit.sigmoid(), (-logit).sigmoid()
        zero, one = torch.zeros_like(s), torch.ones_like(s)
        turn = s * r * log_mean
        slope = torch.stack(
            [
                torch.stack([r, -one, s - turn], dim=-1),
                torch.stack([zero, zero, -one], dim=-1),
                torch.stack([s, one, r + turn], dim=-1),
            ],
            dim=-2,
        )
        bent = turn * (r - s)
        bend = torch.stack(
            [
                symmetric({(0, 2): -s * r, (2, 2): s * r - bent}, 3),
                symmetric({(0, 0): zero}, 3),
                symmetric({(0, 2): s * r, (2, 2): bent - s * r}, 3),
            ],
            dim=-3,
        )
        K = omega.shape[-1]
        return slope[..., :K], bend[..., :K, :K]

    def _expected(self, omega: Tensor) -> Tensor:
        """Expected information: the mean's in closed form, the others' by quadrature."""
        *shape, K = omega.shape
        # Dozens of nodes per row: rows of equal parameters share them.
        omega, row = omega.detach().reshape(-1, K).unique(dim=0, return_inverse=True)
        compound = self._compound(omega)
        slope, _ = self._chart(omega)
        total = omega.new_zeros(*omega.shape, K)
        for y, mass in compound_nodes(*compound):
            first, _ = compound_moments(*compound, y)
            score = (first[..., None, :] @ slope)[..., 0, :]
            total += mass[..., None, None] * score[..., :, None] * score[..., None, :]
        _, log_r = _log_shares(self._logit_power(omega))
        # mean^(2 - p) / dispersion = (2 - p) lam
        total[..., 0, :] = total[..., :, 0] = 0
        total[..., 0, 0] = bounded_exp(compound[0] + log_r)
        return total[row].reshape(*shape, K, K)


def _log_shares(logit: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of ``power - 1`` and ``2 - power``."""
    return torch.nn.functional.logsigmoid(logit), torch.nn.functional.logsigmoid(-logit)
