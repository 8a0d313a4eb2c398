"""Probabilities of the intervals in which an event falls: multi-task logistic and PMF heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor

from semistruct.exceptions import SpecificationError
from semistruct.families.base import (
    BoundObjective,
    Curvature,
    CurvatureKind,
    Objective,
    RowCurvature,
)
from semistruct.links import LINKS, Link

__all__ = ["IntervalProbabilities"]

HEADS = ("mtlr", "pmf")


@dataclass(frozen=True)
class IntervalProbabilities(Objective):
    """Log-likelihood of the interval and the cause of an event, each pair with a predictor.

    Parameters
    ----------
    n_intervals : int
        ``J`` intervals; no event in any of them is one more outcome, the reference.
    causes : tuple of int
        ``K`` competing causes.
    head : {"mtlr", "pmf"}
        What the predictors are. "pmf": log odds of the outcomes against the reference. "mtlr": the
        log odds of an interval are the sum of the predictors from it on, so that each predictor
        tells an event before the end of its interval from a later one (multi-task logistic
        regression); a predictor of zero joins two neighbouring intervals.

    Notes
    -----
    With ``f_kj`` the log odds, ``P(cause k in interval j) = exp(f_kj) / (1 + sum exp(f))``. A row
    is a subject. One that was censored after surviving ``c`` intervals has the probability of all
    outcomes that are left; one that entered after ``e`` intervals is conditioned on those that
    were left then. Where a subject is censored the log-likelihood need not be concave; "expected"
    curvature is what is expected of the subject given when it would be censored.

    References
    ----------
    Yu, Greiner, Lin & Baracos (2011), Learning patient-specific cancer survival distributions as a
    sequence of dependent regressors, NeurIPS 24 (MTLR). Kvamme & Borgan (2021), Lifetime Data
    Analysis 27, 710-736, section 3.1 (PMF). Lee, Zame, Yoon & van der Schaar (2018), AAAI
    (competing causes).

    Examples
    --------
    >>> family = IntervalProbabilities(3)
    >>> np.exp(family.log_probabilities(np.zeros((1, 3)))).round(2)
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    n_intervals: int
    causes: tuple[int, ...] = (1,)
    head: str = "pmf"

    separable = True
    has_intercept = True
    ratios = True

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise SpecificationError(f"head must be 'mtlr' or 'pmf', got {self.head!r}.")

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """``("interval_1", ...)``, with several causes ``("cause_1_interval_1", ...)``."""
        numbers = range(1, self.n_intervals + 1)
        if len(self.causes) == 1:
            return tuple(f"interval_{j}" for j in numbers)
        return tuple(f"cause_{k}_interval_{j}" for k in self.causes for j in numbers)

    @property
    def links(self) -> tuple[Link, ...]:
        return (LINKS["log"],) * (len(self.causes) * self.n_intervals)

    @staticmethod
    def encode(interval: np.ndarray, cause: np.ndarray, entered: np.ndarray) -> np.ndarray:
        """Rows ``(n, 3)``: the interval of the event or how many were survived, cause or 0, entry.

        ``cause`` ``(n,)`` counts from 1, 0 is censored; ``entered`` ``(n,)`` intervals were over
        when the subject came under observation.
        """
        return np.column_stack([interval, cause, entered]).astype(float)

    def log_odds(self, eta: np.ndarray) -> np.ndarray:
        """``f`` ``(n, K J)`` from predictors."""
        if self.head == "pmf":
            return eta
        shape = (*eta.shape[:-1], len(self.causes), self.n_intervals)
        return np.flip(np.cumsum(np.flip(eta.reshape(shape), -1), -1), -1).reshape(eta.shape)

    def log_probabilities(self, eta: np.ndarray) -> np.ndarray:
        """Logarithms ``(n, K J + 1)`` of the probabilities of all outcomes, the reference last."""
        f = self.log_odds(eta)
        f = np.concatenate([f, np.zeros((*f.shape[:-1], 1))], axis=-1)
        return f - logsumexp(f, axis=-1, keepdims=True)

    def probabilities(self, eta: np.ndarray) -> np.ndarray:
        """Those of causes and intervals, ``(K, n, J)``, from predictors ``(n, K J)``."""
        p = np.exp(self.log_probabilities(eta)[:, :-1])
        return np.moveaxis(p.reshape(len(eta), len(self.causes), self.n_intervals), 1, 0)

    def log_survival(self, eta: np.ndarray) -> np.ndarray:
        """Log probability ``(n, J + 1)`` of no event until the start of the study, and each end."""
        left = self._left()
        f = self.log_probabilities(eta)
        return np.column_stack([_among(f, np.broadcast_to(own, f.shape))[0] for own in left])

    def log_survival_slopes(self, eta: np.ndarray) -> np.ndarray:
        """Minus the derivatives ``(n, J + 1, K J)`` of :meth:`log_survival` in the predictors."""
        f = self.log_probabilities(eta)
        shares = [_among(f, np.broadcast_to(own, f.shape))[1] for own in self._left()]
        found = np.exp(f)[:, None, :-1] - np.stack(shares, axis=1)[..., :-1]
        return self.back(found)

    def back(self, slope: np.ndarray) -> np.ndarray:
        """Derivatives ``(..., K J)`` in the predictors from those in the log odds."""
        if self.head == "pmf":
            return slope
        shape = (*slope.shape[:-1], len(self.causes), self.n_intervals)
        return np.cumsum(slope.reshape(shape), axis=-1).reshape(slope.shape)

    def _left(self) -> np.ndarray:
        """Outcomes that are left after each number of intervals, ``(J + 1, K J + 1)`` bool."""
        J = self.n_intervals
        interval = np.append(np.tile(np.arange(J), len(self.causes)), J)
        return interval >= np.arange(J + 1)[:, None]

    def bind(self, y: np.ndarray, weight: np.ndarray) -> BoundObjective:
        return _BoundIntervals(self, y, weight)

    def batch_loss(self, eta: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        f = eta
        if self.head == "mtlr":
            shaped = eta.reshape(len(eta), len(self.causes), self.n_intervals)
            f = shaped.flip(-1).cumsum(-1).flip(-1).reshape(eta.shape)
        f = torch.cat([f, torch.zeros_like(f[:, :1])], dim=1)
        possible, known = (
            torch.from_numpy(found).to(f.device) for found in self.outcomes(y.cpu().numpy())
        )
        rows = _masked_logsumexp(f, possible) - _masked_logsumexp(f, known)
        return -(weight * rows).sum() / weight.sum().clamp_min(1e-12)

    def outcomes(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes that a row may have had, and those it could have had, ``(n, K J + 1)`` bool."""
        number, cause, entered = (y[:, [j]] for j in range(3))
        K, J = len(self.causes), self.n_intervals
        interval = np.append(np.tile(np.arange(J), K), J)
        of_cause = np.append(np.repeat(np.arange(1, K + 1), J), 0)
        happened = cause > 0
        here = (interval == number) & (of_cause == cause)
        return np.where(happened, here, interval >= number), interval >= entered

    def initial_eta(self, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        weight = torch.ones(len(y)) if sample_weight is None else sample_weight
        w, rows = weight.to(y).numpy(), y.numpy()
        K, J = len(self.causes), self.n_intervals
        # Life table: hazards of those at risk, half an event more so that none is zero.
        at_risk = np.array(
            [
                w[(rows[:, 2] <= j) & ((rows[:, 0] > j) | ((rows[:, 0] == j) & (rows[:, 1] > 0)))]
                for j in range(J)
            ],
            dtype=object,
        )
        total = np.array([part.sum() for part in at_risk], dtype=float) + K + 1
        hazard = np.array(
            [
                [w[(rows[:, 0] == j) & (rows[:, 1] == k)].sum() + 0.5 for j in range(J)]
                for k in range(1, K + 1)
            ]
        )
        hazard = hazard / total
        before = np.concatenate([[1.0], np.cumprod(1 - hazard.sum(axis=0))])
        f = np.log(hazard * before[:-1]) - np.log(before[-1])
        if self.head == "mtlr":
            f = f - np.hstack([f[:, 1:], np.zeros((K, 1))])
        return torch.from_numpy(f.ravel())

    def observations(self, y: np.ndarray) -> str:
        return f"{len(y)} subjects, {int((y[:, 1] > 0).sum())} events"


def _masked_logsumexp(f: Tensor, mask: Tensor) -> Tensor:
    return torch.logsumexp(f.masked_fill(~mask, -torch.inf), dim=1)


@dataclass(frozen=True, eq=False)
class _BoundIntervals(BoundObjective):
    """Encoded rows ``(n, 3)`` and weights ``(n,)``."""

    family: IntervalProbabilities
    y: np.ndarray
    weight: np.ndarray

    def contributions(self, eta: np.ndarray) -> np.ndarray:
        f = self.family.log_probabilities(eta)
        possible, known = self._outcomes
        return self.weight * (_among(f, possible)[0] - _among(f, known)[0])

    def score(self, eta: np.ndarray) -> np.ndarray:
        p, q, _ = self._shares(eta)
        return self.weight[:, None] * self.family.back((p - q)[:, :-1])

    def curvature(self, eta: np.ndarray, kind: CurvatureKind = "observed") -> Curvature:
        p, q, left = self._shares(eta)
        # Of an event nothing more can be known; of a censored row its own outcome among those left.
        share = np.where(self.y[:, 1] > 0, 0.0, 1.0 if kind == "observed" else left)
        w = _spread(q[:, :-1]) - share[:, None, None] * _spread(p[:, :-1])
        w = self.family.back(np.moveaxis(self.family.back(w), 1, 2))
        return RowCurvature(self.weight[:, None, None] * w)

    def score_residuals(self, eta: np.ndarray, blocks: Sequence[Any]) -> np.ndarray:
        score = self.score(eta)
        return np.hstack([block.dense() * score[:, [k]] for k, block in enumerate(blocks)])

    @cached_property
    def _outcomes(self) -> tuple[np.ndarray, np.ndarray]:
        return self.family.outcomes(self.y)

    def _shares(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities among the possible outcomes, among the known ones, and their ratio."""
        f = self.family.log_probabilities(eta)
        possible, known = self._outcomes
        (log_p, p), (log_q, q) = _among(f, possible), _among(f, known)
        return p, q, np.exp(log_p - log_q)


def _among(f: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log probability ``(n,)`` of some outcomes, and the share of each in it."""
    masked = np.where(mask, f, -np.inf)
    total = logsumexp(masked, axis=1)
    return total, np.exp(masked - total[:, None])


def _spread(p: np.ndarray) -> np.ndarray:
    """``diag(p) - p p'`` of every row."""
    found = -p[:, :, None] * p[:, None, :]
    at = np.arange(p.shape[1])
    found[:, at, at] += p
    return found
