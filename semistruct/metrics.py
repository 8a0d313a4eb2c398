"""Measures of how good predictions are: concordance, calibration and proper scores.

Examples
--------
>>> from semistruct import Surv, metrics
>>> metrics.concordance_index(Surv([5, 3, 8], [1, 1, 0]), [0.2, 0.9, 0.1])
1.0
"""

from __future__ import annotations

from semistruct.estimators.comparing.measures import Scorer, scorer
from semistruct.evaluation.antolini import antolini_concordance
from semistruct.evaluation.auc import cumulative_dynamic_auc, integrated_auc
from semistruct.evaluation.bootstrap import BootstrapInterval, bootstrap_interval
from semistruct.evaluation.brier import brier_score, integrated_brier_score
from semistruct.evaluation.calibration import DCalibration, d_calibration, pit_values
from semistruct.evaluation.calibration_curve import (
    CalibrationCurve,
    calibration_curve,
    integrated_calibration_index,
)
from semistruct.evaluation.competing import (
    incidence_auc,
    incidence_brier_score,
    incidence_concordance,
    integrated_incidence_brier_score,
)
from semistruct.evaluation.concordance import (
    Concordance,
    concordance,
    concordance_index,
    concordance_index_ipcw,
)
from semistruct.evaluation.kaplan_meier import KaplanMeier, censoring_kaplan_meier, kaplan_meier
from semistruct.evaluation.scores import (
    crps_normal,
    crps_sample,
    dawid_sebastiani,
    interval_score,
    log_score,
    pinball_loss,
)

__all__ = [
    "BootstrapInterval",
    "CalibrationCurve",
    "Concordance",
    "DCalibration",
    "KaplanMeier",
    "Scorer",
    "antolini_concordance",
    "bootstrap_interval",
    "brier_score",
    "calibration_curve",
    "censoring_kaplan_meier",
    "concordance",
    "concordance_index",
    "concordance_index_ipcw",
    "crps_normal",
    "crps_sample",
    "cumulative_dynamic_auc",
    "d_calibration",
    "dawid_sebastiani",
    "incidence_auc",
    "incidence_brier_score",
    "incidence_concordance",
    "integrated_auc",
    "integrated_brier_score",
    "integrated_calibration_index",
    "integrated_incidence_brier_score",
    "interval_score",
    "kaplan_meier",
    "log_score",
    "pinball_loss",
    "pit_values",
    "scorer",
]
