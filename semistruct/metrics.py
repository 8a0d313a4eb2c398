"""Measures of how good predictions are: concordance, calibration and proper scores.

Examples
--------
>>> from semistruct import Surv, metrics
>>> metrics.concordance_index(Surv([5, 3, 8], [1, 1, 0]), [0.2, 0.9, 0.1])
1.0
"""

from __future__ import annotations

from semistruct.evaluation import (
    Concordance,
    KaplanMeier,
    censoring_kaplan_meier,
    concordance,
    concordance_index,
    concordance_index_ipcw,
    kaplan_meier,
)

__all__ = [
    "Concordance",
    "KaplanMeier",
    "censoring_kaplan_meier",
    "concordance",
    "concordance_index",
    "concordance_index_ipcw",
    "kaplan_meier",
]
