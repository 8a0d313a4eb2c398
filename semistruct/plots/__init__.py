"""Plots: one figure of a whole model, and the panels that it is made of."""

from __future__ import annotations

from semistruct.plots.deep import plot_history, plot_image_effects, plot_scores
from semistruct.plots.forest import plot_forest
from semistruct.plots.model import plot_model
from semistruct.plots.random_effects import plot_random_effect
from semistruct.plots.smooths import plot_smooth, plot_surface

__all__ = [
    "plot_forest",
    "plot_history",
    "plot_image_effects",
    "plot_model",
    "plot_random_effect",
    "plot_scores",
    "plot_smooth",
    "plot_surface",
]
