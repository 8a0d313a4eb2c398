"""Panels of smooths: curves with bands and rug, groups overlaid, surfaces as filled contours."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.fitting.model import ModelFit
from semistruct.inference.curves import (
    PlacedTerm,
    partial_residuals,
    placed_terms,
    smooth_curve,
    smooth_surface,
)
from semistruct.plots.style import (
    DIVERGING,
    axes_or_new,
    describe,
    effect_label,
    group_colours,
    shortened,
    with_style,
)

__all__ = ["plot_smooth", "plot_surface"]

# More curves than this are drawn thin, without bands and without a legend.
_NAMED_GROUPS = 8
# Points of a rug, a scatter or a surface that are drawn; more would cover each other.
_RUG_TICKS = 400
_DOTS = 3000


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
    term = _placed(fit, param, label)
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
        ax.legend(
            title=shortened(str(term.by), 14),
            loc="upper left",
            bbox_to_anchor=(1.0, 1.02),
            borderaxespad=0.2,
            handlelength=1.2,
        )
    describe(
        ax,
        f"{label}, edf {term.edf.sum():.2f}",
        _notes(term, many),
        xlabel=term.covariates[0],
        ylabel=_effect_name(fit, term),
    )
    return ax


@with_style
def plot_surface(
    fit: ModelFit,
    param: str,
    label: str,
    *,
    group: Any = None,
    grid: int = 60,
    points: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """A smooth of two variables as filled contours where there are training rows nearby.

    Of a smooth of more variables the others are held at their medians.

    Parameters
    ----------
    fit, param, label
        As for :func:`plot_smooth`.
    group : object, optional
        Which group of the ``by`` column; the first by default.
    grid : int
        Points per variable.
    points : bool
        Whether to mark the training rows.
    ax : Axes, optional
        Where to draw; a new figure by default. The colour bar is an inset beside it.

    Returns
    -------
    Axes
    """
    surface = smooth_surface(fit, param, label, grid)
    term = _placed(fit, param, label)
    largest = float(surface["fit"].where(surface["observed"]).abs().max())
    largest = largest if largest > 0 else 1.0
    edf = term.edf.sum()
    if term.levels is not None:
        group = term.levels[0] if group is None else group
        if group not in term.levels:
            raise SpecificationError(
                f"{label} has no surface for the group {group!r}; it has one for each of "
                f"{', '.join(map(repr, term.levels))}."
            )
        surface = surface[[value == group for value in surface["by"]]]
        edf = term.level_edf[term.levels.index(group)]
    ax = axes_or_new(ax)
    x, z, effect, observed = (
        surface[name].to_numpy().reshape(grid, grid) for name in ("x", "z", "fit", "observed")
    )
    shown = np.ma.masked_where(~observed, effect)
    contours = plt.MaxNLocator(11, symmetric=True).tick_values(-largest, largest)
    filled = ax.contourf(x, z, shown, levels=contours, cmap=DIVERGING, extend="neither")
    ax.contour(
        x, z, shown, levels=contours, colors="0.25", linewidths=0.4, linestyles="solid", alpha=0.7
    )
    bar = plt.colorbar(filled, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)))
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(plt.MaxNLocator(5, symmetric=True))
    bar.ax.tick_params(labelsize=7, length=2)
    bar.set_label(_effect_name(fit, term), fontsize=8)
    if points and fit.frame is not None:
        rows = _drawn(_rows(fit, term, group), _DOTS)
        first, second = (fit.frame[name].to_numpy(float)[rows] for name in term.covariates[:2])
        ax.plot(first, second, ".", color="black", markersize=1.6, alpha=0.35, markeredgewidth=0)
    ax.set_xlim(x[0, 0], x[-1, 0])
    ax.set_ylim(z[0, 0], z[0, -1])
    which = "" if group is None else f", {term.by} = {group}"
    if which and label.endswith(f":{term.by}"):
        which = f" = {group}"
    describe(
        ax,
        f"{label}{which}, edf {edf:.2f}",
        _notes(term, False),
        xlabel=term.covariates[0],
        ylabel=term.covariates[1],
    )
    return ax


def _placed(fit: ModelFit, param: str, label: str) -> PlacedTerm:
    return lookup(
        {term.label: term for term in placed_terms(fit) if term.param == param}, label, "smooth"
    )


def _effect_name(fit: ModelFit, term: PlacedTerm) -> str:
    family = fit.problem.family
    link = family.links[family.param_names.index(term.param)].name
    per_unit = term.by is not None and term.levels is None
    return effect_label(term.param, link) + (f" per unit of {term.by}" if per_unit else "")


def _notes(term: PlacedTerm, many: bool) -> str:
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


def _rows(fit: ModelFit, term: PlacedTerm, group: Any) -> np.ndarray:
    """Training rows of positive weight, of one group where there is one."""
    inside = fit.problem.sample_weight > 0
    if group is not None and fit.frame is not None:
        inside = inside & (fit.frame[term.by] == group).to_numpy()
    return np.flatnonzero(inside)


def _drawn(rows: np.ndarray, limit: int) -> np.ndarray:
    """At most ``limit`` of the rows, evenly spread, so that no random numbers are drawn."""
    if len(rows) <= limit:
        return rows
    return rows[np.linspace(0, len(rows) - 1, limit).astype(int)]


def _scatter(
    ax: Axes, fit: ModelFit, term: PlacedTerm, group: Any, dots: np.ndarray, colour: Any
) -> None:
    if fit.frame is None:
        return
    rows = _drawn(_rows(fit, term, group), _DOTS)
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
    x = fit.frame[term.covariates[0]].to_numpy(float)[_rows(fit, term, None)]
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
