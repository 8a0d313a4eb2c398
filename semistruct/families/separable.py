"""Families whose rows are independent: one kernel per family, one chain rule for every link."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from semistruct.families.base import CurvatureKind, Family, RowCurvature
from semistruct.families.supports import Support
from semistruct.links import LINKS, Link, Relinked, relink, resolve_link

__all__ = ["SeparableFamily"]


class SeparableFamily(Family):
    """A likelihood of independent rows, written once in the predictors of its kernel links.

    The kernel is the log-density with its first two derivatives in ``omega``, the predictors that
    the parameters have under ``kernel_links`` (log rate, logit, log scale): the scale on which
    nothing overflows early. Under any other link ``omega`` is a function of ``eta``, and score and
    curvature follow by the chain rule here. A concrete family is a frozen dataclass whose fields
    are its options.

    Class attributes
    ----------------
    kernel_links : tuple of K :class:`~semistruct.links.Link`
        The scale of the kernel, usually also the default links.
    response : :class:`~semistruct.families.supports.Support`
        The allowed responses.
    """

    kernel_links: ClassVar[tuple[Link, ...]]
    response: ClassVar[Support]

    @property
    def support(self) -> str:
        return self.response.words

    @abstractmethod
    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        """Log-density ``(..., n)`` at kernel predictors ``omega`` ``(..., n, K)``."""

    @abstractmethod
    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        """First derivatives of the log-density in ``omega``, ``(..., n, K)``."""

    @abstractmethod
    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        """Minus its second derivatives in ``omega``, ``(..., n, K, K)``, or their expectation."""

    @abstractmethod
    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        """Constant parameters ``(K,)`` for responses and weights ``(n,)``, inside their domain."""

    def kernel_log_tails(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`log_tails` at kernel predictors, for a continuous family that has them."""
        return super().log_tails(omega, y)

    def log_tails(self, eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.links == self.kernel_links:
            return self.kernel_log_tails(eta, y)
        omega = self.kernel_eta(eta)
        outside = omega.isnan().any(-1)
        omega = torch.where(outside[..., None], torch.zeros_like(omega), omega)
        impossible = torch.full_like(omega[..., 0], -math.inf)
        lower, upper = self.kernel_log_tails(omega, y)
        return torch.where(outside, impossible, lower), torch.where(outside, impossible, upper)

    def validate(self, y: Any) -> Any:
        return self.response.check(y, type(self).__name__)

    def contributions(self, eta: Tensor, y: Tensor) -> Tensor:
        if self.links == self.kernel_links:
            return self.log_density(eta, y)
        omega = self.kernel_eta(eta)
        outside = omega.isnan().any(-1)
        # Outside a link's domain the density is 0, so that a line search steps back.
        omega = torch.where(outside[..., None], torch.zeros_like(omega), omega)
        value = self.log_density(omega, y)
        return torch.where(outside, torch.full_like(value, -math.inf), value)

    def score(self, eta: Tensor, y: Tensor) -> Tensor:
        if self.links == self.kernel_links:
            return self.gradient(eta, y)
        omega, first, _ = self._relink(eta)
        return first * self.gradient(omega, y)

    def row_information(self, eta: Tensor, y: Tensor, kind: CurvatureKind = "observed") -> Tensor:
        """Minus the second derivatives of each row's log-likelihood in ``eta``, ``(..., n, K, K)``.

        ``kind="expected"`` takes the expectation over the response; ``y`` then does not matter.
        """
        if self.links == self.kernel_links:
            return self.information(eta, y, kind)
        omega, first, second = self._relink(eta)
        chained = first[..., :, None] * self.information(omega, y, kind) * first[..., None, :]
        if kind == "expected":
            return chained
        return chained - torch.diag_embed(second * self.gradient(omega, y))

    def curvature(
        self,
        eta: Tensor,
        y: Tensor,
        *,
        sample_weight: Tensor | None = None,
        kind: CurvatureKind = "observed",
    ) -> RowCurvature:
        return RowCurvature.of(self.row_information(eta, y, kind), sample_weight)

    def initial_eta(self, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        weight = torch.ones_like(y) if sample_weight is None else sample_weight.to(y)
        theta = self.initial_theta(y, weight)
        return torch.stack([link.forward(theta[k]) for k, link in enumerate(self.links)])

    def kernel_eta(self, eta: Tensor) -> Tensor:
        """The kernel's predictors ``omega`` of the same distributions, ``(..., n, K)``."""
        return self._relink(eta).value

    def _relink(self, eta: Tensor) -> Relinked:
        pairs = zip(eta.unbind(-1), self.links, self.kernel_links, strict=True)
        columns = [relink(eta_k, link, target) for eta_k, link, target in pairs]
        return Relinked(*(torch.stack(parts, dim=-1) for parts in zip(*columns, strict=True)))

    def _choose_link(self, option: str, allowed: Collection[str]) -> None:
        """Check a link option and store a registered link by its name (for equality and saving)."""
        link = resolve_link(getattr(self, option), allowed)
        object.__setattr__(self, option, link.name if LINKS.get(link.name) == link else link)

    def __repr__(self) -> str:
        chosen = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(chosen)})"
