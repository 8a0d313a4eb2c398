"""Comparing nested table models, and testing the terms of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.fitting.model import ModelFit
from semistruct.fitting.structured import StructuredFit
from semistruct.inference.covariance import CovarianceKind, covariance
from semistruct.inference.criteria import information_criteria
from semistruct.inference.smooth_tests import smooth_table
from semistruct.inference.wald import wald_joint
from semistruct.terms import DesignBlock, ParametricBasis

__all__ = ["compare_fits", "contains", "term_tests"]

# A column lies in a space when less than this share of its length is left outside.
_OUTSIDE = 1e-6
_ROWS = 20_000  # of two designs that are held dense at a time
# Effective degrees of freedom that differ by less are the same model.
_SAME_DF = 1e-6


def compare_fits(fits: Sequence[ModelFit], *, dispersion: float | None = None) -> pd.DataFrame:
    """Likelihood-ratio or F tests of models in the order given, each against the one before.

    Parameters
    ----------
    fits : sequence of two or more ModelFit
    dispersion : float, optional
        For F tests, rather than the estimate of the model with the fewest residual degrees of
        freedom.

    Returns
    -------
    DataFrame
        One row per model, numbered from 1: ``loglik``, ``edf`` (reference degrees of freedom),
        ``df`` (their difference), ``statistic``, ``test`` (``"Chi.sq"`` or ``"F"``), ``p``.

    Raises
    ------
    UnsupportedCombinationError
        If the models cannot be compared; the message says why.

    Notes
    -----
    See :func:`semistruct.anova`.
    """
    for i, fit in enumerate(fits, start=1):
        _check_comparable(fits[0], fit, i)
    used = [information_criteria(fit.marginal, fit.problem).df_test for fit in fits]
    profiled = all(fit.marginal.dispersion_column is not None for fit in fits)
    if dispersion is not None and not profiled:
        raise UnsupportedCombinationError(
            "dispersion= is for F tests, of models whose dispersion is one estimated number; here "
            "tests are likelihood ratios, so leave it out."
        )
    largest = fits[int(np.argmax(used))].marginal
    rows = []
    for i, fit in enumerate(fits):
        row: dict[str, object] = {"loglik": fit.marginal.loglik, "edf": used[i]}
        if i:
            small, large = (i - 1, i) if used[i] >= used[i - 1] else (i, i - 1)
            _check_nested(fits[small], fits[large], small + 1, large + 1)
            df = used[large] - used[small]
            pair = fits[small], fits[large]
            if profiled:
                gain = _gain_at(pair, largest, dispersion)
                residual = largest.n_effective - float(np.max(used)) + 1
                statistic = gain / df if df > _SAME_DF else np.nan
                p = float(stats.f.sf(statistic, df, residual)) if residual > 0 else np.nan
            else:
                statistic = 2 * (pair[1].marginal.loglik - pair[0].marginal.loglik)
                p = float(stats.chi2.sf(max(statistic, 0.0), df))
            row |= {"df": used[i] - used[i - 1], "statistic": statistic}
            row |= {"test": "F" if profiled else "Chi.sq", "p": p if df > _SAME_DF else np.nan}
        rows.append(row)
    columns = ["loglik", "edf", "df", "statistic", "test", "p"]
    index = pd.Index(range(1, len(fits) + 1), name="model")
    return pd.DataFrame(rows, index=index, columns=columns)


def term_tests(fit: ModelFit, cov_type: CovarianceKind = "model") -> pd.DataFrame:
    """Wald tests that a term contributes nothing, for each term of the table model.

    Returns
    -------
    DataFrame
        Index ``(parameter, term)``: ``edf``, ``ref_df``, ``statistic``, ``test``, ``p``.
    """
    marginal, problem = fit.marginal, fit.problem
    cov = covariance(marginal, problem, cov_type, cluster=fit.cluster)
    test = "Chi.sq" if marginal.df_resid is None else "F"
    found: dict[tuple[str, str], dict[str, object]] = {}
    smooths = smooth_table(marginal, problem).set_index(["parameter", "term"])
    for name, design, at in zip(
        problem.family.param_names, problem.designs, marginal.slices, strict=True
    ):
        for basis in design.bases:
            if not isinstance(basis, ParametricBasis):
                if basis.names:
                    row = smooths.loc[(name, basis.label)]
                    found[name, basis.label] = {
                        "edf": row["edf"],
                        "ref_df": row["ref_df"],
                        "statistic": row["statistic"],
                        "test": row["statistic_name"],
                        "p": row["p"],
                    }
                continue
            for label, _ in basis.term_slices:
                own = design.slices[label]
                columns = slice(at.start + own.start, at.start + own.stop)
                if label == "Intercept" or own.start == own.stop:
                    continue
                statistic, rank, p = wald_joint(
                    marginal.beta[columns], cov[columns, columns], df_resid=marginal.df_resid
                )
                found[name, label] = {
                    "edf": float(rank),
                    "ref_df": float(rank),
                    "statistic": statistic,
                    "test": test,
                    "p": p,
                }
    index = pd.MultiIndex.from_tuples(list(found), names=["parameter", "term"])
    columns_ = ["edf", "ref_df", "statistic", "test", "p"]
    return pd.DataFrame(list(found.values()), index=index, columns=columns_)


def contains(larger: DesignBlock, smaller: DesignBlock, constant: bool = False) -> bool:
    """Whether the columns of ``smaller`` are linear combinations of those of ``larger``.

    Parameters
    ----------
    larger, smaller : DesignBlock of shapes (n, p), (n, q)
    constant : bool
        Whether a constant is part of both, as beside a free baseline hazard.

    Notes
    -----
    From the triangular factor of ``[larger, smaller]``, taken over blocks of rows.
    """
    n, p = larger.shape
    p += constant
    R = np.zeros((0, p + smaller.shape[1]))
    for start in range(0, n, _ROWS):
        rows = np.arange(start, min(start + _ROWS, n))
        pieces = [larger.take(rows).dense(), smaller.take(rows).dense()]
        if constant:
            pieces.insert(0, np.ones((len(rows), 1)))
        R = np.asarray(np.linalg.qr(np.vstack([R, np.hstack(pieces)]), mode="r"))
    length = np.linalg.norm(R[:, p:], axis=0)
    # A rank-deficient larger design leaves parts of the smaller one above the diagonal only.
    U, s, _ = np.linalg.svd(R[:, :p])
    own = U[:, : s.size][:, s > 1e-12 * s.max(initial=0.0)]
    rest = R[:, p:] - own @ (own.T @ R[:, p:])
    return bool((np.linalg.norm(rest, axis=0) <= _OUTSIDE * np.maximum(length, 1e-300)).all())


def _gain_at(
    pair: tuple[ModelFit, ModelFit], largest: StructuredFit, dispersion: float | None
) -> float:
    """Twice the gain in log-likelihood at one dispersion: the drop of the scaled deviance."""
    problem = pair[0].problem
    name, _ = problem.family.dispersion or ("", 0)
    k = problem.family.param_names.index(name)
    loglik = []
    for fit in pair:
        eta = fit.marginal.eta.copy()
        eta[:, k] = largest.eta[:, k]
        rows = np.flatnonzero(fit.problem.sample_weight > 0)
        bound = problem.family.bind(
            np.ascontiguousarray(problem.y[rows]),
            np.ascontiguousarray(problem.sample_weight[rows], dtype=float),
        )
        loglik.append(bound.loglik(np.ascontiguousarray(eta[rows])))
    gain = 2 * (loglik[1] - loglik[0])
    return gain if dispersion is None else gain * largest.dispersion / dispersion


def _check_comparable(first: ModelFit, fit: ModelFit, number: int) -> None:
    if fit.deep is not None or first.deep is not None:
        raise UnsupportedCombinationError(
            "models with deep terms cannot be compared by likelihood-ratio tests: a network has no "
            "degrees of freedom. Its gain on unseen rows is in summary(); leave the deep terms out "
            "to compare table models, or compare predictions of held-out rows by their scores."
        )
    a, b = first.problem, fit.problem
    if a.family != b.family:
        raise UnsupportedCombinationError(
            f"models 1 and {number} have different likelihoods, {a.family!r} and {b.family!r}, "
            "which are not nested; compare aic_ (of the same response), or held-out scores."
        )
    if a.y.shape != b.y.shape:
        raise UnsupportedCombinationError(
            f"model 1 was fitted to {len(a.y)} rows and model {number} to {len(b.y)}; fit all "
            "models to the same rows (drop rows with missing values beforehand)."
        )
    if not np.array_equal(a.y, b.y) or not np.array_equal(a.sample_weight, b.sample_weight):
        raise UnsupportedCombinationError(
            f"models 1 and {number} were fitted to different responses or case weights, or to rows "
            "in another order; fit all models to the same rows."
        )


def _check_nested(small: ModelFit, large: ModelFit, i: int, j: int) -> None:
    family = small.problem.family
    for k, name in enumerate(family.param_names):
        a, b = small.problem, large.problem
        if not contains(b.blocks[k], a.blocks[k], constant=not family.has_intercept):
            raise UnsupportedCombinationError(
                f"model {i} is not nested in model {j}: its predictor of {name!r}, "
                f"{small.formulas[k]!r}, is no special case of {large.formulas[k]!r}. Smooths are "
                "nested with the same basis and k, or as s(x) + s(z) in s(x) + s(z) + ti(x, z). "
                "Otherwise compare aic_."
            )
        if not np.allclose(a.offset[:, k], b.offset[:, k], rtol=1e-10, atol=1e-12):
            raise SpecificationError(
                f"models {i} and {j} have different offsets in the predictor of {name!r}; use the "
                "same offset in both."
            )
