"""Designs of the training rows, which large tables share."""

from __future__ import annotations

import pandas as pd

from semistruct.terms.base import Basis, DesignBlock
from semistruct.terms.binning import is_large, training_values
from semistruct.terms.reading import numeric_column
from semistruct.terms.smooth_basis import SmoothBasis

__all__ = ["training_block"]


def training_block(basis: Basis, frame: pd.DataFrame) -> DesignBlock:
    """The design of the training rows; in large tables that of curves at binned values.

    Predictions are always made at the values themselves.
    """
    if not isinstance(basis, SmoothBasis) or not is_large(len(frame)):
        return basis.design(frame)
    if len(basis.raw.support) > 1:
        return basis.design(frame)
    name = basis.variables[0]
    values = training_values(numeric_column(frame, name, basis.label))
    return basis.design(frame[list(basis.variables)].assign(**{name: values}))
