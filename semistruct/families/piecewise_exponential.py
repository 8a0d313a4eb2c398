"""Hazards that are constant in each interval of time: Poisson counts with an exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

from semistruct.exceptions import SpecificationError
from semistruct.families.base import (
    BoundObjective,
    Curvature,
    CurvatureKind,
    Objective,
    RowCurvature,
)
from semistruct.links import LINKS, Link, bounded_exp

__all__ = ["PiecewiseExponential"]

_LARGEST_ETA = 700.0  # exp of it is finite


@dataclass(frozen=True)
class PiecewiseExponential(Objective):
    """Log-likelihood of cause-specific log hazards, one predictor for each cause.

    Parameters
    ----------
    causes : tuple of int
        The competing causes that have a predictor; one for a single cause.

    Notes
    -----
    A row is one interval of one subject: numbers of events ``d_k`` and the time ``t`` under
    observation, see :meth:`encode`. Its log-likelihood is that of Poisson counts with means
    ``t exp(eta_k)``,

        ``sum_k d_k (eta_k + log t) - t exp(eta_k) - log d_k!``,

    which for hazards that are constant within intervals differs from the likelihood of censored
    and truncated follow-up by a constant only. The causes share nothing but the exposure, so that
    one fit of all of them is that of each.

    References
    ----------
    Holford (1980), Biometrics 36; Laird & Olivier (1981), JASA 76; Friedman (1982), Annals of
    Statistics 10.
    """

    causes: tuple[int, ...] = (1,)

    separable = True
    has_intercept = True
    ratios = True

    def __post_init__(self) -> None:
        if not self.causes:
            raise SpecificationError("a hazard needs at least one cause of an event.")

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """``("hazard",)``, or one name for each cause: ``("hazard_1", "hazard_2")``."""
        if len(self.causes) == 1:
            return ("hazard",)
        return tuple(f"hazard_{cause}" for cause in self.causes)

    @property
    def links(self) -> tuple[Link, ...]:
        return (LINKS["log"],) * len(self.causes)

    @staticmethod
    def encode(events: np.ndarray, exposure: np.ndarray) -> np.ndarray:
        """Counts ``(n, K)`` and exposures ``(n,)`` as an array ``(n, K + 1)``."""
        return np.column_stack([events, exposure]).astype(float)

    def bind(self, y: np.ndarray, weight: np.ndarray) -> BoundObjective:
        events, exposure = np.ascontiguousarray(y[:, :-1]), np.ascontiguousarray(y[:, -1])
        return _BoundHazards(events, exposure, weight)

    def batch_loss(self, eta: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        events, exposure = y[:, :-1].to(eta), y[:, -1:].to(eta)
        rows = (events * eta - exposure * bounded_exp(eta)).sum(dim=1)
        return -(weight * rows).sum() / weight.sum().clamp_min(1e-12)

    def initial_eta(self, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        weight = torch.ones(len(y)) if sample_weight is None else sample_weight
        totals = (weight.to(y)[:, None] * y).sum(dim=0)
        # Without a single event the estimate would be 0; half an event keeps it inside.
        return (totals[:-1].clamp_min(0.5) / totals[-1]).log()

    def observations(self, y: np.ndarray) -> str:
        return f"{len(y)} intervals, {int(y[:, :-1].sum())} events"


@dataclass(frozen=True, eq=False)
class _BoundHazards(BoundObjective):
    """Counts ``(n, K)``, exposures ``(n,)`` and weights ``(n,)``."""

    events: np.ndarray
    exposure: np.ndarray
    weight: np.ndarray

    def contributions(self, eta: np.ndarray) -> np.ndarray:
        rows = self.events * eta
        rows -= self._means(eta)
        return self.weight * (rows.sum(axis=1) + self._constants)

    def score(self, eta: np.ndarray) -> np.ndarray:
        return self.weight[:, None] * (self.events - self._means(eta))

    def curvature(self, eta: np.ndarray, kind: CurvatureKind = "observed") -> Curvature:
        """Minus the second derivative; observed and expected are the same."""
        K = eta.shape[1]
        w = np.zeros((len(eta), K, K))
        w[:, np.arange(K), np.arange(K)] = self.weight[:, None] * self._means(eta)
        return RowCurvature(w)

    def score_residuals(self, eta: np.ndarray, blocks: Sequence[Any]) -> np.ndarray:
        score = self.score(eta)
        return np.hstack([block.dense() * score[:, [k]] for k, block in enumerate(blocks)])

    @cached_property
    def _constants(self) -> np.ndarray:
        """What does not depend on the predictors, ``(n,)``."""
        logs = self.events * np.log(self.exposure)[:, None]
        return (logs - gammaln(self.events + 1)).sum(axis=1)

    def _means(self, eta: np.ndarray) -> np.ndarray:
        return self.exposure[:, None] * np.exp(np.minimum(eta, _LARGEST_ETA))
