"""A contact sheet: many small images in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semistruct.exceptions import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["contact_sheet"]

_CELL_INCHES = 1.25
_LABEL_INCHES = 0.22


def contact_sheet(
    images: np.ndarray, missing: np.ndarray, labels: Sequence[Any], ncols: int = 8
) -> Figure:
    """Draw images in a grid.

    Parameters
    ----------
    images : (n, C, H, W) array
        One channel is drawn grey, three in colour, of any other number the first.
    missing : (n,) bool array
        Drawn as an empty cell that says so.
    labels : sequence of n
        Text above each image.
    ncols : int
        Images per line.

    Returns
    -------
    matplotlib.figure.Figure
    """
    # Imported here so that reading image columns does not load a plotting library.
    from matplotlib.figure import Figure

    n = len(images)
    if len(labels) != n:
        raise DataError(f"{n} images are shown but {len(labels)} labels were given.")
    ncols = max(1, min(int(ncols), n))
    nrows = max(1, -(-n // ncols))
    aspect = images.shape[2] / images.shape[3]
    cell_height = _CELL_INCHES * min(max(aspect, 0.25), 4.0) + _LABEL_INCHES
    figure = Figure(
        figsize=(ncols * _CELL_INCHES + 0.1, nrows * cell_height + 0.1), layout="constrained"
    )
    axes = figure.subplots(nrows, ncols, squeeze=False)
    scale = _scale(images, missing)
    for k, axis in enumerate(axes.flat):
        axis.set_xticks([])
        axis.set_yticks([])
        if k >= n:
            axis.set_axis_off()
            continue
        axis.set_title(str(labels[k]), fontsize=8, pad=2)
        for spine in axis.spines.values():
            spine.set_visible(False)
        if missing[k]:
            axis.set_box_aspect(aspect)
            axis.set_facecolor("0.96")
            axis.text(
                0.5,
                0.5,
                "missing",
                ha="center",
                va="center",
                fontsize=8,
                color="0.35",
                transform=axis.transAxes,
            )
            continue
        picture = np.clip((images[k] - scale[0]) / (scale[1] - scale[0]), 0.0, 1.0)
        if len(picture) == 3:
            axis.imshow(np.moveaxis(picture, 0, -1), interpolation="nearest")
        else:
            axis.imshow(picture[0], cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    return figure


def _scale(images: np.ndarray, missing: np.ndarray) -> tuple[float, float]:
    """Intensities drawn black and white, the same for all images of the sheet."""
    if images.dtype == np.uint8:
        return 0.0, 255.0
    shown = images[~missing]
    if not shown.size or (shown.min() >= 0.0 and shown.max() <= 1.0):
        return 0.0, 1.0
    low, high = float(shown.min()), float(shown.max())
    return low, high if high > low else low + 1.0
