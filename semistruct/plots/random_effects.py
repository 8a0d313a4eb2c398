"""Panels of random effects: every group with its interval, or their quantiles."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import norm

from semistruct.exceptions import SpecificationError
from semistruct.fitting.model import ModelFit
from semistruct.inference.curves import placed_terms, random_effects
from semistruct.plots.style import (
    OKABE_ITO,
    axes_or_new,
    describe,
    effect_label,
    shortened,
    with_style,
)

__all__ = ["NAMED_GROUPS", "RandomEffectPlot", "plot_random_effect"]

RandomEffectPlot = Literal["caterpillar", "qq"]

# Up to this many groups are named on the axis.
NAMED_GROUPS = 40


@with_style
def plot_random_effect(
    fit: ModelFit,
    param: str,
    label: str,
    *,
    kind: RandomEffectPlot | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Random effects of one term.

    Parameters
    ----------
    fit : ModelFit
    param : str
        The distribution parameter, ``"loc"``.
    label : str
        The term, ``"re(zipcode)"``.
    kind : {"caterpillar", "qq"}, optional
        The groups in the order of their effects, each with its interval; or the effects against
        normal quantiles. By default the former for as many groups as can be named.
    level : float
        Of the intervals.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
    """
    effects = random_effects(fit, param, label, level).sort_values("fit", kind="stable")
    if kind is None:
        kind = "caterpillar" if len(effects) <= NAMED_GROUPS else "qq"
    if kind not in get_args(RandomEffectPlot):
        raise SpecificationError(
            f"kind must be one of {', '.join(map(repr, get_args(RandomEffectPlot)))}, got {kind!r}."
        )
    term = next(one for one in placed_terms(fit) if (one.param, one.label) == (param, label))
    family = fit.problem.family
    effect_name = effect_label(param, family.links[family.param_names.index(param)].name)
    first = term.columns.start
    sd = (
        fit.marginal.S_lam[first, first] ** -0.5 if fit.marginal.S_lam[first, first] > 0 else np.inf
    )
    title = f"{label}, edf {term.edf.sum():.2f}"
    subtitle = f"{len(effects)} groups, standard deviation {sd:.3g}"
    ax = axes_or_new(ax)
    if kind == "qq":
        m = len(effects)
        quantiles = norm.ppf((np.arange(m) + 0.5) / m)
        spread = np.subtract(*np.quantile(effects["fit"], [0.75, 0.25]))
        slope, centre = spread / (2 * norm.ppf(0.75)), np.median(effects["fit"])
        ax.axline((0.0, centre), slope=slope, color="0.6", linewidth=0.9, zorder=0.5)
        ax.plot(quantiles, effects["fit"], "o", color=OKABE_ITO[0], markersize=3, label="effects")
        describe(ax, title, subtitle, "normal quantile", effect_name)
        return ax
    place = np.arange(len(effects))
    ax.axvline(0.0, color="0.6", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.5)
    ax.hlines(place, effects["lower"], effects["upper"], color=OKABE_ITO[0], linewidth=1.2)
    ax.plot(effects["fit"], place, "o", color=OKABE_ITO[0], markersize=3.5, label="effects")
    ax.set_ylim(-0.7, len(effects) - 0.3)
    if len(effects) <= NAMED_GROUPS:
        ax.set_yticks(place, [shortened(str(name), 18) for name in effects.index])
        ax.tick_params(axis="y", length=0, labelsize=7)
    else:
        ax.set_yticks([])
    describe(ax, title, subtitle, effect_name, shortened(term.covariates[0]))
    return ax
