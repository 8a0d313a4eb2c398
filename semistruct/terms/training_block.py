"""Bases and designs of the training rows, which large tables share."""

from __future__ import annotations

import pandas as pd

from semistruct.terms.base import Basis, DesignBlock, Term
from semistruct.terms.binning import Bins
from semistruct.terms.factor_smooth import FactorSmooth
from semistruct.terms.reading import numeric_column
from semistruct.terms.smooth_base import SmoothTerm
from semistruct.terms.smooth_basis import SmoothBasis

__all__ = ["training_basis", "training_block"]


def training_basis(term: Term, frame: pd.DataFrame, bins: Bins | None) -> Basis:
    """What a term learns from the training rows; curves from their bins where there are any."""
    if isinstance(term, SmoothTerm | FactorSmooth):
        return term.build(frame, bins)
    return term.build(frame)


def training_block(basis: Basis, frame: pd.DataFrame, bins: Bins | None) -> DesignBlock:
    """The design of the training rows; that of curves at the values of their bins.

    Predictions are always made at the values themselves.
    """
    if bins is None or not isinstance(basis, SmoothBasis) or len(basis.raw.support) > 1:
        return basis.design(frame)
    name = basis.variables[0]
    return basis.design(frame, bins.column(name, numeric_column(frame, name, basis.label)))
