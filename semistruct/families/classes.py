"""What responses of several classes share: their names, their probabilities, their order."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semistruct.exceptions import SpecificationError
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import Support

__all__ = ["ClassFamily", "taken"]


@dataclass(frozen=True, repr=False)
class ClassFamily(SeparableFamily):
    """A family of one of C classes, numbered from 0 in the order of ``categories``.

    Parameters
    ----------
    categories : int or tuple of str, default=3
        The number of classes or their names.

    Notes
    -----
    ``mean`` and ``variance`` are those of the number of the class, which means something for
    ordered classes only.
    """

    categories: int | tuple[str, ...] = 3

    discrete = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", _checked(self.categories, type(self).__name__))

    @abstractmethod
    def log_probabilities(self, eta: Tensor) -> Tensor:
        """Logarithms of the probabilities of all classes, ``(..., n, C)``, from ``(..., n, K)``."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the C classes."""
        if isinstance(self.categories, tuple):
            return self.categories
        return tuple(str(c) for c in range(self.categories))

    @property
    def response(self) -> Support:  # type: ignore[override]
        C = len(self.labels)
        return Support(
            f"class numbers from 0 to {C - 1}",
            lambda y: (y >= 0) & (y < C) & (y == np.floor(y)),
            "The number of classes is the family's option categories; SemiStructuredClassifier "
            "takes labels as they are.",
        )

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        return taken(self.log_probabilities(omega), y)

    def probabilities(self, eta: Tensor) -> Tensor:
        """Probabilities of all classes, ``(..., n, C)``, from ``eta`` ``(..., n, K)``."""
        return self.log_probabilities(eta).exp()

    def distribution(self, eta: Tensor) -> torch.distributions.Categorical:
        return torch.distributions.Categorical(
            logits=self.log_probabilities(eta), validate_args=False
        )

    def mean(self, eta: Tensor) -> Tensor:
        return (self.probabilities(eta) * self._codes(eta)).sum(-1)

    def variance(self, eta: Tensor) -> Tensor:
        away = self._codes(eta) - self.mean(eta)[..., None]
        return (self.probabilities(eta) * away**2).sum(-1)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        below = self.probabilities(eta).cumsum(-1)
        reached = y[..., None] >= self._codes(eta)
        found = torch.where(reached, below, torch.zeros_like(below)).amax(-1)
        return torch.where(reached[..., -1], torch.ones_like(found), found)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        below = self.probabilities(eta).cumsum(-1)[..., :-1]
        return (below < q[..., None]).sum(-1).to(eta.dtype)

    def class_shares(self, y: Tensor, weight: Tensor) -> Tensor:
        """Shares ``(C,)`` of the weight; half a row stands in for a class that has none."""
        codes = torch.arange(len(self.labels), device=y.device)
        counts = ((y[:, None] == codes) * weight[:, None]).sum(0)
        counts = torch.where(counts > 0, counts, torch.full_like(counts, 0.5))
        return counts / counts.sum()

    def batch_strata(self, y: np.ndarray) -> np.ndarray | None:
        return np.asarray(y)

    def fold_strata(self, y: np.ndarray) -> np.ndarray | None:
        # A class that the rows outside of a fold lack has no coefficients.
        return np.asarray(y)

    def _codes(self, eta: Tensor) -> Tensor:
        return torch.arange(len(self.labels), device=eta.device).to(eta.dtype)


def _checked(categories: Any, family: str) -> int | tuple[str, ...]:
    """The number of classes or the tuple of their names; refuse what is neither.

    Raises
    ------
    SpecificationError
        If there are fewer than two, or two of one name.
    """
    if isinstance(categories, (int, np.integer)) and not isinstance(categories, bool):
        number = int(categories)
    elif isinstance(categories, (list, tuple)) and all(isinstance(c, str) for c in categories):
        categories = tuple(categories)
        number = len(set(categories)) if len(set(categories)) == len(categories) else 0
    else:
        number = 0
    if number < 2:
        raise SpecificationError(
            f"categories must be a number of classes or their names, two at least and all "
            f"different, got {categories!r}; write for example {family}(categories=3) or "
            f"{family}(categories=('low', 'high'))."
        )
    return categories if isinstance(categories, tuple) else number


def taken(values: Tensor, y: Tensor) -> Tensor:
    """The entry ``y`` of the last axis of ``(..., n, C)``, ``(..., n)``."""
    shape = torch.broadcast_shapes(values.shape[:-1], y.shape)
    at = y.to(torch.int64).expand(shape)[..., None]
    return values.expand(*shape, values.shape[-1]).gather(-1, at)[..., 0]
