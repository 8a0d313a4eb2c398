"""Panels of smooths of two variables: filled contours, or a surface in perspective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from mpl_toolkits.mplot3d import Axes3D

from semistruct.exceptions import SpecificationError
from semistruct.fitting.model import ModelFit
from semistruct.inference.curves import PlacedTerm, smooth_surface
from semistruct.plots.smooths import (
    DOTS,
    effect_name,
    notes_on,
    placed,
    thinned,
    training_rows,
)
from semistruct.plots.style import DIVERGING, axes_or_new, describe, with_style

__all__ = ["plot_perspective", "plot_surface"]

_PERSPECTIVE_INCHES = (4.4, 3.6)


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

    See Also
    --------
    plot_perspective : The same surface in perspective.
    """
    surface = _surface(fit, param, label, group, grid)
    term = surface.term
    ax = axes_or_new(ax)
    x, z, shown = surface.x, surface.z, np.ma.masked_invalid(surface.effect)
    filled = ax.contourf(x, z, shown, levels=surface.levels, cmap=DIVERGING, extend="neither")
    ax.contour(
        x,
        z,
        shown,
        levels=surface.levels,
        colors="0.25",
        linewidths=0.4,
        linestyles="solid",
        alpha=0.7,
    )
    bar = plt.colorbar(filled, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)))
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(plt.MaxNLocator(5, symmetric=True))
    bar.ax.tick_params(labelsize=7, length=2)
    bar.set_label(effect_name(fit, term), fontsize=8)
    if points and fit.frame is not None:
        rows = thinned(training_rows(fit, term, surface.group), DOTS)
        first, second = (fit.frame[name].to_numpy(float)[rows] for name in term.covariates[:2])
        ax.plot(first, second, ".", color="black", markersize=1.6, alpha=0.35, markeredgewidth=0)
    ax.set_xlim(x[0, 0], x[-1, 0])
    ax.set_ylim(z[0, 0], z[0, -1])
    describe(
        ax, surface.title, notes_on(term), xlabel=term.covariates[0], ylabel=term.covariates[1]
    )
    return ax


@with_style
def plot_perspective(
    fit: ModelFit,
    param: str,
    label: str,
    *,
    group: Any = None,
    grid: int = 40,
    elevation: float = 30.0,
    azimuth: float | None = None,
    ax: Axes3D | None = None,
) -> Axes3D:
    """A smooth of two variables as a surface in perspective, where training rows are nearby.

    Colours are those of :func:`plot_surface`.

    Parameters
    ----------
    fit, param, label, group
        As for :func:`plot_surface`.
    grid : int
        Points per variable.
    elevation, azimuth : float
        From where one looks, in degrees: above the plane of the variables, and around it; by
        default from the corner to which the surface falls, where nothing hides it.
    ax : Axes3D, optional
        Where to draw, made with ``projection="3d"``; a new figure by default.

    Returns
    -------
    Axes3D

    Raises
    ------
    SpecificationError
        If ``ax`` has no third dimension, or there is no such group.
    """
    surface = _surface(fit, param, label, group, grid)
    if ax is None:
        _, ax = plt.subplots(figsize=_PERSPECTIVE_INCHES, subplot_kw={"projection": "3d"})
    if not isinstance(ax, Axes3D):
        raise SpecificationError(
            "a surface in perspective needs axes of three dimensions; make them with "
            'projection="3d", or leave ax out.'
        )
    ax.plot_surface(
        surface.x,
        surface.z,
        surface.effect,
        rcount=grid,
        ccount=grid,
        cmap=DIVERGING,
        norm=BoundaryNorm(surface.levels, plt.get_cmap(DIVERGING).N),
        edgecolor="0.25",
        linewidth=0.15,
        shade=False,
    )
    ax.view_init(elevation, _open_corner(surface) if azimuth is None else azimuth)
    term = surface.term
    describe(
        ax, surface.title, notes_on(term), xlabel=term.covariates[0], ylabel=term.covariates[1]
    )
    ax.set_zlabel(effect_name(fit, term))
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color((1.0, 1.0, 1.0, 0.0))
        axis.set_major_locator(plt.MaxNLocator(5))
    return ax


@dataclass(frozen=True)
class _Surface:
    """A smooth of two variables on a grid, of one group.

    ``x``, ``z`` and ``effect``, which is NaN away from training rows, are ``(grid, grid)``;
    ``levels`` are limits of colours, the same for all groups.
    """

    term: PlacedTerm
    group: Any
    title: str
    x: np.ndarray
    z: np.ndarray
    effect: np.ndarray
    levels: np.ndarray


def _open_corner(surface: _Surface) -> float:
    """Azimuth, in degrees, of the corner to which the surface falls on average."""
    falls = [np.nanmean(slope) < 0 for slope in np.gradient(surface.effect)]
    first, second = np.where(falls, 1.0, -1.0)
    return float(np.degrees(np.arctan2(1.2 * second, first)))


def _surface(fit: ModelFit, param: str, label: str, group: Any, grid: int) -> _Surface:
    table = smooth_surface(fit, param, label, grid)
    term = placed(fit, param, label)
    largest = float(table["fit"].where(table["observed"]).abs().max())
    largest = largest if largest > 0 else 1.0
    edf, which = term.edf.sum(), ""
    if term.levels is not None:
        group = term.levels[0] if group is None else group
        if group not in term.levels:
            raise SpecificationError(
                f"{label} has no surface for the group {group!r}; it has one for each of "
                f"{', '.join(map(repr, term.levels))}."
            )
        table = table[[value == group for value in table["by"]]]
        edf = term.level_edf[term.levels.index(group)]
        which = f" = {group}" if label.endswith(f":{term.by}") else f", {term.by} = {group}"
    table = table.assign(fit=table["fit"].where(table["observed"]))
    x, z, effect = (table[name].to_numpy().reshape(grid, grid) for name in ("x", "z", "fit"))
    return _Surface(
        term,
        group,
        f"{label}{which}, edf {edf:.2f}",
        x,
        z,
        effect,
        np.asarray(plt.MaxNLocator(11, symmetric=True).tick_values(-largest, largest)),
    )
