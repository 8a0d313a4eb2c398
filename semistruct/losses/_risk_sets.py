"""Who is at risk when: everything about a Cox likelihood that does not depend on ``eta``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semistruct.exceptions import DataError
from semistruct.losses._scans import DyadicLevel, DyadicScan, RiskScan, SuffixScan
from semistruct.losses._segments import SegmentLayout, lay_out

__all__ = ["CoxRiskSets"]


@dataclass(frozen=True, eq=False)
class CoxRiskSets:
    """The risk sets of one data set, sorted once and used in every evaluation of the likelihood.

    A risk set is defined by time values, ``R_k = {j : entry_j < t_k <= time_j}`` within the
    stratum, so it depends neither on the order of the rows nor on the order of ties. Make one with
    :meth:`from_data`. Memory is O(n).

    Attributes
    ----------
    n_rows, n_events : int
    time : (K,) float64 array
        Event times by stratum, upwards. Dummies (see :mod:`semistruct.losses._scans`) are NaN.
    stratum : (K,) int array
        Position in ``strata`` of each event time.
    strata : (S,) array
        The distinct strata, sorted; ``[0]`` when there are none.
    row_stratum : (n,) int array or None
        Position in ``strata`` of each row; None when there are none.
    event : (n,) float64 tensor
        One for an event, zero for a censored row.
    event_rows, event_time : (n_events,) tensors
        The rows with events, and the number of the event time of each.
    count : (K,) float64 tensor
        Events at each event time; zero for dummies.
    share_count : (K,) float64 tensor
        ``1 / count``, zero for dummies.
    extra_group : (E,) tensor
        For Efron's method: every event of a tied group but the first, by number of the group.
    extra_share : (E,) float64 tensor
        ``1 - r / m`` for ``r = 1, ..., m - 1`` within each tied group of ``m``.
    scan : RiskScan
        Sums over risk sets and their adjoint.

    Examples
    --------
    >>> risk_sets = CoxRiskSets.from_data([5.0, 3.0, 3.0, 8.0], [1, 1, 0, 0])
    >>> risk_sets
    CoxRiskSets(4 rows, 2 events at 2 times)
    """

    n_rows: int
    n_events: int
    time: np.ndarray
    stratum: np.ndarray
    strata: np.ndarray
    row_stratum: np.ndarray | None
    event: Tensor
    event_rows: Tensor
    event_time: Tensor
    count: Tensor
    share_count: Tensor
    extra_group: Tensor
    extra_share: Tensor
    scan: RiskScan

    @classmethod
    def from_data(
        cls, time: Any, event: Any, entry: Any = None, strata: Any = None, *, device: Any = None
    ) -> CoxRiskSets:
        """Sort the follow-up and number the event times.

        Parameters
        ----------
        time : (n,) array-like
            End of follow-up. Finite; any sign.
        event : (n,) array-like of bool or {0, 1}
            Whether follow-up ended with the event.
        entry : (n,) array-like, optional
            Start of follow-up (left truncation, start-stop data), below ``time``. Minus infinity
            means from the start.
        strata : (n,) array-like, optional
            Labels; risk sets do not mix strata.
        device : torch device, optional
            Where the tensors are kept; the device of ``time`` when that is a tensor.

        Raises
        ------
        DataError
            If a value is missing or infinite, an event is not coded 0 / 1, an entry is not before
            its time, or the lengths differ.

        Notes
        -----
        The sorting happens on the CPU; tensors on another device are copied there and back.
        """
        if device is None and isinstance(time, Tensor):
            device = time.device
        time = _vector(time, "time", None).astype(np.float64, copy=False)
        event = _check_event(_vector(event, "event", time.size))
        _check_finite(time, "time")
        codes, labels = None, np.zeros(1, dtype=np.int64)
        if strata is not None:
            labels, codes = np.unique(_vector(strata, "strata", time.size), return_inverse=True)
        if entry is not None:
            entry = _check_entry(_vector(entry, "entry", time.size), time)
        parts = _sorted_parts(time, event, codes) if entry is None else None
        if parts is None:
            parts = _interval_parts(time, event, entry, codes, labels.size)
        rs = cls(
            n_rows=time.size,
            n_events=parts["event_rows"].shape[0],
            strata=labels,
            row_stratum=codes,
            event=torch.from_numpy(event.astype(np.float64)),
            **parts,
        )
        return rs if device is None else rs.to(device)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.event.device

    @property
    def n_times(self) -> int:
        """K, the number of event times, dummies included."""
        return self.count.shape[0]

    @property
    def tied(self) -> bool:
        """Whether two events share a time in a stratum."""
        return self.scan.tied_time.shape[0] > 0

    @cached_property
    def real(self) -> Tensor:
        """``(K,)`` float64: one for event times, zero for dummies."""
        return (self.count > 0).to(self.count.dtype)

    @cached_property
    def extra_ones(self) -> Tensor:
        """``(E,)`` float64 ones."""
        return torch.ones_like(self.extra_share)

    def to(self, device: Any) -> CoxRiskSets:
        """The risk sets with their tensors on another device."""
        device = torch.device(device)
        if device == self.device:
            return self
        single = device.type == "mps"  # no float64 there

        def move(value: Tensor) -> Tensor:
            if single and value.dtype == torch.float64:
                value = value.float()
            return value.to(device)

        return self.map(move)

    def map(self, move: Callable[[Tensor], Tensor]) -> CoxRiskSets:
        """The risk sets with ``move`` applied to every tensor."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {k: move(v) for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, scan=self.scan.map(move), **moved)

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        n_times = int((self.count > 0).sum())
        strata = f", {self.strata.size} strata" if self.row_stratum is not None else ""
        return f"CoxRiskSets({self.n_rows} rows, {self.n_events} events at {n_times} times{strata})"


def _vector(values: Any, name: str, n: int | None) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    values = np.asarray(values)
    if values.ndim != 1:
        raise DataError(f"{name} must be 1-dimensional, got shape {values.shape}.")
    if n is None and values.size == 0:
        raise DataError(f"{name} is empty; a risk set needs at least one row.")
    if n is not None and values.size != n:
        raise DataError(f"{name} has {values.size} rows but time has {n}; give one value per row.")
    return values


def _check_finite(values: np.ndarray, name: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError(f"{name} must be finite; row {row} has {values[row]}. Drop or repair it.")


def _check_event(event: np.ndarray) -> np.ndarray:
    if event.dtype == np.bool_:
        return event
    flags = event == 1
    bad = ~(flags | (event == 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"event must be 0, 1 or bool; row {row} has {event[row]!r}.")
    return flags


def _check_entry(entry: np.ndarray, time: np.ndarray) -> np.ndarray:
    entry = entry.astype(np.float64, copy=False)
    bad = ~(entry < time)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"entry must be before time; row {row} has entry {entry[row]} and time {time[row]}."
        )
    return entry


def _tie_parts(rows: np.ndarray, groups: np.ndarray, n_times: int) -> dict[str, Any]:
    """Fields about the events, given event rows sorted by number of event time ``groups``."""
    count = np.bincount(groups, minlength=n_times)
    share_count = np.zeros(n_times)
    np.divide(1.0, count, out=share_count, where=count > 0)
    is_tied = count > 1
    tied_time = np.flatnonzero(is_tied)
    if tied_time.size:
        tied = is_tied[groups]
        tied_rows, tied_k = rows[tied], groups[tied]
        sizes = count[tied_time]
        tied_group = np.repeat(np.arange(tied_time.size), sizes)
        rank = np.arange(tied_k.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        extra = rank > 0
        extra_group = tied_group[extra]
        m = sizes[extra_group]
        extra_share = (m - rank[extra]) / m
    else:
        tied_rows = tied_group = extra_group = np.empty(0, dtype=np.int64)
        extra_share = np.empty(0)
    return {
        "event_rows": torch.from_numpy(rows),
        "event_time": torch.from_numpy(groups),
        "count": torch.from_numpy(count.astype(np.float64)),
        "share_count": torch.from_numpy(share_count),
        "extra_group": torch.from_numpy(extra_group),
        "extra_share": torch.from_numpy(extra_share),
        "tied_rows": torch.from_numpy(tied_rows),
        "tied_group": torch.from_numpy(tied_group),
        "tied_time": torch.from_numpy(tied_time),
    }


def _split_ties(parts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    ties = {name: parts.pop(name) for name in ("tied_rows", "tied_group", "tied_time")}
    return parts, ties


def _events_last(order: np.ndarray, event: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Within each block of equal times put the events last, by counting places.

    Parameters
    ----------
    order : (n,) rows sorted into blocks
    event : (n,) event flag of the sorted rows
    block : (n,) number of the block of the sorted rows, from 0 upwards
    """
    n_censored = np.bincount(block[~event], minlength=block[-1] + 1)
    size = np.bincount(block)
    start = np.cumsum(size) - size
    place = np.empty(order.size, dtype=np.int64)
    for flags, first in ((~event, start), (event, start + n_censored)):
        of = block[flags]
        per_block = np.bincount(of, minlength=size.size)
        rank = np.arange(of.size) - (np.cumsum(per_block) - per_block)[of]
        place[flags] = first[of] + rank
    out = np.empty_like(order)
    out[place] = order
    return out


def _sorted_parts(time: np.ndarray, event: np.ndarray, codes: np.ndarray | None) -> dict[str, Any]:
    """Fields for right-censored data: one sort, then counting."""
    n = time.size
    order = np.argsort(-time)
    if codes is not None:
        smallest = codes.astype(np.min_scalar_type(int(codes.max())), copy=False)
        order = order[np.argsort(smallest[order], kind="stable")]
    sorted_time = time[order]
    new_block = np.empty(n, dtype=bool)
    new_block[0] = True
    np.not_equal(sorted_time[1:], sorted_time[:-1], out=new_block[1:])
    if codes is not None:
        sorted_code = codes[order]
        new_segment = np.empty(n, dtype=bool)
        new_segment[0] = True
        np.not_equal(sorted_code[1:], sorted_code[:-1], out=new_segment[1:])
        new_block |= new_segment
    sorted_event = event[order]
    if new_block.all():
        block = None
        group_end = np.flatnonzero(sorted_event)  # last event position of each event time
        first_event = group_end
        group_of_event = np.arange(group_end.size)
        n_before = np.cumsum(sorted_event) - sorted_event  # event times met before, all segments
    else:
        block = np.cumsum(new_block) - 1
        order = _events_last(order, sorted_event, block)
        sorted_event = event[order]
        positions = np.flatnonzero(sorted_event)
        in_block = np.bincount(block[positions], minlength=block[-1] + 1)
        has_event = in_block > 0
        block_end = np.append(np.flatnonzero(new_block)[1:], n) - 1
        group_end = block_end[has_event]
        first_event = group_end - in_block[has_event] + 1
        group_of_event = np.repeat(np.arange(group_end.size), in_block[has_event])
        n_before = (np.cumsum(has_event) - has_event)[block]
    # number event times upwards within segments, after one dummy each
    if codes is None:
        from_segments = _one_segment(n, group_end.size, n_before)
    else:
        from_segments = _many_segments(sorted_code, new_segment, group_end, n_before)
    rows_layout, times_layout, row_place, group_number, row_number, stratum = from_segments
    n_times = times_layout.size
    source = order
    if row_place is not None:
        source = np.zeros(rows_layout.size, dtype=np.int64)
        source[row_place] = order
        group_end, first_event = row_place[group_end], row_place[first_event]
    at = np.full(n_times, rows_layout.size - 1)
    if codes is not None:
        at[:] = row_place[-1]
    at[group_number] = group_end
    times = np.full(n_times, np.nan)
    times[group_number] = time[source[group_end]]
    # event rows sorted by number of event time; groups are met downwards in time
    event_rows = order[sorted_event]
    numbers = group_number[group_of_event]
    if codes is None:
        event_rows, numbers = event_rows[::-1].copy(), numbers[::-1].copy()
    else:
        by_number = np.argsort(numbers, kind="stable")
        event_rows, numbers = event_rows[by_number], numbers[by_number]
    parts, ties = _split_ties(_tie_parts(event_rows, numbers, n_times))
    tied_time = ties["tied_time"].numpy()
    row_slot = np.empty(n, dtype=np.int64)
    row_slot[order] = row_number
    before = nobody = np.empty(0, dtype=np.int64)
    if tied_time.size:
        row_slot[ties["tied_rows"].numpy()] = n_times + ties["tied_group"].numpy()
        first_of = np.empty(n_times, dtype=np.int64)
        first_of[group_number] = first_event
        before = first_of[tied_time] - 1
        starts = np.zeros(1, dtype=np.int64)
        if codes is not None:
            starts = row_place[np.flatnonzero(new_segment)]
        nobody = np.flatnonzero(np.isin(before + 1, starts))
        before = np.maximum(before, 0)
    scan = SuffixScan(
        source=torch.from_numpy(source),
        rows=rows_layout,
        times=times_layout,
        at=torch.from_numpy(at),
        row_slot=torch.from_numpy(row_slot),
        before=torch.from_numpy(before),
        nobody=torch.from_numpy(nobody),
        **ties,
    )
    return {"time": times, "stratum": stratum, "scan": scan, **parts}


def _one_segment(n: int, n_groups: int, n_before: np.ndarray) -> tuple[Any, ...]:
    rows, times = SegmentLayout.single(n), SegmentLayout.single(n_groups + 1)
    group_number = np.arange(n_groups, 0, -1)
    stratum = np.zeros(n_groups + 1, dtype=np.int64)
    return rows, times, None, group_number, n_groups - n_before, stratum


def _many_segments(
    sorted_code: np.ndarray, new_segment: np.ndarray, group_end: np.ndarray, n_before: np.ndarray
) -> tuple[Any, ...]:
    n = sorted_code.size
    begin = np.flatnonzero(new_segment)
    lengths = np.diff(np.append(begin, n))
    segment = np.cumsum(new_segment) - 1
    rows, row_starts = lay_out(lengths)
    row_place = np.arange(n) + (row_starts - begin)[segment]
    of_group = segment[group_end]
    n_groups = np.bincount(of_group, minlength=begin.size)
    times, time_starts = lay_out(n_groups + 1)
    met_before_segment = n_before[begin]
    rank = np.arange(group_end.size) - met_before_segment[of_group]
    group_number = time_starts[of_group] + n_groups[of_group] - rank
    within = n_before - met_before_segment[segment]
    row_number = time_starts[segment] + n_groups[segment] - within
    stratum = np.zeros(times.size, dtype=np.int64)
    stratum[time_starts] = sorted_code[begin]
    stratum[group_number] = sorted_code[group_end]
    return rows, times, row_place, group_number, row_number, stratum


def _interval_parts(
    time: np.ndarray,
    event: np.ndarray,
    entry: np.ndarray,
    codes: np.ndarray | None,
    n_strata: int,
) -> dict[str, Any]:
    """Fields for delayed entry: every row's range of event times, sorted into dyadic levels."""
    n = time.size
    distinct = np.unique(time[event])
    steps = distinct.size + 1
    base = np.zeros(n, dtype=np.int64) if codes is None else codes.astype(np.int64) * steps
    # key of (stratum, value): how many distinct event times are not after the value
    time_key = base + np.searchsorted(distinct, time, side="right")
    entry_key = base + np.searchsorted(distinct, entry, side="right")
    event_keys, event_number = np.unique(time_key[event], return_inverse=True)
    n_times = event_keys.size + 1
    first = np.searchsorted(event_keys, entry_key, side="right") + 1
    last = np.searchsorted(event_keys, time_key, side="right")
    rows = np.flatnonzero(event)
    by_number = np.argsort(event_number, kind="stable")
    numbers = event_number[by_number] + 1
    parts, ties = _split_ties(_tie_parts(rows[by_number], numbers, n_times))
    last[ties["tied_rows"].numpy()] -= 1
    times = np.full(n_times, np.nan)
    times[1:] = distinct[event_keys % steps - 1]
    stratum = np.zeros(n_times, dtype=np.int64)
    stratum[1:] = event_keys // steps
    # the level of a range is the highest bit in which its ends differ
    width = 1 << int(n_times - 1).bit_length()
    level = np.frexp((first ^ last).astype(np.float64))[1].astype(np.int8)  # 0: one event time
    level[first > last] = -1
    by_level = np.argsort(level, kind="stable")
    ends = np.searchsorted(level[by_level], np.arange(-1, width.bit_length() + 1))
    never, single = by_level[: ends[1]], by_level[ends[1] : ends[2]]
    levels = []
    sections = [single]
    for bit in range(1, width.bit_length()):
        members = by_level[ends[bit + 1] : ends[bit + 2]]
        if members.size:
            half = 1 << (bit - 1)
            mirrored = last[members] ^ (half - 1)
            levels.append(
                DyadicLevel(
                    half,
                    torch.from_numpy(members),
                    torch.from_numpy(first[members]),
                    torch.from_numpy(mirrored),
                )
            )
            sections.append(members)
    row_slot = np.empty(n, dtype=np.int64)
    at_risk = np.concatenate(sections)
    row_slot[at_risk] = np.arange(at_risk.size)
    row_slot[never] = at_risk.size
    scan = DyadicScan(
        n_times=n_times,
        width=width,
        single_rows=torch.from_numpy(single),
        single_time=torch.from_numpy(first[single]),
        levels=tuple(levels),
        row_slot=torch.from_numpy(row_slot),
        **ties,
    )
    return {"time": times, "stratum": stratum, "scan": scan, **parts}
