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

from semistruct.losses._arithmetic import LINEAR, LOG, Arithmetic, take
from semistruct.losses._risk_sets import CoxRiskSets
from semistruct.losses._scans import TiedSums

__all__ = [
    "ExtraRule",
    "LinearMoments",
    "LogMoments",
    "RiskMoments",
    "TieRule",
    "risk_moments",
    "tie_rule",
    "working_dtype",
]

# Half the spread of eta that the natural scale bears: exp(650) = 1e282 leaves room for sums over
# 1e9 rows and for weights of 1e8; in single precision exp(60) = 1e26.
_LARGEST_EXPONENT = {torch.float64: 650.0, torch.float32: 60.0}


def working_dtype(device: torch.device) -> torch.dtype:
    """Double precision wherever the device has it: sums over risk sets are long."""
    return torch.float32 if device.type == "mps" else torch.float64


@dataclass(frozen=True, eq=False)
class ExtraRule:
    """The extra denominators of Efron's method.

    Attributes
    ----------
    group : (E,) tensor
        Tied group of each.
    share : (..., E) tensor
        ``1 - r / m``.
    live : (..., E) tensor or None
        Zero for one that a weight of zero removes; None when there is none such.
    """

    group: Tensor
    share: Tensor
    live: Tensor | None


@dataclass(frozen=True, eq=False)
class TieRule:
    """How the events that share a time enter the likelihood.

    Attributes
    ----------
    share_count : (..., K) tensor or None
        ``1 / m`` for Efron's method, zero where there is no event; None for Breslow's, whose one
        denominator serves all events of a time, and when there are no ties.
    extra : ExtraRule or None
        None for Breslow's method and when there are no ties.
    thinned : bool
        Whether weights of zero remove rows, so that a risk set may be empty.
    """

    share_count: Tensor | None
    extra: ExtraRule | None
    thinned: bool

    def coefficients(
        self, at_times: Tensor, risk_sets: CoxRiskSets
    ) -> tuple[Tensor, Tensor | None]:
        """Split ``at_times`` ``(..., K)`` evenly over the denominators of each event time."""
        if self.share_count is None or self.extra is None:
            return at_times, None
        if at_times is risk_sets.count and self.extra.live is None:
            return risk_sets.real, risk_sets.extra_ones
        first = at_times * self.share_count
        extra = take(take(first, risk_sets.scan.tied_time), self.extra.group)
        return first, extra if self.extra.live is None else extra * self.extra.live

    def mean(self, first: Tensor, extra: Tensor | None, risk_sets: CoxRiskSets) -> Tensor:
        """Mean over the denominators of each event time, ``(..., K)``."""
        if self.share_count is None or self.extra is None or extra is None:
            return first
        if self.extra.live is not None:
            extra = extra * self.extra.live
        tied_time = risk_sets.scan.tied_time
        sums = LINEAR.bucket_sum(extra, self.extra.group, tied_time.shape[0])
        mean = (take(first, tied_time) + sums) * take(self.share_count, tied_time)
        return first.index_copy(-1, tied_time, mean)


def tie_rule(risk_sets: CoxRiskSets, efron: bool, weights: Tensor | None) -> TieRule:
    """The rule for these risk sets; ``weights`` only if some of them are zero."""
    efron = efron and risk_sets.tied
    if weights is None:
        if not efron:
            return TieRule(None, None, False)
        extra = ExtraRule(risk_sets.extra_group, risk_sets.extra_share, None)
        return TieRule(risk_sets.share_count, extra, False)
    if not efron:
        return TieRule(None, None, True)
    present = (weights > 0).to(risk_sets.count.dtype)
    counts = LINEAR.bucket_sum(
        take(present, risk_sets.event_rows), risk_sets.event_time, risk_sets.n_times
    )
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
    share_count = (counts > 0) / counts.clamp(min=1.0)
    return TieRule(share_count, ExtraRule(scan.tied_group, share, live), True)


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
    shift : (..., 1) tensor or float
        What was taken off ``eta``.
    """

    risk_sets: CoxRiskSets
    rule: TieRule
    hazard: Tensor
    total: Tensor
    extra: Tensor | None
    shift: Tensor | float

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
class LinearMoments(RiskMoments):
    def log_denominators(self) -> tuple[Tensor, Tensor | None]:
        return self.total.log(), None if self.extra is None else self.extra.log()

    def means(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        sums = self.risk_sets.scan.at_risk(self.hazard * v, LINEAR)
        first = sums.total / self.total
        if self.extra is None or self.rule.extra is None or sums.tied is None:
            return first, None
        return first, _extra_sums(sums.tied, self.rule.extra, LINEAR) / self.extra

    def spread(self, first: Tensor, extra: Tensor | None, *, positive: bool) -> Tensor:
        scan = self.risk_sets.scan
        at_times = first / self.total
        at_own = None
        if scan.tied_time.shape[0]:
            at_own = take(at_times, scan.tied_time)
            if extra is not None and self.extra is not None and self.rule.extra is not None:
                rule, groups = self.rule.extra, at_own.shape[-1]
                at_extra = extra / self.extra
                whole = at_own + LINEAR.bucket_sum(at_extra, rule.group, groups)
                at_own = at_own + LINEAR.bucket_sum(at_extra * rule.share, rule.group, groups)
                at_times.index_copy_(-1, scan.tied_time, whole)
        return self.hazard * scan.accumulate(at_times, at_own, LINEAR)


@dataclass(frozen=True, eq=False)
class LogMoments(RiskMoments):
    def log_denominators(self) -> tuple[Tensor, Tensor | None]:
        return self.total, self.extra

    def means(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        rises, rises_extra = self._positive_means(v.clamp(min=0.0))
        falls, falls_extra = self._positive_means((-v).clamp(min=0.0))
        if rises_extra is None or falls_extra is None:
            return rises - falls, None
        return rises - falls, rises_extra - falls_extra

    def _positive_means(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        sums = self.risk_sets.scan.at_risk(self.hazard + v.log(), LOG)
        first = (sums.total - self.total).exp()
        if self.extra is None or self.rule.extra is None or sums.tied is None:
            return first, None
        return first, (_extra_sums(sums.tied, self.rule.extra, LOG) - self.extra).exp()

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
            if extra is not None and self.extra is not None and self.rule.extra is not None:
                rule, groups = self.rule.extra, at_own.shape[-1]
                at_extra = extra.log() - self.extra
                whole = LOG.bucket_sum(at_extra, rule.group, groups)
                in_part = LOG.bucket_sum(at_extra + rule.share.log(), rule.group, groups)
                at_times.index_copy_(-1, scan.tied_time, torch.logaddexp(at_own, whole))
                at_own = torch.logaddexp(at_own, in_part)
        return (self.hazard + scan.accumulate(at_times, at_own, LOG)).exp()


def _extra_sums(tied: TiedSums, rule: ExtraRule, arithmetic: Arithmetic) -> Tensor:
    """Sums of the extra denominators, ``(..., E)``."""
    own = take(tied.own, rule.group)
    own = own * rule.share if arithmetic is LINEAR else own + rule.share.log()
    return arithmetic.add(take(tied.others, rule.group), own)


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
    centred, shift, half_range = _centre(eta, weights if rule.thinned else None)
    wide = half_range > _LARGEST_EXPONENT[eta.dtype]
    arithmetic = LOG if wide else LINEAR
    if wide:
        hazard = centred if weights is None else centred + weights.log()
    else:
        hazard = centred.exp() if weights is None else centred.exp().mul_(weights)
    sums = risk_sets.scan.at_risk(hazard, arithmetic)
    total, extra = sums.total, None
    if rule.thinned:
        total = total.masked_fill(total == arithmetic.zero, arithmetic.one)
    if rule.extra is not None and sums.tied is not None:
        extra = _extra_sums(sums.tied, rule.extra, arithmetic)
        if rule.thinned:
            extra = extra.masked_fill(extra == arithmetic.zero, arithmetic.one)
    make = LogMoments if wide else LinearMoments
    return centred, make(risk_sets, rule, hazard, total, extra, shift)


def _centre(eta: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | float, float]:
    """``eta`` minus the middle of its range, that middle, and half the (largest) range.

    With ``weights``, rows of weight zero do not decide the middle and become zero, whatever they
    held.
    """
    if weights is not None:
        present = weights > 0
        low = torch.where(present, eta, torch.inf).amin(-1, keepdim=True)
        high = torch.where(present, eta, -torch.inf).amax(-1, keepdim=True)
        middle = torch.nan_to_num(0.5 * low + 0.5 * high, nan=0.0)  # no row present at all
        centred = torch.where(present, eta - middle, torch.zeros_like(eta))
        return centred, middle, 0.5 * (high - low).max().item()
    if eta.dim() == 1:
        lowest, highest = torch.aminmax(eta)
        start = lowest.item()
        half_range = 0.5 * (highest.item() - start)
        middle_of_all = start + half_range
        return eta - middle_of_all, middle_of_all, half_range
    low, high = torch.aminmax(eta, dim=-1, keepdim=True)
    half_ranges = 0.5 * (high - low)
    widest = half_ranges.max().item() if half_ranges.numel() else 0.0
    return eta - (low + half_ranges), low + half_ranges, widest
