"""Panels of deep terms: their scores, the pictures at both ends, and how training went."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from semistruct.columns import ImageArray
from semistruct.exceptions import DataError, SpecificationError
from semistruct.fitting.deep import DeepFit
from semistruct.fitting.model import ModelFit
from semistruct.modalities import FeatureReader, Reader, TensorReader
from semistruct.plots.pictures import pixels
from semistruct.plots.style import (
    MINUS,
    OKABE_ITO,
    axes_or_new,
    describe,
    effect_label,
    group_colours,
    signed,
    with_style,
)

__all__ = [
    "has_history",
    "image_reader",
    "plot_history",
    "plot_image_effects",
    "plot_scores",
    "scored_rows",
]

_GAP = 0.6  # between the lowest and the highest pictures, in widths of a picture
_MARGIN = 0.05
_MEMBERS_NAMED = 8


@with_style
def plot_scores(fit: ModelFit, slot: int = 0, *, ax: Axes | None = None) -> Axes:
    """Histogram of what a deep term adds to the predictor, over training rows it never saw.

    Parameters
    ----------
    fit : ModelFit
    slot : int
        Position of the deep term among the model's slots.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Orthogonalised out-of-fold scores times their slope ``gamma``. Where the gate closed,
        the scores themselves, which predictions do not use, in grey.

    Raises
    ------
    SpecificationError
        If the model has no such deep term.
    """
    deep, found = _slot(fit, slot)
    kept = bool(deep.calibration.gamma[slot] > 0)
    scores = deep.scores[scored_rows(fit, slot), slot]
    effect = scores * deep.calibration.gamma[slot] if kept else scores
    param, link = _parameter(fit, slot)
    name = effect_label(param, link, "effect on" if kept else "score for")
    title = f"{found.term.label}, " + (
        f"slope {deep.calibration.gamma[slot]:.2f}" if kept else "gate closed"
    )
    ax = axes_or_new(ax)
    if not effect.size:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.text(0.5, 0.5, "all scores are zero", color="0.35", ha="center", transform=ax.transAxes)
        describe(ax, title, "no epoch improved the held-out rows", name, "training rows")
        return ax
    ax.axvline(0.0, color="0.6", linewidth=0.7, linestyle=(0, (4, 3)), zorder=3)
    bins = int(np.clip(np.sqrt(len(effect)) * 1.5, 5, 40))
    colour = OKABE_ITO[0] if kept else "0.7"
    ax.hist(effect, bins=bins, color=colour, edgecolor="white", linewidth=0.4)
    ax.yaxis.set_major_locator(plt.MaxNLocator(6, integer=True))
    row = deep.calibration.table.iloc[slot]
    size = f"{row['gain']:.1f}".replace("-", MINUS)
    gain = f"out-of-fold gain {size} (se {row['se']:.1f})"
    subtitle = f"sd {effect.std():.3g}; {gain}" if kept else f"not used; {gain}"
    describe(ax, title, subtitle, name, "training rows")
    return ax


@with_style
def plot_image_effects(
    fit: ModelFit, slot: int = 0, *, n_pictures: int = 6, ax: Axes | None = None
) -> Axes:
    """The pictures with the lowest and the highest effects on the predictor, side by side.

    Parameters
    ----------
    fit : ModelFit
    slot : int
        Position of the deep term among the model's slots.
    n_pictures : int
        At each end.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    SpecificationError
        If the model has no such deep term, or it reads no pictures.
    DataError
        If the model was kept without its pictures, or fewer than two have an effect.

    Notes
    -----
    The effects are the orthogonalised out-of-fold scores times their slope: the pictures differ in
    what the columns of the table do not tell. Identical pictures are shown once.
    """
    deep, found = _slot(fit, slot)
    reader = image_reader(fit, slot)
    if reader is None or fit.frame is None:
        raise DataError(
            f"the pictures of {found.term.label} are not known to this model: it reads none, or "
            "was kept without its training rows."
        )
    rows = scored_rows(fit, slot)
    gamma = deep.calibration.gamma[slot]
    effect = deep.scores[rows, slot] * (gamma if gamma > 0 else 1.0)
    order = np.argsort(effect, kind="stable")
    each = min(n_pictures, len(order) // 2)
    if each < 1:
        raise DataError(f"{found.term.label} has fewer than two pictures with an effect to show.")
    low, high = _distinct(fit, reader, rows[order], each)
    chosen = np.concatenate([low, high])
    value = dict(zip(rows, effect, strict=True))
    written = signed([value[row] for row in chosen])
    pictures = pixels(reader, fit.input_rows(chosen))
    _, height, width, _ = pictures.shape
    left = np.arange(len(chosen)) * (1 + _MARGIN) + _GAP * (np.arange(len(chosen)) >= len(low))
    tall = height / width
    if ax is None:
        _, ax = plt.subplots(figsize=(0.9 * (left[-1] + 1) + 0.4, 0.9 * tall + 1.1))
    for start, picture in zip(left, pictures, strict=True):
        ax.imshow(
            picture if picture.shape[-1] == 3 else picture[..., 0],
            cmap="gray",
            vmin=0.0,
            vmax=1.0,
            extent=(start, start + 1, 0.0, tall),
            interpolation="nearest",
        )
    ax.set_xlim(left[0] - _MARGIN, left[-1] + 1 + _MARGIN)
    ax.set_ylim(0.0, tall)
    ax.set_aspect("equal")
    ax.set_xticks(left + 0.5, written)
    ax.set_yticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    param, link = _parameter(fit, slot)
    describe(
        ax,
        f"{found.term.label}: pictures of the lowest and the highest effects",
        xlabel=effect_label(param, link),
        letters=8 * len(chosen),
    )
    return ax


@with_style
def plot_history(fit: ModelFit, *, ax: Axes | None = None) -> Axes:
    """Loss on training and held-out rows along the epochs, one pair of lines per network.

    Parameters
    ----------
    fit : ModelFit
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Thick lines are the held-out rows, thin ones the training rows; a dot marks the epoch whose
        weights were kept.

    Raises
    ------
    SpecificationError
        If the model has no deep term, or nothing was iterated.
    """
    if fit.deep is None or not has_history(fit):
        raise SpecificationError(
            "there is no history to draw: the model has no deep term, or its networks were solved "
            "for without iterations."
        )
    ax = axes_or_new(ax)
    members = fit.deep.crossfit.members
    colours = group_colours(len(members)) if len(members) <= _MEMBERS_NAMED else None
    for number, member in enumerate(members):
        history = member.history
        colour = OKABE_ITO[0] if colours is None else colours[number]
        ax.plot(history["epoch"], history["train_loss"], color=colour, linewidth=0.8, alpha=0.45)
        ax.plot(history["epoch"], history["held_out_loss"], color=colour, linewidth=1.4)
        best = history[history["epoch"] == member.best_epoch]
        ax.plot(best["epoch"], best["held_out_loss"], "o", color=colour, markersize=4)
    ax.xaxis.set_major_locator(plt.MaxNLocator(6, integer=True))
    many = len(members) > 1
    describe(
        ax,
        f"training of {len(members)} network{'s' if many else ''}",
        "thick: held-out rows; thin: training rows; dot: kept",
        "epoch",
        "minus mean log-likelihood",
    )
    return ax


def scored_rows(fit: ModelFit, slot: int) -> np.ndarray:
    """Training rows whose score comes from a network that did not see them, pictures present."""
    deep, _ = _slot(fit, slot)
    # A row without the picture has a score of exactly zero.
    rows = np.flatnonzero(deep.crossfit.honest & (deep.scores[:, slot] != 0.0))
    if fit.unit is None:
        return rows
    _, first = np.unique(fit.unit[rows], return_index=True)
    return rows[first]


def has_history(fit: ModelFit) -> bool:
    """Whether some network was trained by iterations."""
    return fit.deep is not None and any(
        len(member.history) > 1 for member in fit.deep.crossfit.members
    )


def image_reader(fit: ModelFit, slot: int) -> TensorReader | None:
    """The reader of the first column of pictures of a deep term; None where it has none."""
    _, found = _slot(fit, slot)
    if fit.blueprint is None or fit.frame is None:
        return None
    for part in fit.blueprint.plans[found.network].inputs:
        reader: Reader = fit.blueprint.readers[part.name]
        if isinstance(reader, FeatureReader):
            reader = reader.reader
        inputs = fit.frame if fit.inputs is None else fit.inputs
        if not isinstance(reader, TensorReader) or reader.name not in inputs.columns:
            continue
        pictures = reader.image or isinstance(inputs[reader.name].array, ImageArray)
        if pictures and len(reader.in_shape) == 3:
            return reader
    return None


def _slot(fit: ModelFit, slot: int) -> tuple[DeepFit, Any]:
    slots = () if fit.deep is None else fit.deep.slots
    if fit.deep is None or not 0 <= slot < len(slots):
        raise SpecificationError(
            f"the model has {len(slots)} deep term(s), numbered from 0; got slot {slot}."
        )
    return fit.deep, slots[slot]


def _parameter(fit: ModelFit, slot: int) -> tuple[str, str]:
    _, found = _slot(fit, slot)
    family = fit.problem.family
    return family.param_names[found.param], family.links[found.param].name


def _distinct(
    fit: ModelFit, reader: TensorReader, ordered: np.ndarray, each: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first and last rows of different pictures, both from low to high."""
    window = min(len(ordered) // 2, 10 * each)

    def first_of_each(rows: np.ndarray) -> np.ndarray:
        keys = reader.keys(fit.input_rows(rows))
        seen = [str(key) for key in (range(len(rows)) if keys is None else keys)]
        return rows[[i for i, key in enumerate(seen) if key not in seen[:i]]][:each]

    return first_of_each(ordered[:window]), first_of_each(ordered[::-1][:window])[::-1]
