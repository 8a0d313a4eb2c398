"""How a late fusion combines predictions of numbers, of classes and of risks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from semistruct.estimators.cox import CoxPH
from semistruct.estimators.late.combination import (
    LogisticPool,
    cox_weights,
    fit_logistic_pool,
    mean_rank,
    simplex_weights,
    votes,
    weighted_quantile,
)
from semistruct.responses import Surv

__all__ = ["ClassHead", "Combine", "NumberHead", "RiskHead", "flat"]

_CONSTANT = 1e-12  # spread of risks, relative to their size, that is rounding

Combine = Literal["mean", "median", "vote", "rank", "stack", "weighted"]


@dataclass(frozen=True)
class NumberHead:
    """Numbers of M members.

    Attributes
    ----------
    weights : (M,) array or None
        With sum one; of the mean, weighted mean and stack.
    reference : (m, M) array or None
        Out-of-fold predictions of the training rows.
    y, sample_weight : (m,) arrays
        Training responses, whose quantiles "rank" returns.
    """

    combine: Combine
    weights: np.ndarray | None
    reference: np.ndarray | None
    y: np.ndarray
    sample_weight: np.ndarray

    @classmethod
    def learn(
        cls,
        combine: Combine,
        weights: np.ndarray | None,
        unseen: np.ndarray | None,
        y: np.ndarray,
        sample_weight: np.ndarray,
    ) -> NumberHead:
        """From out-of-fold predictions ``(m, M)`` where weights or ranks are learned."""
        if combine == "stack" and unseen is not None:
            weights = simplex_weights(unseen, y, sample_weight)
        return cls(combine, weights, unseen, y, sample_weight)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """One number per row, ``(n,)``, from ``(n, M)``."""
        if self.combine == "median":
            return np.median(values, axis=1)
        if self.weights is not None:
            # Sums of columns: a matrix product may add in another order for one row alone.
            return (values * self.weights).sum(axis=1)
        level = mean_rank(values, self.reference, self.sample_weight)  # type: ignore[arg-type]
        return weighted_quantile(self.y, self.sample_weight, level)


@dataclass(frozen=True)
class ClassHead:
    """Probabilities of C classes by M members.

    Attributes
    ----------
    weights : (M,) array or None
    pool : LogisticPool or None
        Of "stack".
    reference : (m, M) array or None
        Out-of-fold probabilities of the second of two classes, for "rank".
    codes, sample_weight : (m,) arrays
        Training responses.
    """

    combine: Combine
    weights: np.ndarray | None
    pool: LogisticPool | None
    reference: np.ndarray | None
    codes: np.ndarray
    sample_weight: np.ndarray

    @classmethod
    def learn(
        cls,
        combine: Combine,
        weights: np.ndarray | None,
        unseen: np.ndarray | None,
        codes: np.ndarray,
        sample_weight: np.ndarray,
    ) -> ClassHead:
        """From out-of-fold probabilities ``(m, M, C)`` where weights or ranks are learned."""
        pool = reference = None
        if combine == "stack" and unseen is not None:
            pool = fit_logistic_pool(unseen.transpose(1, 0, 2), codes, sample_weight)
            weights = pool.weights
        if combine == "rank" and unseen is not None:
            reference = unseen[:, :, 1]
        return cls(combine, weights, pool, reference, codes, sample_weight)

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """``(n, C)`` from ``(n, M, C)``."""
        by_member = values.transpose(1, 0, 2)
        if self.pool is not None:
            return self.pool.probabilities(by_member)
        if self.combine == "median":
            middle = np.median(by_member, axis=0)
            return middle / middle.sum(axis=1, keepdims=True)
        weights = np.ones(len(by_member)) if self.weights is None else self.weights
        if self.combine == "vote":
            return votes(by_member, weights)
        return (by_member * weights[:, None, None]).sum(axis=0)

    def ranks(self, values: np.ndarray) -> np.ndarray:
        """Mean rank of the second of two classes, ``(n,)``, from ``(n, M, 2)``."""
        return mean_rank(values[:, :, 1], self.reference, self.sample_weight)  # type: ignore[arg-type]

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Number of the class of every row, ``(n,)``."""
        if self.combine != "rank":
            return self.probabilities(values).argmax(axis=1)
        first = np.average(self.codes == 0, weights=self.sample_weight)
        return (self.ranks(values) > first).astype(int)


@dataclass(frozen=True)
class RiskHead:
    """Risks of M survival models, less the mean of each over its training rows.

    Attributes
    ----------
    weights : (M,) array or None
    scale : (M,) array
        Standard deviation of the out-of-fold risks.
    reference : (m, M) array
        These risks.
    sample_weight : (m,) array
    baseline : CoxPH or None
        Of "stack": baseline hazard given the stacked risk.
    """

    combine: Combine
    weights: np.ndarray | None
    scale: np.ndarray
    reference: np.ndarray
    sample_weight: np.ndarray
    baseline: CoxPH | None

    @classmethod
    def learn(
        cls,
        combine: Combine,
        weights: np.ndarray | None,
        unseen: np.ndarray,
        y: Surv,
        sample_weight: np.ndarray,
    ) -> RiskHead:
        """From out-of-fold risks ``(m, M)``."""
        mean = np.average(unseen, axis=0, weights=sample_weight)
        scale = np.sqrt(np.average((unseen - mean) ** 2, axis=0, weights=sample_weight))
        # A model that says the same of everyone has no scale, and adds nothing.
        constant = scale <= _CONSTANT * np.abs(unseen).max(axis=0)
        scale = np.where(constant, 1.0, scale)
        baseline = None
        if combine == "stack":
            weights = cox_weights(unseen / scale, y, sample_weight)
            weights = np.where(constant, 0.0, weights)
            risk = (unseen / scale * weights).sum(axis=1)
            baseline = CoxPH("offset(stacked)").fit(
                pd.DataFrame({"stacked": risk}), y, sample_weight
            )
        return cls(combine, weights, scale, unseen, sample_weight, baseline)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """One risk per row, ``(n,)``, from ``(n, M)``."""
        if self.combine == "rank":
            return mean_rank(values, self.reference, self.sample_weight)
        standardised = values / self.scale
        if self.weights is None:
            return np.median(standardised, axis=1)
        return (standardised * self.weights).sum(axis=1)

    def survival(self, curves: np.ndarray) -> np.ndarray:
        """Survival ``(m, n)`` from the members' ``(M, m, n)``; not of "stack" and "rank"."""
        if self.weights is None:
            return np.median(curves, axis=0)
        return np.tensordot(self.weights, curves, axes=1)


def flat(values: np.ndarray) -> np.ndarray:
    """Predictions ``(n, M)`` or ``(n, M, C)`` as one row of numbers each."""
    return values.reshape(len(values), -1)
