"""Data sets with pictures: real ones that are fetched, and simulated ones with known truth."""

from __future__ import annotations

from semistruct.datasets.digits import bmi_effect, simulate_digits, true_contributions
from semistruct.datasets.houses import load_houses
from semistruct.datasets.omics import simulate_omics, true_log_hazard
from semistruct.datasets.skin_lesions import load_ham10000
from semistruct.datasets.strips import simulate_strips

__all__ = [
    "bmi_effect",
    "load_ham10000",
    "load_houses",
    "simulate_digits",
    "simulate_omics",
    "simulate_strips",
    "true_contributions",
    "true_log_hazard",
]
