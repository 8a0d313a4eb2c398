"""How risk sets are found: one sort for right-censored data, ranges for delayed entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from semistruct.losses._scans import DyadicLevel, DyadicScan, SuffixScan
from semistruct.losses._segments import SegmentLayout, lay_out
from semistruct.losses._small import falling_order

__all__ = ["interval_parts", "sorted_parts"]

_NO_ROWS = np.empty(0, dtype=np.int64)
_NO_SHARES = np.empty(0)


def _tie_parts(
    rows: np.ndarray, groups: np.ndarray, n_times: int, any_tied: bool
) -> dict[str, Any]:
    """Fields about the events, given event rows sorted by number of event time ``groups``."""
    tied_rows = tied_group = tied_time = extra_group = _NO_ROWS
    extra_share = _NO_SHARES
    if any_tied:
        count = np.bincount(groups, minlength=n_times).astype(np.float64)
        share_count = np.zeros(n_times)
        np.divide(1.0, count, out=share_count, where=count > 0)
        is_tied = count > 1
        tied_time = np.flatnonzero(is_tied)
        tied = is_tied[groups]
        tied_rows = rows[tied]
        sizes = count[tied_time].astype(np.int64)
        tied_group = np.repeat(np.arange(tied_time.size), sizes)
        rank = np.arange(tied_rows.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        extra = rank > 0
        extra_group = tied_group[extra]
        m = sizes[extra_group]
        extra_share = (m - rank[extra]) / m
    else:
        count = np.zeros(n_times)
        count[groups] = 1.0
        share_count = count
    parts = {
        "event_rows": rows,
        "event_time": groups,
        "count": count,
        "share_count": share_count,
        "extra_group": extra_group,
        "extra_share": extra_share,
        "tied_rows": tied_rows,
        "tied_group": tied_group,
        "tied_time": tied_time,
    }
    return {name: torch.from_numpy(values) for name, values in parts.items()}


def _split_ties(parts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    ties = {name: parts.pop(name) for name in ("tied_rows", "tied_group", "tied_time")}
    return parts, ties


def sorted_parts(time: np.ndarray, event: np.ndarray, codes: np.ndarray | None) -> dict[str, Any]:
    """Fields for right-censored data: one sort, then counting."""
    n = time.size
    order = falling_order(time, event)
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
    source, padding = order, _NO_ROWS
    if row_place is not None:
        is_padding = np.ones(rows_layout.size, dtype=bool)
        is_padding[row_place] = False
        padding = np.flatnonzero(is_padding)
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
    parts, ties = _split_ties(
        _tie_parts(event_rows, numbers, n_times, event_rows.size > group_end.size)
    )
    tied_time = ties["tied_time"].numpy()
    row_slot = np.empty(n, dtype=np.int64)
    row_slot[order] = row_number
    before = nobody = _NO_ROWS
    if tied_time.size:
        row_slot[ties["tied_rows"].numpy()] = n_times + ties["tied_group"].numpy()
        first_of = np.empty(n_times, dtype=np.int64)
        first_of[group_number] = first_event
        before = first_of[tied_time] - 1
        starts = 0 if codes is None else row_place[np.flatnonzero(new_segment)]
        nobody = np.flatnonzero(np.isin(before + 1, starts))
        before = np.maximum(before, 0)
    scan = SuffixScan(
        source=torch.from_numpy(source),
        padding=torch.from_numpy(padding),
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


def interval_parts(
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
    parts, ties = _split_ties(
        _tie_parts(rows[by_number], numbers, n_times, rows.size > event_keys.size)
    )
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
