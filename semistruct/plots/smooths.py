"""Panels of smooths of one variable: curves with bands and rug, groups overlaid."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from semistruct._registry import lookup
from semistruct.fitting.model import ModelFit
from semistruct.inference.curves import (
    PlacedTerm,
    partial_residuals,
    placed_terms,
    smooth_curve,
)
from semistruct.plots.style import (
    axes_or_new,
    describe,
    effect_label,
    group_colours,
    legend_beside,
    shortened,
    with_style,
)

__all__ = ["DOTS", "effect_name", "notes_on", "placed", "plot_smooth", "thinned", "training_rows"]

# More curves than this are drawn thin, without bands and without a legend.
_NAMED_GROUPS = 8
# Points of a rug, of a scatter or a surface that are drawn; more would cover each other.
_RUG_TICKS = 400
DOTS = 3000


@with_style
def plot_smooth(
    fit: ModelFit,
    param: str,
    label: str,
    *,
    level: float = 0.95,
    grid: int = 200,
    residuals: bool = False,
    rug: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """A smooth of one variable with its pointwise band; one curve per group of a ``by`` column.

    Parameters
    ----------
    fit : ModelFit
    param : str
        The distribution parameter, ``"loc"``.
    label : str
        The term, ``"s(area)"``.
    level : float
        Coverage of the band.
    grid : int
        Points of a curve.
    residuals : bool
        Whether to draw the partial residuals behind the curve. Not where a numeric ``by`` column
        multiplies the curve: a row then has no residual of the curve itself.
    rug : bool
        Whether to mark the training rows on the axis.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    See Also
    --------
    semistruct.inference.curves.smooth_curve : The numbers that are drawn.
    """
    curve = smooth_curve(fit, param, label, grid, level)
    term = placed(fit, param, label)
    ax = axes_or_new(ax)
    ax.axhline(0.0, color="0.6", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.5)
    levels = term.levels or (None,)
    many = len(levels) > _NAMED_GROUPS
    colours = group_colours(len(levels))
    dots = partial_residuals(fit, param, label) if residuals and _has_residuals(term) else None
    for group, colour in zip(levels, colours, strict=True):
        own = curve if group is None else curve[[value == group for value in curve["by"]]]
        if dots is not None:
            _scatter(ax, fit, term, group, dots, "0.45" if group is None else colour)
        if not many:
            shade = 0.22 if len(levels) == 1 else 0.15
            ax.fill_between(
                own["x"], own["lower"], own["upper"], color=colour, alpha=shade, linewidth=0
            )
        name = f"_{label}" if group is None else shortened(str(group), 14)
        ax.plot(own["x"], own["fit"], color=colour, linewidth=0.9 if many else None, label=name)
    ax.margins(x=0.02, y=0.08)
    if rug and fit.frame is not None:
        _rug(ax, fit, term)
    if term.levels is not None and not many:
        legend_beside(ax, shortened(str(term.by), 14))
    describe(
        ax,
        f"{label}, edf {term.edf.sum():.2f}",
        notes_on(term, many),
        xlabel=term.covariates[0],
        ylabel=effect_name(fit, term),
    )
    return ax


def placed(fit: ModelFit, param: str, label: str) -> PlacedTerm:
    """The smooth or random effect of this label in the predictor of a parameter."""
    return lookup(
        {term.label: term for term in placed_terms(fit) if term.param == param}, label, "smooth"
    )


def effect_name(fit: ModelFit, term: PlacedTerm) -> str:
    """Name of the axis on which the effect of a term is drawn."""
    family = fit.problem.family
    link = family.links[family.param_names.index(term.param)].name
    per_unit = term.by is not None and term.levels is None
    return effect_label(term.param, link) + (f" per unit of {term.by}" if per_unit else "")


def notes_on(term: PlacedTerm, many: bool = False) -> str:
    """What has to be said below the title: groups, references, what is held fixed."""
    notes = []
    if many:
        notes.append(f"{len(term.levels or ())} groups of {term.by}")
    if term.levels is not None and term.basis.by.reference:  # type: ignore[attr-defined]
        reference = term.basis.by.reference[0]  # type: ignore[attr-defined]
        notes.append(f"differences to {term.by} = {reference}")
    if len(term.covariates) > 2:
        notes.append(f"{', '.join(term.covariates[2:])} at the median")
    return "; ".join(notes)


def _has_residuals(term: PlacedTerm) -> bool:
    return term.by is None or term.levels is not None


def training_rows(fit: ModelFit, term: PlacedTerm, group: Any) -> np.ndarray:
    """Training rows of positive weight, of one group where there is one."""
    inside = fit.problem.sample_weight > 0
    if group is not None and fit.frame is not None:
        inside = inside & (fit.frame[term.by] == group).to_numpy()
    return np.flatnonzero(inside)


def thinned(rows: np.ndarray, limit: int) -> np.ndarray:
    """At most ``limit`` of the rows, evenly spread, so that no random numbers are drawn."""
    if len(rows) <= limit:
        return rows
    return rows[np.linspace(0, len(rows) - 1, limit).astype(int)]


def _scatter(
    ax: Axes, fit: ModelFit, term: PlacedTerm, group: Any, dots: np.ndarray, colour: Any
) -> None:
    if fit.frame is None:
        return
    rows = thinned(training_rows(fit, term, group), DOTS)
    x = fit.frame[term.covariates[0]].to_numpy(float)[rows]
    ax.plot(
        x,
        dots[rows],
        ".",
        color=colour,
        alpha=0.45,
        markersize=3,
        markeredgewidth=0,
        zorder=1,
        rasterized=True,
    )


def _rug(ax: Axes, fit: ModelFit, term: PlacedTerm) -> None:
    """One tick per distinct training value, values closer than a tick's width drawn once."""
    if fit.frame is None:
        return
    x = fit.frame[term.covariates[0]].to_numpy(float)[training_rows(fit, term, None)]
    step = np.ptp(x) / _RUG_TICKS or 1.0
    _, first = np.unique(np.round((x - x.min()) / step), return_index=True)
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.05 * (high - low), high)
    ax.vlines(
        x[first],
        0.0,
        0.03,
        transform=ax.get_xaxis_transform(),
        color="0.3",
        linewidth=0.5,
        alpha=0.7,
        label="_rug",
    )
