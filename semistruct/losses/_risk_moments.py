"""Risk-set sums of the partial hazards, and means over risk sets, at one value of ``eta``.

Everything the Cox likelihood needs, of any order of derivative, is made of two adjoint operations:
the mean of a row quantity over every risk set (:meth:`RiskMoments.means`), and the sum of an
event-time quantity over every row's time at risk (:meth:`RiskMoments.spread`).

At an event time shared by ``m`` events, Efron's method has ``m`` denominators

    D_r = sum over the others at risk + (1 - r / m) sum over the events,    r = 0, ..., m - 1.

The first of them, ``r = 0``, is the whole risk set and belongs to the event time; the other
``m - 1`` are called *extra* and kept in a vector of their own, empty without ties.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.losses._arithmetic import LINEAR, LOG, take
from semistruct.losses._risk_sets import CoxRiskSets

__all__ = ["RiskMoments", "TieRule", "risk_moments", "tie_rule", "working_dtype"]

# Half the spread of eta that the natural scale bears: exp(650) = 1e282 leaves room for sums over
# 1e9 rows and for weights of 1e8; in single precision exp(60) = 1e26.
_LARGEST_EXPONENT = {torch.float64: 650.0, torch.float32: 60.0}


def working_dtype(device: torch.device) -> torch.dtype:
    """Double precision wherever the device has it: sums over risk sets are long."""
    return torch.float32 if device.type == "mps" else torch.float64


@dataclass(frozen=True, eq=False)
class TieRule:
    """How the events that share a time enter the likelihood.

    Attributes
    ----------
    efron : bool
    share_count : (..., K) tensor or None
        ``1 / m`` for Efron's method, zero where there is no event; None for Breslow's, whose one
        denominator serves all events of a time.
    share : (..., E) tensor or None
        ``1 - r / m`` of the extra denominators.
    group : (E,) tensor or None
        Tied group of each extra denominator.
    live : (..., E) tensor or None
        Zero for an extra denominator that a weight of zero removes; None when there is none such.
    empty : (..., K) bool tensor or None
        Event times that weights of zero leave without events; None when no weight is zero.
    """

    efron: bool
    share_count: Tensor | None
    share: Tensor | None
    group: Tensor | None
    live: Tensor | None
    empty: Tensor | None

    def coefficients(
        self, at_times: Tensor, risk_sets: CoxRiskSets
    ) -> tuple[Tensor, Tensor | None]:
        """Split ``at_times`` ``(..., K)`` evenly over the denominators of each event time."""
        if self.share_count is None:
            return at_times, None
        first = at_times * self.share_count
        if self.group is None:
            return first, None
        extra = take(take(first, risk_sets.scan.tied_time), self.group)
        return first, extra if self.live is None else extra * self.live


def tie_rule(risk_sets: CoxRiskSets, efron: bool, weights: Tensor | None) -> TieRule:
    """The rule for these risk sets; ``weights`` only if some of them are zero."""
    if weights is None:
        if not (efron and risk_sets.tied):
            return TieRule(efron, None, None, None, None, None)
        return TieRule(
            efron,
            risk_sets.share_count,
            risk_sets.extra_share,
            risk_sets.extra_group,
            None,
            None,
        )
    present = (weights > 0).to(risk_sets.count.dtype)
    counts = LINEAR.bucket_sum(
        take(present, risk_sets.event_rows), risk_sets.event_time, risk_sets.n_times
    )
    empty = counts == 0
    if not (efron and risk_sets.tied):
        return TieRule(efron, None, None, None, None, empty)
    scan = risk_sets.scan
    of_tied = take(present, scan.tied_rows)
    running = of_tied.cumsum(-1)  # whole numbers, so differences are exact
    size = torch.bincount(scan.tied_group, minlength=scan.tied_time.shape[0])
    start = size.cumsum(0) - size
    first = take(running, start) - take(of_tied, start)
    rank = running - of_tied - take(first, scan.tied_group)
    m = take(take(counts, scan.tied_time), scan.tied_group).clamp(min=1.0)
    live = of_tied * (rank > 0)
    share = torch.where(live > 0, (m - rank) / m, torch.ones_like(m))
    share_count = torch.where(empty, torch.zeros_like(counts), 1.0 / counts.clamp(min=1.0))
    return TieRule(efron, share_count, share, scan.tied_group, live, empty)


@dataclass(frozen=True, eq=False)
class RiskMoments(ABC):
    """Partial hazards and their sums over risk sets.

    Attributes
    ----------
    risk_sets : CoxRiskSets
    rule : TieRule
    hazard : (..., n) tensor
        ``w exp(eta)``, or its logarithm.
    total : (..., K) tensor
        Its sum over each risk set.
    extra : (..., E) tensor or None
        The extra denominators.
    """

    risk_sets: CoxRiskSets
    rule: TieRule
    hazard: Tensor
    total: Tensor
    extra: Tensor | None

    @abstractmethod
    def log_denominators(self) -> tuple[Tensor, Tensor | None]:
        """Logarithms of the denominators, ``(..., K)`` and ``(..., E)``."""

    @abstractmethod
    def means(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        """Hazard-weighted means of ``v`` ``(..., n)`` over risk sets, ``(..., K)``, ``(..., E)``.

        In an extra denominator the group's own events count in part.
        """

    @abstractmethod
    def spread(self, first: Tensor, extra: Tensor | None, *, positive: bool) -> Tensor:
        """Adjoint of the mean: ``hazard_i sum over denominators that contain i of c / D``.

        Parameters
        ----------
        first, extra : (..., K) and (..., E) tensors
            The coefficients ``c``.
        positive : bool
            Whether no coefficient is negative.
        """


@dataclass(frozen=True, eq=False)
class _LinearMoments(RiskMoments):
    def log_denominators(self) -> tuple[Tensor, Tensor | None]:
        return self.total.log(), None if self.extra is None else self.extra.log()

    def means(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        sums = self.risk_sets.scan.at_risk(self.hazard * v, LINEAR)
        first = sums.total / self.total
        if self.extra is None:
            return first, None
        others = take(sums.others, self.rule.group)
        own = take(sums.own, self.rule.group)
        return first, (others + self.rule.share * own) / self.extra

    def spread(self, first: Tensor, extra: Tensor | None, *, positive: bool) -> Tensor:
        scan = self.risk_sets.scan
        at_times = first / self.total
        at_own = None
        if scan.tied_time.shape[0]:
            at_own = take(at_times, scan.tied_time)
            if extra is not None:
                groups = at_own.shape[-1]
                at_extra = extra / self.extra
                whole = LINEAR.bucket_sum(at_extra, self.rule.group, groups)
                in_part = LINEAR.bucket_sum(at_extra * self.rule.share, self.rule.group, groups)
                at_times[..., scan.tied_time] = at_own + whole
                at_own = at_own + in_part
        return self.hazard * scan.accumulate(at_times, at_own, LINEAR)


@dataclass(frozen=True, eq=False)
class _LogMoments(RiskMoments):
    def log_denominators(self) -> tuple[Tensor, Tensor | None]:
        return self.total, self.extra

    def means(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        rises, rises_extra = self._positive_means(v.clamp(min=0.0))
        falls, falls_extra = self._positive_means((-v).clamp(min=0.0))
        if rises_extra is None:
            return rises - falls, None
        return rises - falls, rises_extra - falls_extra

    def _positive_means(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        sums = self.risk_sets.scan.at_risk(self.hazard + v.log(), LOG)
        first = (sums.total - self.total).exp()
        if self.extra is None:
            return first, None
        others = take(sums.others, self.rule.group)
        own = take(sums.own, self.rule.group) + self.rule.share.log()
        return first, (torch.logaddexp(others, own) - self.extra).exp()

    def spread(self, first: Tensor, extra: Tensor | None, *, positive: bool) -> Tensor:
        if positive:
            return self._positive_spread(first, extra)
        rises = self._positive_spread(
            first.clamp(min=0.0), None if extra is None else extra.clamp(min=0.0)
        )
        falls = self._positive_spread(
            (-first).clamp(min=0.0), None if extra is None else (-extra).clamp(min=0.0)
        )
        return rises - falls

    def _positive_spread(self, first: Tensor, extra: Tensor | None) -> Tensor:
        scan = self.risk_sets.scan
        at_times = first.log() - self.total
        at_own = None
        if scan.tied_time.shape[0]:
            at_own = take(at_times, scan.tied_time)
            if extra is not None:
                groups = at_own.shape[-1]
                at_extra = extra.log() - self.extra
                whole = LOG.bucket_sum(at_extra, self.rule.group, groups)
                in_part = LOG.bucket_sum(at_extra + self.rule.share.log(), self.rule.group, groups)
                at_times[..., scan.tied_time] = torch.logaddexp(at_own, whole)
                at_own = torch.logaddexp(at_own, in_part)
        return (self.hazard + scan.accumulate(at_times, at_own, LOG)).exp()


def risk_moments(
    eta: Tensor, weights: Tensor | None, risk_sets: CoxRiskSets, rule: TieRule
) -> tuple[Tensor, RiskMoments]:
    """Centre ``eta`` and sum the partial hazards over the risk sets.

    Parameters
    ----------
    eta : (..., n) tensor in the working precision
    weights : (..., n) tensor or None
    risk_sets : CoxRiskSets
    rule : TieRule

    Returns
    -------
    centred : (..., n) tensor
        ``eta`` minus the middle of its range; the likelihood does not see the difference.
    moments : RiskMoments
    """
    if rule.empty is not None and weights is not None:
        # an absent row must not decide the shift, nor bring in a value that is not a number
        present = weights > 0
        low = torch.where(present, eta, torch.inf).amin(-1, keepdim=True)
        high = torch.where(present, eta, -torch.inf).amax(-1, keepdim=True)
        middle = torch.nan_to_num(0.5 * low + 0.5 * high, nan=0.0)  # no row present at all
        centred = torch.where(present, eta - middle, torch.zeros_like(eta))
        half_range = 0.5 * (high - low).max().item()
    elif eta.dim() == 1:
        lowest, highest = torch.aminmax(eta)
        low, high = lowest.item(), highest.item()
        half_range = 0.5 * (high - low)
        centred = eta - (low + half_range)
    else:
        low, high = torch.aminmax(eta, dim=-1, keepdim=True)
        half_ranges = 0.5 * (high - low)
        half_range = half_ranges.max().item() if half_ranges.numel() else 0.0
        centred = eta - (low + half_ranges)
    if half_range > _LARGEST_EXPONENT[eta.dtype]:
        hazard = centred if weights is None else centred + weights.log()
        make, arithmetic = _LogMoments, LOG
    else:
        hazard = centred.exp()
        if weights is not None:
            hazard = hazard * weights
        make, arithmetic = _LinearMoments, LINEAR
    sums = risk_sets.scan.at_risk(hazard, arithmetic)
    total, extra = sums.total, None
    if rule.empty is not None:
        total = torch.where(rule.empty, torch.full_like(total, arithmetic.one), total)
    if rule.group is not None:
        own = take(sums.own, rule.group)
        own = own * rule.share if arithmetic is LINEAR else own + rule.share.log()
        extra = arithmetic.add(take(sums.others, rule.group), own)
        if rule.live is not None:
            extra = torch.where(rule.live > 0, extra, torch.full_like(extra, arithmetic.one))
    return centred, make(risk_sets, rule, hazard, total, extra)
