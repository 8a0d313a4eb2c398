"""Smoothing parameters by the generalised Fellner-Schall iteration."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from semistruct.fitting.penalties import PenaltySystem
from semistruct.linalg import penalised_cholesky

__all__ = [
    "FellnerSchall",
    "fellner_schall_slope",
    "fellner_schall_update",
    "smoothing_bounds",
    "start_smoothing",
]

_TINY = 1e-12
# One update moves a smoothing parameter by a factor of at most 100.
_LONGEST = 4.6
_STARTS = (0.001, 0.1, 10.0)
# Smoothing parameters stay within these multiples of the balance between data and penalty, so
# that the bounds do not depend on the units of the response.
_LOWEST, _HIGHEST = 1e-8, 1e8


def start_smoothing(penalties: PenaltySystem, H: np.ndarray, n: int) -> np.ndarray:
    """``c tr(H_jj) / tr(S_j)`` for each penalty, ``(J,)``, with the least ``c`` that is safe.

    Parameters
    ----------
    penalties : PenaltySystem
    H : (P, P) array
        Information at the start.
    n : int
        Number of rows.

    Notes
    -----
    The criterion may have several maxima. Those with straight curves have the widest surroundings,
    and an iteration that starts among them does not find the others: ``c`` begins at 0.001. With
    about as many columns as rows there is another one where the response is interpolated: ``c`` is
    raised until half of the rows are left as residual degrees of freedom.
    """
    balance = penalties.scales(H)
    for c in _STARTS:
        lam = c * balance
        if H.shape[0] <= 0.5 * n:
            break
        V = penalised_cholesky(H + penalties.matrix(lam)).inverse()
        if float(np.vdot(V, H)) <= 0.5 * n:
            break
    return lam


def smoothing_bounds(penalties: PenaltySystem, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest ``lam`` ``(J,)``: 1e-8 and 1e8 times ``tr(H_jj) / tr(S_j)``."""
    balance = penalties.scales(H)
    return _LOWEST * balance, _HIGHEST * balance


@dataclass(frozen=True)
class FellnerSchall:
    """State of the iteration.

    Attributes
    ----------
    lam : (J,) array
        Smoothing parameters on the likelihood's scale.
    boost : (J,) array
        Acceleration, grows while successive updates agree in sign.
    sign : (J,) array
        Sign of the last update.
    """

    lam: np.ndarray
    boost: np.ndarray
    sign: np.ndarray

    @classmethod
    def start(cls, lam: np.ndarray) -> FellnerSchall:
        """No acceleration yet."""
        return cls(lam, np.ones_like(lam), np.zeros_like(lam))

    def slowed(self) -> FellnerSchall:
        """The state after the criterion dropped: without acceleration."""
        return replace(self, boost=np.ones_like(self.boost), sign=np.zeros_like(self.sign))


def fellner_schall_update(
    state: FellnerSchall,
    penalties: PenaltySystem,
    beta: np.ndarray,
    V: np.ndarray,
    free: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
) -> FellnerSchall:
    """One multiplicative update of the free smoothing parameters.

    Parameters
    ----------
    state : FellnerSchall
    penalties : PenaltySystem
    beta : (P,) array
    V : (P, P) array
        Inverse of ``H + S_lam`` at ``beta``.
    free : (J,) bool array
        False where the user fixed the smoothing parameter.
    bounds : pair of (J,) arrays

    Notes
    -----
    ``lam_j <- lam_j exp(clip(m_j D_j, +-4.6))`` with
    ``D_j = log{[tr(S_lam^- S_j) - tr(V S_j)] / (beta' S_j beta)}`` increases the Laplace
    approximate marginal likelihood as long as the curvature depends weakly on ``lam``.
    The acceleration ``m_j`` grows by half, up to 8, while the sign of ``D_j`` repeats.

    References
    ----------
    Wood and Fasiolo (2017), A generalized Fellner-Schall method for smoothing parameter
    optimization, Biometrics 73, 1071-1081.
    """
    positive = np.maximum(state.lam, np.finfo(float).tiny)
    gain = penalties.determinant(state.lam).traces / positive - penalties.traces(V)
    loss = penalties.quadratic(beta)
    # Relative floors: both sides carry the units of 1 / lam.
    floor = _TINY / positive
    change = np.log(np.maximum(gain, floor) / np.maximum(loss, floor))
    sign = np.sign(change)
    boost = np.where(sign == state.sign, np.minimum(1.5 * state.boost, 8.0), 1.0)
    longer = np.clip(boost * change, -_LONGEST, _LONGEST)
    lam = np.where(free, np.clip(state.lam * np.exp(longer), *bounds), state.lam)
    return FellnerSchall(lam, boost, sign)


def fellner_schall_slope(
    penalties: PenaltySystem, lam: np.ndarray, beta: np.ndarray, V: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """Derivative ``(J,)`` of the criterion in ``log(lam)`` at constant curvature; zero if fixed."""
    gain = penalties.determinant(lam).traces - lam * penalties.traces(V)
    return np.where(free, 0.5 * (gain - lam * penalties.quadratic(beta)), 0.0)
