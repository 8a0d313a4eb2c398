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
from semistruct.losses._risk_set_parts import interval_parts, sorted_parts
from semistruct.losses._scans import RiskScan, SuffixScan
from semistruct.losses._small import SmallSets, sorted_sets

__all__ = ["SMALL", "CoxRiskSets", "checked_follow_up"]

SMALL = 10_000  # rows up to which the calls of torch cost more than the arithmetic


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
        time, event = checked_follow_up(time, event)
        codes, labels = None, np.zeros(1, dtype=np.int64)
        if strata is not None:
            labels, codes = np.unique(_vector(strata, "strata", time.size), return_inverse=True)
        if entry is not None:
            entry = _check_entry(_vector(entry, "entry", time.size), time)
        parts = sorted_parts(time, event, codes) if entry is None else None
        if parts is None:
            parts = interval_parts(time, event, entry, codes, labels.size)
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

    @cached_property
    def small(self) -> SmallSets | None:
        """The rows sorted for :mod:`semistruct.losses._small`; None where that is not for them."""
        scan = self.scan
        if not isinstance(scan, SuffixScan) or self.row_stratum is not None or not self.n_events:
            return None
        if self.n_rows > SMALL or self.device.type != "cpu":
            return None
        order, event = scan.source.numpy(), self.event.numpy()
        number = np.zeros(self.n_rows, dtype=np.int64)
        number[self.event_rows.numpy()] = self.event_time.numpy()
        slot = scan.row_slot.numpy()
        tied = slot >= self.n_times
        if tied.any():
            slot = slot.copy()
            slot[tied] = scan.tied_time.numpy()[slot[tied] - self.n_times]
        rows = event[order].nonzero()[0]
        return sorted_sets(order, event, rows, number[order[rows]], slot)

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


def checked_follow_up(time: Any, event: Any) -> tuple[np.ndarray, np.ndarray]:
    """Times as float64 and events as bool, ``(n,)`` each, or a DataError."""
    time = _vector(time, "time", None).astype(np.float64, copy=False)
    event = _check_event(_vector(event, "event", time.size))
    _check_finite(time, "time")
    return time, event


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
