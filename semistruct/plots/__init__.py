"""Plots: one figure of a whole model, and the panels that it is made of."""

from __future__ import annotations

from semistruct.plots.comparing import (
    plot_critical_difference,
    plot_gains,
    plot_scores_of_models,
)
from semistruct.plots.deep import plot_history, plot_image_effects, plot_scores
from semistruct.plots.diagnostics import (
    plot_diagnostics,
    plot_pit,
    plot_quantiles,
    plot_residuals,
    plot_rootogram,
)
from semistruct.plots.explanations import (
    plot_embedding_plane,
    plot_image_maps,
    plot_waterfall,
)
from semistruct.plots.forest import plot_forest
from semistruct.plots.hazards import hazard_curves, hazard_ratio_curves, incidence_curves
from semistruct.plots.model import plot_model
from semistruct.plots.pictures import plot_contact_sheet
from semistruct.plots.random_effects import plot_random_effect
from semistruct.plots.smooths import plot_smooth
from semistruct.plots.surfaces import plot_perspective, plot_surface
from semistruct.plots.survival import survival_curves
from semistruct.plots.worm import plot_worm, plot_worms

__all__ = [
    "hazard_curves",
    "hazard_ratio_curves",
    "incidence_curves",
    "plot_contact_sheet",
    "plot_critical_difference",
    "plot_diagnostics",
    "plot_embedding_plane",
    "plot_forest",
    "plot_gains",
    "plot_history",
    "plot_image_effects",
    "plot_image_maps",
    "plot_model",
    "plot_perspective",
    "plot_pit",
    "plot_quantiles",
    "plot_random_effect",
    "plot_residuals",
    "plot_rootogram",
    "plot_scores",
    "plot_scores_of_models",
    "plot_smooth",
    "plot_surface",
    "plot_waterfall",
    "plot_worm",
    "plot_worms",
    "survival_curves",
]
