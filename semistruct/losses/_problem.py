"""A Cox partial likelihood up to ``eta``: what its value and all its derivatives share."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from semistruct.exceptions import DataError, SpecificationError
from semistruct.losses._arithmetic import LINEAR, take
from semistruct.losses._risk_moments import (
    RiskMoments,
    TieRule,
    risk_moments,
    tie_rule,
    working_dtype,
)
from semistruct.losses._risk_sets import CoxRiskSets

__all__ = ["CoxProblem", "Ties", "cox_problem"]

Ties = Literal["efron", "breslow"]


class CoxProblem(NamedTuple):
    """A partial likelihood up to ``eta``: risk sets, case weights, treatment of ties."""

    risk_sets: CoxRiskSets
    weights: Tensor | None
    rule: TieRule

    def event_weight(self, like: Tensor) -> Tensor | float:
        """Sum of the events' weights; one where it is zero."""
        if self.weights is None:
            return max(self.risk_sets.n_events, 1)
        total = (self.weights * self.risk_sets.event).sum(-1)
        return torch.where(total > 0, total, torch.ones_like(total)).to(like.dtype)

    def at_events(self, of_rows: Tensor | None) -> Tensor:
        """Sums of a row quantity (None: one) over the events of each event time."""
        rs = self.risk_sets
        if of_rows is None:
            return rs.count
        return LINEAR.bucket_sum(take(of_rows, rs.event_rows), rs.event_time, rs.n_times)

    def coefficients(self) -> tuple[Tensor, Tensor | None]:
        """Weight of the logarithm of each denominator in the summed loss."""
        return self.rule.coefficients(self.at_events(self.weights), self.risk_sets)

    def evaluate(self, eta: Tensor) -> tuple[Tensor, RiskMoments]:
        """Centred predictors ``(..., n)`` and sums over risk sets, in the working precision."""
        working = eta.to(working_dtype(eta.device))
        return risk_moments(working, self.weights, self.risk_sets, self.rule)

    def time_of_rows(self) -> Tensor:
        """Number of each row's event time ``(n,)``; zero, a dummy, for censored rows."""
        rs = self.risk_sets
        of_rows = rs.event_time.new_zeros(rs.n_rows)
        of_rows[rs.event_rows] = rs.event_time
        return of_rows

    def events(self) -> Tensor:
        """``w_i event_i``, ``(..., n)``."""
        event = self.risk_sets.event
        return event if self.weights is None else event * self.weights


def cox_problem(eta: Tensor, weights: Any, risk_sets: CoxRiskSets, ties: Ties) -> CoxProblem:
    """Check that ``eta`` ``(..., n)``, ``weights`` and risk sets go together.

    Raises
    ------
    DataError
        If lengths or devices differ, or a weight is negative or not finite.
    SpecificationError
        If ``ties`` is unknown, or ``weights`` ask for a gradient.
    """
    if ties not in ("efron", "breslow"):
        raise SpecificationError(f"ties must be 'efron' or 'breslow', got {ties!r}.")
    efron = ties == "efron"
    n = risk_sets.n_rows
    if eta.dim() == 0 or eta.shape[-1] != n:
        raise DataError(
            f"eta has shape {tuple(eta.shape)} but the risk sets have {n} rows; the last "
            "dimension of eta is the rows."
        )
    if risk_sets.device != eta.device:
        raise DataError(
            f"eta is on {eta.device} and the risk sets on {risk_sets.device}; move them once with "
            "risk_sets.to(eta.device)."
        )
    if weights is None:
        return CoxProblem(risk_sets, None, tie_rule(risk_sets, efron, None))
    weights = torch.as_tensor(weights, device=eta.device)
    if weights.requires_grad:
        raise SpecificationError("weights are constants of the loss; detach them.")
    weights = weights.to(working_dtype(eta.device))
    if weights.dim() == 0 or weights.shape[-1] != n:
        raise DataError(f"weights have shape {tuple(weights.shape)} but eta has {n} rows.")
    if weights.numel():
        low, high = torch.aminmax(weights)
        smallest = low.item()
        if not (smallest >= 0.0 and high.item() < torch.inf):
            bad = (~((weights >= 0.0) & (weights < torch.inf))).nonzero()[0].tolist()
            raise DataError(
                f"weights must be finite and not negative; row {bad[-1]} has "
                f"{weights[tuple(bad)].item()}."
            )
    else:
        smallest = 1.0
    shape = torch.broadcast_shapes(eta.shape, weights.shape)
    if shape != eta.shape or weights.dim() > 1:
        weights = weights.expand(shape)
    rule = tie_rule(risk_sets, efron, weights if smallest == 0.0 else None)
    return CoxProblem(risk_sets, weights, rule)
