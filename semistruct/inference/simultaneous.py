"""How wide a band must be to cover a whole curve, or several contrasts, at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semistruct.exceptions import SpecificationError
from semistruct.linalg import pseudo_root

__all__ = ["LargestDeviation", "largest_deviation"]

_CHUNK = 2000


@dataclass(frozen=True, eq=False)
class LargestDeviation:
    """Simulated distribution of the largest of several absolute t or z statistics.

    Attributes
    ----------
    draws : (n_draws,) array
        Upwards.
    """

    draws: np.ndarray

    def quantile(self, level: float) -> float:
        """Standard errors on either side for joint coverage ``level``."""
        if not 0 < level < 1:
            raise SpecificationError(f"level must lie between 0 and 1, got {level!r}.")
        return float(np.quantile(self.draws, level))

    def p_values(self, statistic: np.ndarray) -> np.ndarray:
        """Single-step adjusted p-values, at least ``1 / (n_draws + 1)``."""
        below = np.searchsorted(self.draws, np.abs(statistic), side="left")
        return (self.draws.size - below + 1) / (self.draws.size + 1)


def largest_deviation(
    L: np.ndarray,
    V: np.ndarray,
    df_resid: float | None = None,
    *,
    n_draws: int = 10_000,
    random_state: int = 0,
) -> LargestDeviation:
    """Simulate the largest absolute deviation of ``m`` linear combinations of coefficients.

    Parameters
    ----------
    L : (m, p) array
        Rows of a design, or contrasts.
    V : (p, p) array
        Covariance of the coefficients.
    df_resid : float, optional
        Residual degrees of freedom of an estimated dispersion: the draws are then of a
        multivariate t.
    n_draws : int
    random_state : int

    Notes
    -----
    Coefficients are drawn from ``N(0, V)``; each draw is the largest ``|x' b| / sqrt(x' V x)``.

    References
    ----------
    Ruppert, Wand and Carroll (2003), Semiparametric Regression, section 6.5. Hothorn, Bretz and
    Westfall (2008), Biometrical Journal 50, 346-363.

    Examples
    --------
    >>> one = largest_deviation(np.eye(1), np.eye(1), n_draws=50_000)
    >>> bool(abs(one.quantile(0.95) - 1.96) < 0.02)
    True
    """
    scaled = L @ pseudo_root(V).T
    se = np.linalg.norm(scaled, axis=1)
    scaled = scaled[se > 0] / se[se > 0][:, None]
    rng = np.random.default_rng(random_state)
    draws = np.empty(n_draws)
    for start in range(0, n_draws, _CHUNK):
        size = min(_CHUNK, n_draws - start)
        z = scaled @ rng.standard_normal((scaled.shape[1], size))
        draws[start : start + size] = np.abs(z).max(axis=0, initial=0.0)
    if df_resid:
        draws /= np.sqrt(rng.chisquare(df_resid, n_draws) / df_resid)
    return LargestDeviation(np.sort(draws))
