"""Does the distribution fit? Quantiles, worm plot, transforms, rootogram, residuals."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from scipy import stats
from scipy.special import ndtri
from statsmodels.nonparametric.smoothers_lowess import lowess

from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.families.base import Family
from semistruct.fitting.model import ModelFit
from semistruct.inference.quantile_residuals import (
    ProbabilityInterval,
    predicting_eta,
    training_intervals,
    training_residuals,
)
from semistruct.plots.style import OKABE_ITO, axes_or_new, describe, with_style
from semistruct.plots.worm import GREY, drawn_points, finite_residuals, normal_scores, plot_worm

__all__ = [
    "pit_shares",
    "plot_diagnostics",
    "plot_pit",
    "plot_quantiles",
    "plot_residuals",
    "plot_rootogram",
    "quantile_band",
    "rootogram_counts",
]

_SIMULATIONS = 2000
_RANKS = 500  # of a band; between them it is drawn straight
_BARS = 40  # of a rootogram; beyond them counts are joined in the last


def quantile_band(
    n: int, level: float = 0.95, random_state: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Band that contains all normal quantiles of ``n`` values with probability ``level``.

    Returns
    -------
    expected, lower, upper : (m,) arrays
        Normal scores, and limits of the ordered values, at ``m = min(n, 500)`` ranks.

    Notes
    -----
    The ``i``-th of ``n`` ordered uniform numbers has the Beta distribution ``(i, n + 1 - i)``. The
    pointwise level that gives joint coverage is found from 2,000 simulated samples, whose order
    statistics at the ranks are sums of gamma variables.

    References
    ----------
    Aldor-Noiman, Brown, Buja, Rolke and Stine (2013), The power to see, American Statistician 67.
    """
    if not 0 < level < 1:
        raise SpecificationError(f"level must lie between 0 and 1, got {level!r}.")
    ranks = np.unique(np.linspace(1, n, min(n, _RANKS)).round().astype(int))
    rng = np.random.default_rng(random_state)
    gaps = np.diff(np.concatenate([[0], ranks, [n + 1]]))
    sums = np.cumsum(rng.gamma(gaps, size=(_SIMULATIONS, gaps.size)), axis=1)
    uniform = sums[:, :-1] / sums[:, -1:]
    below = stats.beta.cdf(uniform, ranks, n + 1 - ranks)
    extreme = np.minimum(below, 1 - below).min(axis=1)
    tail = float(np.quantile(extreme, 1 - level))
    lower, upper = (ndtri(stats.beta.ppf(q, ranks, n + 1 - ranks)) for q in (tail, 1 - tail))
    return normal_scores(ranks, n), lower, upper


@with_style
def plot_quantiles(
    residuals: np.ndarray, *, level: float = 0.95, random_state: int = 0, ax: Axes | None = None
) -> Axes:
    """Ordered residuals against normal scores, with a simultaneous band.

    Parameters
    ----------
    residuals : (n,) array
        Quantile residuals.
    level : float
        Probability that all points of a right model lie inside the band.
    random_state : int
        Of the simulated band.
    ax : Axes, optional
    """
    ordered = np.sort(finite_residuals(residuals))
    n = len(ordered)
    ax = axes_or_new(ax)
    expected, lower, upper = quantile_band(n, level, random_state)
    ax.fill_between(expected, lower, upper, color=OKABE_ITO[0], alpha=0.18, linewidth=0)
    ax.axline((0, 0), slope=1, color=GREY, linewidth=0.8)
    keep = drawn_points(n)
    ax.plot(normal_scores(keep + 1, n), ordered[keep], ".", color=OKABE_ITO[0], markersize=3)
    describe(
        ax,
        "normal quantiles",
        f"all points inside the band with probability {level:g}",
        xlabel="normal score",
        ylabel="quantile residual",
    )
    return ax


def pit_shares(interval: ProbabilityInterval, bins: int = 20) -> np.ndarray:
    """Share of the probability integral transforms in each of ``bins`` equal bins.

    A discrete or censored response spreads its row evenly over its interval, so that nothing is
    random (Czado, Gneiting and Held 2009, Biometrics 65).
    """
    edges = np.linspace(0, 1, bins + 1)[1:-1, None]
    width = interval.upper - interval.lower
    with np.errstate(divide="ignore", invalid="ignore"):
        partial = np.clip((edges - interval.lower) / width, 0.0, 1.0)
    below = np.where(width > 0, partial, interval.lower <= edges).mean(axis=1)
    return np.diff(np.concatenate([[0.0], below, [1.0]]))


@with_style
def plot_pit(
    interval: ProbabilityInterval,
    *,
    bins: int | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Histogram of the probability integral transforms, flat where the model is right.

    Parameters
    ----------
    interval : ProbabilityInterval
    bins : int, optional
        10 to 20, by the number of rows.
    level : float
        Of the binomial limits of each bar, where all responses are continuous and observed exactly.
    ax : Axes, optional
    """
    n = len(interval.lower)
    bins = int(np.clip(n // 20, 10, 20)) if bins is None else bins
    density = pit_shares(interval, bins) * bins
    lower, upper = stats.binom.interval(level, n, 1 / bins)
    ax = axes_or_new(ax)
    edges = np.linspace(0, 1, bins + 1)
    ax.bar(
        edges[:-1], density, 1 / bins, align="edge", color=OKABE_ITO[5], edgecolor="white", lw=0.5
    )
    ax.axhline(1.0, color=GREY, linewidth=0.8)
    ax.set_xlim(0, 1)
    spread = bool((interval.upper > interval.lower).any())
    if not spread:
        for limit in (lower, upper):
            ax.axhline(limit * bins / n, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    describe(
        ax,
        "probability transform",
        "each row spread over its interval"
        if spread
        else f"each bar within the dashed lines with probability {level:g}",
        xlabel="F(y)",
        ylabel="density",
    )
    return ax


@with_style
def plot_residuals(
    fitted: np.ndarray, residuals: np.ndarray, *, name: str = "fitted", ax: Axes | None = None
) -> Axes:
    """Residuals against fitted values with a running line (lowess), flat where the mean is right.

    Parameters
    ----------
    fitted, residuals : (n,) arrays
    name : str
        Of the fitted values.
    ax : Axes, optional
    """
    ax = axes_or_new(ax)
    ok = np.isfinite(fitted) & np.isfinite(residuals)
    order = np.argsort(fitted[ok], kind="stable")
    x, r = fitted[ok][order], residuals[ok][order]
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    keep = drawn_points(len(x))
    ax.plot(x[keep], r[keep], ".", color=OKABE_ITO[0], markersize=3, alpha=0.6, rasterized=True)
    if np.ptp(x) > 0 and len(x) > 10:
        line = lowess(r, x, frac=2 / 3, it=3, delta=0.01 * np.ptp(x), is_sorted=True)
        ax.plot(line[:, 0], line[:, 1], color=OKABE_ITO[1])
    describe(
        ax,
        "residuals against fitted",
        "running line: lowess",
        xlabel=name,
        ylabel="quantile residual",
    )
    return ax


def rootogram_counts(fit: ModelFit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, observed and expected counts of a discrete response.

    Returns
    -------
    values, observed, expected : (m,) arrays
        Weighted by the case weights. At most 41 values; the last joins all larger ones where there
        are more.

    Raises
    ------
    UnsupportedCombinationError
        If the response is not discrete.
    """
    family = fit.problem.family
    if not isinstance(family, Family) or not family.discrete:
        raise UnsupportedCombinationError(
            f"a rootogram is for counts; {family!r} is continuous or has no distribution. Use "
            "plot_pit."
        )
    rows = np.flatnonzero(fit.problem.sample_weight > 0)
    y, weight = fit.problem.y[rows], fit.problem.sample_weight[rows]
    eta = torch.from_numpy(np.ascontiguousarray(predicting_eta(fit)[rows]))
    largest = int(y.max())
    joined = largest > _BARS
    values = np.arange(min(largest, _BARS) + 1)
    observed = np.array([weight[y == v].sum() for v in values])
    expected = np.empty(len(values))
    with torch.no_grad():
        for v in values:
            mass = family.contributions(eta, torch.full((len(rows),), float(v), dtype=eta.dtype))
            expected[v] = weight @ np.exp(mass.numpy())
    if joined:
        observed[-1] = weight.sum() - observed[:-1].sum()
        expected[-1] = weight.sum() - expected[:-1].sum()
    return values, observed, expected


@with_style
def plot_rootogram(fit: ModelFit, *, ax: Axes | None = None) -> Axes:
    """Hanging rootogram of a count: bars of observed counts hang from the expected curve.

    Parameters
    ----------
    fit : ModelFit
    ax : Axes, optional

    References
    ----------
    Kleiber and Zeileis (2016), Visualizing count data regressions using rootograms, American
    Statistician 70, 296-303.
    """
    values, observed, expected = rootogram_counts(fit)
    top, height = np.sqrt(expected), np.sqrt(observed)
    ax = axes_or_new(ax)
    ax.bar(values, height, 0.8, bottom=top - height, color=OKABE_ITO[5], edgecolor="white", lw=0.5)
    ax.plot(values, top, ".-", color=OKABE_ITO[1], markersize=4, linewidth=1.2)
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    for side in (-1, 1):
        ax.axhline(side, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set_ylim(min(-1.3, float((top - height).min()) * 1.1), None)
    last = f"; {values[-1]} stands for all from there" if values[-1] == _BARS else ""
    describe(
        ax,
        "rootogram",
        f"bars should end within the dashed lines{last}",
        xlabel="count",
        ylabel="root of frequency",
    )
    return ax


@with_style
def plot_diagnostics(fit: ModelFit, *, level: float = 0.95, random_state: int = 0) -> np.ndarray:
    """Four panels: normal quantiles, worm, probability transform or rootogram, residuals.

    Parameters
    ----------
    fit : ModelFit
    level : float
        Of bands and limits.
    random_state : int
        Of randomised residuals and the simulated band.

    Returns
    -------
    (2, 2) array of Axes

    Raises
    ------
    UnsupportedCombinationError
        If the likelihood is none of a response with a distribution function.

    Notes
    -----
    Counts have a rootogram in place of the histogram of transforms. The bands take the parameters
    as known; estimated ones make residuals a little more regular.
    """
    family = fit.problem.family
    rows, interval = training_intervals(fit)
    residuals = training_residuals(fit, random_state)
    _, axes = plt.subplots(2, 2, figsize=(7.6, 6.2))
    plot_quantiles(residuals, level=level, random_state=random_state, ax=axes[0, 0])
    plot_worm(residuals, level=level, ax=axes[0, 1])
    if isinstance(family, Family) and family.discrete and fit.problem.y.max() > 1:
        plot_rootogram(fit, ax=axes[1, 0])
    else:
        plot_pit(interval, level=level, ax=axes[1, 0])
    fitted, name = _fitted(fit, rows)
    plot_residuals(fitted, residuals, name=name, ax=axes[1, 1])
    return axes


def _fitted(fit: ModelFit, rows: np.ndarray) -> tuple[np.ndarray, str]:
    """Predictors of the first parameter, and what to call them."""
    family = fit.problem.family
    link = family.links[0].name
    name = family.param_names[0] if link == "identity" else f"{link}({family.param_names[0]})"
    return predicting_eta(fit)[rows, 0], f"fitted {name}"
