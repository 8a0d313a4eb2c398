"""Link functions: maps between a parameter's natural scale and its additive predictor."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError

__all__ = [
    "LINKS",
    "CLogLog",
    "Identity",
    "Inverse",
    "Link",
    "Log",
    "Logit",
    "Probit",
    "Relinked",
    "Softplus",
    "Sqrt",
    "bounded_exp",
    "relink",
    "resolve_link",
]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def bounded_exp(x: Tensor, margin: float = 0.0) -> Tensor:
    """``exp(x)``, saturating instead of overflowing or becoming zero.

    Parameters
    ----------
    x : Tensor
        Any shape, floating point.
    margin : float
        Nats left free below the largest number of the dtype, for a factor that multiplies the
        result: 40 leaves room for a factor of 2e17.

    Examples
    --------
    >>> bool(bounded_exp(torch.tensor(1e4, dtype=torch.float64)).isfinite())
    True
    """
    limits = torch.finfo(x.dtype)
    # A little inside the range, so that the exponential of the bound itself is representable.
    upper = math.log(limits.max) * (1 - 4 * limits.eps) - margin
    return x.clamp(math.log(limits.tiny), upper).exp()


class Link(ABC):
    """A strictly monotone map from the natural scale ``theta`` to the predictor ``eta``; immutable.

    A user's own link subclasses this; two links are equal when they are of one type and have equal
    options, so a subclass with options should be a frozen dataclass.

    Class attributes
    ----------------
    name : str
        How the link is asked for, ``"log"``.
    """

    name: ClassVar[str]

    @abstractmethod
    def forward(self, theta: Tensor) -> Tensor:
        """``eta`` from ``theta``, elementwise."""

    @abstractmethod
    def inverse(self, eta: Tensor) -> Tensor:
        """``theta`` from ``eta``, elementwise; finite for every ``eta`` in the link's domain."""

    @abstractmethod
    def derivative(self, eta: Tensor) -> Tensor:
        """``d theta / d eta``, elementwise (the factor of the delta method)."""

    @abstractmethod
    def second_derivative(self, eta: Tensor) -> Tensor:
        """``d^2 theta / d eta^2``, elementwise."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@dataclass(frozen=True, repr=False)
class Identity(Link):
    """``eta = theta``."""

    name = "identity"

    def forward(self, theta: Tensor) -> Tensor:
        return theta

    def inverse(self, eta: Tensor) -> Tensor:
        return eta

    def derivative(self, eta: Tensor) -> Tensor:
        return torch.ones_like(eta)

    def second_derivative(self, eta: Tensor) -> Tensor:
        return torch.zeros_like(eta)


@dataclass(frozen=True, repr=False)
class Log(Link):
    """``eta = log(theta)``, positive ``theta``.

    Beyond the range of the dtype the inverse stays at the largest or smallest normal number.
    """

    name = "log"

    def forward(self, theta: Tensor) -> Tensor:
        return theta.log()

    def inverse(self, eta: Tensor) -> Tensor:
        return bounded_exp(eta)

    def derivative(self, eta: Tensor) -> Tensor:
        return bounded_exp(eta)

    def second_derivative(self, eta: Tensor) -> Tensor:
        return bounded_exp(eta)


@dataclass(frozen=True, repr=False)
class Logit(Link):
    """``eta = log(theta / (1 - theta))``, ``theta`` in (0, 1)."""

    name = "logit"

    def forward(self, theta: Tensor) -> Tensor:
        return theta.log() - (-theta).log1p()

    def inverse(self, eta: Tensor) -> Tensor:
        return eta.sigmoid()

    def derivative(self, eta: Tensor) -> Tensor:
        return eta.sigmoid() * (-eta).sigmoid()

    def second_derivative(self, eta: Tensor) -> Tensor:
        return -self.derivative(eta) * (eta / 2).tanh()


@dataclass(frozen=True, repr=False)
class Probit(Link):
    """``eta = Phi^{-1}(theta)`` with the standard normal distribution function ``Phi``."""

    name = "probit"

    def forward(self, theta: Tensor) -> Tensor:
        return torch.special.ndtri(theta)

    def inverse(self, eta: Tensor) -> Tensor:
        return torch.special.ndtr(eta)

    def derivative(self, eta: Tensor) -> Tensor:
        return (-0.5 * eta**2 - _LOG_SQRT_2PI).exp()

    def second_derivative(self, eta: Tensor) -> Tensor:
        return -eta * self.derivative(eta)


@dataclass(frozen=True, repr=False)
class CLogLog(Link):
    """``eta = log(-log(1 - theta))``, ``theta`` in (0, 1): the link of grouped survival times."""

    name = "cloglog"

    def forward(self, theta: Tensor) -> Tensor:
        return (-(-theta).log1p()).log()

    def inverse(self, eta: Tensor) -> Tensor:
        return -torch.expm1(-bounded_exp(eta))

    def derivative(self, eta: Tensor) -> Tensor:
        return (eta - bounded_exp(eta)).exp()

    def second_derivative(self, eta: Tensor) -> Tensor:
        # The exponent is merged so that 0 * huge does not become NaN in the upper tail.
        return self.derivative(eta) - (2 * eta - bounded_exp(eta)).exp()


@dataclass(frozen=True, repr=False)
class Softplus(Link):
    """``eta = log(exp(theta) - 1)``, positive ``theta``: linear where ``eta`` is large."""

    name = "softplus"

    def forward(self, theta: Tensor) -> Tensor:
        return theta + (-torch.expm1(-theta)).log()

    def inverse(self, eta: Tensor) -> Tensor:
        return -logsigmoid(-eta)

    def derivative(self, eta: Tensor) -> Tensor:
        return eta.sigmoid()

    def second_derivative(self, eta: Tensor) -> Tensor:
        return eta.sigmoid() * (-eta).sigmoid()


@dataclass(frozen=True, repr=False)
class Inverse(Link):
    """``eta = 1 / theta``, nonzero ``theta``; decreasing."""

    name = "inverse"

    def forward(self, theta: Tensor) -> Tensor:
        return theta.reciprocal()

    def inverse(self, eta: Tensor) -> Tensor:
        return eta.reciprocal()

    def derivative(self, eta: Tensor) -> Tensor:
        return -(eta**-2)

    def second_derivative(self, eta: Tensor) -> Tensor:
        return 2 * eta**-3


@dataclass(frozen=True, repr=False)
class Sqrt(Link):
    """``eta = sqrt(theta)``, positive ``theta``; meant for positive ``eta``."""

    name = "sqrt"

    def forward(self, theta: Tensor) -> Tensor:
        return theta.sqrt()

    def inverse(self, eta: Tensor) -> Tensor:
        return eta**2

    def derivative(self, eta: Tensor) -> Tensor:
        return 2 * eta

    def second_derivative(self, eta: Tensor) -> Tensor:
        return torch.full_like(eta, 2.0)


LINKS: dict[str, Link] = {
    "identity": Identity(),
    "log": Log(),
    "logit": Logit(),
    "probit": Probit(),
    "cloglog": CLogLog(),
    "softplus": Softplus(),
    "inverse": Inverse(),
    "sqrt": Sqrt(),
}


def resolve_link(link: str | Link, allowed: Collection[str] | None = None) -> Link:
    """The link asked for by name or by value.

    Parameters
    ----------
    link : str or Link
        A name in ``LINKS`` or a link; a user's own link is always allowed.
    allowed : collection of str, optional
        The names that make sense where the link is used.

    Raises
    ------
    SpecificationError
        If the name is unknown, the value is not a link, or the link is not allowed here.

    Examples
    --------
    >>> resolve_link("log")
    Log()
    """
    if isinstance(link, str):
        known = LINKS if allowed is None else {name: LINKS[name] for name in allowed}
        return lookup(known, link, "link")
    if not isinstance(link, Link):
        raise SpecificationError(
            f"a link is a name ({', '.join(LINKS)}) or a Link, got {link!r} "
            f"of type {type(link).__name__}."
        )
    if allowed is not None and LINKS.get(link.name) == link:
        return lookup({name: LINKS[name] for name in allowed}, link.name, "link")
    return link


class Relinked(NamedTuple):
    """A predictor on another link's scale and its first two derivatives in ``eta``, elementwise."""

    value: Tensor
    first: Tensor
    second: Tensor


def relink(eta: Tensor, link: Link, target: Link) -> Relinked:
    """Express the predictor of ``link`` as the predictor the same ``theta`` has under ``target``.

    Parameters
    ----------
    eta : Tensor
        Predictor under ``link``, any shape.
    link, target : Link
        From and to.

    Notes
    -----
    ``omega = target.forward(link.inverse(eta))``. The pairs whose ``theta`` rounds to 0 or 1 long
    before ``omega`` leaves the range of the dtype are computed without forming ``theta``; the
    others by the chain rule and the derivative of an inverse function. Outside the domain
    (``eta <= 0`` for a positive parameter under the identity) the value is NaN.

    Examples
    --------
    >>> relink(torch.tensor([700.0], dtype=torch.float64), Probit(), Logit()).first.round()
    tensor([700.], dtype=torch.float64)
    """
    if link == target:
        return Relinked(eta, torch.ones_like(eta), torch.zeros_like(eta))
    if isinstance(target, Logit) and isinstance(link, Probit):
        return _probit_as_logit(eta)
    if isinstance(target, Logit) and isinstance(link, CLogLog):
        return _cloglog_as_logit(eta)
    if isinstance(target, Log) and isinstance(link, Softplus):
        return _softplus_as_log(eta)
    theta = link.inverse(eta)
    slope, bend = link.derivative(eta), link.second_derivative(eta)
    value = target.forward(theta)
    rate = target.derivative(value).reciprocal()
    first = rate * slope
    second = rate * bend - target.second_derivative(value) * rate * first**2
    return Relinked(value, first, second)


def _probit_as_logit(eta: Tensor) -> Relinked:
    lower, upper = torch.special.log_ndtr(eta), torch.special.log_ndtr(-eta)
    # Inverse Mills ratios by erfcx: the difference of two logarithms of size eta^2 loses digits.
    root = math.sqrt(2)
    mills_lower = math.sqrt(2 / math.pi) / torch.special.erfcx(-eta / root)
    mills_upper = math.sqrt(2 / math.pi) / torch.special.erfcx(eta / root)
    first = mills_lower + mills_upper
    return Relinked(lower - upper, first, first * (mills_upper - mills_lower - eta))


def _cloglog_as_logit(eta: Tensor) -> Relinked:
    z = bounded_exp(eta)
    small = eta < -12
    z_safe = torch.where(small, torch.ones_like(z), z)
    chance = -torch.expm1(-z_safe)
    value = torch.where(small, eta + z / 2, z_safe + chance.log())
    first = torch.where(small, 1 + z / 2 + z**2 / 12, z_safe / chance)
    rest = first * torch.exp(-z_safe)
    second = torch.where(small, z / 2 + z**2 / 6, first * (1 - rest))
    return Relinked(value, first, second)


def _softplus_as_log(eta: Tensor) -> Relinked:
    small = eta < -37
    eta_safe = torch.where(small, torch.zeros_like(eta), eta)
    theta = -logsigmoid(-eta_safe)
    share = eta_safe.sigmoid() / theta
    first = torch.where(small, torch.ones_like(eta), share)
    second = torch.where(small, torch.zeros_like(eta), share * ((-eta_safe).sigmoid() - share))
    return Relinked(torch.where(small, eta, theta.log()), first, second)
