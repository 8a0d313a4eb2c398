"""Responses that are more than one array."""

from __future__ import annotations

from semistruct.responses.survival import Interval, Surv, as_surv

__all__ = ["Interval", "Surv", "as_surv"]
