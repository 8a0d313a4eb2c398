"""The panel of parametric coefficients: estimates with their intervals, written out beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.fitting.model import ModelFit
from semistruct.inference.covariance import CovarianceKind
from semistruct.inference.effects import effects_table
from semistruct.plots.hazards import ratio_axis
from semistruct.plots.style import (
    MINUS,
    OKABE_ITO,
    axes_or_new,
    describe,
    effect_label,
    shortened,
    with_style,
)

__all__ = ["forest_rows", "plot_forest"]

_INTERCEPT = "Intercept"
_MOST_ROWS = 40


def forest_rows(effects: pd.DataFrame, param: str, intercept: bool | None = None) -> pd.DataFrame:
    """Coefficients of one parameter as they are drawn, from the first to the last.

    Parameters
    ----------
    effects : DataFrame
        Indexed by ``(parameter, coefficient)``.
    param : str
    intercept : bool, optional
        Whether the intercept is among them; by default only where nothing else is, since its size
        would hide the others.

    Returns
    -------
    DataFrame
        Indexed by coefficient; empty where the parameter has none.
    """
    if param not in effects.index.get_level_values(0):
        return effects.iloc[:0].droplevel(0)
    rows = effects.loc[param]
    keep = len(rows) == 1 if intercept is None else intercept
    return rows if keep else rows[rows.index != _INTERCEPT]


@with_style
def plot_forest(
    fit: ModelFit,
    param: str,
    *,
    cov_type: CovarianceKind = "model",
    level: float = 0.95,
    intercept: bool | None = None,
    exponentiate: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Parametric coefficients of one parameter with their confidence intervals.

    Parameters
    ----------
    fit : ModelFit
    param : str
        The distribution parameter, ``"loc"``.
    cov_type : {"model", "sandwich", "cluster"}
        As in the summary.
    level : float
        Of the intervals.
    intercept : bool, optional
        Whether to draw the intercept; by default only where it is the only coefficient.
    exponentiate : bool, optional
        Whether to draw ratios, ``exp(coef)``, on a logarithmic axis; by default where coefficients
        are read as ratios, as in survival models.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Of more than 40 coefficients those with the largest ratios to their standard errors.

    Raises
    ------
    SpecificationError
        If the parameter is unknown or has no such coefficients.
    """
    family = fit.problem.family
    lookup(dict.fromkeys(family.param_names), param, "distribution parameter")
    rows = forest_rows(effects_table(fit, "marginal", cov_type, level), param, intercept)
    if rows.empty:
        raise SpecificationError(
            f"the predictor of {param!r} has no parametric coefficients to draw; its smooths are "
            "drawn by plot_smooth()."
        )
    subtitle = f"{100 * level:g}% intervals"
    if cov_type != "model":
        subtitle += f", {cov_type} covariance"
    if len(rows) > _MOST_ROWS:
        ratio = (rows["coef"] / rows["se"]).abs().to_numpy()
        chosen = np.sort(np.argsort(-ratio, kind="stable")[:_MOST_ROWS])
        subtitle += f"; {_MOST_ROWS} of {len(rows)} coefficients, those of the largest |z|"
        rows = rows.iloc[chosen]
    rows = rows[["coef", "lower", "upper"]]
    ratios = family.ratios if exponentiate is None else exponentiate
    if ratios:
        rows = np.exp(rows)
    ax = axes_or_new(ax)
    place = np.arange(len(rows))[::-1]
    ax.axvline(
        1.0 if ratios else 0.0, color="0.6", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0.5
    )
    ax.hlines(place, rows["lower"], rows["upper"], color=OKABE_ITO[0], linewidth=1.6)
    ax.plot(rows["coef"], place, "s", color=OKABE_ITO[0], markersize=4.5, label="coefficients")
    small = 8 if len(rows) <= 12 else 7
    ax.set_yticks(place, [shortened(str(name)) for name in rows.index])
    ax.tick_params(axis="y", length=0, labelsize=small)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    if ratios:
        seen = rows.to_numpy()[np.isfinite(rows.to_numpy()) & (rows.to_numpy() > 0)]
        ratio_axis(ax, "x", float(min(seen.min(), 1.0)), float(max(seen.max(), 1.0)))
    else:
        ax.locator_params(axis="x", nbins=5)
    numbers = ax.secondary_yaxis("right")
    numbers.set_yticks(place, [_written(row) for row in rows.itertuples()])
    numbers.tick_params(axis="y", length=0, labelsize=small - 0.5, labelcolor="0.35")
    numbers.spines["right"].set_visible(False)
    ax.spines["left"].set_visible(False)
    link = family.links[family.param_names.index(param)].name
    if ratios:
        name = _ratio_label(param, link)
        which = f", {param}" if len(family.param_names) > 1 else ""
        describe(ax, f"{name}s{which}", subtitle, name)
    else:
        describe(ax, f"coefficients of {param}", subtitle, effect_label(param, link))
    return ax


def _ratio_label(param: str, link: str) -> str:
    """What ``exp(coef)`` is.

    Examples
    --------
    >>> _ratio_label("hazard", "log"), _ratio_label("hazard_2", "logit")
    ('hazard ratio', 'odds ratio')
    """
    if link == "logit":
        return "odds ratio"
    survival = param.removeprefix("log_").startswith("hazard")
    return "hazard ratio" if survival else f"ratio of {param}"


def _written(row: object) -> str:
    """``0.31 [0.25, 0.37]`` with as many digits as the interval has."""
    coef, lower, upper = (float(getattr(row, name)) for name in ("coef", "lower", "upper"))
    width = upper - lower
    if not np.isfinite(width) or width <= 0:
        return f"{coef:.3g}"
    size = max(abs(lower), abs(upper))
    decimals = int(np.clip(2 - np.ceil(np.log10(width)), 0, 12))
    if size >= 1e5 or decimals > 5:
        text = f"{coef:.2e} [{lower:.1e}, {upper:.1e}]"
    else:
        text = f"{coef:.{decimals}f} [{lower:.{decimals}f}, {upper:.{decimals}f}]"
    return text.replace("-", MINUS)
