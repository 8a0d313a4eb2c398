"""An increasing curve from a deep score to its effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ScoreCurve"]


@dataclass(frozen=True)
class ScoreCurve:
    """An increasing function, linear between grid points and beyond the last ones.

    Attributes
    ----------
    score, effect : (m,) arrays

    Examples
    --------
    >>> curve = ScoreCurve(np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, 4.0]))
    >>> curve(np.array([-1.0, 0.5, 3.0]))
    array([-3. ,  1.5,  5. ])
    """

    score: np.ndarray
    effect: np.ndarray

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Effects of scores of any shape; NaN stays NaN."""
        x, y = self.score, self.effect
        first, last = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
        found: np.ndarray = np.interp(scores, x, y)
        found = found + first * np.minimum(scores - x[0], 0.0)
        return found + last * np.maximum(scores - x[-1], 0.0)

    def slope(self, score: float) -> float:
        """Its derivative; at a grid point that to the right."""
        at = np.clip(np.searchsorted(self.score, score, side="right"), 1, len(self.score) - 1)
        rise = self.effect[at] - self.effect[at - 1]
        return float(rise / (self.score[at] - self.score[at - 1]))
