"""Information criteria of a table model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semistruct.families.base import Family
from semistruct.families.cox import EVENT, CoxPartialLikelihood
from semistruct.families.discrete_hazard import DiscreteHazards
from semistruct.families.piecewise_exponential import PiecewiseExponential
from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.inference.smoothing_uncertainty import (
    has_smoothing_uncertainty,
    smoothing_uncertainty,
)

__all__ = ["InformationCriteria", "information_criteria"]


@dataclass(frozen=True)
class InformationCriteria:
    """AIC and BIC, and what they are made of.

    Attributes
    ----------
    loglik : float
        Log-likelihood of the fit, a profiled dispersion at its maximum likelihood value.
    df : float
        Effective number of parameters that is counted, a dispersion included.
    df_test : float
        Reference degrees of freedom of likelihood-ratio tests.
    n : float
        Observations that BIC counts.
    corrected : bool
        Whether ``df`` counts the smoothing parameters as estimated.
    """

    loglik: float
    df: float
    df_test: float
    n: float
    corrected: bool

    @property
    def aic(self) -> float:
        """``-2 loglik + 2 df``."""
        return -2 * self.loglik + 2 * self.df

    @property
    def bic(self) -> float:
        """``-2 loglik + log(n) df``."""
        return -2 * self.loglik + float(np.log(self.n)) * self.df


def information_criteria(fit: StructuredFit, problem: StructuredProblem) -> InformationCriteria:
    """Conditional AIC, corrected for the estimation of smoothing parameters, and BIC.

    Parameters
    ----------
    fit : StructuredFit
    problem : StructuredProblem
        The one that was fitted.

    Notes
    -----
    The conditional AIC with ``df = tr(V H)`` counts the smoothing parameters as known and prefers
    larger models too often (Greven and Kneib 2010). After "reml" and "ml" ``df`` is therefore the
    sum of ``edf2`` of :func:`~semistruct.inference.smoothing_uncertainty.smoothing_uncertainty`, as
    in mgcv's ``AIC()``; after "gcv", and where curves have shapes, it is ``tr(V H)``. Without
    penalties all are the number of parameters. Tests count ``edf1 + edf2 - edf``: ``edf1`` is the
    number of unpenalised parameters whose test statistic has the same mean, as in mgcv.

    BIC takes for ``n`` the sum of the case weights, and for survival models in risk sets or
    intervals the number of events (Volinsky and Raftery 2000).

    References
    ----------
    Greven and Kneib (2010), Biometrika 97, 773-789. Wood, Pya and Saefken (2016), JASA 111,
    1548-1563, section 5. Volinsky and Raftery (2000), Biometrics 56, 256-262.
    """
    corrected = has_smoothing_uncertainty(fit, problem)
    edf2 = smoothing_uncertainty(fit, problem).edf2 if corrected else fit.edf
    df, edf = float(edf2.sum()), float(fit.edf.sum())
    test = float(fit.edf1.sum()) + df - edf
    return InformationCriteria(fit.loglik, df, test, _observations(fit, problem), corrected)


def _observations(fit: StructuredFit, problem: StructuredProblem) -> float:
    if isinstance(problem.family, Family):
        return fit.n_effective
    y, weight = problem.y, problem.sample_weight
    if isinstance(problem.family, CoxPartialLikelihood):
        return float(weight @ y[:, EVENT])
    if isinstance(problem.family, PiecewiseExponential):
        return float((weight @ y[:, :-1]).sum())
    if isinstance(problem.family, DiscreteHazards):
        return float((weight @ y).sum())
    return fit.n_effective
