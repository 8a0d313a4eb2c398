"""How the predictions of several models become one: weights, medians, votes, ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize, nnls

from semistruct.losses import CoxRiskSets, cox_partial_likelihood
from semistruct.losses.cox import Ties
from semistruct.responses import Surv

__all__ = [
    "LogisticPool",
    "cox_weights",
    "fit_logistic_pool",
    "mean_rank",
    "simplex_weights",
    "votes",
    "weighted_quantile",
]

_FLOOR = 1e-6  # of probabilities whose logarithm is taken
_TOLERANCE = 1e-10


def simplex_weights(P: np.ndarray, y: np.ndarray, sample_weight: np.ndarray) -> np.ndarray:
    """Weights that are not negative, add to one and minimise the squared error of ``P @ w``.

    Parameters
    ----------
    P : (n, M) array
        Predictions of models for rows they have not seen.
    y : (n,) array
    sample_weight : (n,) array

    Returns
    -------
    (M,) array

    Notes
    -----
    With weights that add to one, ``||y - P w||^2 = ||R w||^2`` for the residuals ``R = y - P``.
    ``min ||R w||^2 + (1 - sum w)^2`` over ``w >= 0`` is reached at a multiple of the solution: for
    ``w = s v`` with ``sum v = 1`` the best ``s`` leaves ``q / (q + 1)`` with ``q = ||R v||^2``,
    which increases in ``q``. So it is one non-negative least-squares problem, solved exactly.

    References
    ----------
    Breiman (1996), Stacked regressions, Machine Learning 24, 49-64.

    Examples
    --------
    >>> y = np.array([1.0, 2.0, 3.0, 4.0])
    >>> simplex_weights(np.column_stack([y + 1, y - 3]), y, np.ones(4)).round(3)
    array([0.75, 0.25])
    """
    residuals = (y[:, None] - P) * np.sqrt(sample_weight)[:, None]
    scale = np.sqrt((residuals**2).sum(axis=0).min())
    if scale == 0:
        return (np.sqrt((residuals**2).sum(axis=0)) == 0).astype(float) / (
            (residuals == 0).all(axis=0).sum()
        )
    A = np.vstack([residuals / scale, np.ones(P.shape[1])])
    w, _ = nnls(A, np.concatenate([np.zeros(len(y)), [1.0]]))
    return w / w.sum()


@dataclass(frozen=True)
class LogisticPool:
    """Logistic regression on the members' log probabilities.

    Attributes
    ----------
    weights : (M,) array
        One for each member, not negative, shared by all classes.
    intercepts : (C,) array
        One for each class, the first zero.
    """

    weights: np.ndarray
    intercepts: np.ndarray

    def probabilities(self, P: np.ndarray) -> np.ndarray:
        """``(n, C)`` probabilities from the members' ``(M, n, C)``."""
        return _softmax(np.tensordot(self.weights, _log(P), axes=1) + self.intercepts)


def fit_logistic_pool(P: np.ndarray, codes: np.ndarray, sample_weight: np.ndarray) -> LogisticPool:
    """The pool with the largest likelihood; of two classes a logistic regression on the logits.

    Parameters
    ----------
    P : (M, n, C) array
        Probabilities by models that have not seen the rows.
    codes : (n,) int array
        Class of each row.
    sample_weight : (n,) array

    References
    ----------
    Wolpert (1992), Stacked generalization, Neural Networks 5. Ranjan & Gneiting (2010), Journal of
    the Royal Statistical Society B 72, on pools that need recalibration.
    """
    M, n, C = P.shape
    X = _log(P)
    share = sample_weight / sample_weight.sum()

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = parameters[:M], np.concatenate([[0.0], parameters[M:]])
        p = _softmax(np.tensordot(w, X, axes=1) + b)
        value = -(share * np.log(np.maximum(p[np.arange(n), codes], _FLOOR**2))).sum()
        error = p.copy()
        error[np.arange(n), codes] -= 1.0
        error *= share[:, None]
        return value, np.concatenate([(X * error).sum(axis=(1, 2)), error.sum(axis=0)[1:]])

    start = np.concatenate([np.full(M, 1 / M), np.zeros(C - 1)])
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * M + [(None, None)] * (C - 1),
        options={"ftol": _TOLERANCE, "gtol": 1e-8, "maxiter": 1000},
    )
    return LogisticPool(found.x[:M], np.concatenate([[0.0], found.x[M:]]))


def cox_weights(
    Z: np.ndarray, y: Surv, sample_weight: np.ndarray, ties: Ties = "efron"
) -> np.ndarray:
    """Coefficients of risk scores, not negative, with the largest partial likelihood.

    Parameters
    ----------
    Z : (n, M) array
        Risks by models that have not seen the rows, standardised.
    y : Surv
    sample_weight : (n,) array
    ties : {"efron", "breslow"}

    References
    ----------
    Breslow, Efron: see :func:`~semistruct.losses.cox_partial_likelihood`. Wolpert (1992), Stacked
    generalization, Neural Networks 5.
    """
    risk_sets = CoxRiskSets.from_data(y.time, y.event, y.entry)
    scores, weights = torch.from_numpy(np.array(Z)), torch.from_numpy(sample_weight)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        eta = (scores @ torch.from_numpy(w)).requires_grad_()
        value = cox_partial_likelihood(
            eta, risk_sets=risk_sets, weights=weights, ties=ties, reduction="mean"
        )
        (gradient,) = torch.autograd.grad(value, eta)
        return float(value.detach()), (scores.T @ gradient).numpy()

    found = minimize(
        loss,
        np.full(Z.shape[1], 1 / Z.shape[1]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * Z.shape[1],
        options={"ftol": 1e-12, "gtol": 1e-8, "maxiter": 1000},
    )
    return found.x


def votes(P: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of the members' votes for each class, ``(n, C)``, from probabilities ``(M, n, C)``."""
    chosen = P.argmax(axis=2)
    return np.tensordot(weights, np.eye(P.shape[2])[chosen], axes=1) / weights.sum()


def mean_rank(
    values: np.ndarray, reference: np.ndarray, reference_weight: np.ndarray
) -> np.ndarray:
    """Mean over members of the share of training predictions below each value, ``(n,)``.

    Parameters
    ----------
    values : (n, M) array
    reference : (m, M) array
        Predictions for training rows; ties count half.
    reference_weight : (m,) array

    Examples
    --------
    >>> reference = np.arange(4.0)[:, None]
    >>> mean_rank(np.array([[-1.0], [1.0], [9.0]]), reference, np.ones(4))
    array([0.   , 0.375, 1.   ])
    """
    ranks = np.empty(values.shape)
    for m in range(values.shape[1]):
        order = np.argsort(reference[:, m], kind="stable")
        known = reference[order, m]
        below = np.concatenate([[0.0], np.cumsum(reference_weight[order])])
        left = below[np.searchsorted(known, values[:, m], side="left")]
        right = below[np.searchsorted(known, values[:, m], side="right")]
        ranks[:, m] = (left + right) / (2 * below[-1])
    return ranks.mean(axis=1)


def weighted_quantile(y: np.ndarray, sample_weight: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Quantiles of weighted responses, linear between the middles of their steps, ``(n,)``.

    Examples
    --------
    >>> weighted_quantile(np.array([3.0, 1.0]), np.ones(2), np.array([0.0, 0.25, 0.5, 1.0]))
    array([1., 1., 2., 3.])
    """
    order = np.argsort(y, kind="stable")
    middle = np.cumsum(sample_weight[order]) - sample_weight[order] / 2
    return np.interp(level, middle / sample_weight.sum(), y[order])


def _log(P: np.ndarray) -> np.ndarray:
    return np.log(np.clip(P, _FLOOR, 1.0))


def _softmax(eta: np.ndarray) -> np.ndarray:
    e = np.exp(eta - eta.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
