"""Comparisons of models: gains over one of them, scores by fold, ranks."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from semistruct.plots.style import MINUS, OKABE_ITO, describe, shortened, with_style

__all__ = ["plot_critical_difference", "plot_gains", "plot_scores_of_models"]

_WIDTH = 6.2  # inches
_ROW = 0.3
_AROUND = 1.25
_MODEL, _BASELINE = OKABE_ITO[0], "0.45"


@with_style
def plot_gains(
    gains: pd.DataFrame,
    reference: str,
    metric: str,
    scores: pd.Series,
    *,
    baselines: Set[str] = frozenset(),
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Forest plot of paired differences: right of zero is better than the reference.

    Parameters
    ----------
    gains : DataFrame
        Indexed by model: ``gain``, ``lower``, ``upper``.
    reference : str
    metric : str
        Its label.
    scores : Series
        Mean scores of all models.
    baselines : set of str
        Drawn with grey open squares.
    level : float
        Of the intervals, for the title.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    ax = _tall_axes(ax, len(gains))
    place = np.arange(len(gains))[::-1]
    ax.axvline(0, color="0.6", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.5)
    for at, (name, row) in zip(place, gains.iterrows(), strict=True):
        colour = _BASELINE if name in baselines else _MODEL
        ax.hlines(at, row["lower"], row["upper"], color=colour, linewidth=1.6)
        ax.plot(
            row["gain"],
            at,
            "s",
            color=colour,
            markersize=5,
            markerfacecolor="white" if name in baselines else colour,
        )
    _name_rows(ax, place, gains.index)
    numbers = ax.secondary_yaxis("right")
    limits = gains[["gain", "lower", "upper"]].to_numpy(dtype=float)
    decimals = _decimals(limits, float(np.abs(scores).max()))
    texts = [_written(gain, lower, upper, decimals) for gain, lower, upper in limits]
    numbers.set_yticks(place, texts)
    numbers.tick_params(axis="y", length=0, labelsize=7.5, labelcolor="0.35")
    numbers.spines["right"].set_visible(False)
    ax.locator_params(axis="x", nbins=5)
    subtitle = f"paired differences, corrected {100 * level:g}% intervals"
    known = scores.get(reference, np.nan)
    over = f"gain in {metric} over {reference!r}"
    if np.isfinite(known):
        over += f" ({known:.3g})"
    describe(ax, f"what models gain over {reference!r}", subtitle, over, letters=44)
    return ax


@with_style
def plot_scores_of_models(
    scores: pd.DataFrame,
    means: pd.DataFrame,
    metric: str,
    *,
    baselines: Set[str] = frozenset(),
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Scores of every fold as points, their means with intervals.

    Parameters
    ----------
    scores : DataFrame
        Folds as rows, models as columns in the order in which they are drawn.
    means : DataFrame
        Indexed by model: ``mean``, ``lower``, ``upper``.
    metric : str
    baselines, level, ax
        As in :func:`plot_gains`.
    """
    ax = _tall_axes(ax, scores.shape[1])
    place = np.arange(scores.shape[1])[::-1]
    for at, name in zip(place, scores.columns, strict=True):
        colour = _BASELINE if name in baselines else _MODEL
        values = scores[name].to_numpy()
        spread = 0.12 * (2 * (np.arange(values.size) % 2) - 1)
        ax.plot(values, at + spread, "o", color=colour, alpha=0.35, markersize=3.5)
        ax.hlines(at, means.loc[name, "lower"], means.loc[name, "upper"], color=colour)
        ax.plot(
            means.loc[name, "mean"],
            at,
            "s",
            color=colour,
            markersize=5.5,
            markerfacecolor="white" if name in baselines else colour,
        )
    _name_rows(ax, place, scores.columns)
    ax.locator_params(axis="x", nbins=5)
    subtitle = f"points are folds; squares their means, corrected {100 * level:g}% intervals"
    describe(ax, f"{metric} on held-out rows", subtitle, metric, letters=48)
    return ax


@with_style
def plot_critical_difference(
    ranks: pd.Series, same: np.ndarray, metric: str, how: str, *, ax: Axes | None = None
) -> Axes:
    """Mean ranks on a line, with bars over models whose difference may be chance.

    Parameters
    ----------
    ranks : Series
        Mean ranks by model, upwards.
    same : (M, M) bool array
        Pairs that are not told apart, in the order of ``ranks``.
    metric, how : str
        For the title.
    ax : Axes, optional

    References
    ----------
    Demsar (2006), Journal of Machine Learning Research 7, 1-30, figure 1.
    """
    M = len(ranks)
    bars = _cliques(same)
    half = (M + 1) // 2
    height = 0.5 + 0.24 * len(bars) + 0.3 * half
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, height + 0.9))
    values = ranks.to_numpy()
    ax.set_xlim(0.5 if M < 3 else 0.8, M + (0.5 if M < 3 else 0.2))
    depth = 0.24 * len(bars)
    ax.set_ylim(-(depth + 0.3 * half + 0.15), 0.0)
    ax.xaxis.set_ticks_position("top")
    ax.set_xticks(range(1, M + 1))
    ax.spines["top"].set_visible(True)
    for side in ("bottom", "left", "right"):
        ax.spines[side].set_visible(False)
    ax.set_yticks([])
    for number, (first, last) in enumerate(bars):
        at = -0.17 - 0.24 * number
        ax.plot(
            values[[first, last]] + np.array([-0.03, 0.03]),
            [at, at],
            color=OKABE_ITO[1],
            linewidth=3.2,
            solid_capstyle="butt",
        )
    left, right = ax.get_xlim()
    for number, (name, rank) in enumerate(ranks.items()):
        ahead = number < half
        row = number if ahead else M - 1 - number
        at = -(depth + 0.3 * (row + 1))
        edge = left if ahead else right
        ax.plot([rank, rank, edge], [0.0, at, at], color="0.35", linewidth=0.9, clip_on=False)
        label = shortened(str(name), 30)
        ax.annotate(
            f"{label}  {rank:.2f}" if ahead else f"{rank:.2f}  {label}",
            (edge, at),
            (-4 if ahead else 4, 0),
            textcoords="offset points",
            ha="right" if ahead else "left",
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    subtitle = f"1 is best; bars join what may be chance: {how}"
    describe(ax, f"mean rank by {metric}", subtitle, letters=64, lift=14)
    return ax


def _cliques(same: np.ndarray) -> list[tuple[int, int]]:
    """Longest runs of neighbours in rank of which no two are told apart."""
    M = len(same)
    runs: list[tuple[int, int]] = []
    for first in range(M):
        last = first
        while last + 1 < M and same[first : last + 2, last + 1].all():
            last += 1
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return runs


def _tall_axes(ax: Axes | None, n_rows: int) -> Axes:
    if ax is not None:
        return ax
    _, new = plt.subplots(figsize=(_WIDTH, _AROUND + _ROW * n_rows))
    return new


def _name_rows(ax: Axes, place: np.ndarray, names: Any) -> None:
    ax.set_yticks(place, [shortened(str(name), 30) for name in names])
    ax.tick_params(axis="y", length=0, labelsize=8)
    ax.set_ylim(-0.6, len(place) - 0.4)
    ax.spines["left"].set_visible(False)


def _decimals(limits: np.ndarray, size: float) -> int:
    """Digits that show the intervals, three of scores below ten."""
    if size < 10:
        return 3
    width = np.nanmedian(limits[:, 2] - limits[:, 1])
    return int(np.clip(2 - np.ceil(np.log10(width)), 0, 5)) if width > 0 else 1


def _written(gain: float, lower: float, upper: float, decimals: int) -> str:
    if not np.isfinite(gain):
        return "not scored"
    text = f"{gain:+.{decimals}f}"
    if np.isfinite([lower, upper]).all():
        text += f" [{lower:.{decimals}f}, {upper:.{decimals}f}]"
    return text.replace("-", MINUS)
