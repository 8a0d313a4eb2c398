"""Judging predictions: concordance, calibration and proper scores."""

from __future__ import annotations

from semistruct.evaluation.concordance import (
    Concordance,
    concordance,
    concordance_index,
    concordance_index_ipcw,
)
from semistruct.evaluation.kaplan_meier import (
    KaplanMeier,
    censoring_kaplan_meier,
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
