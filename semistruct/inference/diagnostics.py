"""Concurvity of terms, and whether the bases of smooths are large enough."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from semistruct.exceptions import DataError, UnsupportedCombinationError
from semistruct.families.base import RowCurvature
from semistruct.fitting.augmented import take_rows
from semistruct.fitting.model import ModelFit
from semistruct.inference.curves import PlacedTerm, placed_terms
from semistruct.terms.random_effect import RandomEffectBasis
from semistruct.terms.smooth_basis import SmoothBasis

__all__ = ["basis_check", "concurvity_table", "standardised_scores"]

_NEIGHBOURS = 3


def concurvity_table(fit: ModelFit, full: bool = True) -> pd.DataFrame:
    """How much of each term lies in the space of the other terms of its predictor.

    Parameters
    ----------
    fit : ModelFit
    full : bool
        Against all other terms together; else term by term.

    Returns
    -------
    DataFrame
        Index ``(parameter, term)``, with ``full=False`` ``(parameter, term, other)``; columns
        ``worst``, ``observed``, ``estimate``, each between 0 and 1.

    Notes
    -----
    With the columns ``X`` of a term and the projection ``P`` on the other columns:
    ``worst = max_b |P X b|^2 / |X b|^2``, ``observed`` is the ratio at the estimated coefficients
    and ``estimate = |P X|^2 / |X|^2`` in Frobenius norms. The parametric columns except the
    intercept are one term, ``"parametric"``. Zero is no problem, one means that terms cannot be
    told apart. Rows count as in mgcv, without the weights of the likelihood.

    References
    ----------
    Wood (2017), Generalized Additive Models, second edition, section 5.6.3 (mgcv's concurvity).
    """
    rows = np.flatnonzero(fit.problem.sample_weight > 0)
    found: dict[tuple[str, ...], dict[str, float]] = {}
    problem, marginal = fit.problem, fit.marginal
    for name, design, block, at in zip(
        problem.family.param_names, problem.designs, problem.blocks, marginal.slices, strict=True
    ):
        if not any(kind != "parametric" for kind in design.kinds):
            continue
        R = np.asarray(np.linalg.qr(block.take(rows).dense(), mode="r"))
        parametric = [
            j
            for j, kind in enumerate(design.kinds)
            if kind == "parametric" and design.names[j] != "Intercept"
        ]
        terms = {"parametric": parametric} if parametric else {}
        for basis in design.bases:
            if basis.kind != "parametric" and basis.names:
                own = design.slices[basis.label]
                terms[basis.label] = list(range(own.start, own.stop))
        everything = set(range(design.p))
        beta = marginal.beta[at]
        for label, columns in terms.items():
            if full:
                rest = sorted(everything - set(columns))
                found[name, label] = _overlap(R, columns, rest, beta)
            else:
                for other, theirs in terms.items():
                    if other != label:
                        found[name, label, other] = _overlap(R, columns, theirs, beta)
    levels = ["parameter", "term"] if full else ["parameter", "term", "other"]
    index = pd.MultiIndex.from_tuples(list(found), names=levels) if found else None
    columns_ = ["worst", "observed", "estimate"]
    return pd.DataFrame(list(found.values()), index=index, columns=columns_)


def basis_check(
    fit: ModelFit, *, n_rep: int = 400, subsample: int = 5000, random_state: int = 0
) -> pd.DataFrame:
    """Whether residuals still vary with the covariates of a smooth.

    Parameters
    ----------
    fit : ModelFit
    n_rep : int
        Permutations of the residuals.
    subsample : int
        Rows used where there are more.
    random_state : int
        Of the permutations and the subsample.

    Returns
    -------
    DataFrame
        Index ``(parameter, term)``: ``k`` (coefficients), ``edf``, ``k_index`` and ``p``. A low
        index with a low p-value, while ``edf`` is close to ``k``, asks for a larger ``k``.

    Raises
    ------
    DataError
        If the model was kept without its training rows.

    Notes
    -----
    The index is the residual variance as estimated from differences between neighbours in the
    covariates, divided by that of permuted residuals; p is the share of permutations whose estimate
    is smaller. Neighbours are successive values of one covariate, or the three nearest rows of
    several, each in units of its standard deviation. The residuals are scores of the parameter's
    predictor over the root of their expected information (for the normal location mgcv's, for other
    families its Pearson instead of deviance residuals; martingale residuals in a Cox model), so
    that every parameter of a distribution is checked with residuals of its own. A smooth by groups
    is checked curve by curve.

    References
    ----------
    Wood (2017), Generalized Additive Models, second edition, section 5.9 (mgcv's k.check).
    Pya and Wood (2016), A note on basis dimension selection in generalized additive modelling.
    """
    if fit.frame is None:
        raise DataError("the model was kept without its training rows, which this check needs.")
    scores = standardised_scores(fit)
    used = np.flatnonzero(fit.problem.sample_weight > 0)
    names = fit.problem.family.param_names
    rng = np.random.default_rng(random_state)
    found: dict[tuple[str, str], dict[str, float]] = {}
    for term in placed_terms(fit):
        if isinstance(term.basis, RandomEffectBasis):
            continue
        residual = scores[:, names.index(term.param)]
        for label, rows, k, edf in _curves(fit, term, used):
            if len(rows) > subsample:
                rows = np.sort(rng.choice(rows, subsample, replace=False))
            x = fit.frame.iloc[rows]
            x = np.column_stack([x[name].to_numpy(dtype=float) for name in term.covariates])
            index, p = _smoothness(x, residual[rows], n_rep, rng)
            found[term.param, label] = {"k": k, "edf": edf, "k_index": index, "p": p}
    columns = ["k", "edf", "k_index", "p"]
    if not found:
        return pd.DataFrame(columns=columns)
    keys = pd.MultiIndex.from_tuples(list(found), names=["parameter", "term"])
    return pd.DataFrame(list(found.values()), index=keys, columns=columns)


def standardised_scores(fit: ModelFit) -> np.ndarray:
    """Scores of the rows in each predictor over the root of their information, ``(n, K)``.

    NaN for rows of weight zero. Of a likelihood whose rows are not independent the scores
    themselves: martingale residuals.
    """
    problem, marginal = fit.problem, fit.marginal
    rows = np.flatnonzero(problem.sample_weight > 0)
    eta = np.ascontiguousarray(marginal.eta[rows])
    found = np.full(marginal.eta.shape, np.nan)
    if not problem.family.separable:
        found[rows] = take_rows(problem, rows).bind().score(eta)
        return found
    weight = np.ones(len(rows))
    bound = problem.family.bind(np.ascontiguousarray(problem.y[rows]), weight)
    score, curvature = bound.score(eta), bound.curvature(eta, "expected")
    if not isinstance(curvature, RowCurvature):
        raise UnsupportedCombinationError(
            f"{type(problem.family).__name__} does not give the curvature of single rows."
        )
    information = np.einsum("nkk->nk", curvature.w)
    root = np.sqrt(np.maximum(information, np.finfo(float).tiny))
    found[rows] = score / root * np.sqrt(problem.sample_weight[rows])[:, None]
    return found


def _overlap(
    R: np.ndarray, columns: list[int], others: list[int], beta: np.ndarray
) -> dict[str, float]:
    """Shares of a term in the space of other columns, from the triangular factor of all."""
    X = R[:, columns]
    if not others:
        return {"worst": 0.0, "observed": 0.0, "estimate": 0.0}
    Q = _orthonormal(R[:, others])
    projected = Q.T @ X
    own = _orthonormal(X)
    worst = float(np.linalg.norm(Q.T @ own, 2) ** 2) if own.size else 0.0
    f, g = X @ beta[columns], projected @ beta[columns]
    total = float(f @ f)
    return {
        "worst": min(worst, 1.0),
        "observed": float(g @ g) / total if total > 0 else 0.0,
        "estimate": float((projected**2).sum() / (X**2).sum()),
    }


def _orthonormal(X: np.ndarray) -> np.ndarray:
    U, s, _ = np.linalg.svd(X / np.linalg.norm(X, axis=0).clip(min=1e-300), full_matrices=False)
    return U[:, s > 1e-10 * s.max(initial=0.0)]


def _curves(
    fit: ModelFit, term: PlacedTerm, used: np.ndarray
) -> Iterator[tuple[str, np.ndarray, float, float]]:
    """Label, rows, number of coefficients and degrees of freedom of every curve of a smooth."""
    basis = term.basis
    if term.levels is None or not isinstance(basis, SmoothBasis) or fit.frame is None:
        yield term.label, used, float(len(basis.names)), float(term.edf.sum())
        return
    values = fit.frame[term.by].to_numpy()
    for level, (label, own), edf in zip(term.levels, basis.curves, term.level_edf, strict=True):
        rows = used[values[used] == level]
        yield label, rows, float(own.stop - own.start), edf


def _smoothness(
    x: np.ndarray, residual: np.ndarray, n_rep: int, rng: np.random.Generator
) -> tuple[float, float]:
    if len(residual) <= _NEIGHBOURS:
        return float("nan"), float("nan")
    if x.shape[1] == 1:
        order = np.argsort(x[:, 0], kind="stable")
        first, second = order[:-1], order[1:]
    else:
        scaled = x / np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 1.0)
        _, near = cKDTree(scaled).query(scaled, _NEIGHBOURS + 1)
        first = np.repeat(np.arange(len(x)), _NEIGHBOURS)
        second = near[:, 1:].ravel()
    observed = float(((residual[first] - residual[second]) ** 2).mean() / 2)
    permuted = np.empty(n_rep)
    for i in range(n_rep):
        shuffled = rng.permutation(residual)
        permuted[i] = ((shuffled[first] - shuffled[second]) ** 2).mean() / 2
    return observed / float(permuted.mean()), float((permuted < observed).mean())
