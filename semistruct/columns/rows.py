"""Rows of a column: which store each is in, and where; no tensor is touched until read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from semistruct.columns.sources import ListSource, TensorSource

__all__ = ["MISSING", "Rows", "is_missing"]

MISSING = -1


class Rows:
    """An index into shared, immutable stores of tensors.

    Parameters
    ----------
    stores : list of TensorSource
        Slices made as views share this list, so that a row set in one is set in the other.
    store : (n,) int array
        Which store each row is in.
    index : (n,) int array
        Position in that store; -1 when the row is missing.
    """

    __slots__ = ("index", "store", "stores")

    def __init__(self, stores: list[TensorSource], store: np.ndarray, index: np.ndarray) -> None:
        self.stores = stores
        self.store = store
        self.index = index

    @classmethod
    def of(cls, store: TensorSource, index: np.ndarray) -> Rows:
        """Rows that are all in one store."""
        return cls([store], np.zeros(len(index), dtype=np.int32), index)

    @classmethod
    def concatenated(cls, pieces: Sequence[Rows]) -> Rows:
        """Rows of all pieces in order; a store that several share is kept once."""
        stores: list[TensorSource] = []
        place: dict[int, int] = {}
        store = []
        for piece in pieces:
            for source in piece.stores:
                if id(source) not in place:
                    place[id(source)] = len(stores)
                    stores.append(source)
            lookup = np.array([place[id(source)] for source in piece.stores], dtype=np.int32)
            store.append(lookup[piece.store])
        index = np.concatenate([piece.index for piece in pieces])
        return cls(stores, np.concatenate(store), index)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """Bytes of memory held by the rows, each stored tensor counted once."""
        held = sum(source.nbytes(np.unique(i)) for source, _, i in self.parts())
        return self.store.nbytes + self.index.nbytes + held

    def parts(self) -> Iterator[tuple[TensorSource, np.ndarray, np.ndarray]]:
        """Each store in use, the rows in it, and their positions in it."""
        for s, source in enumerate(self.stores):
            at = np.flatnonzero((self.store == s) & (self.index != MISSING))
            if at.size:
                yield source, at, self.index[at]

    def read(self, row: int) -> np.ndarray | None:
        """The tensor of a row, None when it is missing."""
        i = int(self.index[row])
        return None if i == MISSING else self.stores[self.store[row]].read(i, int(row))

    def fill(self, block: np.ndarray, rows: np.ndarray) -> None:
        """Write the tensors of ``rows`` (b,) into ``block`` (b, ...), skipping missing ones."""
        store, index = self.store[rows], self.index[rows]
        for s in np.unique(store):
            at = np.flatnonzero((store == s) & (index != MISSING))
            if at.size:
                self.stores[s].fill(block, at, index[at], rows[at])

    def missing(self) -> np.ndarray:
        """True where the row is missing, or turns out to be when its store looks, ``(n,)``."""
        missing = self.index == MISSING
        for source, at, i in self.parts():
            missing[at] = source.missing(i)
        return missing

    def digests(self) -> np.ndarray:
        """Hash of each row's content, ``(n,)`` of object; None where missing."""
        digests = np.full(len(self), None, dtype=object)
        for source, at, i in self.parts():
            distinct, inverse = np.unique(i, return_inverse=True)
            digests[at] = np.array(source.digests(distinct), dtype=object)[inverse]
        digests[self.missing()] = None
        return digests

    def describe(self, row: int) -> str | None:
        """A short text for a row that is not in memory, None for one that is, or is missing."""
        i = int(self.index[row])
        return None if i == MISSING else self.stores[self.store[row]].describe(i)

    def is_same(self, row: int, other: Rows) -> bool:
        """True when ``row`` is one and the same stored tensor here and in ``other``."""
        i = self.index[row]
        if i == MISSING or i != other.index[row]:
            return False
        return self.stores[self.store[row]] is other.stores[other.store[row]]

    def select(self, key: Any) -> Rows:
        """Rows by slice (a view), positions or mask (a copy)."""
        stores = self.stores if isinstance(key, slice) else list(self.stores)
        return Rows(stores, self.store[key], self.index[key])

    def taken(self, positions: np.ndarray) -> Rows:
        """Rows by position, where -1 is a missing row."""
        absent = positions == MISSING
        if absent.all():
            empty = np.zeros(len(positions), dtype=np.int32)
            return Rows(list(self.stores), empty, np.full(len(positions), MISSING))
        rows = self.select(positions)
        rows.index[absent] = MISSING
        return rows

    def assign(self, key: Any, rows: Rows) -> None:
        """Put other rows in place of those at ``key``; one row goes to every place."""
        offset = len(self.stores)
        self.stores.extend(rows.stores)
        one = len(rows) == 1
        self.store[key] = (rows.store[0] if one else rows.store) + offset
        self.index[key] = rows.index[0] if one else rows.index

    def copy(self) -> Rows:
        """Rows that can be reassigned alone; the tensors are shared."""
        return Rows(list(self.stores), self.store.copy(), self.index.copy())

    def compacted(self) -> Rows:
        """The same rows over stores that hold nothing else, for pickling."""
        stores: list[TensorSource] = []
        store = np.zeros(len(self), dtype=np.int32)
        index = np.full(len(self), MISSING)
        for source, at, i in self.parts():
            distinct, inverse = np.unique(i, return_inverse=True)
            store[at], index[at] = len(stores), inverse
            stores.append(source.subset(distinct))
        return Rows(stores or [ListSource([])], store, index)

    def __getstate__(self) -> tuple[Any, ...]:
        rows = self.compacted()
        return rows.stores, rows.store, rows.index

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.stores, self.store, self.index = state


def is_missing(row: Any) -> bool:
    """True for None, NaN, NA and NaT."""
    if row is None or row is pd.NA or row is pd.NaT:
        return True
    return isinstance(row, float | np.floating) and bool(np.isnan(row))
