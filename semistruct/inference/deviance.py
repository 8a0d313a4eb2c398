"""How much of the deviance a table model explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semistruct.fitting._likelihood import Likelihood
from semistruct.fitting.augmented import take_rows
from semistruct.fitting.criteria import saturated_loglik
from semistruct.fitting.newton import evaluate, penalised_newton
from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.terms import DenseBlock

__all__ = ["Deviance", "model_deviance"]


@dataclass(frozen=True)
class Deviance:
    """Deviances of a fit and of a constant first predictor.

    Attributes
    ----------
    residual, null : float
        For the normal with one standard deviation the residual and the total sum of squares.
    """

    residual: float
    null: float

    @property
    def explained(self) -> float:
        """``1 - residual / null``, the share explained; R squared for the normal."""
        return 1.0 - self.residual / self.null


def model_deviance(fit: StructuredFit, problem: StructuredProblem) -> Deviance:
    """Deviance of a fit, and of the model whose first predictor is constant but for its offset.

    Parameters
    ----------
    fit : StructuredFit
    problem : StructuredProblem
        The one that was fitted.

    Raises
    ------
    UnsupportedCombinationError
        If the likelihood has no saturated model, as Cox's.

    Notes
    -----
    ``D = 2 phi (l_s - l)``, where ``l_s`` has a first predictor of its own for each row, and
    ``phi`` is the dispersion where it is one number that is estimated, else 1. Both deviances hold
    all other parameters at their fitted values, so that they measure the first predictor only. This
    is what R's glm and mgcv report for families of one predictor.

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, section 2.3.1. Wood (2017), Generalized
    Additive Models, section 3.1.7.
    """
    rows = np.flatnonzero(problem.sample_weight > 0)
    used, eta = take_rows(problem, rows), np.ascontiguousarray(fit.eta[rows])
    constant, nothing = DenseBlock(np.ones((rows.size, 1))), DenseBlock(np.zeros((rows.size, 0)))
    blocks = (constant, *[nothing] * (eta.shape[1] - 1))
    offset = np.column_stack([used.offset[:, 0], eta[:, 1:]])
    likelihood = Likelihood(used.family, used.y, used.sample_weight, blocks, offset)
    saturated = saturated_loglik(likelihood, eta)
    level = np.average(eta[:, 0] - offset[:, 0], weights=used.sample_weight)
    start = evaluate(likelihood, np.array([level]), np.zeros((1, 1)))
    null = penalised_newton(likelihood, start, polish=True).point.loglik
    double = 2 * fit.dispersion
    return Deviance(double * (saturated - likelihood.loglik(eta)), double * (saturated - null))
