"""A likelihood as a function of stacked coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from semistruct.families.base import (
    BoundObjective,
    Curvature,
    CurvatureKind,
    Objective,
    RowCurvature,
)
from semistruct.terms.base import DesignBlock
from semistruct.terms.blocks import FactoredBlock

__all__ = ["Dispersion", "Likelihood"]


@dataclass(frozen=True)
class Dispersion:
    """A dispersion parameter ``t`` whose predictor is one intercept.

    Attributes
    ----------
    parameter : int
        Position ``k`` of the parameter.
    column : int
        Position of ``log t`` in ``beta``.
    power : int
        The curvature of the other predictors is proportional to ``t ** -power``.
    """

    parameter: int
    column: int
    power: int


class _GramCache:
    """Cross-products of the last two curvatures, reused while weights only change by a factor.

    Constant curvature (the normal with an identity link) then costs one cross-product per fit.
    Two, because the observed and the expected curvature take turns.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}

    def gram(self, w: np.ndarray, k: int, j: int, blocks: Sequence[DesignBlock]) -> np.ndarray:
        known = self._entries.setdefault((k, j), [])
        for reference, cross in known:
            at = int(np.abs(reference).argmax()) if w.size else 0
            if not w.size or not reference[at]:
                continue
            factor = w[at] / reference[at]
            gap = np.abs(w - factor * reference).max()
            if factor and gap <= 1e-13 * abs(w[at]):
                return factor * cross
        cross = blocks[k].gram(w, None if k == j else blocks[j])
        known[:] = [(w, cross), *known[:1]]
        return cross


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood of stacked coefficients ``beta`` ``(P,)`` for rows of positive weight.

    Attributes
    ----------
    family : Objective
    y : (n, ...) array
        Response.
    weight : (n,) array
        Case weights, all positive.
    blocks : tuple of K DesignBlock
    offset : (n, K) array
    dispersion : Dispersion or None
        Named when it is profiled: the curvature is then taken block-diagonal in it, as the
        expected curvature of such families is.
    """

    family: Objective
    y: np.ndarray
    weight: np.ndarray
    blocks: tuple[DesignBlock, ...]
    offset: np.ndarray
    dispersion: Dispersion | None = None
    _cache: _GramCache = field(default_factory=_GramCache, repr=False, compare=False)

    @cached_property
    def rows(self) -> BoundObjective:
        """The likelihood as a function of the predictors."""
        return self.family.bind(self.y, self.weight)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.y.shape[0]

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each parameter's coefficients lie in ``beta``."""
        ends = np.cumsum([0, *(block.shape[1] for block in self.blocks)]).tolist()
        return tuple(slice(a, b) for a, b in pairwise(ends))

    @property
    def glm_like(self) -> bool:
        """One predictor, beside which only a dispersion is profiled.

        Such models report the expected curvature, as R's glm and mgcv do; the observed one stays
        in Newton steps and in the restricted likelihood.
        """
        return len(self.blocks) - (self.dispersion is not None) == 1

    @property
    def size(self) -> int:
        """Number of coefficients ``P``."""
        return sum(block.shape[1] for block in self.blocks)

    def eta(self, beta: np.ndarray) -> np.ndarray:
        """Predictors ``(n, K)``."""
        eta = self.offset.copy()
        for k, (block, columns) in enumerate(zip(self.blocks, self.slices, strict=True)):
            eta[:, k] += block.matvec(beta[columns])
        return eta

    def direction(self, step: np.ndarray) -> np.ndarray:
        """Change ``(n, K)`` of the predictors when ``beta`` changes by ``step``."""
        return self.eta(step) - self.offset

    def loglik(self, eta: np.ndarray) -> float:
        """Weighted log-likelihood; minus infinity where it is not a number."""
        return self.rows.loglik(eta)

    def score(self, eta: np.ndarray) -> np.ndarray:
        """Derivative of the weighted log-likelihood in the rows' predictors, ``(n, K)``."""
        return self.rows.score(eta)

    def gradient(self, score: np.ndarray) -> np.ndarray:
        """Derivative in ``beta``, ``(P,)``, from the score ``(n, K)``."""
        pieces = [block.rmatvec(score[:, k]) for k, block in enumerate(self.blocks)]
        return np.concatenate(pieces) if pieces else np.zeros(0)

    def gram(self, w: np.ndarray, k: int) -> np.ndarray:
        """``X_k' diag(w) X_k``, kept for weights that differ by a factor."""
        return self._cache.gram(w, k, k, self.blocks)

    def curvature(self, eta: np.ndarray, kind: CurvatureKind) -> Curvature:
        """Minus the second derivative in the predictors."""
        return self.rows.curvature(eta, kind)

    def information(self, eta: np.ndarray, kind: CurvatureKind) -> np.ndarray:
        """Minus the second derivative in ``beta``, ``(P, P)``."""
        curvature = self.curvature(eta, kind)
        if isinstance(curvature, RowCurvature):
            return self._row_gram(np.asarray(curvature.w), self._cache)
        return curvature.gram(self.blocks)

    def information_traces(
        self, eta: np.ndarray, M: np.ndarray, moves: np.ndarray, kind: CurvatureKind
    ) -> np.ndarray:
        """``tr(M dH)`` for the change ``dH`` of :meth:`information` along each move of ``beta``.

        Parameters
        ----------
        eta : (n, K) array
        M : (P, P) array
            Symmetric.
        moves : (J, P) array

        Returns
        -------
        (J,) array

        Notes
        -----
        For independent rows ``tr(M dH) = sum_i sum_kl q_ikl dw_ikl`` with the leverages
        ``q_ikl = x_ik' M_kl x_il``: one pass over the rows serves all moves.
        """
        if not moves.any():
            return np.zeros(len(moves))
        if not self.family.separable:
            return self._general_traces(eta, M, moves, kind)
        apart = None if self.dispersion is None else self.dispersion.parameter
        slopes = {}
        for k in range(len(self.blocks)):
            if k == apart:
                continue
            slope = self._row_slope(eta, k, kind)
            if slope is None:
                return self._general_traces(eta, M, moves, kind)
            if apart is not None:
                slope[:, apart, :] = slope[:, :, apart] = 0.0
            if np.abs(slope).max(initial=0.0) > 1e-9 * self._row_scale(eta, kind, apart):
                slopes[k] = slope
        if not slopes:
            return np.zeros(len(moves))
        q = self._leverages(M)
        adjoint = np.zeros_like(eta)
        for k, slope in slopes.items():
            adjoint[:, k] = np.einsum("nkl,nkl->n", q, slope)
        return moves @ self.gradient(adjoint)

    def dispersion_shift(self, eta: np.ndarray, degrees: float, quadratic: float) -> float | None:
        """The solution of :func:`~semistruct.fitting.newton.solve_dispersion`, where it is known.

        None where it has to be searched for.
        """
        return None

    def _row_scale(self, eta: np.ndarray, kind: CurvatureKind, apart: int | None) -> float:
        w = np.array(self.curvature(eta, kind).w)  # type: ignore[attr-defined]
        if apart is not None:
            w[:, apart, :] = w[:, :, apart] = 0.0
        return float(np.abs(w).max(initial=0.0)) / max(float(np.abs(eta).max(initial=0.0)), 1e-300)

    def _row_slope(self, eta: np.ndarray, k: int, kind: CurvatureKind) -> np.ndarray | None:
        """Derivative of the rows' curvature in predictor ``k``, ``(n, K, K)``, by differences."""
        scale = max(float(eta[:, k].std()), 0.1 * abs(float(eta[:, k].mean()))) or 1.0
        shift = np.zeros_like(eta)
        shift[:, k] = 1e-4 * scale
        upper, lower = self.curvature(eta + shift, kind), self.curvature(eta - shift, kind)
        if not (isinstance(upper, RowCurvature) and isinstance(lower, RowCurvature)):
            return None
        return (np.asarray(upper.w) - np.asarray(lower.w)) / (2e-4 * scale)

    def _leverages(self, M: np.ndarray) -> np.ndarray:
        """``x_ik' M_kl x_il`` for every row, ``(n, K, K)``."""
        quick = self._row_products(M)
        if quick is not None:
            return quick
        values, vectors = np.linalg.eigh((M + M.T) / 2)
        K = len(self.blocks)
        q = np.zeros((self.n, K, K))
        for start in range(0, values.size, 16):
            chunk = slice(start, start + 16)
            z = [
                block.matvec(vectors[columns, chunk])
                for block, columns in zip(self.blocks, self.slices, strict=True)
            ]
            for k in range(K):
                for j in range(k, K):
                    q[:, k, j] += (z[k] * z[j]) @ values[chunk]
        for k in range(K):
            for j in range(k):
                q[:, k, j] = q[:, j, k]
        return q

    def _row_products(self, M: np.ndarray) -> np.ndarray | None:
        """The leverages from tables of unique rows, where all blocks have few of these."""
        K = len(self.blocks)
        q = np.empty((self.n, K, K))
        for k, rows in enumerate(self.slices):
            for j in range(k, K):
                a, b = self.blocks[k], self.blocks[j]
                if not (isinstance(a, FactoredBlock) and isinstance(b, FactoredBlock)):
                    return None
                found = a.row_products(M[rows, self.slices[j]], b)
                if found is None:
                    return None
                q[:, k, j] = q[:, j, k] = found
        return q

    def _general_traces(
        self, eta: np.ndarray, M: np.ndarray, moves: np.ndarray, kind: CurvatureKind
    ) -> np.ndarray:
        """The traces of a curvature that is no function of single rows, move by move."""
        traces = np.zeros(len(moves))
        for j, move in enumerate(moves):
            change = self.direction(move)
            size = np.abs(change).max(initial=0.0)
            if size > 0:
                change = change * (1e-4 / size)
                upper = self.curvature(eta + change, kind).gram(self.blocks)
                lower = self.curvature(eta - change, kind).gram(self.blocks)
                traces[j] = np.vdot(M, upper - lower) * size / 2e-4
        return traces

    def _row_gram(self, w: np.ndarray, cache: _GramCache | None) -> np.ndarray:
        apart = -1 if self.dispersion is None else self.dispersion.parameter
        H = np.zeros((self.size, self.size))
        for k, rows in enumerate(self.slices):
            for j in range(k, len(self.blocks)):
                w_kj = np.ascontiguousarray(w[:, k, j])
                if k != j and (apart in (k, j) or not w_kj.any()):
                    continue
                if cache is None:
                    cross = self.blocks[k].gram(w_kj, None if k == j else self.blocks[j])
                else:
                    cross = cache.gram(w_kj, k, j, self.blocks)
                H[rows, self.slices[j]] = cross
                if k != j:
                    H[self.slices[j], rows] = cross.T
        return H
