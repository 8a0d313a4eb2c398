"""Losses as plain torch functions, usable without the rest of the package."""

from __future__ import annotations

from semistruct.losses.cox import CoxRiskSets, cox_partial_likelihood

__all__ = ["CoxRiskSets", "cox_partial_likelihood"]
