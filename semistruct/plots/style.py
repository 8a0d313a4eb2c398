"""How every plot looks: colours, sizes, and a figure that leaves the user's settings alone."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import ScalarFormatter, StrMethodFormatter

__all__ = [
    "DIVERGING",
    "MINUS",
    "OKABE_ITO",
    "STYLE",
    "axes_or_new",
    "describe",
    "effect_label",
    "group_colours",
    "legend_beside",
    "shortened",
    "signed",
    "styled",
    "with_style",
]

# Okabe and Ito (2008), distinguishable under the common forms of colour blindness; black and the
# yellow that is faint on white come last.
OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
DIVERGING = "PuOr_r"  # safe for colour-blind readers, and its middle is white
SEQUENTIAL = "viridis"
MINUS = "\N{MINUS SIGN}"  # matplotlib's own on axes

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.25",
    "axes.grid": False,
    "axes.labelcolor": "0.1",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=OKABE_ITO),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.titlesize": 10,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "font.size": 9,
    "image.cmap": SEQUENTIAL,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.title_fontsize": 8,
    "lines.linewidth": 1.6,
    "xtick.color": "0.25",
    "xtick.labelcolor": "0.1",
    "xtick.labelsize": 8,
    "ytick.color": "0.25",
    "ytick.labelcolor": "0.1",
    "ytick.labelsize": 8,
}

_PANEL_INCHES = (3.6, 2.8)
# What fits beside a panel of that size.
_TITLE_LETTERS = 40
_SUBTITLE_LETTERS = 54
_LABEL_LETTERS = 36
_SUBTITLE_POINTS = 11.5
_DECIMALS = 6  # beyond, numbers are written as powers of ten

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the package's style inside the block; the user's settings are back after it.

    Examples
    --------
    >>> before = mpl.rcParams["font.size"]
    >>> with styled():
    ...     mpl.rcParams["font.size"]
    9.0
    >>> mpl.rcParams["font.size"] == before
    True
    """
    settings: Any = STYLE  # matplotlib's stubs ask for literal keys
    with mpl.rc_context(settings):
        yield


def with_style(draw: Callable[P, R]) -> Callable[P, R]:
    """The function, run inside :func:`styled`."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with styled():
            return draw(*args, **kwargs)

    return inside


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure of one panel."""
    if ax is not None:
        return ax
    _, new = plt.subplots(figsize=_PANEL_INCHES)
    return new


def describe(
    ax: Axes,
    title: str,
    subtitle: str = "",
    xlabel: str = "",
    ylabel: str = "",
    letters: int = _TITLE_LETTERS,
    lift: float = 0.0,
) -> None:
    """Title, a smaller line below it, and the names of the axes; long ones are wrapped.

    ``letters`` is what fits into a line of the title, ``lift`` the points that ticks above the
    panel need.
    """
    lines = _wrapped(subtitle, _SUBTITLE_LETTERS * letters // _TITLE_LETTERS)
    height = _SUBTITLE_POINTS * (lines.count("\n") + 1) if lines else 0.0
    ax.set_title(_wrapped(title, letters), loc="left", pad=6 + height + lift)
    if lines:
        ax.annotate(
            lines,
            (0, 1),
            (0, 5 + lift),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8,
            color="0.35",
            linespacing=1.2,
            va="bottom",
        )
    ax.set_xlabel(_wrapped(xlabel, _LABEL_LETTERS))
    ax.set_ylabel(_wrapped(ylabel, _LABEL_LETTERS))
    for axis in (ax.xaxis, ax.yaxis):
        _write_powers_in_place(axis)


def _write_powers_in_place(axis: Axis) -> None:
    """Write ``5e-07`` at the ticks, where a power of ten at the end of the axis would be hidden."""
    formatter = axis.get_major_formatter()
    if isinstance(formatter, ScalarFormatter):
        formatter.set_locs(list(axis.get_majorticklocs()))
        if formatter.get_offset():
            axis.set_major_formatter(StrMethodFormatter("{x:.10g}"))


def legend_beside(ax: Axes, title: str | None = None, handlelength: float = 1.2) -> None:
    """A legend to the right of the panel, where it covers no data."""
    ax.legend(
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        borderaxespad=0.2,
        handlelength=handlelength,
    )


def effect_label(param: str, link: str, what: str = "effect on") -> str:
    """Name of an axis on the scale of a predictor.

    Examples
    --------
    >>> effect_label("scale", "log")
    'effect on scale (log scale)'
    >>> effect_label("log_hazard", "identity")
    'effect on log_hazard'
    """
    return f"{what} {param}" + ("" if link == "identity" else f" ({link} scale)")


def shortened(text: str, letters: int = 26) -> str:
    """The text, with the middle left out where it is long.

    Examples
    --------
    >>> shortened("C(neighbourhood)[T.Capitol Hill]", 20)
    'C(neighb…pitol Hill]'
    """
    if len(text) <= letters:
        return text
    head = (letters - 1) // 2 - 1
    return f"{text[:head]}…{text[len(text) - (letters - 1 - head) :]}"


def signed(values: Any, digits: int = 3) -> list[str]:
    """Numbers with their signs, all with the decimals that the largest needs for its digits.

    Examples
    --------
    >>> signed([0.7, 0.0387])
    ['+0.700', '+0.039']
    >>> signed([13.2, 1.5])
    ['+13.2', '+1.5']
    """
    numbers = np.asarray(values, dtype=float)
    largest = float(np.abs(numbers).max(initial=0.0))
    decimals = digits - 1 - int(np.floor(np.log10(largest))) if largest > 0 else 0
    style = f"+.{max(decimals, 0)}f" if decimals <= _DECIMALS else f"+.{digits}g"
    return [format(number, style).replace("-", MINUS) for number in numbers]


def _wrapped(text: str, letters: int) -> str:
    return textwrap.fill(text, letters, break_on_hyphens=False)


def group_colours(n: int) -> list[Any]:
    """A colour per group: the palette, and beyond it a sequential map."""
    if n <= len(OKABE_ITO):
        return list(OKABE_ITO[:n])
    return [mpl.colormaps[SEQUENTIAL](j / (n - 1)) for j in range(n)]
