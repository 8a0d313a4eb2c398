"""Rows of intervals for the designs of a hazard model, evaluated where their columns vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Literal

import numpy as np
import pandas as pd

from semistruct.design import Design
from semistruct.responses import PiecewiseExpansion, TimeIntervals
from semistruct.terms import DenseBlock, IndexedBlock, Parametric, StackedBlock, Term, s
from semistruct.terms.base import Basis, DesignBlock
from semistruct.terms.blocks import FactoredBlock
from semistruct.terms.parametric import ParametricBasis

__all__ = ["TIME_COLUMNS", "ExpandedRows", "default_baseline"]

TIME_COLUMNS = ("tstart", "tend", "interval", "cause")
_LEAST_SMOOTH = 5  # intervals, below which the default baseline is free

Level = Literal["subject", "cell", "row"]


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

    def __post_init__(self) -> None:
        for name in ("unit", "cell"):
            index = np.array(getattr(self, name), dtype=np.intp)
            # Blocks share one read-only index, by which their pieces are recognised as gathered
            # together.
            index.setflags(write=False)
            object.__setattr__(self, name, index)

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
        blocks: list[FactoredBlock] = []
        for basis in design.bases:
            if isinstance(basis, ParametricBasis):
                blocks += self._parametric(basis)
            elif basis.names:
                blocks.append(self._gathered(basis, _level(basis.variables)))
        if not blocks:
            return DenseBlock(np.zeros((len(self.unit), 0)))
        return StackedBlock(blocks)

    def offset(self, design: Design) -> np.ndarray:
        """The sum of the offsets of the rows, ``(N,)``."""
        return design.offset(self.frame) if design.offsets else np.zeros(len(self.unit))

    def _gathered(self, basis: Basis, level: Level) -> FactoredBlock:
        if level == "row":
            return basis.design(self._whole)  # type: ignore[return-value]
        if level == "subject":
            return IndexedBlock(basis.design(self.subjects), self.unit)  # type: ignore[arg-type]
        return IndexedBlock(basis.design(self.cells), self.cell)  # type: ignore[arg-type]

    def _parametric(self, basis: ParametricBasis) -> list[FactoredBlock]:
        """Blocks of the formula's columns, as many as there are changes of level among them."""
        level: dict[int, Level] = {}
        for label, columns in basis.term_columns:
            level |= dict.fromkeys(columns, _level(Parametric(label).variables))
        blocks = []
        for one, own in groupby(basis.kept, level.__getitem__):
            part = replace(basis, kept=tuple(own))
            if one == "row":
                blocks.append(self._gathered(part, one))
            elif one == "subject":
                found = part.design(_beside(self.subjects, self.cells))
                blocks.append(IndexedBlock(found, self.unit))
            else:
                found = part.design(_beside(self.cells, self.subjects))
                blocks.append(IndexedBlock(found, self.cell))
        return blocks

    @cached_property
    def _whole(self) -> pd.DataFrame:
        return self.frame


def _level(variables: Sequence[str]) -> Level:
    """Where columns with these variables vary."""
    timed = [name in TIME_COLUMNS for name in variables]
    if not any(timed):
        return "subject"
    return "cell" if all(timed) else "row"


def _beside(frame: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """A frame with the columns of the first row of another, on which nothing that is read depends.

    A formula is evaluated as a whole, and needs all of its columns.
    """
    constant = other.iloc[np.zeros(len(frame), dtype=int)].set_axis(frame.index, axis=0)
    return pd.concat([frame, constant], axis=1)


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


def default_baseline(n_intervals: int) -> list[Term]:
    """A smooth hazard over time, a free one where intervals are few; of one, the intercept."""
    if n_intervals >= _LEAST_SMOOTH:
        return [s("tend", k=min(10, n_intervals))]
    return [Parametric("C(interval)")] if n_intervals > 1 else []
