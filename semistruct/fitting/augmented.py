"""Structured problems derived from another: some rows, more columns, smoothing held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from semistruct.design import Design, Penalty
from semistruct.fitting.structured import StructuredProblem
from semistruct.terms import DenseBlock, StackedBlock
from semistruct.terms.blocks import FactoredBlock

__all__ = ["fix_smoothing", "take_rows", "with_columns", "with_offset"]


def take_rows(problem: StructuredProblem, rows: np.ndarray) -> StructuredProblem:
    """The same model for some of the rows, given by position."""
    return replace(
        problem,
        y=problem.y[rows],
        blocks=tuple(block.take(rows) for block in problem.blocks),
        offset=problem.offset[rows],
        sample_weight=problem.sample_weight[rows],
    )


def with_offset(problem: StructuredProblem, offset: np.ndarray) -> StructuredProblem:
    """The same model with ``offset`` ``(n, K)`` added to the predictors."""
    return replace(problem, offset=problem.offset + offset)


def with_columns(
    problem: StructuredProblem,
    columns: Sequence[np.ndarray | FactoredBlock],
    labels: Sequence[Sequence[str]],
    ridge: Sequence[Sequence[slice]] | None = None,
) -> StructuredProblem:
    """The same model with dense columns appended to the predictor of every parameter.

    Parameters
    ----------
    problem : StructuredProblem
    columns : sequence of K (n, m_k) arrays or blocks
    labels : sequence of K sequences of str
        Names of the new columns.
    ridge : sequence of K sequences of slices, optional
        Groups of new columns, each with an identity penalty whose smoothing parameter is to be
        estimated; by default the new columns are unpenalised.
    """
    designs, blocks = [], []
    groups = ridge if ridge is not None else [()] * len(columns)
    for design, block, extra, names, slices in zip(
        problem.designs, problem.blocks, columns, labels, groups, strict=True
    ):
        designs.append(_extended(design, names, slices))
        blocks.append(
            StackedBlock((block, _as_block(extra)))  # type: ignore[arg-type]
            if extra.shape[1]
            else block
        )
    return replace(problem, designs=tuple(designs), blocks=tuple(blocks))


def fix_smoothing(problem: StructuredProblem, smoothing: np.ndarray) -> StructuredProblem:
    """The same model with its smoothing parameters fixed at ``smoothing`` ``(J,)``."""
    values = iter(np.asarray(smoothing, dtype=float).tolist())
    designs = [
        replace(
            design,
            penalties=tuple(replace(penalty, lam=next(values)) for penalty in design.penalties),
        )
        for design in problem.designs
    ]
    return replace(problem, designs=tuple(designs))


def _as_block(columns: np.ndarray | FactoredBlock) -> FactoredBlock:
    return columns if isinstance(columns, FactoredBlock) else DenseBlock(columns)


def _extended(design: Design, names: Sequence[str], ridge: Sequence[slice]) -> Design:
    p = design.p
    penalties = [
        Penalty(
            label=names[group.start],
            columns=slice(p + group.start, p + group.stop),
            S=np.eye(group.stop - group.start),
            rank=group.stop - group.start,
            lam=None,
            scale=1.0,
        )
        for group in ridge
    ]
    kinds = np.array(["random" if ridge else "parametric"] * len(names), dtype=object)
    added = {f"columns from {p}": slice(p, p + len(names))} if names else {}
    return replace(
        design,
        slices={**design.slices, **added},
        names=(*design.names, *names),
        kinds=np.concatenate([design.kinds, kinds]),
        penalties=(*design.penalties, *penalties),
    )
