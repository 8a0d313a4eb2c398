"""The quadratic penalties of a whole model, placed among its coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semistruct.linalg import PenaltyDeterminant, PenaltySum

__all__ = ["PenaltySystem", "PlacedPenalty"]


@dataclass(frozen=True)
class PlacedPenalty:
    """One penalty ``lam * beta[columns]' S beta[columns]``.

    Attributes
    ----------
    label : str
        The term's label, for messages.
    columns : slice
        Positions in the stacked coefficients.
    S : (q, q) array
    """

    label: str
    columns: slice
    S: np.ndarray


@dataclass(frozen=True)
class _Group:
    """Penalties that share coefficients, and the columns they span together."""

    members: tuple[int, ...]
    columns: slice
    total: PenaltySum


@dataclass(frozen=True)
class PenaltySystem:
    """All ``J`` penalties of the ``P`` stacked coefficients.

    Attributes
    ----------
    size : int
        ``P``.
    placed : tuple of J PlacedPenalty
    groups : tuple
        Penalties with common coefficients (tensor products) are treated together.
    """

    size: int
    placed: tuple[PlacedPenalty, ...]
    groups: tuple[_Group, ...]

    @classmethod
    def build(cls, size: int, placed: Sequence[PlacedPenalty]) -> PenaltySystem:
        """Group penalties whose columns overlap and prepare each group's determinant."""
        order = sorted(range(len(placed)), key=lambda j: placed[j].columns.start)
        runs: list[tuple[list[int], int, int]] = []
        for j in order:
            columns = placed[j].columns
            if runs and columns.start < runs[-1][2]:
                members, start, stop = runs.pop()
                runs.append(([*members, j], start, max(stop, columns.stop)))
            else:
                runs.append(([j], columns.start, columns.stop))
        groups = []
        for members, start, stop in runs:
            matrices = []
            for j in members:
                S = np.zeros((stop - start, stop - start))
                at = slice(placed[j].columns.start - start, placed[j].columns.stop - start)
                S[at, at] = placed[j].S
                matrices.append(S)
            total = PenaltySum.prepare(matrices)
            groups.append(_Group(tuple(members), slice(start, stop), total))
        return cls(size, tuple(placed), tuple(groups))

    def __len__(self) -> int:
        return len(self.placed)

    def matrix(self, lam: np.ndarray) -> np.ndarray:
        """``S_lam = sum_j lam_j S_j``, ``(P, P)``."""
        S_lam = np.zeros((self.size, self.size))
        for x, penalty in zip(lam, self.placed, strict=True):
            S_lam[penalty.columns, penalty.columns] += x * penalty.S
        return S_lam

    def determinant(self, lam: np.ndarray) -> PenaltyDeterminant:
        """``log |S_lam|_+``, its rank, and ``lam_j tr(S_lam^- S_j)`` ``(J,)``."""
        logdet, rank, traces = 0.0, 0, np.zeros(len(self))
        for group in self.groups:
            members = list(group.members)
            found = group.total.at(lam[members])
            logdet += found.logdet
            rank += found.rank
            traces[members] = found.traces
        return PenaltyDeterminant(logdet, traces, rank)

    def logdet_profile(self, lam: np.ndarray, j: int, values: np.ndarray) -> np.ndarray:
        """Change of ``log |S_lam|_+`` when ``lam_j`` becomes each of ``values`` ``(m,)``."""
        group = next(group for group in self.groups if j in group.members)
        if len(group.members) == 1:
            return group.total.basis.shape[1] * np.log(values / lam[j])
        trial = lam[list(group.members)]
        here = group.total.at(trial).logdet
        changes = np.empty(len(values))
        for i, value in enumerate(values):
            trial[group.members.index(j)] = value
            changes[i] = group.total.at(trial).logdet - here
        return changes

    def apply(self, j: int, v: np.ndarray) -> np.ndarray:
        """``S_j v`` placed among zeros, ``(P,)``."""
        product = np.zeros(self.size)
        columns = self.placed[j].columns
        product[columns] = self.placed[j].S @ v[columns]
        return product

    def quadratic(self, beta: np.ndarray) -> np.ndarray:
        """``beta' S_j beta`` for each penalty, ``(J,)``."""
        pieces = [(beta[p.columns] @ (p.S @ beta[p.columns])) for p in self.placed]
        return np.array(pieces, dtype=float)

    def traces(self, V: np.ndarray) -> np.ndarray:
        """``tr(V S_j)`` for each penalty, ``(J,)``."""
        return np.array([np.vdot(V[p.columns, p.columns], p.S) for p in self.placed], dtype=float)

    def scales(self, H: np.ndarray) -> np.ndarray:
        """``tr(H_jj) / tr(S_j)``: the smoothing parameter at which data and penalty balance."""
        ratios = np.ones(len(self))
        for j, penalty in enumerate(self.placed):
            information = float(np.trace(H[penalty.columns, penalty.columns]))
            amount = float(np.trace(penalty.S))
            if information > 0 and amount > 0:
                ratios[j] = information / amount
        return ratios

    def null_basis(self) -> np.ndarray:
        """Orthonormal basis ``(P, M)`` of the coefficients no penalty touches."""
        touched = np.zeros(self.size, dtype=bool)
        pieces = []
        for group in self.groups:
            touched[group.columns] = True
            q, rank = group.total.basis.shape
            full, _ = np.linalg.qr(group.total.basis, mode="complete")
            piece = np.zeros((self.size, q - rank))
            piece[group.columns] = full[:, rank:]
            pieces.append(piece)
        return np.hstack([np.eye(self.size)[:, ~touched], *pieces])
