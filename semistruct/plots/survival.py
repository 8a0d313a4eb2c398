"""Survival curves of rows or groups, with bands, Kaplan-Meier curves and numbers at risk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from semistruct.evaluation.kaplan_meier import kaplan_meier as estimate_kaplan_meier
from semistruct.exceptions import DataError
from semistruct.plots.style import (
    describe,
    group_colours,
    legend_beside,
    shortened,
    with_style,
)
from semistruct.responses import Surv, as_surv

__all__ = ["NAMED_CURVES", "number_at_risk", "row_names", "survival_curves"]

NAMED_CURVES = 8  # more are drawn thin, without bands and without a legend
_POINTS = 400
_WIDTH, _HEIGHT = 3.6, 2.8  # inches, without a table
_TABLE_POINTS = 33.0  # from the axis to the table: tick labels and the name of the axis
_LINE_POINTS = 10.5
_FONT = 7.5


@with_style
def survival_curves(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    by: Any = None,
    times: Any = None,
    level: float | None = 0.95,
    kaplan_meier: bool = True,
    at_risk: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Predicted survival of rows, or on average over groups of rows.

    Parameters
    ----------
    model : CoxPH, PAMM or DiscreteHazard
        Fitted.
    X : DataFrame or array of n rows
    y : Surv, structured array or DataFrame, optional
        What became of the rows. They are then drawn by groups, or all as one.
    by : str or (n,) array-like, optional
        A column of ``X``, or labels of the groups: a curve for each is the mean over its rows.
        Without ``by`` and ``y`` every row has a curve of its own.
    times : (m,) array-like, optional
        Where the curves are evaluated; by default 400 points up to the last event time, or cut
        point.
    level : float, optional
        Of pointwise bands; None leaves them out, and so do more than eight curves.
    kaplan_meier : bool
        With ``y``: whether to draw the Kaplan-Meier curve of each group, dashed. Events of all
        causes count.
    at_risk : bool
        With ``y``: whether to write below the axis how many rows of each group are under
        observation.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If ``y`` or ``by`` has another length than ``X``.

    References
    ----------
    Royston & Altman (2013), BMC Medical Research Methodology 13, 33 (curves of risk groups beside
    Kaplan-Meier's).
    """
    follow_up = None if y is None else as_surv(y)
    if follow_up is not None and len(follow_up) != len(X):
        raise DataError(f"y has {len(follow_up)} rows and X {len(X)}.")
    grid = _time_grid(model, X) if times is None else np.sort(np.asarray(times, dtype=float))
    grouped = by is not None or follow_up is not None
    names: Sequence[str]
    if grouped:
        curves = model.predict_average_survival(X, grid, by=by, level=level)
        labels = list(curves.columns if level is None else curves.columns.get_level_values(0)[::3])
        names = ["all rows" if by is None else str(label) for label in labels]
    else:
        curves = model.predict_survival_function(X, grid, level=level)
        names = row_names(
            curves.columns if level is None else curves.columns.get_level_values(0)[::3]
        )
    values = curves.to_numpy().reshape(len(grid), len(names), -1)
    few = len(names) <= NAMED_CURVES
    if ax is None:
        lines = 1 + len(names) if follow_up is not None and at_risk else 0
        _, ax = plt.subplots(figsize=(_WIDTH, _HEIGHT + lines * _LINE_POINTS / 72))
    colours = group_colours(len(names))
    for g, (name, colour) in enumerate(zip(names, colours, strict=True)):
        if few and level is not None:
            lower, upper = values[:, g, 1], values[:, g, 2]
            ax.fill_between(grid, lower, upper, color=colour, alpha=0.18, linewidth=0)
        label = shortened(name, 18) if few else f"_{name}"
        ax.plot(grid, values[:, g, 0], color=colour, linewidth=None if few else 0.8, label=label)
    ax.set_xlim(0.0, grid[-1])
    ax.set_ylim(0.0, 1.02)
    ax.xaxis.set_major_locator(plt.MaxNLocator(5))
    ax.set_yticks(np.linspace(0.0, 1.0, 5))
    notes = [f"{100 * level:g}% bands"] if few and level is not None else []
    if follow_up is not None:
        members = _members(X, by, labels)
        anything = [Surv(s.time, s.event, s.entry) for s in (follow_up[rows] for rows in members)]
        if kaplan_meier:
            for own, colour in zip(anything, colours, strict=True):
                _draw_kaplan_meier(ax, own, colour, few)
            notes.append("dashed: Kaplan-Meier")
        if at_risk:
            number_at_risk(ax, anything, [shortened(name, 14) for name in names], colours)
    if few and len(names) > 1:
        legend_beside(ax, by if isinstance(by, str) else None)
    what = "average over rows" if grouped else f"{len(names)} row{'s' * (len(names) != 1)}"
    describe(ax, f"survival, {what}", "; ".join(notes), "time", "probability of no event")
    return ax


def number_at_risk(
    ax: Axes, follow_up: Sequence[Surv], names: Sequence[str], colours: Sequence[Any]
) -> None:
    """Write below the axis how many rows of each group are under observation at its ticks."""
    first, last = ax.get_xlim()
    ticks = [t for t in ax.get_xticks() if first <= t <= last]
    ax.set_xticks(ticks)
    ax.set_xlim(first, last)
    options: dict[str, Any] = {
        "textcoords": "offset points",
        "fontsize": _FONT,
        "va": "top",
        "annotation_clip": False,
    }
    ax.annotate(
        "number at risk",
        (0.0, 0.0),
        (0.0, -_TABLE_POINTS),
        xycoords="axes fraction",
        ha="left",
        color="0.35",
        **options,
    )
    for line, (y, name, colour) in enumerate(zip(follow_up, names, colours, strict=True), start=1):
        below = -_TABLE_POINTS - line * _LINE_POINTS
        if len(names) > 1:
            ax.annotate(
                name,
                (0.0, 0.0),
                (-14.0, below),
                xycoords="axes fraction",
                ha="right",
                color=colour,
                **options,
            )
        for t in ticks:
            present = (y.time >= t) & (True if y.entry is None else (y.entry < t) | (y.entry <= 0))
            ax.annotate(
                f"{int(np.sum(present))}",
                (t, 0.0),
                (0.0, below),
                xycoords=ax.get_xaxis_transform(),
                ha="center",
                color="0.1",
                **options,
            )


def row_names(index: Any) -> list[str]:
    """Names of rows in a legend: ``row 3``, or what the index of the table calls them."""
    whole = pd.api.types.is_integer_dtype(pd.Index(index).dtype)
    return [f"row {label}" if whole else str(label) for label in index]


def _time_grid(model: Any, X: Any) -> np.ndarray:
    return np.linspace(0.0, float(model.predict_survival_function(X[:1]).index[-1]), _POINTS)


def _members(X: Any, by: Any, labels: Sequence[Any]) -> list[np.ndarray]:
    """Positions of the rows of each group."""
    if by is None:
        return [np.arange(len(X))]
    values = np.asarray(X[by] if isinstance(by, str) else by)
    return [np.flatnonzero(values == label) for label in labels]


def _draw_kaplan_meier(ax: Axes, y: Surv, colour: Any, few: bool) -> None:
    curve = estimate_kaplan_meier(y)
    time = np.concatenate([[0.0], curve.time, [curve.follow_up]])
    survival = np.concatenate([[1.0], curve.survival])
    ax.step(
        time,
        np.append(survival, survival[-1]),
        where="post",
        color=colour,
        linewidth=1.0 if few else 0.5,
        linestyle=(0, (3, 2)),
        label="_Kaplan-Meier",
    )
