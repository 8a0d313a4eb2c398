"""Sums over risk sets, and their adjoint, for right-censored and for truncated follow-up.

A scan knows for every row the range of event times at which it is at risk. ``at_risk`` sums a row
quantity over each risk set; ``accumulate`` sums an event-time quantity over each row's range. Both
only ever add, never subtract, so that positive quantities keep their relative accuracy however
widely they are spread.

Event times are numbered upwards within strata; entry 0 of every stratum is a dummy that stands for
"before the first event". At an event time shared by several events (a *tied group*) the events'
own rows are summed separately, because Efron's method counts them in part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from semistruct.losses._arithmetic import Arithmetic, take
from semistruct.losses._segments import SegmentLayout

__all__ = ["DyadicLevel", "DyadicScan", "RiskScan", "RiskSums", "SuffixScan", "TiedSums"]


_Moved = TypeVar("_Moved")


class RiskSums(NamedTuple):
    """Sums of a row quantity over risk sets.

    Attributes
    ----------
    total : (..., K) tensor
        Over the whole risk set of each event time; anything positive at dummies and padding.
    tied : TiedSums or None
        The risk sets of tied groups in two parts; None when no events are tied.
    """

    total: Tensor
    tied: TiedSums | None


class TiedSums(NamedTuple):
    """The two parts of the risk sets of tied groups.

    Attributes
    ----------
    others : (..., T) tensor
        Sums over the rows at risk other than the group's own events.
    own : (..., T) tensor
        Sums over the group's own events.
    """

    others: Tensor
    own: Tensor


class RiskScan(ABC):
    """Which rows are at risk at which event times."""

    tied_rows: Tensor
    """``(E_T,)`` rows whose event is tied, sorted by tied group."""
    tied_group: Tensor
    """``(E_T,)`` number of the tied group of each, from 0 to T - 1."""
    tied_time: Tensor
    """``(T,)`` number of the event time of each tied group, from 0 to K - 1."""

    @abstractmethod
    def at_risk(self, values: Tensor, arithmetic: Arithmetic) -> RiskSums:
        """Sum ``values`` ``(..., n)`` over every risk set."""

    @abstractmethod
    def accumulate(self, at_times: Tensor, at_own: Tensor | None, arithmetic: Arithmetic) -> Tensor:
        """Sum ``at_times`` ``(..., K)`` over every row's time at risk, ``(..., n)``.

        A tied event meets ``at_own`` ``(..., T)`` at its own event time instead.
        """

    @abstractmethod
    def map(self, move: Callable[[Tensor], Tensor]) -> RiskScan:
        """The scan with every tensor moved, for example to another device."""


@dataclass(frozen=True, eq=False)
class SuffixScan(RiskScan):
    """Everybody is under observation from the start: a risk set is a suffix in time.

    Attributes
    ----------
    source : (N,) tensor
        Rows by stratum, then by falling time, events after the censored rows of the same time.
    padding : (N - n,) tensor
        Positions that belong to no row.
    rows, times : SegmentLayout
        Strata within the sorted rows, and within the event times.
    at : (K,) tensor
        Position of the last event of each event time among the sorted rows.
    before : (T,) tensor
        Position before the first event of each tied group; ``nobody`` numbers the groups that
        have nothing before them in their stratum.
    row_slot : (n,) tensor
        Number of the last event time that a row reaches; ``K +`` its tied group for a tied event.
    """

    source: Tensor
    padding: Tensor
    rows: SegmentLayout
    times: SegmentLayout
    at: Tensor
    row_slot: Tensor
    before: Tensor
    nobody: Tensor
    tied_rows: Tensor
    tied_group: Tensor
    tied_time: Tensor

    def at_risk(self, values: Tensor, arithmetic: Arithmetic) -> RiskSums:
        sums = self.rows.cumsum(take(values, self.source), arithmetic)
        total = take(sums, self.at)
        groups = self.tied_time.shape[0]
        if not groups:
            return RiskSums(total, None)
        others = take(sums, self.before)
        if self.nobody.shape[0]:
            others.index_fill_(-1, self.nobody, arithmetic.zero)
        own = arithmetic.bucket_sum(take(values, self.tied_rows), self.tied_group, groups)
        return RiskSums(total, TiedSums(others, own))

    def accumulate(self, at_times: Tensor, at_own: Tensor | None, arithmetic: Arithmetic) -> Tensor:
        reached = self.times.cumsum(at_times, arithmetic)
        if at_own is not None:
            earlier = take(reached, self.tied_time - 1)
            reached = torch.cat([reached, arithmetic.add(earlier, at_own)], dim=-1)
        return take(reached, self.row_slot)

    def map(self, move: Callable[[Tensor], Tensor]) -> SuffixScan:
        return _move_tensors(self, move)


@dataclass(frozen=True)
class DyadicLevel:
    """Rows whose range of event times straddles the middle of a block of ``2 * half`` of them.

    Attributes
    ----------
    half : int
    rows : (q,) tensor
    first : (q,) tensor
        Number of the first event time at risk, in the left half of the block.
    last : (q,) tensor
        Of the last one, in the right half, *mirrored within its half*, so that one running sum
        from left to right serves the left half upwards and the right half downwards.
    """

    half: int
    rows: Tensor
    first: Tensor
    last: Tensor


@dataclass(frozen=True, eq=False)
class DyadicScan(RiskScan):
    """Delayed entry: a risk set is an interval of event times, split at dyadic midpoints.

    Every interval of two or more event times straddles the midpoint of exactly one dyadic block; it
    is a suffix of the left half and a prefix of the right half. One running sum per level of the
    dyadic tree hence serves all rows: ``O(n + K log K)`` time, ``O(n + K)`` memory. (The difference
    of two running sums, the usual way, loses all digits when predictors are widely spread.)

    Attributes
    ----------
    n_times : int
        K.
    width : int
        The smallest power of two that is at least K.
    single_rows, single_time : (q,) tensors
        Rows at risk at one event time only, and that event time.
    levels : tuple of DyadicLevel
        The levels that have rows.
    row_slot : (n,) tensor
        Where each row stands in the concatenation of ``single_rows``, of the levels' rows, and of
        one last place for rows that are never at risk.
    """

    n_times: int
    width: int
    single_rows: Tensor
    single_time: Tensor
    levels: tuple[DyadicLevel, ...]
    row_slot: Tensor
    tied_rows: Tensor
    tied_group: Tensor
    tied_time: Tensor

    def at_risk(self, values: Tensor, arithmetic: Arithmetic) -> RiskSums:
        total = arithmetic.bucket_sum(take(values, self.single_rows), self.single_time, self.width)
        for level in self.levels:
            of_rows = take(values, level.rows)
            ends = torch.cat([level.first, level.last])
            buckets = arithmetic.bucket_sum(torch.cat([of_rows, of_rows], dim=-1), ends, self.width)
            sums = arithmetic.cumsum(_halves(buckets, level.half))
            blocks = _halves(total, level.half)
            left = arithmetic.add(blocks[..., 0, :], sums[..., 0, :])
            right = arithmetic.add(blocks[..., 1, :], sums[..., 1, :].flip(-1))
            total = torch.stack([left, right], dim=-2).flatten(-3)
        total = total[..., : self.n_times]
        groups = self.tied_time.shape[0]
        tied = None
        if groups:
            others = take(total, self.tied_time)
            own = arithmetic.bucket_sum(take(values, self.tied_rows), self.tied_group, groups)
            total = total.index_copy(-1, self.tied_time, arithmetic.add(others, own))
            tied = TiedSums(others, own)
        total[..., 0] = arithmetic.one
        return RiskSums(total, tied)

    def accumulate(self, at_times: Tensor, at_own: Tensor | None, arithmetic: Arithmetic) -> Tensor:
        padding = at_times.new_full(
            (*at_times.shape[:-1], self.width - self.n_times), arithmetic.zero
        )
        at_times = torch.cat([at_times, padding], dim=-1)
        parts = [take(at_times, self.single_time)]
        for level in self.levels:
            halves = _halves(at_times, level.half)
            to_middle = torch.stack([halves[..., 0, :].flip(-1), halves[..., 1, :]], dim=-2)
            sums = arithmetic.cumsum(to_middle)
            # the mirroring of the halves is the other way round here than in at_risk
            mirrored = torch.stack([sums[..., 0, :].flip(-1), sums[..., 1, :].flip(-1)], dim=-2)
            ends = mirrored.flatten(-3)
            parts.append(arithmetic.add(take(ends, level.first), take(ends, level.last)))
        parts.append(at_times.new_full((*at_times.shape[:-1], 1), arithmetic.zero))
        reached = take(torch.cat(parts, dim=-1), self.row_slot)
        if at_own is not None:
            own = arithmetic.add(take(reached, self.tied_rows), take(at_own, self.tied_group))
            reached.index_copy_(-1, self.tied_rows, own)
        return reached

    def map(self, move: Callable[[Tensor], Tensor]) -> DyadicScan:
        levels = tuple(_move_tensors(level, move) for level in self.levels)
        return replace(_move_tensors(self, move), levels=levels)


def _halves(values: Tensor, half: int) -> Tensor:
    """Fold the last dimension into blocks of two halves, ``(..., blocks, 2, half)``."""
    return values.unflatten(-1, (-1, 2, half))


def _move_tensors(value: _Moved, move: Callable[[Tensor], Tensor]) -> _Moved:
    """A copy of a dataclass with ``move`` applied to its tensors."""
    moved = {name: move(v) for name, v in vars(value).items() if isinstance(v, Tensor)}
    return replace(value, **moved)  # type: ignore[type-var]
