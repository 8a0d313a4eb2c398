"""Covariance matrices of structured coefficients."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from semistruct._validation import check_length
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.families.base import Family, RowCurvature
from semistruct.fitting._likelihood import Dispersion, Likelihood
from semistruct.fitting.augmented import take_rows
from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.inference.smoothing_uncertainty import smoothing_uncertainty
from semistruct.linalg import penalised_cholesky
from semistruct.terms import DesignBlock, SparseBlock

__all__ = ["CovarianceKind", "covariance", "pearson_dispersion", "score_rows"]

CovarianceKind = Literal["model", "bayesian", "corrected", "frequentist", "sandwich", "cluster"]

# Clusters whose summed scores are held at a time.
_CLUSTERS = 1024


def covariance(
    fit: StructuredFit,
    problem: StructuredProblem,
    kind: CovarianceKind = "model",
    *,
    cluster: Any = None,
    small_sample: bool = False,
    dispersion: float | None = None,
) -> np.ndarray:
    """Covariance ``(P, P)`` of the stacked coefficients.

    Parameters
    ----------
    fit : StructuredFit
    problem : StructuredProblem
        The one that was fitted.
    kind : {"model", "bayesian", "corrected", "frequentist", "sandwich", "cluster"}
        "model" and "bayesian" are ``V = (H + S_lam)^-1``, which has good coverage across a smooth
        curve because it contains the smoothing bias; "corrected" adds the uncertainty of the
        smoothing parameters (:mod:`semistruct.inference.smoothing_uncertainty`); "frequentist" is
        ``V H V``; "sandwich" is ``V (sum_i w_i^2 r_i r_i') V + V S_lam V`` with score residuals
        ``r_i``; "cluster" sums them within clusters first.
    cluster : (n,) array, optional
        Cluster of each row, of any type; required by "cluster".
    small_sample : bool
        Multiply the middle of "sandwich" by ``n / (n - edf)`` (HC1) and that of "cluster" by
        ``G / (G - 1)`` for ``G`` clusters. Without it these are HC0 and its clustered form, as
        R's sandwich and survival packages report.
    dispersion : float, optional
        Report at this dispersion rather than at the REML estimate, for example at
        :func:`pearson_dispersion`; not for sandwiches, which do not depend on it.

    Returns
    -------
    (P, P) array

    Notes
    -----
    The ``V`` on both sides of a sandwich has the observed information, whichever the fit reports:
    the expected one is right only where the model is. Case weights enter the middle squared: a row
    of weight two is one row that counts double, not two independent rows. Without penalties the
    last term of the sandwich vanishes; where the model holds, the sandwich estimates the Bayesian
    ``V``.

    References
    ----------
    White (1982), Maximum likelihood estimation of misspecified models, Econometrica 50. Wood
    (2017), Generalized Additive Models, section 6.10.
    """
    if kind in ("model", "bayesian"):
        return _rescaled(fit, fit.V, dispersion)
    if kind == "corrected":
        found = smoothing_uncertainty(fit, problem)
        return _rescaled(fit, found.V - found.V_moved, dispersion) + found.V_moved
    if kind == "frequentist":
        return _rescaled(fit, fit.V @ fit.H @ fit.V, dispersion)
    if kind not in ("sandwich", "cluster"):
        raise SpecificationError(
            "the covariance must be one of 'model', 'bayesian', 'corrected', 'frequentist', "
            f"'sandwich', 'cluster', got {kind!r}."
        )
    if dispersion is not None:
        raise UnsupportedCombinationError(
            f"the {kind} covariance does not depend on the dispersion; leave dispersion out."
        )
    rows = np.flatnonzero(problem.sample_weight > 0)
    blocks = [block.take(rows) for block in problem.blocks]
    codes, G = np.zeros(0, dtype=int), 0
    if kind == "cluster":
        codes, G = _clusters(cluster, problem.y.shape[0], rows)
        factor = G / (G - 1) if small_sample else 1.0
    else:
        n = fit.n_effective
        factor = n / max(n - fit.edf_total, 1.0) if small_sample else 1.0
    if not problem.family.separable:
        bound = take_rows(problem, rows).bind()
        scores = bound.score_residuals(np.ascontiguousarray(fit.eta[rows]), blocks)
        if kind == "cluster":
            scores = _sums_by(scores, codes, G)
        middle = scores.T @ scores
    else:
        scores = score_rows(fit, problem)[1]
        if kind == "cluster":
            middle = _cluster_middle(blocks, scores, codes, G)
        else:
            middle = RowCurvature(scores[:, :, None] * scores[:, None, :]).gram(blocks)
    bread = _observed_bread(fit, problem, rows, blocks)
    full = bread @ (factor * middle + fit.S_lam) @ bread
    return (full + full.T) / 2


def _observed_bread(
    fit: StructuredFit, problem: StructuredProblem, rows: np.ndarray, blocks: list[DesignBlock]
) -> np.ndarray:
    """``(H + S_lam)^-1`` with observed information, which needs no model for the response."""
    at = None
    if fit.dispersion_column is not None:
        name, power = problem.family.dispersion or ("", 0)
        at = Dispersion(problem.family.param_names.index(name), fit.dispersion_column, power)
    likelihood = Likelihood(
        problem.family,
        np.ascontiguousarray(problem.y[rows]),
        np.ascontiguousarray(problem.sample_weight[rows]),
        tuple(blocks),
        np.ascontiguousarray(problem.offset[rows]),
        at,
    )
    H = likelihood.information(np.ascontiguousarray(fit.eta[rows]), "observed")
    factor = penalised_cholesky(H + fit.S_lam)
    return factor.inverse() if factor.positive_definite else fit.V


def score_rows(fit: StructuredFit, problem: StructuredProblem) -> tuple[np.ndarray, np.ndarray]:
    """Rows of positive weight, and their weighted scores ``w_i dl_i/d eta_i``, ``(n', K)``."""
    rows = np.flatnonzero(problem.sample_weight > 0)
    return rows, take_rows(problem, rows).bind().score(np.ascontiguousarray(fit.eta[rows]))


def pearson_dispersion(fit: StructuredFit, problem: StructuredProblem) -> float:
    """The dispersion from squared Pearson residuals, with Fletcher's correction.

    What mgcv reports as the scale: ``phi_P / (1 + mean(s))``, with ``phi_P`` the weighted Pearson
    statistic over ``n - edf`` and ``s_i = V'(mu_i) (y_i - mu_i) / V(mu_i)``. It assumes the mean
    and the shape of the variance function only. Equal to the REML estimate for the normal.

    Raises
    ------
    UnsupportedCombinationError
        If the fit has no profiled dispersion.

    References
    ----------
    Fletcher (2012), Estimating overdispersion when fitting a generalized linear model to sparse
    data, Biometrika 99, 230-237.
    """
    family = problem.family
    if fit.dispersion_column is None or not isinstance(family, Family):
        raise UnsupportedCombinationError(
            "a Pearson dispersion needs a family with a dispersion whose predictor is constant; "
            f"{problem.family!r} is fitted without one here."
        )
    rows = np.flatnonzero(problem.sample_weight > 0)
    weight, y = problem.sample_weight[rows], problem.y[rows]
    eta = torch.from_numpy(np.ascontiguousarray(fit.eta[rows]))
    # d var / d mu along the first predictor, by central differences.
    h = torch.zeros_like(eta)
    h[:, 0] = 1e-5 * (1 + eta[:, 0].abs())
    with torch.no_grad():
        mu = family.mean(eta).numpy()
        variance = family.variance(eta).numpy()
        up, down = family.variance(eta + h), family.variance(eta - h)
        rise = (family.mean(eta + h) - family.mean(eta - h)).numpy()
    slope = (up - down).numpy() / rise
    pearson = float((weight * (y - mu) ** 2 / variance).sum())
    pearson /= max(fit.n_effective - fit.edf_total, 1e-6 * fit.n_effective)
    correction = float(weight @ (slope * (y - mu) / variance)) / fit.n_effective
    return fit.dispersion * pearson / (1 + correction)


def _rescaled(fit: StructuredFit, cov: np.ndarray, dispersion: float | None) -> np.ndarray:
    if dispersion is None:
        return cov.copy()
    if fit.dispersion_column is None:
        raise UnsupportedCombinationError(
            "this fit has no profiled dispersion to report at another value; leave dispersion out."
        )
    root = np.full(fit.beta.size, np.sqrt(dispersion / fit.dispersion))
    root[fit.dispersion_column] = 1.0
    return cov * root * root[:, None]


def _clusters(cluster: Any, n: int, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Cluster codes of the used rows and their number."""
    if cluster is None:
        raise SpecificationError(
            "the cluster covariance needs the cluster of each row; give cluster=."
        )
    check_length(n, cluster, "cluster")
    codes, levels = pd.factorize(np.asarray(cluster, dtype=object)[rows])
    if (codes < 0).any():
        raise DataError(
            f"cluster is missing in row {rows[np.argmax(codes < 0)]}; every row needs a cluster."
        )
    if len(levels) < 2:
        raise DataError("the cluster covariance needs two or more clusters, got one.")
    return codes, len(levels)


def _sums_by(rows: np.ndarray, codes: np.ndarray, G: int) -> np.ndarray:
    """Sums of rows by cluster, ``(G, P)``."""
    member = sp.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), (G, len(codes)))
    return np.asarray(member @ rows)


def _cluster_middle(
    blocks: list[DesignBlock], scores: np.ndarray, codes: np.ndarray, G: int
) -> np.ndarray:
    """Sum over clusters of outer products of summed score residuals, ``(P, P)``."""
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(0, G + _CLUSTERS, _CLUSTERS))
    P = sum(block.shape[1] for block in blocks)
    middle = np.zeros((P, P))
    for start, stop in pairwise(ends.tolist()):
        rows = order[start:stop]
        if not rows.size:
            continue
        local = codes[rows] - codes[rows[0]]
        shape = (rows.size, int(local[-1]) + 1)
        member = SparseBlock(
            sp.csr_array((np.ones(rows.size), (np.arange(rows.size), local)), shape)
        )
        sums = np.vstack(
            [block.take(rows).gram(scores[rows, k], member) for k, block in enumerate(blocks)]
        )
        middle += sums @ sums.T
    return middle
