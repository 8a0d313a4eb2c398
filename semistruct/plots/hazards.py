"""Curves of models of intervals: hazards, their ratios over time, cumulative incidences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.families.discrete_hazard import DiscreteHazards
from semistruct.plots.style import (
    axes_or_new,
    describe,
    group_colours,
    legend_beside,
    shortened,
    with_style,
)
from semistruct.plots.survival import NAMED_CURVES, row_names

__all__ = ["hazard_curves", "hazard_ratio_curves", "incidence_curves", "ratio_axis"]

IncidenceKind = Literal["lines", "stacked"]

_POINTS = 200
_STYLES = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))


@with_style
def hazard_curves(
    model: Any,
    X: Any,
    *,
    cause: int | None = None,
    level: float | None = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Hazard of each row in the intervals of time, with pointwise bands.

    Parameters
    ----------
    model : PAMM or DiscreteHazard
        Fitted.
    X : DataFrame or array of n rows
    cause : int, optional
        With competing causes one of them; without bands all together by default.
    level : float, optional
        Of the bands; None leaves them out, and so do more than eight rows.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Events per unit of time; in discrete time probabilities of an event in the interval.

    Raises
    ------
    SpecificationError
        If bands are asked for and there are several causes, none of them named.
    """
    hazards = model.predict_hazard(X, cause=cause, level=level)
    ax = axes_or_new(ax)
    few = _draw_steps(ax, model.intervals_.cuts, hazards, level)
    ax.set_ylim(bottom=0.0)
    discrete = isinstance(model.family_, DiscreteHazards)
    title = "hazard" if cause is None else f"hazard of cause {cause}"
    describe(
        ax,
        title,
        f"{100 * level:g}% bands" if few and level is not None else "",
        "time",
        "probability in the interval" if discrete else "events per unit of time",
    )
    return ax


@with_style
def hazard_ratio_curves(
    model: Any,
    X: Any,
    reference: Any,
    *,
    cause: int | None = None,
    level: float | None = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Hazard ratio of rows to others over time: effects that vary with it, as a whole.

    Parameters
    ----------
    model : PAMM
        Fitted. A smooth ``s(tend, by=x)`` alone is drawn by
        :func:`~semistruct.plots.plot_smooth`; here it is together with what else ``x`` does.
    X : DataFrame or array of n rows
    reference : DataFrame or array of one or n rows
        What they are compared with.
    cause : int, optional
        With competing causes one of them.
    level : float, optional
        Of pointwise bands; None leaves them out, and so do more than eight rows.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Its vertical axis is logarithmic.
    """
    ratios = model.predict_hazard_ratio(X, reference, cause=cause, level=level)
    ax = axes_or_new(ax)
    ax.axhline(1.0, color="0.6", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.5)
    few = _draw_steps(ax, model.intervals_.cuts, ratios, level)
    shown = ratios.to_numpy()
    if level is not None and not few:
        shown = shown[:, ::3]
    ratio_axis(ax, "y", float(min(shown.min(), 1.0)), float(max(shown.max(), 1.0)))
    describe(
        ax,
        "hazard ratio over time",
        f"{100 * level:g}% bands" if few and level is not None else "",
        "time",
        "hazard ratio" if cause is None else f"hazard ratio, cause {cause}",
    )
    return ax


@with_style
def incidence_curves(
    model: Any,
    X: Any,
    *,
    kind: IncidenceKind = "lines",
    level: float | None = None,
    n_draws: int = 1000,
    random_state: Any = None,
    names: Mapping[int, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Cumulative incidence of every competing cause.

    Parameters
    ----------
    model : PAMM or DiscreteHazard
        Fitted.
    X : DataFrame or array of rows
        At most four for lines, which differ by their style; one for "stacked".
    kind : {"lines", "stacked"}
        A line for each cause, or areas on top of each other that leave the probability of no event
        above them.
    level : float, optional
        Adds pointwise bands to lines, from ``n_draws`` draws of the coefficients.
    n_draws : int
    random_state : int, RandomState or None
        Of the draws.
    names : mapping of cause to str, optional
        What the causes are called; ``cause 1`` by default.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    SpecificationError
        If there are too many rows, or bands are asked for areas.
    """
    draw: Callable[..., None] = lookup({"lines": _lines, "stacked": _areas}, kind, "kind")
    most = len(_STYLES) if kind == "lines" else 1
    if not 1 <= len(X) <= most:
        raise SpecificationError(
            f"kind={kind!r} draws from 1 to {most} row(s), got {len(X)}; choose some of them."
        )
    if kind == "stacked" and level is not None:
        raise SpecificationError('areas have no bands; leave level out, or use kind="lines".')
    grid = np.linspace(0.0, float(model.intervals_.cuts[-1]), _POINTS)
    table = model.predict_cumulative_incidence(
        X, grid, level=level, n_draws=n_draws, random_state=random_state
    )
    causes = model.causes_
    called = {k: shortened((names or {}).get(k, f"cause {k}"), 18) for k in causes}
    values = table.to_numpy().reshape(len(grid), len(causes), len(X), -1)
    rows = table.columns.get_level_values(1)[: len(X) * values.shape[3] : values.shape[3]]
    ax = axes_or_new(ax)
    draw(ax, grid, values, [called[k] for k in causes], row_names(rows))
    ax.set_xlim(0.0, grid[-1])
    ax.set_ylim(0.0, 1.02 if kind == "stacked" else None)
    legend_beside(ax, handlelength=1.8)
    note = f"{100 * level:g}% bands" if level is not None else ""
    if kind == "stacked":
        note = "above the areas: no event"
    describe(ax, "cumulative incidence", note, "time", "probability of the event")
    return ax


def ratio_axis(ax: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """A logarithmic axis with ticks at plain numbers: 1, 2, 5 or, in a narrow range, even steps."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    getattr(ax, f"set_{which}scale")("log")
    margin = (high / low) ** 0.05 if high > low else 1.1
    low, high = low / margin, high * margin
    if high / low > 8:
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        found = powers if high / low > 1e3 else np.unique(np.outer(powers, [1.0, 2.0, 5.0]))
    else:
        steps = np.asarray(plt.MaxNLocator(5).tick_values(low, high))
        # The ratio of no difference is always named, instead of what would stand on top of it.
        away = np.abs(np.log(np.maximum(steps, low / 2))) > 0.1 * np.log(high / low)
        found = np.append(steps[away], 1.0)
    ticks = [float(t) for t in np.sort(found) if low <= t <= high]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    getattr(ax, f"set_{which}lim")(low, high)


def _draw_steps(ax: Axes, cuts: np.ndarray, table: pd.DataFrame, level: float | None) -> bool:
    """A step function over the intervals for each row; whether they are few enough for bands."""
    columns = table.columns if level is None else table.columns.get_level_values(0)[::3]
    names = row_names(columns)
    values = table.to_numpy().reshape(len(cuts) - 1, len(names), -1)
    few = len(names) <= NAMED_CURVES
    x = np.repeat(cuts, 2)[1:-1]
    for i, (name, colour) in enumerate(zip(names, group_colours(len(names)), strict=True)):
        steps = np.repeat(values[:, i], 2, axis=0)
        if few and level is not None:
            ax.fill_between(x, steps[:, 1], steps[:, 2], color=colour, alpha=0.18, linewidth=0)
        label = shortened(name, 18) if few else f"_{name}"
        ax.plot(x, steps[:, 0], color=colour, linewidth=None if few else 0.8, label=label)
    ax.set_xlim(cuts[0], cuts[-1])
    if few and len(names) > 1:
        legend_beside(ax)
    return few


def _lines(
    ax: Axes, grid: np.ndarray, values: np.ndarray, causes: list[str], rows: list[str]
) -> None:
    for k, colour in enumerate(group_colours(len(causes))):
        for i, style in enumerate(_STYLES[: len(rows)]):
            if values.shape[3] == 3:
                lower, upper = values[:, k, i, 1], values[:, k, i, 2]
                ax.fill_between(grid, lower, upper, color=colour, alpha=0.15, linewidth=0)
            label = causes[k] if len(rows) == 1 else f"{causes[k]}, {rows[i]}"
            ax.plot(grid, values[:, k, i, 0], color=colour, linestyle=style, label=label)


def _areas(
    ax: Axes, grid: np.ndarray, values: np.ndarray, causes: list[str], rows: list[str]
) -> None:
    tops = np.cumsum(values[:, :, 0, 0], axis=1)
    below = np.zeros(len(grid))
    for k, colour in enumerate(group_colours(len(causes))):
        ax.fill_between(grid, below, tops[:, k], color=colour, alpha=0.75, label=causes[k])
        below = tops[:, k]
