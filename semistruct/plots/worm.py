"""Worm plots: what is wrong with a distribution, and for which rows."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from scipy import stats
from scipy.special import ndtri

from semistruct._validation import check_length
from semistruct.exceptions import SpecificationError
from semistruct.plots.style import OKABE_ITO, axes_or_new, describe, shortened, with_style

__all__ = [
    "GREY",
    "drawn_points",
    "finite_residuals",
    "normal_scores",
    "plot_worm",
    "plot_worms",
]

GREY = "0.35"
_DOTS = 5000
_FEW = 8  # values of a column that are groups by themselves


@with_style
def plot_worm(residuals: np.ndarray, *, level: float = 0.95, ax: Axes | None = None) -> Axes:
    """Worm plot: the quantile plot minus its diagonal, with pointwise limits and a cubic.

    Parameters
    ----------
    residuals : (n,) array
    level : float
        Of the pointwise limits ``-+ z sqrt(p (1 - p) / n) / phi(x)``.
    ax : Axes, optional

    Notes
    -----
    The level of the worm tells the mean, its slope the variance, a parabola skewness and an S-shape
    kurtosis of residuals that are not standard normal.

    References
    ----------
    van Buuren and Fredriks (2001), Worm plot: a simple diagnostic device for modelling growth
    reference curves, Statistics in Medicine 20, 1259-1277.
    """
    ax = axes_or_new(ax)
    note = _draw(ax, residuals, level)
    describe(ax, "worm plot", note, xlabel="normal score", ylabel="deviation")
    return ax


def _draw(ax: Axes, residuals: np.ndarray, level: float) -> str:
    """Points, limits and cubic; what to say below the title."""
    ordered = np.sort(finite_residuals(residuals))
    n = len(ordered)
    expected = normal_scores(np.arange(1, n + 1), n)
    deviation = ordered - expected
    reach = max(float(np.abs(expected).max()), 0.1)
    x = np.linspace(-reach, reach, 201)
    p = stats.norm.cdf(x)
    half = stats.norm.ppf(0.5 + level / 2) * np.sqrt(p * (1 - p) / n) / stats.norm.pdf(x)
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    for side in (-1, 1):
        ax.plot(x, side * half, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    keep = drawn_points(n)
    ax.plot(expected[keep], deviation[keep], ".", color=OKABE_ITO[0], markersize=3)
    if n > 4:
        ax.plot(x, np.polyval(np.polyfit(expected, deviation, 3), x), color=OKABE_ITO[1])
    inside = np.abs(x) < 2.5
    largest = max(float(half[inside].max()), float(np.quantile(np.abs(deviation), 0.995))) * 1.25
    ax.set_ylim(-largest, largest)
    outside = int((np.abs(deviation) > largest).sum())
    points = "point" if outside == 1 else "points"
    return f"pointwise limits {level:g}" + (f"; {outside} {points} beyond" if outside else "")


@with_style
def plot_worms(
    residuals: np.ndarray, by: np.ndarray, *, groups: int = 4, level: float = 0.95, name: str = ""
) -> np.ndarray:
    """A worm plot for each group of rows, all to one scale.

    Parameters
    ----------
    residuals : (n,) array
    by : (n,) array
        Labels, or numbers that are cut at their quantiles where they have more than 8 values.
    groups : int
        Number of such intervals.
    level : float
        Of the pointwise limits.
    name : str
        Of ``by``, for the titles.

    Returns
    -------
    array of Axes, one per group
    """
    check_length(len(residuals), by, "by")
    panels = _groups(np.asarray(by), groups)
    columns = int(np.ceil(np.sqrt(len(panels))))
    rows = int(np.ceil(len(panels) / columns))
    figure, grid = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 2.8 * rows), squeeze=False, sharex=True, sharey=True
    )
    axes = grid.ravel()
    reach = 0.0
    for ax, (label, inside) in zip(axes, panels, strict=False):
        _draw(ax, np.asarray(residuals)[inside], level)
        title = f"{name} {label}".strip()
        describe(ax, shortened(title, 36), f"{inside.sum()} rows", "normal score", "deviation")
        reach = max(reach, ax.get_ylim()[1])
    for ax in axes[: len(panels)]:
        ax.set_ylim(-reach, reach)
    for ax in axes[len(panels) :]:
        figure.delaxes(ax)
    for number, ax in enumerate(axes[: len(panels)]):
        if number + columns < len(panels):
            ax.set_xlabel("")
        else:
            ax.tick_params(labelbottom=True)  # also where a row is not full
        if number % columns:
            ax.set_ylabel("")
    return axes[: len(panels)]


def _groups(by: np.ndarray, groups: int) -> list[tuple[str, np.ndarray]]:
    """Labels and members of the groups."""
    values = np.unique(by)
    if len(values) <= _FEW:
        return [(f"= {value}", by == value) for value in values]
    if not np.issubdtype(by.dtype, np.number):
        raise SpecificationError(
            f"by has {len(values)} labels; worm plots are drawn for at most {_FEW} groups. Join "
            "some."
        )
    if int(groups) != groups or groups < 1:
        raise SpecificationError(f"groups must be a whole number of 1 or more, got {groups!r}.")
    edges = np.unique(np.quantile(by, np.linspace(0, 1, int(groups) + 1)))
    place = np.clip(np.searchsorted(edges, by, side="right") - 1, 0, len(edges) - 2)
    return [(f"{edges[i]:.3g} to {edges[i + 1]:.3g}", place == i) for i in range(len(edges) - 1)]


def finite_residuals(residuals: np.ndarray) -> np.ndarray:
    """The finite residuals, of which there must be two."""
    values = np.asarray(residuals, dtype=float).ravel()
    values = values[np.isfinite(values)]
    if values.size < 2:
        raise SpecificationError("a plot of residuals needs two or more finite ones.")
    return values


def normal_scores(ranks: np.ndarray, n: int) -> np.ndarray:
    """Expected standard normal values of ``n`` at these ranks."""
    return ndtri((ranks - 0.5) / n)


def drawn_points(n: int) -> np.ndarray:
    """Positions of at most 5000 points, all of the first and last hundred among them."""
    if n <= _DOTS:
        return np.arange(n)
    inner = np.linspace(100, n - 101, _DOTS - 200).astype(int)
    return np.concatenate([np.arange(100), inner, np.arange(n - 100, n)])
