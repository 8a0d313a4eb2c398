"""Hazards in discrete time: the probability of an event in an interval for those who reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.families.base import (
    BoundObjective,
    Curvature,
    CurvatureKind,
    Objective,
    RowCurvature,
)
from semistruct.links import LINKS, Link

__all__ = ["DiscreteHazards"]

_LARGEST_ETA = 30.0  # of a complementary log-log; exp(-exp(30)) is zero


@dataclass(frozen=True)
class DiscreteHazards(Objective):
    """Log-likelihood of the intervals that subjects reach: an event of one cause, or none.

    Parameters
    ----------
    causes : tuple of int
        With several causes ``P(cause k) = exp(eta_k) / (1 + sum_l exp(eta_l))``.
    link : {"logit", "cloglog"}
        Of the hazard, with one cause. The complementary log-log is the proportional hazards model
        of continuous time that is observed in intervals.

    Notes
    -----
    A row is one interval of one subject and ``y`` ``(n, K)`` tells whether it had the event. A
    subject contributes ``log(1 - h)`` for every interval it survived and ``log h`` in the interval
    of its event.

    References
    ----------
    Prentice & Gloeckler (1978), Biometrics 34 (cloglog). Tutz & Schmid (2016), Modeling Discrete
    Time-to-Event Data. Gensheimer & Narasimhan (2019), PeerJ 7 (nnet-survival); Vale-Silva & Rohr
    (2021), Scientific Reports 11 (MultiSurv).
    """

    causes: tuple[int, ...] = (1,)
    link: str = "logit"

    separable = True
    has_intercept = True
    ratios = True

    def __post_init__(self) -> None:
        if self.link not in ("logit", "cloglog"):
            raise SpecificationError(f"link must be 'logit' or 'cloglog', got {self.link!r}.")
        if len(self.causes) > 1 and self.link != "logit":
            raise UnsupportedCombinationError(
                "several causes share an interval by the multinomial logit; link='cloglog' is for "
                "one cause."
            )

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """``("hazard",)``, or one name for each cause: ``("hazard_1", "hazard_2")``."""
        if len(self.causes) == 1:
            return ("hazard",)
        return tuple(f"hazard_{cause}" for cause in self.causes)

    @property
    def links(self) -> tuple[Link, ...]:
        return (LINKS[self.link],) * len(self.causes)

    def hazards(self, eta: np.ndarray) -> np.ndarray:
        """Probabilities ``(K, ...)`` of an event of each cause, from predictors ``(K, ...)``."""
        if self.link == "cloglog":
            return -np.expm1(-np.exp(np.minimum(eta, _LARGEST_ETA)))
        return np.exp(eta - _log_total(eta))

    def log_survival(self, eta: np.ndarray) -> np.ndarray:
        """Log probability ``(...)`` of no event, from predictors ``(K, ...)``."""
        if self.link == "cloglog":
            return -np.exp(np.minimum(eta[0], _LARGEST_ETA))
        return -_log_total(eta)

    def log_survival_slopes(self, eta: np.ndarray) -> np.ndarray:
        """Minus the derivatives ``(K, ...)`` of :meth:`log_survival` in the predictors."""
        if self.link == "cloglog":
            return np.exp(np.minimum(eta, _LARGEST_ETA))
        return self.hazards(eta)

    def bind(self, y: np.ndarray, weight: np.ndarray) -> BoundObjective:
        return _BoundDiscrete(self, y, weight)

    def batch_loss(self, eta: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        event = y.to(eta)
        if self.link == "cloglog":
            rate = eta.clamp(max=_LARGEST_ETA).exp()
            # log(1 - exp(-rate)), which a clamp keeps finite where the rate underflows.
            happened = torch.log(-torch.expm1(-rate).clamp(max=-1e-30))
            rows = (event * happened - (1 - event) * rate)[:, 0]
        elif eta.shape[1] == 1:
            rows = (event * logsigmoid(eta) + (1 - event) * logsigmoid(-eta))[:, 0]
        else:
            total = torch.logsumexp(torch.cat([torch.zeros_like(eta[:, :1]), eta], dim=1), dim=1)
            rows = (event * eta).sum(dim=1) - total
        return -(weight * rows).sum() / weight.sum().clamp_min(1e-12)

    def initial_eta(self, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        weight = torch.ones(len(y)) if sample_weight is None else sample_weight
        total = weight.sum().to(y)
        # Half an event and half a survival keep the estimate inside.
        share = ((weight.to(y)[:, None] * y).sum(dim=0) + 0.5) / (total + 1)
        if self.link == "cloglog":
            return (-torch.log1p(-share)).log()
        return (share / (1 - share.sum()).clamp_min(0.5 / float(total + 1))).log()

    def observations(self, y: np.ndarray) -> str:
        return f"{len(y)} intervals, {int(y.sum())} events"


def _log_total(eta: np.ndarray) -> np.ndarray:
    """``log(1 + sum_k exp(eta_k))`` over the first axis."""
    return np.logaddexp.reduce(np.concatenate([np.zeros_like(eta[:1]), eta]), axis=0)


@dataclass(frozen=True, eq=False)
class _BoundDiscrete(BoundObjective):
    """Events ``(n, K)`` and weights ``(n,)``."""

    family: DiscreteHazards
    event: np.ndarray
    weight: np.ndarray

    def contributions(self, eta: np.ndarray) -> np.ndarray:
        if self.family.link == "cloglog":
            rate = self._rate(eta)
            happened = np.log(-np.expm1(-np.maximum(rate, 1e-300)))
            rows = np.where(self.event[:, 0] > 0, happened, -rate)
        else:
            rows = (self.event * eta).sum(axis=1) - _log_total(eta.T)
        return self.weight * rows

    def score(self, eta: np.ndarray) -> np.ndarray:
        if self.family.link == "cloglog":
            first, _ = self._event_slopes(eta)
            rate = self._rate(eta)
            return (self.weight * np.where(self.event[:, 0] > 0, first, -rate))[:, None]
        return self.weight[:, None] * (self.event - self.family.hazards(eta.T).T)

    def curvature(self, eta: np.ndarray, kind: CurvatureKind = "observed") -> Curvature:
        if self.family.link == "cloglog":
            rate = self._rate(eta)
            first, second = self._event_slopes(eta)
            if kind == "expected":
                # The squared slope over the variance of the event.
                w = rate * first
            else:
                w = np.where(self.event[:, 0] > 0, -second, rate)
            return RowCurvature((self.weight * w)[:, None, None])
        h = self.family.hazards(eta.T).T
        w = -h[:, :, None] * h[:, None, :]
        K = h.shape[1]
        w[:, np.arange(K), np.arange(K)] += h
        return RowCurvature(self.weight[:, None, None] * w)

    def score_residuals(self, eta: np.ndarray, blocks: Sequence[Any]) -> np.ndarray:
        score = self.score(eta)
        return np.hstack([block.dense() * score[:, [k]] for k, block in enumerate(blocks)])

    def _rate(self, eta: np.ndarray) -> np.ndarray:
        return np.exp(np.minimum(eta[:, 0], _LARGEST_ETA))

    def _event_slopes(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of ``log(1 - exp(-exp(eta)))``."""
        rate = np.maximum(self._rate(eta), 1e-300)
        first = rate / np.expm1(np.minimum(rate, 700.0))
        return first, first * (1 - rate - first)
