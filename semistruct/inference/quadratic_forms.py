"""Tail probabilities of weighted sums of chi-square variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq

__all__ = ["chi_square_mixture_sf"]


def chi_square_mixture_sf(
    x: float, weights: Sequence[float] | np.ndarray, df: Sequence[float] | np.ndarray | None = None
) -> float:
    """``P(sum_j weights_j Q_j > x)`` for independent chi-square variables ``Q_j``.

    Parameters
    ----------
    x : float
    weights : (J,) array
        Of any sign; zeros are ignored.
    df : (J,) array, optional
        Degrees of freedom, one each by default.

    Returns
    -------
    float
        With small *relative* error far into the tail, where Davies' method has absolute error only.

    Notes
    -----
    With the cumulant function ``K(s) = -1/2 sum_j df_j log(1 - 2 weights_j s)`` the probability is
    the integral of ``exp(K(s) - s x) / (2 pi i s)`` along a contour that crosses the real axis
    between 0 and the first singularity. It is taken through the saddlepoint, where the integrand
    is largest, and bent so that it decays quickly; the trapezoidal rule then converges
    exponentially. A saddlepoint left of zero gives the complement.

    References
    ----------
    Kuonen (1999), Saddlepoint approximations for distributions of quadratic forms in normal
    variables, Biometrika 86, 929-935. Davies (1980), Algorithm AS 155, Applied Statistics 29.

    Examples
    --------
    >>> from scipy.stats import chi2
    >>> float(round(chi_square_mixture_sf(3.0, [1.0, 1.0]) / chi2.sf(3.0, 2), 8))
    1.0
    """
    a = np.asarray(weights, dtype=float)
    k = np.ones_like(a) if df is None else np.asarray(df, dtype=float)
    used = (a != 0) & (k > 0)
    a, k = a[used], k[used]
    if np.isnan(x) or np.isnan(a).any():
        return float("nan")
    if not a.size or np.isinf(x):
        return float(x < 0)
    if (a > 0).all() and x <= 0:
        return 1.0
    if (a < 0).all():
        return 1.0 - chi_square_mixture_sf(-x, -a, k) if x < 0 else 0.0
    scale = np.abs(a).max()
    a, x = a / scale, x / scale

    upper = 0.5 / a.max()
    lower = -np.inf if a.min() > 0 else 0.5 / a.min()

    def slope(s: float) -> float:
        return float((k * a / (1 - 2 * a * s)).sum()) - x

    spread = float(np.sqrt(2 * (k * a**2).sum()))
    saddle = _saddlepoint(slope, lower, upper, spread)
    # Near the mean the saddlepoint falls on the pole at zero; any other crossing will do.
    nearest = 0.1 / spread
    if abs(saddle) < nearest:
        saddle = min(nearest, 0.5 * upper)
    bend = 2 * float((k * (a / (1 - 2 * a * saddle)) ** 2).sum())
    width = 1 / np.sqrt(bend + 1 / saddle**2)
    integral = _contour_integral(saddle, width, x, a, k)
    return float(np.clip(integral if saddle > 0 else 1.0 + integral, 0.0, 1.0))


def _saddlepoint(
    slope: Callable[[float], float], lower: float, upper: float, spread: float
) -> float:
    """Root of the increasing ``slope`` between the singularities."""
    high = upper * (1 - 1e-3)
    while slope(high) < 0 and upper - high > 1e-14 * upper:
        high = upper - 0.1 * (upper - high)
    if np.isfinite(lower):
        low = lower * (1 - 1e-3)
        while slope(low) > 0 and low - lower > -1e-14 * lower:
            low = lower + 0.1 * (low - lower)
    else:
        low = -1.0 / spread
        while slope(low) > 0 and low > -1e12:
            low *= 4
    if slope(low) >= 0:
        return low
    if slope(high) <= 0:
        return high
    return float(brentq(slope, low, high, xtol=1e-10, rtol=1e-10))


def _contour_integral(
    saddle: float, width: float, x: float, weights: np.ndarray, df: np.ndarray
) -> float:
    """``1 / (2 pi i)`` times the integral over the bent line through ``saddle``."""
    # t -> saddle + i width sinh(t), bent to the side on which exp(-s x) vanishes: double
    # exponential decay without oscillation.
    reach, tilt = (30.0, 0.0) if x == 0 else (20.0, 0.5 * float(np.sign(x)))
    t, step = np.linspace(-reach, reach, int(200 * reach) + 1, retstep=True)
    s = saddle + width * (1j * np.sinh(t) + tilt * (np.cosh(t) - 1))
    ds = width * (1j * np.cosh(t) + tilt * np.sinh(t))
    log_f = -s * x - np.log(s)
    for weight, k in zip(weights, df, strict=True):
        log_f -= 0.5 * k * np.log(1 - 2 * weight * s)
    with np.errstate(under="ignore"):
        values = np.exp(log_f) * ds
    return float((values.sum() * step / (2j * np.pi)).real)
