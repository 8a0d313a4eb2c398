"""The plain Cox likelihood of few rows in one pass of numpy, of one member or several.

With a thousand rows the arithmetic of the likelihood takes less time than the calls of torch that
describe it. For right-censored rows without weights and strata, on the CPU, value and gradient are
therefore computed here by a dozen numpy calls. Predictors whose sums leave a comfortable range,
second derivatives and everything else go the general way; both give the same digits.

The rows stand by falling time, at one time events after the censored, so that a risk set is a
prefix. *Groups* are the event times; numbered upwards from 1, as in
:mod:`semistruct.losses._scans`, so that number 0 stands for "before the first event".

Several members that share the follow-up are columns: a row of them is then gathered at the price of
one, and running sums go down all columns together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

__all__ = [
    "MemberValues",
    "SmallSets",
    "SmallValue",
    "evaluate",
    "evaluate_members",
    "falling_order",
    "sort_follow_up",
    "sorted_sets",
]

_LARGEST, _ONE = np.uint64(2**63 - 1), np.uint64(1)
# Of the arrays for some members at a time: larger ones are given back to the system in between.
_ENTRIES = 40_000

# Sums of partial hazards in this range need no centring: a common part of eta of up to 20 is lost
# in the rounding of the likelihood itself.
_LOWEST, _HIGHEST = 1e-8, 1e12


class SmallTies(NamedTuple):
    """Denominators of Efron's method, one for each event, by falling time.

    Attributes
    ----------
    rows : (E,) int array
        Positions of the events among the sorted rows.
    first : (B,) int array
        Where each group begins in ``rows``.
    group : (E,) int array
    before : (B,) int array
        Number of sorted rows before the events of each group.
    share : (E,) array
        ``1 - r / m``.
    slot : (n,) int array
        As in :class:`SmallSets`; for an event ``B +`` the number of its group.
    """

    rows: np.ndarray
    first: np.ndarray
    group: np.ndarray
    before: np.ndarray
    share: np.ndarray
    slot: np.ndarray


class SmallSets(NamedTuple):
    """Risk sets that are prefixes of the sorted rows.

    Attributes
    ----------
    order : (n,) int array
    event : (n,) float64 array
        In the order of the data.
    at : (B,) int array
        Sorted position of the last event of each group, by falling time.
    n_events : (B,) float64 array or None
        Events of each group; None where all have one.
    slot : (n,) int array
        Number of the last group that each row reaches, in the order of the data.
    ties : SmallTies or None
        Where two events share a time.
    """

    order: np.ndarray
    event: np.ndarray
    at: np.ndarray
    n_events: np.ndarray | None
    slot: np.ndarray
    ties: SmallTies | None


class SmallValue(NamedTuple):
    """Negative log partial likelihood at one ``eta``, and what its gradient needs.

    Attributes
    ----------
    sets : SmallSets
    efron : bool
    hazard : (n,) or (n, m) array
    denominators : (D,) or (D, m) array
    loss : float or (m,) array
    """

    sets: SmallSets
    efron: bool
    hazard: np.ndarray
    denominators: np.ndarray
    loss: float | np.ndarray

    def gradient(self) -> np.ndarray:
        """Derivative in ``eta``, of its shape."""
        sets, ties = self.sets, self.sets.ties
        single = self.hazard.ndim == 1
        terms = np.reciprocal(self.denominators)
        if ties is None or not self.efron:
            if sets.n_events is not None:
                terms *= sets.n_events if single else sets.n_events[:, None]
            found = _running(terms).take(sets.slot, 0)
        else:
            reached = _running(np.add.reduceat(terms, ties.first, 0))
            terms *= ties.share if single else ties.share[:, None]
            own = np.add.reduceat(terms, ties.first, 0)
            found = np.concatenate([reached, reached[:-1] + own[::-1]]).take(ties.slot, 0)
        found *= self.hazard
        found -= sets.event if single else sets.event[:, None]
        return found


def _cumsum(values: np.ndarray) -> np.ndarray:
    """Running sums down the rows, in their place; torch goes down several columns together."""
    if values.ndim == 1:
        return np.cumsum(values, out=values)
    rows = torch.from_numpy(values)
    torch.cumsum(rows, 0, out=rows)
    return values


def _running(terms: np.ndarray) -> np.ndarray:
    """Running sums upwards in time, beginning with zero, of terms by falling time."""
    sums = np.empty((len(terms) + 1, *terms.shape[1:]))
    sums[0] = 0.0
    if terms.ndim == 1:
        np.cumsum(terms[::-1], out=sums[1:])
    else:
        sums[1:] = terms[::-1]
        _cumsum(sums)
    return sums


def evaluate(eta: np.ndarray, sets: SmallSets, efron: bool) -> SmallValue | None:
    """The likelihood at ``eta``; None where the general way is needed.

    Parameters
    ----------
    eta : (n,) or (n, m) float64 array
        Predictors of one member, or of several.
    sets : SmallSets
    efron : bool
    """
    with np.errstate(over="ignore"):
        hazard = np.exp(eta)
    sorted_hazard = hazard.take(sets.order, 0)
    ties = sets.ties
    if ties is None or not efron:
        sums = _cumsum(sorted_hazard)
        denominators = sums.take(sets.at, 0)
    else:
        own = np.add.reduceat(sorted_hazard.take(ties.rows, 0), ties.first, 0)
        sums = _cumsum(sorted_hazard)
        nothing = np.zeros((1, *sums.shape[1:]))
        others = np.concatenate([nothing, sums]).take(ties.before, 0)
        denominators = own.take(ties.group, 0)
        denominators *= ties.share if eta.ndim == 1 else ties.share[:, None]
        denominators += others.take(ties.group, 0)
    # Comparisons are false for NaN. Denominators without ties fall with their position.
    lowest = denominators[0] if ties is None or not efron else denominators.min()
    highest = sums[-1]
    if eta.ndim > 1:
        lowest, highest = lowest.min(), highest.max()
    if not (highest <= _HIGHEST and lowest >= _LOWEST):
        return None
    logs = np.log(denominators)
    one_each = sets.n_events is None or len(logs) != len(sets.n_events)
    total = logs.sum(0) if one_each else sets.n_events @ logs
    return SmallValue(sets, efron, hazard, denominators, total - sets.event @ eta)


class MemberValues:
    """Likelihoods of several members, with the gradient found along.

    Taken along, so that the large arrays between them are used again for the next members.

    Attributes
    ----------
    loss : (...) array
    """

    def __init__(
        self, eta: np.ndarray, sets: SmallSets, efron: bool, gradient: np.ndarray | None
    ) -> None:
        self._arguments = eta, sets, efron
        self._gradient = gradient
        self.loss = np.empty(eta.shape[:-1])

    def gradient(self) -> np.ndarray:
        """Derivative in ``eta`` ``(..., n)``, to be written to: computed again the next time."""
        found, self._gradient = self._gradient, None
        if found is None:
            again = evaluate_members(*self._arguments, True)
            if again is None:
                raise ValueError("eta was changed in place after its likelihood was computed.")
            return again.gradient()
        return found


def evaluate_members(
    eta: np.ndarray, sets: SmallSets, efron: bool, with_gradient: bool
) -> MemberValues | None:
    """Likelihoods at ``eta`` ``(..., n)``; None where one of them needs the general way."""
    gradient = np.empty(eta.shape) if with_gradient else None
    found = MemberValues(eta, sets, efron, gradient)
    members, losses = eta.reshape(-1, eta.shape[-1]), found.loss.reshape(-1)
    step = max(1, _ENTRIES // eta.shape[-1])
    for start in range(0, len(members), step):
        at = slice(start, start + step)
        part = evaluate(np.ascontiguousarray(members[at].T), sets, efron)
        if part is None:
            return None
        losses[at] = part.loss
        if gradient is not None:
            gradient.reshape(members.shape)[at] = part.gradient().T
    return found


def falling_order(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Rows by falling time, at one time events (bool) after the censored."""
    bits = (time + 0.0).view(np.uint64)  # as numbers in the order of the times, if not negative
    keys = _LARGEST - bits
    keys <<= _ONE
    keys |= event
    if time.min() < 0:
        return np.lexsort((event, -time))
    return keys.argsort()


def sort_follow_up(time: np.ndarray, event: np.ndarray) -> SmallSets | None:
    """Risk sets of ``time`` and ``event`` ``(n,)``; None without events."""
    n = len(time)
    order = falling_order(time, event)
    sorted_time, happened = time.take(order), event.take(order)
    new = sorted_time[1:] != sorted_time[:-1]
    if new.all():
        rows = happened.nonzero()[0]
        if not rows.size:
            return None
        met = happened.cumsum()
        met -= happened
        slot = np.empty(n, dtype=np.int64)
        slot[order] = rows.size - met
        return SmallSets(order, event.astype(np.float64), rows, None, slot, None)
    block = np.empty(n, dtype=np.int64)
    block[0] = 0
    new.cumsum(out=block[1:])
    rows = happened.nonzero()[0]
    if not rows.size:
        return None
    groups = block.take(rows)
    has_event = np.zeros(block[-1] + 1, dtype=np.int64)
    has_event[groups] = 1
    met = (has_event.cumsum() - has_event).take(block)
    slot = np.empty(n, dtype=np.int64)
    slot[order] = has_event.sum() - met
    return sorted_sets(order, event.astype(np.float64), rows, groups, slot)


def sorted_sets(
    order: np.ndarray, event: np.ndarray, rows: np.ndarray, groups: np.ndarray, slot: np.ndarray
) -> SmallSets:
    """Risk sets from sorted rows, those with events, and any labels of the events' times."""
    begins = np.empty(rows.size, dtype=bool)
    begins[0] = True
    np.not_equal(groups[1:], groups[:-1], out=begins[1:])
    first = begins.nonzero()[0]
    if first.size == rows.size:
        return SmallSets(order, event, rows, None, slot, None)
    ends = np.append(first[1:], rows.size)
    sizes = ends - first
    group = begins.cumsum() - 1
    rank = np.arange(rows.size) - first.take(group)
    own_slot = slot.copy()
    own_slot[order.take(rows)] = 2 * first.size - group
    ties = SmallTies(rows, first, group, rows.take(first), 1.0 - rank / sizes.take(group), own_slot)
    return SmallSets(order, event, rows.take(ends - 1), sizes.astype(np.float64), slot, ties)
