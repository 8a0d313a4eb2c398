"""Rows of intervals for the designs of a hazard model, evaluated where their columns vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from semistruct.design import Design
from semistruct.responses import PiecewiseExpansion, TimeIntervals
from semistruct.terms import DenseBlock, IndexedBlock, StackedBlock
from semistruct.terms.base import DesignBlock

__all__ = ["TIME_COLUMNS", "ExpandedRows"]

TIME_COLUMNS = ("tstart", "tend", "interval", "cause")


@dataclass(frozen=True, eq=False)
class ExpandedRows:
    """``N`` rows, each one interval (and one cause, where causes are stacked) of one subject.

    Attributes
    ----------
    subjects : DataFrame of n rows
        Columns that are constant in a row of the data.
    cells : DataFrame of J or K J rows
        ``tstart``, ``tend``, ``interval`` and, with stacked causes, ``cause``.
    unit, cell : (N,) int arrays
        Where each row stands in these.
    """

    subjects: pd.DataFrame
    cells: pd.DataFrame
    unit: np.ndarray
    cell: np.ndarray

    @classmethod
    def of(
        cls,
        expansion: PiecewiseExpansion,
        frame: pd.DataFrame,
        columns: Sequence[str],
        stacked: bool = False,
    ) -> ExpandedRows:
        """Rows of an expansion with some columns of the data; once, or ``stacked`` by cause."""
        subjects = _subjects(frame, columns)
        unit, cell = expansion.row, expansion.interval
        if not stacked:
            rows = slice(len(expansion) // len(expansion.causes))
            return cls(subjects, _cells(expansion.intervals, None), unit[rows], cell[rows])
        J, causes = len(expansion.intervals), expansion.causes
        if expansion.cause is not None:
            cell = cell + J * np.searchsorted(np.array(causes), expansion.cause)
        return cls(subjects, _cells(expansion.intervals, causes), unit, cell)

    @classmethod
    def grid(
        cls,
        intervals: TimeIntervals,
        frame: pd.DataFrame,
        columns: Sequence[str],
        cause: int | None,
        causes: Sequence[int] | None,
    ) -> ExpandedRows:
        """Every row of ``frame`` in every interval: ``n J`` rows, subject after subject."""
        n, J = len(frame), len(intervals)
        first = 0 if cause is None or causes is None else J * list(causes).index(cause)
        subjects = _subjects(frame, columns)
        cell = first + np.tile(np.arange(J), n)
        return cls(subjects, _cells(intervals, causes), np.repeat(np.arange(n), J), cell)

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as one table, ``N`` rows numbered from 0."""
        subjects = self.subjects.take(self.unit)
        subjects.index = pd.RangeIndex(len(self.unit))
        cells = self.cells.take(self.cell)
        cells.index = subjects.index
        return pd.concat([subjects, cells], axis=1)

    def block(self, design: Design) -> DesignBlock:
        """Columns of the rows; a term is evaluated once per subject or interval where it can be."""
        time, whole, blocks = set(TIME_COLUMNS), None, []
        for basis in design.bases:
            if not basis.names:
                continue
            reads = set(basis.variables)
            if not reads & time:
                blocks.append(IndexedBlock(basis.design(self.subjects), self.unit))  # type: ignore[arg-type]
            elif reads <= time:
                blocks.append(IndexedBlock(basis.design(self.cells), self.cell))  # type: ignore[arg-type]
            else:
                whole = self.frame if whole is None else whole
                blocks.append(basis.design(whole))  # type: ignore[arg-type]
        if not blocks:
            return DenseBlock(np.zeros((len(self.unit), 0)))
        return StackedBlock(blocks)

    def offset(self, design: Design) -> np.ndarray:
        """The sum of the offsets of the rows, ``(N,)``."""
        return design.offset(self.frame) if design.offsets else np.zeros(len(self.unit))


def _subjects(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    found = frame[[name for name in dict.fromkeys(columns) if name in frame.columns]]
    # Text is gathered as codes; the levels are the same.
    return found.assign(
        **{
            name: found[name].astype("category")
            for name in found.columns
            if found[name].dtype == object or isinstance(found[name].dtype, pd.StringDtype)
        }
    )


def _cells(intervals: TimeIntervals, causes: Sequence[int] | None) -> pd.DataFrame:
    J = len(intervals)
    cells = pd.DataFrame(
        {"tstart": intervals.starts, "tend": intervals.ends, "interval": np.arange(J)}
    )
    if causes is None:
        return cells
    stacked = pd.concat([cells] * len(causes), ignore_index=True)
    return stacked.assign(cause=pd.Categorical(np.repeat(list(causes), J), categories=causes))
