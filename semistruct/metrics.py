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
    DCalibration,
    KaplanMeier,
    antolini_concordance,
    brier_score,
    censoring_kaplan_meier,
    concordance,
    concordance_index,
    concordance_index_ipcw,
    crps_normal,
    crps_sample,
    cumulative_dynamic_auc,
    d_calibration,
    dawid_sebastiani,
    integrated_auc,
    integrated_brier_score,
    interval_score,
    kaplan_meier,
    log_score,
    pinball_loss,
    pit_values,
)

__all__ = [
    "Concordance",
    "DCalibration",
    "KaplanMeier",
    "antolini_concordance",
    "brier_score",
    "censoring_kaplan_meier",
    "concordance",
    "concordance_index",
    "concordance_index_ipcw",
    "crps_normal",
    "crps_sample",
    "cumulative_dynamic_auc",
    "d_calibration",
    "dawid_sebastiani",
    "integrated_auc",
    "integrated_brier_score",
    "interval_score",
    "kaplan_meier",
    "log_score",
    "pinball_loss",
    "pit_values",
]
