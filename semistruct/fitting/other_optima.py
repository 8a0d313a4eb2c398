"""Looking for a better optimum of the smoothing parameters, one of them at a time."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular

from semistruct.fitting.engine import Settled
from semistruct.fitting.penalties import PenaltySystem

__all__ = ["better_elsewhere"]

# Steps of the grid in log(lam); an optimum is wider than this.
_STEP = 1.0
# Gain in log-likelihood units that is worth another search.
_WORTH = 0.2
# Beyond this many coefficients the eigenvalues cost more than the fit.
_LARGEST = 400


def better_elsewhere(
    penalties: PenaltySystem,
    settled: Settled,
    free: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    apart: int | None,
) -> np.ndarray | None:
    """Smoothing parameters from which the restricted likelihood promises to rise.

    Parameters
    ----------
    penalties : PenaltySystem
        J penalties.
    settled : Settled
        Coefficients at an optimum.
    free : (J,) bool array
    bounds : two (J,) arrays
        Of ``lam``.
    apart : int or None
        Column of a profiled dispersion, which takes no part.

    Returns
    -------
    (J,) array or None
        ``lam`` with one entry changed; None where none promises a gain.

    Notes
    -----
    The criterion of a curve that data and penalty explain equally well can have two maxima. With
    the curvature as it is at the coefficients, which is exact for the normal, the criterion along
    one ``lam_j`` is a sum over the eigenvalues of ``S_j`` against ``H + S_lam``: one decomposition
    per penalty gives the whole profile.
    """
    point, lam = settled.point, settled.lam
    keep = np.arange(point.beta.size)
    if apart is not None:
        keep = np.delete(keep, apart)
    if keep.size > _LARGEST or not point.factor.positive_definite:
        return None
    A = (point.H + point.S_lam)[np.ix_(keep, keep)]
    pull = (point.H @ point.beta + point.gradient)[keep]
    C = cholesky(A, lower=True)
    best, found = _WORTH, None
    for j in np.flatnonzero(free).tolist():
        S = penalties.matrix(np.eye(len(penalties))[j])[np.ix_(keep, keep)]
        half = solve_triangular(C, S, lower=True)
        d, U = eigh(solve_triangular(C, half.T, lower=True))
        share = (U.T @ solve_triangular(C, pull, lower=True)) ** 2
        grid = np.arange(np.log(bounds[0][j]), np.log(bounds[1][j]), _STEP)
        stretch = 1 + (np.exp(grid)[:, None] - lam[j]) * d
        seen = (stretch > 0).all(axis=1)
        grid, stretch = grid[seen], stretch[seen]
        gain = 0.5 * ((1 / stretch - 1) @ share - np.log(stretch).sum(axis=1))
        gain += 0.5 * penalties.logdet_profile(lam, j, np.exp(grid))
        inner = np.r_[False, (gain[1:-1] >= gain[:-2]) & (gain[1:-1] >= gain[2:]), False]
        for i in np.flatnonzero(inner).tolist():
            if gain[i] > best and abs(grid[i] - np.log(lam[j])) > 2 * _STEP:
                best, found = gain[i], lam.copy()
                found[j] = np.exp(grid[i])
    return found
