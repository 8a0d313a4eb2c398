"""Columns of a table as bounded numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["TableFeatures"]

_MOST_LEVELS = 12


@dataclass(frozen=True)
class TableFeatures:
    """Columns of the table as bounded numbers: standardised, their squares, and indicators.

    Attributes
    ----------
    numeric : mapping of str to (mean, sd, lowest, highest)
    levels : mapping of str to tuple of labels

    Notes
    -----
    New rows are kept within the range of the training rows; a level that was never seen has no
    indicator.

    Examples
    --------
    >>> table = pd.DataFrame({"age": [30.0, 50.0, 70.0, 50.0], "sex": list("fmfm")})
    >>> features = TableFeatures.learn(table, ["age", "sex"])
    >>> features.of(pd.DataFrame({"age": [50.0, 500.0], "sex": ["f", "?"]})).round(2)
    array([[ 0.  , -1.  ,  1.  ,  0.  ],
           [ 1.41,  1.  ,  0.  ,  0.  ]])
    """

    numeric: dict[str, tuple[float, float, float, float]]
    levels: dict[str, tuple[str, ...]]

    @classmethod
    def learn(cls, frame: pd.DataFrame, columns: Sequence[str]) -> TableFeatures:
        """From training rows; columns that are neither numbers nor few labels are left out."""
        numeric, levels = {}, {}
        for name in columns:
            if name not in frame.columns:
                continue
            column = frame[name]
            if pd.api.types.is_numeric_dtype(column.dtype):
                z = column.to_numpy(dtype=float)
                if np.isfinite(z).all() and z.std() > 0:
                    limits = float(z.min()), float(z.max())
                    numeric[name] = (float(z.mean()), float(z.std()), *limits)
            elif column.dtype == object or isinstance(
                column.dtype, pd.CategoricalDtype | pd.StringDtype
            ):
                labels = tuple(sorted(set(column.astype(str))))
                if 1 < len(labels) <= _MOST_LEVELS:
                    levels[name] = labels
        return cls(numeric, levels)

    def of(self, frame: pd.DataFrame) -> np.ndarray:
        """Features of every row, ``(n, f)``."""
        columns = []
        for name, (mean, sd, low, high) in self.numeric.items():
            z = (np.clip(frame[name].to_numpy(dtype=float), low, high) - mean) / sd
            columns += [z, z**2 - 1]
        for name, labels in self.levels.items():
            values = frame[name].astype(str).to_numpy()
            columns += [(values == label).astype(float) for label in labels]
        return np.column_stack(columns) if columns else np.zeros((len(frame), 0))
