"""What a structured term is: frozen configuration, frozen learned basis, row-wise design."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import pandas as pd

from semistruct.terms.term_list import Addend

__all__ = ["Basis", "DesignBlock", "Term", "TermKind"]

TermKind = Literal["parametric", "smooth", "random"]


class DesignBlock(ABC):
    """The design of one or several terms as a linear operator with ``n`` rows and ``p`` columns.

    The engine never asks for a dense ``(n, p)`` array: it multiplies by the block, by its
    transpose, and asks for weighted cross-products. All arithmetic is float64.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """``(n, p)``."""

    @abstractmethod
    def matvec(self, beta: np.ndarray) -> np.ndarray:
        """``X @ beta`` for ``beta`` of shape ``(p,)`` or ``(p, m)``."""

    @abstractmethod
    def rmatvec(self, r: np.ndarray) -> np.ndarray:
        """``X.T @ r`` for ``r`` of shape ``(n,)`` or ``(n, m)``."""

    @abstractmethod
    def gram(self, weights: np.ndarray, other: DesignBlock | None = None) -> np.ndarray:
        """``X.T @ diag(weights) @ other``, ``(p, p')``; ``other=None`` means the block itself.

        ``weights`` has shape ``(n,)`` and may be negative (observed curvature).
        """

    @abstractmethod
    def take(self, rows: np.ndarray) -> DesignBlock:
        """The block of the given row positions, in that order; rows may repeat."""

    @abstractmethod
    def dense(self) -> np.ndarray:
        """The full ``(n, p)`` array: for small ``n``, tests and mini-batches only."""

    def readable(self) -> np.ndarray:
        """:meth:`dense`, not to be written to: without a copy where the columns lie as they are."""
        return self.dense()


class Basis(ABC):
    """Learned state of a term: knots, levels, absorbed constraint. Immutable.

    Attributes
    ----------
    label : str
        How the term is called in a table, for example ``"s(area)"``.
    kind : {"parametric", "smooth", "random"}
        Decides where the term is printed and how the deep part is orthogonalised to it:
        parametric columns exactly, smooths through their penalised smoother, random effects never.
    names : tuple of str
        Names of the ``p`` columns, unique within the model.
    penalties : tuple of (p, p) arrays
        Positive semi-definite penalty matrices ``S``; empty if unpenalised. Scaled as in mgcv, so
        that a smoothing parameter of one is moderate: ``S * norm1(X'X)/norm1(S)``-like scaling is
        recorded in ``penalty_scales`` (raw penalty = ``S * scale``).
    lam : tuple of (float or None)
        One entry per penalty: a smoothing parameter fixed by the user, or None to estimate it.
    ranks : tuple of int
        Rank of each penalty.
    variables : tuple of str
        Columns of the frame that the design reads.
    """

    label: str
    kind: TermKind
    names: tuple[str, ...]
    penalties: tuple[np.ndarray, ...]
    penalty_scales: tuple[float, ...]
    lam: tuple[float | None, ...]
    ranks: tuple[int, ...]
    variables: tuple[str, ...]

    @abstractmethod
    def design(self, frame: pd.DataFrame) -> DesignBlock:
        """Row-wise design of new rows: a row gives the same numbers alone or in any batch.

        Raises
        ------
        DataError
            If a column is missing from the frame, has the wrong type, or has missing values.
        """


class Term(Addend):
    """A piece of a predictor as the user wrote it. Frozen configuration; learns nothing.

    Terms are added with ``+``: ``s("age") + linear("sex") + cnn("ct")`` is a
    :class:`~semistruct.terms.TermList`, and so is what a formula parses to.
    """

    @abstractmethod
    def build(self, frame: pd.DataFrame) -> Basis:
        """Learn the basis from the training rows, seen once.

        Raises
        ------
        DataError
            If a column is missing, not numeric where it must be, constant where a curve is asked
            for, or has too few distinct values for the basis dimension.
        """
