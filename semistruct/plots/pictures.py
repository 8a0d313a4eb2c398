"""Pictures as they are drawn: pixels between black and white, and sheets of them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from semistruct.exceptions import SpecificationError
from semistruct.modalities import TensorReader
from semistruct.plots.style import DIVERGING, signed, styled

__all__ = ["pixels", "plot_contact_sheet", "show_picture"]

_INCHES = 1.15
_CAPTION_INCHES = 0.55


def pixels(reader: TensorReader, frame: pd.DataFrame) -> np.ndarray:
    """Pictures ``(m, H, W, C)`` of all rows, black 0 to white 1, of one or three channels."""
    modality = reader.read(frame)
    values = modality.batch(np.arange(len(frame))).numpy()
    pictures = np.moveaxis(values, 1, -1)
    pictures = pictures[..., :3] if pictures.shape[-1] >= 3 else pictures[..., :1]
    if values.dtype == np.uint8:
        return pictures / 255.0
    low, high = float(values.min()), float(values.max())
    if low < 0.0 or high > 1.0:
        pictures = (pictures - low) / (high - low if high > low else 1.0)
    return np.asarray(pictures)


def show_picture(ax: Axes, picture: np.ndarray, *, alpha: float = 1.0) -> None:
    """Draw a picture ``(H, W, C)`` that fills its axes, without ticks and frame."""
    ax.imshow(
        picture if picture.shape[-1] == 3 else picture[..., 0],
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        alpha=alpha,
        interpolation="nearest",
        aspect="equal",
    )
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def plot_contact_sheet(
    pictures: np.ndarray,
    effects: pd.DataFrame,
    *,
    by: str = "picture",
    n_pictures: int = 6,
    title: str = "",
    unit: str = "",
    axes: np.ndarray | None = None,
) -> np.ndarray:
    """The pictures with the lowest and with the highest values, each with what it adds.

    Parameters
    ----------
    pictures : (m, H, W, C) array
        As :func:`pixels` gives them.
    effects : DataFrame of m rows
        Columns ``picture`` and ``table``: what the picture and all other terms add to the
        predictor. Its index names the rows.
    by : {"picture", "prediction"}
        What low and high mean: the picture's own effect, or the whole predictor.
    n_pictures : int
        At each end, fewer where there are fewer pictures.
    title, unit : str
        What is shown, and on which scale.
    axes : (2, n_pictures) array of Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    (2, n_pictures) array of Axes
        The first row has the lowest, the second the highest, each from low to high. The frame of a
        picture has the colour of its effect, purple below zero and orange above.

    Raises
    ------
    SpecificationError
        If ``by`` is neither, or there are fewer than two pictures.
    """
    if by not in ("picture", "prediction"):
        raise SpecificationError(f"by must be 'picture' or 'prediction', got {by!r}.")
    each = min(int(n_pictures), len(effects) // 2)
    if each < 1:
        raise SpecificationError(
            f"a contact sheet needs two pictures or more, and one of each end; got {len(effects)} "
            f"and n_pictures={n_pictures!r}."
        )
    value = effects["picture"] if by == "picture" else effects.sum(axis=1)
    order = np.argsort(value.to_numpy(), kind="stable")
    chosen = [order[:each], order[-each:]]
    with styled():
        if axes is None:
            tall = pictures.shape[1] / pictures.shape[2]
            size = (_INCHES * each + 0.5, 2 * (_INCHES * tall + _CAPTION_INCHES) + 0.4)
            _, axes = plt.subplots(2, each, figsize=size, squeeze=False)
        largest = float(effects["picture"].abs().max()) or 1.0
        for line, rows, name in zip(axes, chosen, ("lowest", "highest"), strict=True):
            for ax, row, caption in zip(line, rows, _captions(effects.iloc[rows]), strict=False):
                show_picture(ax, pictures[row])
                _frame(ax, float(effects["picture"].iloc[row]) / largest)
                ax.set_xlabel(caption, fontsize=7, linespacing=1.3)
            line[0].set_ylabel(name, fontsize=8)
        axes[0, 0].figure.suptitle(f"{title}\n{unit}" if unit else title, x=0.02, ha="left")
    return axes


def _frame(ax: Axes, share: float) -> None:
    """A frame in the colour of an effect between -1 and 1."""
    colour = plt.get_cmap(DIVERGING)(0.5 + 0.45 * share)
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(colour)
        spine.set_linewidth(3.0)


def _captions(effects: pd.DataFrame) -> list[str]:
    both = zip(signed(effects["picture"]), signed(effects["table"]), strict=True)
    return [f"picture {picture}\ntable {table}" for picture, table in both]
