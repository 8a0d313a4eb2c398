"""A fitted table model: coefficients, smoothing parameters, dispersion and what follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semistruct.fitting.criteria import SmoothingMethod

__all__ = ["StructuredFit"]


@dataclass(frozen=True, eq=False)
class StructuredFit:
    """A fitted table model.

    Attributes
    ----------
    beta : (P,) array
        Coefficients of all parameters, stacked.
    slices : tuple of K slices
        Each parameter's coefficients within ``beta``.
    lam : (J,) array
        Smoothing parameters on the likelihood's scale: the penalty is ``lam_j beta' S_j beta / 2``.
    smoothing : (J,) array
        As reported: ``lam`` times ``dispersion`` (the scale of mgcv).
    S_lam : (P, P) array
        ``sum_j lam_j S_j``.
    H : (P, P) array
        Minus the second derivative of the log-likelihood, not penalised; its expectation where
        one predictor is modelled beside a profiled dispersion, as in R's glm and mgcv.
    V : (P, P) array
        ``(H + S_lam)^-1``, the Bayesian covariance.
    edf, edf1 : (P,) array
        Effective degrees of freedom per coefficient: the diagonals of ``F = V H`` and
        ``2 F - F F``.
    eta : (n, K) array
        Predictors of all rows, those of weight zero included.
    loglik, loglik_null : float
        Of the fit and of the model of constants (and offsets). A profiled dispersion is put at its
        maximum likelihood value in both, as R and statsmodels do.
    reml : float
        The criterion as mgcv reports it, to be minimised: minus the (restricted) log-likelihood
        for "reml" and "ml", the score for "gcv" (UBRE where there is no dispersion).
    n_iter : int
        Outer iterations over the smoothing parameters, or Newton steps where none are estimated.
    converged : bool
    dispersion : float
        ``t ** power`` (variance of the normal, dispersion of the gamma) where it is profiled,
        else 1.
    dispersion_column : int or None
        Position of ``log t`` in ``beta`` where the dispersion is profiled.
    n_effective : float
        Sum of the case weights.
    method : {"reml", "ml", "gcv"}
    """

    beta: np.ndarray
    slices: tuple[slice, ...]
    lam: np.ndarray
    smoothing: np.ndarray
    S_lam: np.ndarray
    H: np.ndarray
    V: np.ndarray
    edf: np.ndarray
    edf1: np.ndarray
    eta: np.ndarray
    loglik: float
    loglik_null: float
    reml: float
    n_iter: int
    converged: bool
    dispersion: float
    dispersion_column: int | None
    n_effective: float
    method: SmoothingMethod

    @property
    def edf_total(self) -> float:
        """Effective number of parameters, a profiled dispersion not counted."""
        return float(self.edf.sum()) - (self.dispersion_column is not None)

    @property
    def df_resid(self) -> float | None:
        """Residual degrees of freedom where a dispersion is estimated, else None."""
        if self.dispersion_column is None:
            return None
        return max(self.n_effective - self.edf_total, 0.0)

    @property
    def aic(self) -> float:
        """``-2 loglik + 2 (effective number of parameters, dispersion included)``."""
        return -2 * self.loglik + 2 * float(self.edf.sum())
