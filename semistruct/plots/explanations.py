"""Why this prediction: a waterfall of terms, maps over pictures, pictures as points in a plane."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from semistruct.exceptions import DataError, SpecificationError
from semistruct.plots.pictures import show_picture
from semistruct.plots.style import (
    DIVERGING,
    MINUS,
    OKABE_ITO,
    axes_or_new,
    describe,
    shortened,
    signed,
    with_style,
)

__all__ = ["plot_embedding_plane", "plot_image_maps", "plot_waterfall"]

_BELOW, _ABOVE = OKABE_ITO[0], OKABE_ITO[1]
_LINE_INCHES = 0.3
_MAP_INCHES = 1.5
_GROUPS = 8


@with_style
def plot_waterfall(
    contributions: pd.Series,
    reference: pd.Series,
    *,
    values: dict[str, str] | None = None,
    max_terms: int = 12,
    title: str = "",
    xlabel: str = "",
    ax: Axes | None = None,
) -> Axes:
    """How a row's predictor comes about, term by term, beginning at the average.

    Parameters
    ----------
    contributions, reference : Series
        What every term adds to the predictor of the row, and on average; the same index.
    values : dict from str to str, optional
        What to write beside a term: the row's own values.
    max_terms : int
        The terms with the smallest differences are drawn together as one.
    title, xlabel : str
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Bars from the average predictor at the top to the row's at the bottom, the largest
        differences first, orange upwards and blue downwards.

    Raises
    ------
    SpecificationError
        If the two do not have the same terms, or ``max_terms`` is below one.
    """
    if list(contributions.index) != list(reference.index):
        raise SpecificationError("contributions and reference must have the same terms.")
    if max_terms < 1:
        raise SpecificationError(f"max_terms must be 1 or more, got {max_terms!r}.")
    difference = (contributions - reference).drop("Intercept", errors="ignore")
    order = difference.abs().sort_values(ascending=False, kind="stable").index
    shown, rest = list(order[:max_terms]), list(order[max_terms:])
    if len(rest) == 1:
        shown, rest = shown + rest, []
    steps = [float(difference[name]) for name in shown]
    names = [_named(str(name), (values or {}).get(str(name), "")) for name in shown]
    if rest:
        steps.append(float(difference[rest].sum()))
        names.append(f"{len(rest)} more terms")
    start = float(reference.sum())
    ends = start + np.cumsum(steps)
    if ax is None:
        _, ax = plt.subplots(figsize=(5.4, _LINE_INCHES * (len(steps) + 2) + 1.1))
    left = np.concatenate([[start], ends])[: len(steps)]
    written = signed(steps)
    for line, (begin, step) in enumerate(zip(left, steps, strict=True), start=1):
        colour = _ABOVE if step >= 0 else _BELOW
        ax.barh(line, step, left=begin, height=0.62, color=colour)
        ax.plot([begin + step] * 2, [line, line + 1], color="0.55", linewidth=0.7, zorder=0)
        beyond = max(begin, begin + step)
        ax.annotate(
            written[line - 1],
            (beyond, line),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    last = len(steps) + 1
    ax.plot([start] * 2, [0, 1], color="0.55", linewidth=0.7, zorder=0)
    for line, value in ((0, start), (last, float(ends[-1]) if steps else start)):
        ax.plot(value, line, "D", color="0.2", markersize=5)
        text = f"{value:.4g}".replace("-", MINUS)
        ax.annotate(
            text, (value, line), (7, 0), textcoords="offset points", va="center", fontsize=8
        )
    ax.set_yticks(range(last + 1), ["average", *names, "this row"])
    ax.set_ylim(last + 0.6, -0.6)
    ax.use_sticky_edges = False
    ax.margins(x=0.14)
    ax.autoscale_view(scaley=False)
    ax.tick_params(axis="y", length=0)
    describe(ax, title, xlabel=xlabel, letters=60)
    return ax


@with_style
def plot_image_maps(
    pictures: np.ndarray,
    maps: np.ndarray,
    effects: pd.Series,
    *,
    title: str = "",
    unit: str = "",
    axes: np.ndarray | None = None,
) -> np.ndarray:
    """Pictures above, and below them where their effects come from.

    Parameters
    ----------
    pictures : (m, H, W, C) array
        Black 0 to white 1.
    maps : (m, H, W) array
        What every place adds; all maps share one scale, symmetric about zero.
    effects : Series of m values
        The effects of the pictures; its index names them.
    title, unit : str
        What is shown, and what the colours mean.
    axes : (2, m) array of Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    (2, m) array of Axes
    """
    m = len(pictures)
    if axes is None:
        tall = pictures.shape[1] / pictures.shape[2]
        size = (max(_MAP_INCHES * m, 2.6) + 1.0, 2 * _MAP_INCHES * tall + 1.0)
        _, axes = plt.subplots(2, m, figsize=size, squeeze=False)
    largest = float(np.nanmax(np.abs(maps))) or 1.0
    drawn = None
    for above, below, picture, shown, name, effect in zip(
        *axes, pictures, maps, effects.index, signed(effects), strict=True
    ):
        show_picture(above, picture)
        above.set_title(f"{name}: {effect}", fontsize=8)
        # The picture in grey, so that colours belong to the map alone.
        show_picture(below, picture.mean(axis=-1, keepdims=True), alpha=0.35)
        drawn = below.imshow(
            shown, cmap=DIVERGING, vmin=-largest, vmax=largest, alpha=0.75, interpolation="bilinear"
        )
    figure = axes[0, 0].figure
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=list(axes[1]), shrink=0.9, aspect=14)
        bar.set_label(unit, fontsize=8)
        bar.ax.tick_params(labelsize=7)
    figure.suptitle(title, x=0.02, ha="left")
    return axes


@with_style
def plot_embedding_plane(
    plane: pd.DataFrame,
    colour: pd.Series,
    *,
    title: str = "",
    axis: str = "coordinate",
    ax: Axes | None = None,
) -> Axes:
    """Rows as points in a plane, coloured by a column.

    Parameters
    ----------
    plane : DataFrame of m rows
        Columns ``first`` and ``second``.
    colour : Series of m values
        Numbers have a colour bar, groups (up to eight) a legend.
    title : str
    axis : str
        What the axes are called: ``"t-SNE"``.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the column has more than eight groups, or nothing but missing values.
    """
    ax = axes_or_new(ax)
    known = colour.notna().to_numpy()
    if not known.any():
        raise DataError(f"{colour.name!r} is missing in every row that has a picture.")
    x, y = plane["first"].to_numpy(), plane["second"].to_numpy()
    size = float(np.clip(2500 / len(plane), 4, 30))
    ax.scatter(x[~known], y[~known], s=size, color="0.85", linewidths=0)
    numeric = pd.api.types.is_numeric_dtype(colour.dtype)
    if numeric and not pd.api.types.is_bool_dtype(colour.dtype) and colour.nunique() > 2:
        drawn = ax.scatter(
            x[known], y[known], s=size, c=colour.to_numpy(float)[known], linewidths=0, alpha=0.9
        )
        bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.85)
        bar.set_label(shortened(str(colour.name)), fontsize=8)
    else:
        groups = colour[known].astype("category").cat.remove_unused_categories()
        if len(groups.cat.categories) > _GROUPS:
            raise DataError(
                f"{colour.name!r} has {len(groups.cat.categories)} groups; at most {_GROUPS} can "
                "be told apart by colour."
            )
        for j, level in enumerate(groups.cat.categories):
            own = np.flatnonzero(known)[(groups == level).to_numpy()]
            ax.scatter(x[own], y[own], s=size, color=OKABE_ITO[j], label=str(level), linewidths=0)
        ax.legend(title=shortened(str(colour.name)), loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.set_xticks([])
    ax.set_yticks([])
    describe(ax, title, xlabel=f"{axis} 1", ylabel=f"{axis} 2")
    return ax


def _named(term: str, value: str) -> str:
    return shortened(f"{term}: {value}" if value else term, 34)
