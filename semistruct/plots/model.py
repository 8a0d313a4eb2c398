"""One figure of a whole fitted model: every smooth, the coefficients, the groups, the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.fitting.model import ModelFit
from semistruct.inference.covariance import CovarianceKind
from semistruct.inference.curves import PlacedTerm, placed_terms
from semistruct.inference.effects import effects_table
from semistruct.plots.deep import (
    has_history,
    image_reader,
    plot_history,
    plot_image_effects,
    plot_scores,
    scored_rows,
)
from semistruct.plots.forest import forest_rows, plot_forest
from semistruct.plots.random_effects import NAMED_GROUPS, plot_random_effect
from semistruct.plots.smooths import plot_smooth
from semistruct.plots.style import with_style
from semistruct.plots.surfaces import plot_perspective, plot_surface
from semistruct.terms.random_effect import RandomEffectBasis

__all__ = ["plot_model"]

_COLUMN_INCHES = 4.0
_ROW_INCHES = 2.9
_LINES_PER_ROW = 16  # coefficients or groups that fit the height of one row of panels
_STRIP_INCHES = 0.8  # added to a single column of panels that has a strip of pictures
_LABEL_INCHES = 0.95


@dataclass(frozen=True)
class _Panel:
    """What is drawn in one place.

    ``rows`` is its height in rows of panels. A strip of pictures, with their height over their
    width as ``aspect``, has a line of its own over all columns. ``projection`` is of its axes.
    """

    label: str
    draw: Callable[..., Axes]
    rows: int = 1
    aspect: float | None = None
    projection: str | None = None


@with_style
def plot_model(
    fit: ModelFit,
    *,
    cov_type: CovarianceKind = "model",
    level: float = 0.95,
    terms: str | Sequence[str] | None = None,
    residuals: bool = False,
    perspective: bool = False,
    max_columns: int = 3,
    figsize: tuple[float, float] | None = None,
    more: Mapping[str, Callable[..., Axes]] | None = None,
) -> Figure:
    """Smooth curves with bands, coefficients, random effects and deep scores in one figure.

    Parameters
    ----------
    fit : ModelFit
    cov_type : {"model", "sandwich", "cluster"}
        Of the coefficients' intervals. Bands of smooths and intervals of random effects are always
        Bayesian.
    level : float
        Coverage of bands and intervals.
    terms : str or sequence of str, optional
        What to draw: labels of terms as in the summary (``"s(area)"``, ``"re(zip)"``,
        ``"cnn(frontal)"``), ``"coefficients"``, ``"history"``; a label may begin with the
        parameter, ``"scale: s(area)"``. Everything by default.
    residuals : bool
        Whether to draw partial residuals behind curves.
    perspective : bool
        Whether to draw smooths of two variables in perspective, rather than as contours.
    max_columns : int
        Most panels side by side.
    figsize : (width, height) in inches, optional
        By default as many inches as the panels need.
    more : mapping of label to callable, optional
        Further panels, such as curves of a survival model: functions of ``ax``. They come after
        the random effects.

    Returns
    -------
    matplotlib.figure.Figure
        Its ``axes`` are the panels: smooths first, parameter by parameter, then coefficients,
        random effects, deep terms, training, pictures.

    Raises
    ------
    SpecificationError
        If a term to draw is not in the model.

    Notes
    -----
    Curves, coefficients and random effects are those of the fit without deep terms. Intercepts are
    left out unless nothing else is there to draw.
    """
    if int(max_columns) != max_columns or max_columns < 1:
        raise SpecificationError(
            f"max_columns must be a whole number of 1 or more, got {max_columns!r}."
        )
    panels = _chosen(_panels(fit, cov_type, level, residuals, perspective, more or {}), terms)
    narrow = [panel for panel in panels if panel.aspect is None]
    strips = [panel for panel in panels if panel.aspect is not None]
    n_columns, places, n_rows = _arranged([panel.rows for panel in narrow], int(max_columns))
    width = _COLUMN_INCHES * n_columns + (_STRIP_INCHES if strips and n_columns == 1 else 0.0)
    n_pictures = 3 if n_columns == 1 else 2 * n_columns
    picture = width / (2.15 * n_pictures + 0.6)
    heights = [_ROW_INCHES] * n_rows
    heights += [picture * (panel.aspect or 1.0) + _LABEL_INCHES for panel in strips]
    figure = plt.figure(figsize=figsize or (width, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), n_columns, height_ratios=heights)
    # A figure per panel, so that long names beside one take no room from the others.
    for panel, (row, column) in zip(narrow, places, strict=True):
        place = grid[row : row + panel.rows, column]
        part = figure.add_subfigure(place)
        panel.draw(ax=part.add_subplot(projection=panel.projection))
    for number, panel in enumerate(strips):
        place = grid[n_rows + number, :]
        panel.draw(n_pictures=n_pictures, ax=figure.add_subfigure(place).add_subplot())
    return figure


def _panels(
    fit: ModelFit,
    cov_type: CovarianceKind,
    level: float,
    residuals: bool,
    perspective: bool,
    more: Mapping[str, Callable[..., Axes]],
) -> list[_Panel]:
    placed = placed_terms(fit)
    panels = []
    for term in placed:
        if not isinstance(term.basis, RandomEffectBasis):
            panels += _smooth_panels(fit, term, level, residuals, perspective)
    panels += _forest_panels(fit, cov_type, level, alone=not placed)
    for term in placed:
        if isinstance(term.basis, RandomEffectBasis):
            groups = len(term.basis.levels)
            panels.append(
                _Panel(
                    f"{term.param}: {term.label}",
                    partial(plot_random_effect, fit, term.param, term.label, level=level),
                    _rows_for(groups if groups <= NAMED_GROUPS else 1),
                )
            )
    panels += [_Panel(label, draw) for label, draw in more.items()]
    panels += _deep_panels(fit)
    return panels


def _smooth_panels(
    fit: ModelFit, term: PlacedTerm, level: float, residuals: bool, perspective: bool
) -> list[_Panel]:
    label = f"{term.param}: {term.label}"
    if len(term.covariates) == 1:
        draw = partial(plot_smooth, fit, term.param, term.label, level=level, residuals=residuals)
        return [_Panel(label, draw)]
    draw_surface = plot_perspective if perspective else plot_surface
    return [
        _Panel(
            label,
            partial(draw_surface, fit, term.param, term.label, group=group),
            projection="3d" if perspective else None,
        )
        for group in term.levels or (None,)
    ]


def _forest_panels(
    fit: ModelFit, cov_type: CovarianceKind, level: float, alone: bool | None
) -> list[_Panel]:
    effects = effects_table(fit, "marginal", cov_type, level)
    names = fit.problem.family.param_names
    found = {name: forest_rows(effects, name, False) for name in names}
    intercept = not any(len(rows) for rows in found.values()) and alone and fit.deep is None
    if intercept:
        found = {name: forest_rows(effects, name, True) for name in names}
    return [
        _Panel(
            f"{name}: coefficients",
            partial(plot_forest, fit, name, cov_type=cov_type, level=level, intercept=intercept),
            _rows_for(min(len(rows), NAMED_GROUPS)),
        )
        for name, rows in found.items()
        if len(rows)
    ]


def _deep_panels(fit: ModelFit) -> list[_Panel]:
    if fit.deep is None:
        return []
    names = fit.problem.family.param_names
    panels, strips = [], []
    for number, slot in enumerate(fit.deep.slots):
        if slot.by is not None:  # drawn with the term's own score
            continue
        label = f"{names[slot.param]}: {slot.term.label}"
        panels.append(_Panel(label, partial(plot_scores, fit, number)))
        reader = image_reader(fit, number)
        kept = fit.deep.calibration.gamma[number] > 0
        if reader is None or not kept or len(scored_rows(fit, number)) < 2:
            continue
        _, height, width = reader.in_shape
        draw = partial(plot_image_effects, fit, number)
        strips.append(_Panel(label, draw, aspect=height / width))
    if has_history(fit):
        panels.append(_Panel("history", partial(plot_history, fit)))
    return panels + strips


def _chosen(panels: list[_Panel], terms: str | Sequence[str] | None) -> list[_Panel]:
    if terms is None:
        return panels
    wanted = [terms] if isinstance(terms, str) else list(terms)
    known = dict.fromkeys(
        name for panel in panels for name in (panel.label, panel.label.split(": ", 1)[-1])
    )
    for name in wanted:
        lookup(known, name, "term to draw")
    return [
        panel
        for panel in panels
        if panel.label in wanted or panel.label.split(": ", 1)[-1] in wanted
    ]


def _rows_for(lines: int) -> int:
    return int(np.clip(np.ceil(lines / _LINES_PER_ROW), 1, 4))


def _arranged(heights: Sequence[int], max_columns: int) -> tuple[int, list[tuple[int, int]], int]:
    """Columns, places and rows: one column less than allowed where that leaves far fewer holes.

    Examples
    --------
    >>> _arranged([1, 1, 1, 1], 3)
    (2, [(0, 0), (0, 1), (1, 0), (1, 1)], 2)
    """
    most = max(1, min(max_columns, len(heights)))
    best = (most, *_packed(heights, most))
    if most > 2:
        fewer = (most - 1, *_packed(heights, most - 1))
        if fewer[0] * fewer[2] <= best[0] * best[2] - 2:
            return fewer
    return best


def _packed(heights: Sequence[int], n_columns: int) -> tuple[list[tuple[int, int]], int]:
    """Row and column of every panel, each below the column that is shortest so far.

    Examples
    --------
    >>> _packed([1, 2, 1, 1], 3)
    ([(0, 0), (0, 1), (0, 2), (1, 0)], 2)
    """
    filled = [0] * n_columns
    places = []
    for height in heights:
        column = filled.index(min(filled))
        places.append((filled[column], column))
        filled[column] += height
    return places, max(filled)
