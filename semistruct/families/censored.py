"""Censoring and truncation of any continuous family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semistruct.exceptions import DataError, UnsupportedCombinationError
from semistruct.families._tails import log_difference
from semistruct.families.autodiff import autodiff_gradient, autodiff_information
from semistruct.families.base import CurvatureKind, Family, RowCurvature
from semistruct.families.separable import SeparableFamily
from semistruct.links import Link
from semistruct.responses import Interval, Surv

__all__ = ["Censored"]

LOWER, UPPER, ENTRY, KIND = range(4)
_EXACT, _RIGHT, _LEFT, _INTERVAL, _NOTHING = range(5)
_WORDS = ("exact", "right-censored", "left-censored", "interval-censored", "without information")
# Below this share of a tail an interval is integrated by its density instead of subtracted.
_NARROW = 1e-3
_GAUSS = ((-(0.6**0.5), 5 / 18), (0.0, 8 / 18), (0.6**0.5, 5 / 18))

Piece = tuple[Tensor, Callable[[Tensor], Tensor] | None]


@dataclass(frozen=True)
class Censored(Family):
    """A continuous family whose responses are known up to censoring and delayed entry.

    Parameters
    ----------
    family : SeparableFamily
        The distribution of the uncensored response. Everything about that response, such as
        ``mean``, ``quantile`` and ``sample``, is its own.

    Raises
    ------
    UnsupportedCombinationError
        If the family is discrete or has no :meth:`~semistruct.families.base.Family.log_tails`.

    Notes
    -----
    A row adds ``log f(y)`` if it is exact, ``log S(l)`` right-censored, ``log F(u)`` left-censored,
    ``log(F(u) - F(l))`` in an interval, minus ``log S(entry)`` where it entered late. Differences
    are taken in the smaller tail, and by quadrature of the density in narrow intervals, so that
    nothing cancels. What is encoded is ``(n, 4)``: lower and upper bound, entry (``-inf`` where
    there is none), and the kind of row.

    The expectation of the curvature would need the distribution of the censoring times. In its
    place ``kind="expected"`` is the observed curvature of each row with the absolute values of its
    eigenvalues: positive definite, and the observed curvature where that is.

    References
    ----------
    Kalbfleisch and Prentice (2002), The Statistical Analysis of Failure Time Data, chapter 3.
    """

    family: SeparableFamily

    dispersion = None

    def __post_init__(self) -> None:
        family = self.family
        if not isinstance(family, SeparableFamily):
            raise UnsupportedCombinationError(f"{family!r} cannot be censored or truncated.")
        if family.discrete:
            raise UnsupportedCombinationError(
                f"{family!r} is discrete; censoring is for continuous families, such as "
                "'weibull', 'lognormal' or 'gamma'."
            )
        if type(family).kernel_log_tails is SeparableFamily.kernel_log_tails:
            raise UnsupportedCombinationError(
                f"{family!r} has no differentiable tails, so that its response cannot be censored "
                "or truncated. Families that can: 'weibull', 'exponential', 'lognormal', "
                "'log_logistic', 'gamma', 'normal', 'logistic', 'gumbel' and others."
            )

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the uncensored family."""
        return self.family.param_names

    @property
    def links(self) -> tuple[Link, ...]:
        return self.family.links

    @property
    def support(self) -> str:
        return f"{self.family.support}, as Surv(time, event) or Interval(lower, upper)"

    def validate(self, y: Any) -> np.ndarray:
        """The encoded response ``(n, 4)`` of a Surv, an Interval, or numbers (exact) ``(n,)``."""
        if isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] == 4:
            return y
        lower, upper, entry = _bounds(y)
        limits = self.family.response
        exact = lower == upper
        if entry is None:
            entry = np.full(lower.shape, -np.inf)
        late = np.flatnonzero(exact & (entry >= lower))
        if late.size:
            row = late[0]
            raise DataError(
                f"entry must be before the response; row {row} has entry {entry[row]:g} and the "
                f"response {lower[row]:g}."
            )
        entry = np.where(entry <= limits.lower, -np.inf, entry)
        lower = np.where(exact, lower, np.maximum(lower, entry))
        impossible = ~exact & ((upper <= limits.lower) | (lower >= limits.upper))
        if impossible.any():
            row = int(np.argmax(impossible))
            raise DataError(
                f"the response lies between {lower[row]:g} and {upper[row]:g} in row {row}, but "
                f"{type(self.family).__name__} needs {self.family.support}."
            )
        lower = np.where(~exact & (lower <= limits.lower), -np.inf, lower)
        upper = np.where(~exact & (upper >= limits.upper), np.inf, upper)
        below, above = np.isinf(lower), np.isinf(upper)
        kind = np.select(
            [exact, below & above, above, below], [_EXACT, _NOTHING, _RIGHT, _LEFT], _INTERVAL
        )
        inside = np.where(exact, lower, self._stand_in())
        self.family.validate(inside)
        return np.column_stack([lower, upper, entry, kind]).astype(np.float64)

    def require_information(self, y: np.ndarray) -> None:
        """Refuse encoded responses ``(n, 4)`` that no finite parameters fit best.

        Raises
        ------
        DataError
            If every row is right-censored, or every row left-censored.
        """
        kinds = np.unique(y[:, KIND][y[:, KIND] != _NOTHING])
        if kinds.size == 0 or (kinds.size == 1 and kinds[0] in (_RIGHT, _LEFT)):
            word = _WORDS[int(kinds[0])] if kinds.size else "without information"
            raise DataError(
                f"all {len(y)} rows are {word}: the likelihood has no maximum. At least some "
                "responses must be observed, exactly or in intervals. Check how events are coded."
            )

    def observations(self, y: np.ndarray) -> str:
        counts = [
            f"{int((y[:, KIND] == kind).sum())} {word}"
            for kind, word in enumerate(_WORDS)
            if (y[:, KIND] == kind).any()
        ]
        late = int(np.isfinite(y[:, ENTRY]).sum())
        counts += [f"{late} with delayed entry"] if late else []
        return f"{len(y)} ({', '.join(counts)})"

    def contributions(self, eta: Tensor, y: Tensor) -> Tensor:
        total = eta.new_zeros(torch.broadcast_shapes(eta.shape[:-1], y.shape[:1]))
        for rows, log_probability in self._pieces(y):
            part = eta[..., rows, :]
            if log_probability is None:
                value = self.family.contributions(part, y[rows, LOWER])
            else:
                value = log_probability(part)
            total = total.index_add(-1, rows, value)
        return total

    def score(self, eta: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros_like(eta)
        for rows, log_probability in self._pieces(y):
            part = eta[..., rows, :]
            if log_probability is None:
                value = self.family.score(part, y[rows, LOWER])
            else:
                value = autodiff_gradient(_ignoring_y(log_probability), part, y[rows, LOWER])
            total = total.index_add(-2, rows, value)
        return total

    def row_information(self, eta: Tensor, y: Tensor, kind: CurvatureKind = "observed") -> Tensor:
        """Minus the second derivatives of each row in ``eta``, ``(..., n, K, K)``; see Notes."""
        total = eta.new_zeros(*eta.shape, eta.shape[-1])
        for rows, log_probability in self._pieces(y):
            part = eta[..., rows, :]
            if log_probability is None:
                value = self.family.row_information(part, y[rows, LOWER])
            else:
                value = autodiff_information(_ignoring_y(log_probability), part, y[rows, LOWER])
            total = total.index_add(-3, rows, value)
        if kind == "observed":
            return total
        # A line search may stand where the likelihood is zero; its steps are taken back.
        values, vectors = torch.linalg.eigh(torch.nan_to_num(total))
        return (vectors * values.abs()[..., None, :]) @ vectors.transpose(-1, -2)

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
        """The family's start at the middle of every interval, or at its finite end."""
        weight = torch.ones_like(y[:, LOWER]) if sample_weight is None else sample_weight.to(y)
        lower, upper, kind = y[:, LOWER], y[:, UPPER], y[:, KIND]
        middle = torch.where(kind == _INTERVAL, lower / 2 + upper / 2, lower)
        middle = torch.where(kind == _LEFT, upper, middle)
        known = kind != _NOTHING
        return self.family.initial_eta(middle[known], weight[known])

    def distribution(self, eta: Tensor) -> torch.distributions.Distribution:
        return self.family.distribution(eta)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        return self.family.cdf(eta, y)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        return self.family.quantile(eta, q)

    def mean(self, eta: Tensor) -> Tensor:
        return self.family.mean(eta)

    def variance(self, eta: Tensor) -> Tensor:
        return self.family.variance(eta)

    def log_tails(self, eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.family.log_tails(eta, y)

    def _stand_in(self) -> float:
        """Some response of the support."""
        limits = self.family.response
        return 0.5 if limits.lower == 0 else 0.0

    def _pieces(self, y: Tensor) -> Iterator[Piece]:
        """Rows of a kind and their log-probability at ``(..., m, K)``; None for the density."""
        family, kind = self.family, y[:, KIND]

        def rows_of(which: Tensor) -> Tensor:
            return torch.nonzero(which)[:, 0]

        exact, right = rows_of(kind == _EXACT), rows_of(kind == _RIGHT)
        left, within = rows_of(kind == _LEFT), rows_of(kind == _INTERVAL)
        late = rows_of(y[:, ENTRY].isfinite())
        if len(exact):
            yield exact, None
        if len(right):
            yield right, lambda eta: family.log_sf(eta, y[right, LOWER])
        if len(left):
            yield left, lambda eta: family.log_cdf(eta, y[left, UPPER])
        if len(within):
            yield within, lambda eta: _log_within(family, eta, y[within, LOWER], y[within, UPPER])
        if len(late):
            yield late, lambda eta: -family.log_sf(eta, y[late, ENTRY])


def _ignoring_y(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda eta, y: function(eta)


def _bounds(y: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Lower and upper bounds, and entries."""
    if isinstance(y, Interval):
        return y.lower, y.upper, y.entry
    if isinstance(y, Surv):
        if y.n_causes > 1:
            raise UnsupportedCombinationError(
                f"the response has {y.n_causes} competing causes; a distribution of one time is "
                "fitted to y.of_cause(1), the other causes being censoring, or use a model of "
                "hazards."
            )
        # Zero is from the start, also for a family that allows negative responses.
        entry = None if y.entry is None else np.where(y.entry > 0, y.entry, -np.inf)
        return y.time, np.where(y.event, y.time, np.inf), entry
    values = np.asarray(y, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(
            f"a censored response is Surv(time, event) or Interval(lower, upper), got an array of "
            f"shape {values.shape}."
        )
    return values, values, None


def _log_within(family: Family, eta: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """``log(F(upper) - F(lower))`` of intervals ``(m,)``, to nearly all digits at any width."""
    cdf_a, sf_a = family.log_tails(eta, lower)
    cdf_b, sf_b = family.log_tails(eta, upper)
    right = sf_a < cdf_b  # the interval lies in the upper half
    large, small = torch.where(right, sf_a, cdf_b), torch.where(right, sf_b, cdf_a)
    narrow = (large - small).detach() < _NARROW
    wide = log_difference(large, torch.where(narrow, large.detach() - 1, small))
    if not narrow.any():
        return wide
    # Gauss-Legendre with three nodes: the error is of order _NARROW ** 6.
    middle, half = lower / 2 + upper / 2, upper / 2 - lower / 2
    terms = [
        family.contributions(eta, middle + half * node) + np.log(weight) for node, weight in _GAUSS
    ]
    width = (upper - lower).clamp(min=torch.finfo(upper.dtype).tiny).log()
    return torch.where(narrow, torch.logsumexp(torch.stack(terms), dim=0) + width, wide)
