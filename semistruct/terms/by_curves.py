"""Curves that vary with a column: one per group, or one that a number multiplies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from semistruct.exceptions import DataError
from semistruct.terms._factored import Matrix
from semistruct.terms.reading import group_codes

__all__ = ["Curves", "curve_codes", "shift_columns"]


@dataclass(frozen=True)
class Curves:
    """How a ``by`` column multiplies a curve.

    Attributes
    ----------
    by : str or None
        The column.
    levels : tuple or None
        Groups with a curve each; None where the column is numeric or there is none.
    reference : tuple
        The group without a curve (the first of an ordered categorical), or empty.
    unseen : {"error", "zero"}
        What a group is that the training rows do not have.
    """

    by: str | None = None
    levels: tuple[Any, ...] | None = None
    reference: tuple[Any, ...] = ()
    unseen: Literal["error", "zero"] = "error"

    def labels(self, label: str) -> tuple[str, ...]:
        """One label per curve."""
        if self.levels is None:
            return (label,)
        return tuple(f"{label}{level}" for level in self.levels)


def curve_codes(frame: pd.DataFrame, by: Curves, label: str) -> np.ndarray:
    """Curve of each row; the number of curves for the reference."""
    known = (*(by.levels or ()), *by.reference)
    codes = group_codes(frame, str(by.by), label, known)
    unseen = np.flatnonzero(codes < 0)
    if unseen.size and by.unseen == "zero":
        return np.where(codes < 0, len(known), codes)
    if unseen.size:
        level = frame[by.by].iloc[unseen[0]]
        raise DataError(
            f"{label} has no curve for the group {level!r} of the column {by.by!r} (row "
            f"{unseen[0]}), which the training rows do not have; it knows "
            f"{', '.join(map(repr, known))}."
        )
    return codes


def shift_columns(F: Matrix, codes: np.ndarray, groups: int) -> sp.csr_array:
    """Features of each row in the columns of its own group, ``(n, groups * q)``."""
    n, q = F.shape
    if sp.issparse(F):
        counts = np.diff(F.indptr)
        data, indices, indptr = F.data, F.indices + np.repeat(codes * q, counts), F.indptr
    else:
        data = F.ravel()
        indices = (codes[:, None] * q + np.arange(q)).ravel()
        indptr = np.arange(0, n * q + 1, q)
    return sp.csr_array((data, indices, indptr), shape=(n, groups * q))
