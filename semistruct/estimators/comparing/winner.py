"""The best of several models, and what its score owes to having been chosen."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import pandas as pd

from semistruct.estimators.comparing.measures import Measure
from semistruct.evaluation.resampled import honest_choice
from semistruct.exceptions import DataError

__all__ = ["Winner", "winner_of"]


@dataclass(frozen=True)
class Winner:
    """The best model by one metric, and what its score owes to having been chosen.

    Attributes
    ----------
    model : str
    metric : str
    score : float
        Mean over folds, on the data that made it win.
    honest_score : float
        Mean score when the choice is made on the other folds; NaN where fits failed.
    candidates : int
        Models among which it was chosen.
    """

    model: str
    metric: str
    score: float
    honest_score: float
    candidates: int

    def __str__(self) -> str:
        text = (
            f"{self.model!r} is the best of {self.candidates} by {self.metric}, "
            f"{_short(self.score)}"
        )
        if np.isfinite(self.honest_score):
            text += f"; chosen on the other folds, the score is {_short(self.honest_score)}"
        return f"{text}."


def winner_of(scores: pd.DataFrame, measure: Measure, baselines: Set[str]) -> Winner:
    """The model with the best mean among those that are no baseline and have every score.

    Parameters
    ----------
    scores : DataFrame
        ``(repeat, fold)`` as rows, models as columns.
    measure : Measure
    baselines : set of str
    """
    signed = (measure.sign * scores).dropna(axis=1)
    signed = signed[[name for name in signed.columns if name not in baselines]]
    if signed.empty:
        raise DataError(f"no model has a score by {measure.name!r} in every fold.")
    means = signed.mean()
    best = str(means.idxmax())
    repeat = signed.index.get_level_values("repeat").to_numpy()
    several = np.unique(repeat, return_counts=True)[1].min() > 1
    honest = honest_choice(signed.to_numpy(), repeat) if several else np.nan
    score, honest = measure.sign * means[best], measure.sign * honest
    return Winner(best, measure.label, float(score), float(honest), signed.shape[1])


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 1 or value == 0 else f"{value:.3f}"
