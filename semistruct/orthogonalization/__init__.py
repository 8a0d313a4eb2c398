"""Identifying the structured part beside a deep one: exact projection, stored and replayed."""

from __future__ import annotations

from semistruct.orthogonalization.cell import OrthogonalizationCell
from semistruct.orthogonalization.projection import Orthogonalizer, Projection, Target

__all__ = ["OrthogonalizationCell", "Orthogonalizer", "Projection", "Target"]
