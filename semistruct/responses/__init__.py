"""Responses that are more than one array."""

from __future__ import annotations

from semistruct.responses._intervals import TimeIntervals
from semistruct.responses.expansion import PiecewiseExpansion
from semistruct.responses.interval import Interval
from semistruct.responses.survival import Surv, as_surv

__all__ = ["Interval", "PiecewiseExpansion", "Surv", "TimeIntervals", "as_surv"]
