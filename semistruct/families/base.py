"""What can be minimised in the additive predictors, and what a likelihood adds to that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from semistruct.exceptions import UnsupportedCombinationError
from semistruct.links import Link

__all__ = [
    "BoundObjective",
    "Curvature",
    "CurvatureKind",
    "Family",
    "Objective",
    "RowCurvature",
]

CurvatureKind = Literal["observed", "expected"]


class Curvature(ABC):
    """Minus the Hessian of a log-likelihood in ``eta``, as an operator on design blocks."""

    @abstractmethod
    def gram(self, blocks: Sequence[Any]) -> np.ndarray:
        """``sum_kl X_k' W_kl X_l`` stacked into ``(P, P)``, where ``P = sum_k p_k``.

        Parameters
        ----------
        blocks : sequence of K design blocks
            One per distribution parameter; see :class:`semistruct.terms.base.DesignBlock`.
        """


@dataclass(frozen=True)
class RowCurvature(Curvature):
    """Curvature of a separable likelihood: one symmetric ``(K, K)`` matrix per row.

    Attributes
    ----------
    w : (n, K, K) float64 array
        Minus the second derivatives of each row's log-likelihood in its ``eta``, times the row's
        weight.
    """

    w: np.ndarray

    @classmethod
    def of(cls, information: Tensor, sample_weight: Tensor | None) -> RowCurvature:
        """From minus the second derivatives ``(n, K, K)`` of the rows and their weights."""
        w = information.detach().double()
        if sample_weight is not None:
            w = w * sample_weight.to(w)[..., None, None]
        return cls(w.cpu().numpy())

    def gram(self, blocks: Sequence[Any]) -> np.ndarray:
        sizes = [block.shape[1] for block in blocks]
        ends = np.cumsum([0, *sizes])
        H = np.zeros((ends[-1], ends[-1]))
        for k, block in enumerate(blocks):
            rows = slice(ends[k], ends[k + 1])
            H[rows, rows] = block.gram(self.w[:, k, k])
            for j in range(k + 1, len(blocks)):
                w_kj = self.w[:, k, j]
                if not w_kj.any():
                    continue
                cols = slice(ends[j], ends[j + 1])
                H[rows, cols] = block.gram(w_kj, blocks[j])
                H[cols, rows] = H[rows, cols].T
        return H


class BoundObjective(ABC):
    """An objective with the responses and case weights of ``n`` rows: a function of ``eta``.

    The border to numpy: predictors come as float64 arrays ``(n, K)``.
    """

    @abstractmethod
    def contributions(self, eta: np.ndarray) -> np.ndarray:
        """What each row adds to the weighted log-likelihood, ``(n,)``."""

    @abstractmethod
    def score(self, eta: np.ndarray) -> np.ndarray:
        """Derivative of the weighted log-likelihood in ``eta``, ``(n, K)``."""

    @abstractmethod
    def curvature(self, eta: np.ndarray, kind: CurvatureKind = "observed") -> Curvature:
        """Minus its second derivative, observed or expected."""

    @abstractmethod
    def score_residuals(self, eta: np.ndarray, blocks: Sequence[Any]) -> np.ndarray:
        """Contributions of the rows to the score in stacked coefficients, ``(n, P)``.

        Their outer products are the middle of a sandwich covariance.
        """

    def loglik(self, eta: np.ndarray) -> float:
        """The weighted log-likelihood; minus infinity where it is not a number."""
        # A step may be too long by orders of magnitude; it is halved because of the infinity.
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(self.contributions(eta).sum())
        return value if np.isfinite(value) else -np.inf


class Objective(ABC):
    """Anything one can maximise in the predictors ``eta`` of shape ``(n, K)``.

    Class attributes
    ----------------
    param_names : tuple of str
        Names of the K predictors; the first is the one a plain formula string describes.
    separable : bool
        Whether row i's contribution is a function of row i only (False for Cox).
    has_intercept : bool
        Whether a constant added to a predictor matters (not for Cox, whose baseline absorbs it).
    smooth : bool
        Whether the log-likelihood has derivatives everywhere (False where it has corners).
    ratios : bool
        Whether coefficients are read as ratios, so that tables show ``exp(coef)``.
    dispersion : tuple (param_name, power) or None
        When the named parameter ``t`` has a constant predictor, the curvature of the other
        predictors is proportional to ``t ** -power``, so that it can be estimated by restricted
        maximum likelihood: ``("scale", 2)`` for the normal, ``("dispersion", 1)`` for the gamma.
    """

    param_names: ClassVar[tuple[str, ...]]
    separable: ClassVar[bool]
    has_intercept: ClassVar[bool] = True
    smooth: ClassVar[bool] = True
    ratios: ClassVar[bool] = False
    dispersion: ClassVar[tuple[str, int] | None] = None

    @property
    @abstractmethod
    def links(self) -> tuple[Link, ...]:
        """K links, ``theta_k = links[k].inverse(eta_k)``; a plain class attribute will do."""

    @abstractmethod
    def bind(self, y: np.ndarray, weight: np.ndarray) -> BoundObjective:
        """The objective of these responses ``(n, ...)`` and case weights ``(n,)``."""

    @abstractmethod
    def batch_loss(self, eta: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Minus the log-likelihood per unit of weight, for gradient training.

        From ``eta`` ``(b, K)``, ``y`` ``(b, ...)`` and ``weight`` ``(b,)`` of a mini-batch.
        Differentiable in ``eta``.
        """

    def initial_eta(self, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Constant predictors ``(K,)`` to start from; zeros where nothing better is known."""
        return torch.zeros(len(self.param_names), dtype=torch.float64)

    def observations(self, y: np.ndarray) -> str:
        """The number of rows ``(n, ...)`` in words, for a summary."""
        return str(len(y))

    def batch_strata(self, y: np.ndarray) -> np.ndarray | None:
        """Groups ``(n,)`` that every mini-batch should have its share of; None for no such wish."""
        return None

    def separates(self, eta: np.ndarray, y: np.ndarray) -> bool:
        """Whether predictors ``(n, K)`` that are farther apart have a larger likelihood, endlessly.

        Asked where the iterations have not converged; False where nothing is known.
        """
        return False

    def fold_strata(self, y: np.ndarray) -> np.ndarray | None:
        """Groups ``(n,)`` that every fold should have its share of; None for no such wish."""
        return None


class Family(Objective):
    """A likelihood whose every parameter has its own additive predictor.

    A family is an immutable value: two instances with the same options are interchangeable. A
    user's own subclass works without being registered.

    Class attributes
    ----------------
    discrete : bool
        Whether the response takes isolated values.
    """

    separable: ClassVar[bool] = True
    discrete: ClassVar[bool] = False

    @property
    def columns(self) -> int:
        """Number D of columns of the response."""
        return 1

    @property
    @abstractmethod
    def support(self) -> str:
        """The allowed responses in words, for error messages: ``"positive numbers"``."""

    @abstractmethod
    def contributions(self, eta: Tensor, y: Tensor) -> Tensor:
        """Log-likelihood of each row, ``(..., n)``.

        From ``eta`` ``(..., n, K)`` and ``y`` ``(n, ...)``. Differentiable in
        ``eta``; leading batch dimensions are members, folds or bootstraps.
        """

    @abstractmethod
    def score(self, eta: Tensor, y: Tensor) -> Tensor:
        """Derivative of the log-likelihood in ``eta``, ``(..., n, K)``, in closed form."""

    @abstractmethod
    def initial_eta(self, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Constant predictors ``(K,)`` to start from, usually the null model's."""

    @abstractmethod
    def validate(self, y: Any) -> np.ndarray:
        """The response as a float64 array ``(n,)``.

        Raises
        ------
        DataError
            If the response is missing somewhere or outside the support; the message quotes the
            first offending row and value and says what is allowed.
        """

    @abstractmethod
    def curvature(
        self,
        eta: Tensor,
        y: Tensor,
        *,
        sample_weight: Tensor | None = None,
        kind: CurvatureKind = "observed",
    ) -> Curvature:
        """Minus the second derivative in ``eta``, observed or expected, times the weights."""

    @abstractmethod
    def distribution(self, eta: Tensor) -> torch.distributions.Distribution:
        """The predictive distribution of each row, batch shape ``(..., n)``."""

    @abstractmethod
    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        """Distribution function at ``y``, any real number, broadcast as in :meth:`quantile`.

        Carries a gradient only where torch has the special function it needs.
        """

    @abstractmethod
    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        """Quantile function, broadcast over ``eta`` ``(n, K)`` -> ``(n,)`` and levels ``q``.

        ``q`` of shape ``(m, 1)`` gives ``(m, n)``. For a discrete response the smallest value whose
        distribution function reaches ``q``.
        """

    def log_tails(self, eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """``log F(y)`` and ``log(1 - F(y))``, each ``(..., n)``, for ``y`` ``(n,)`` in the support.

        Neither cancels where the other tail is all but one, and both have two exact derivatives in
        ``eta``: what a censored likelihood is made of.

        Raises
        ------
        UnsupportedCombinationError
            If the family has no such functions.
        """
        raise UnsupportedCombinationError(
            f"{self!r} has no differentiable tails (log_tails), so that its response cannot be "
            "censored or truncated."
        )

    def log_cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        """Logarithm of the distribution function, stable in the lower tail."""
        return self.log_tails(eta, y)[0]

    def log_sf(self, eta: Tensor, y: Tensor) -> Tensor:
        """Logarithm of the survival function ``P(Y > y)``, stable in the upper tail."""
        return self.log_tails(eta, y)[1]

    def bind(self, y: np.ndarray, weight: np.ndarray) -> BoundObjective:
        return _BoundFamily(self, y, weight)

    def batch_loss(self, eta: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        total = (weight * self.contributions(eta, y)).sum()
        return -total / weight.sum().clamp_min(1e-12)

    def mean(self, eta: Tensor) -> Tensor:
        """Mean of the response, ``(..., n)``; NaN or infinite where it does not exist."""
        return self.distribution(eta).mean

    def variance(self, eta: Tensor) -> Tensor:
        """Variance of the response, ``(..., n)``; NaN or infinite where it does not exist."""
        return self.distribution(eta).variance

    def sample(self, eta: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(size, n)`` responses from ``eta`` ``(n, K)`` by inversion of uniform numbers.

        One stream of uniforms serves every family, so that a fixed ``generator`` gives the same
        draws whichever random numbers the device's own samplers would use. The generator lives on
        the CPU.
        """
        # At least one half in the last of 53 bits: neither level 0 nor level 1 can occur.
        grid = torch.randint(2**53, (size, *eta.shape[:-1]), generator=generator)
        levels = (grid.double() + 0.5) / 2**53
        return self.quantile(eta, levels.clamp(max=1 - 2**-53).to(eta.device)).to(eta.dtype)

    def theta(self, eta: Tensor) -> Tensor:
        """Parameters on their natural scale, ``(..., n, K)``."""
        return torch.stack([link.inverse(eta[..., k]) for k, link in enumerate(self.links)], dim=-1)


@dataclass(frozen=True, eq=False)
class _BoundFamily(BoundObjective):
    """Independent rows: everything is the row's own, times its weight."""

    family: Family
    y: np.ndarray
    weight: np.ndarray

    def contributions(self, eta: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            rows = self.family.contributions(torch.from_numpy(eta), torch.from_numpy(self.y))
        with np.errstate(over="ignore", invalid="ignore"):
            return self.weight * rows.numpy()

    def score(self, eta: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            score = self.family.score(torch.from_numpy(eta), torch.from_numpy(self.y))
        return score.numpy() * self.weight[:, None]

    def curvature(self, eta: np.ndarray, kind: CurvatureKind = "observed") -> Curvature:
        with torch.no_grad():
            return self.family.curvature(
                torch.from_numpy(eta),
                torch.from_numpy(self.y),
                sample_weight=torch.from_numpy(self.weight),
                kind=kind,
            )

    def score_residuals(self, eta: np.ndarray, blocks: Sequence[Any]) -> np.ndarray:
        score = self.score(eta)
        return np.hstack([block.dense() * score[:, [k]] for k, block in enumerate(blocks)])
