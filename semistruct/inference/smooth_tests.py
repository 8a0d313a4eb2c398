"""Tests that a smooth or a random effect is zero."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats

from semistruct.exceptions import SpecificationError
from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.inference.quadratic_forms import chi_square_mixture_sf
from semistruct.inference.wald import wald_joint
from semistruct.linalg import PenaltySum, penalised_cholesky, pseudo_root

__all__ = ["SmoothTest", "smooth_table", "smooth_test"]

_RANK_TOL = 1e-8


@dataclass(frozen=True)
class SmoothTest:
    """One row of the table of smooths.

    Attributes
    ----------
    parameter : str
        The distribution parameter whose predictor has the term.
    term : str
    edf : float
        Effective degrees of freedom, the trace of ``V H`` over the term's coefficients.
    ref_df : float
        Reference degrees of freedom of the test.
    statistic : float
        Chi-square, or F where a dispersion was estimated.
    statistic_name : {"Chi.sq", "F"}
    p : float
    """

    parameter: str
    term: str
    edf: float
    ref_df: float
    statistic: float
    statistic_name: str
    p: float


def smooth_table(
    fit: StructuredFit, problem: StructuredProblem, *, dispersion: float | None = None
) -> pd.DataFrame:
    """One row for each smooth and random effect of all parameters, as :func:`smooth_test` says."""
    rows = [
        asdict(smooth_test(fit, problem, parameter, basis.label, dispersion=dispersion))
        for parameter, design in zip(problem.family.param_names, problem.designs, strict=True)
        for basis in design.bases
        if basis.kind != "parametric" and basis.names
    ]
    return pd.DataFrame(rows, columns=list(SmoothTest.__dataclass_fields__))


def smooth_test(
    fit: StructuredFit,
    problem: StructuredProblem,
    parameter: str,
    term: str,
    *,
    dispersion: float | None = None,
) -> SmoothTest:
    """Test the null hypothesis that a term contributes nothing.

    Parameters
    ----------
    fit : StructuredFit
    problem : StructuredProblem
        The one that was fitted.
    parameter : str
        Name of the distribution parameter.
    term : str
        Label of a smooth or random effect.
    dispersion : float, optional
        Test at this dispersion rather than at the REML estimate, for example at
        :func:`~semistruct.inference.covariance.pearson_dispersion`.

    Raises
    ------
    SpecificationError
        If there is no such term.

    Notes
    -----
    A term whose penalty leaves some functions unpenalised is tested by
    ``T_r = f' V_f^{r-} f``, a pseudo-inverse of non-integer rank ``r`` equal to the term's edf1,
    against the matching mixture of chi-squares (Wood 2013a). The pseudo-inverse depends on the
    signs of two eigenvectors; the statistic takes them as mgcv does and the p-value averages both
    choices.

    A term that is penalised completely (random effects, cyclic smooths, shrinkage) is tested by
    ``T = b' V_b^- b`` with the other random effects integrated out, against the mixture of
    chi-squares that ``T`` has when the term is absent (Wood 2013b). With several random effects
    the statistic differs from mgcv's, which rotates by the factor of the marginal covariance where
    the derivation has its inverse; p-values are alike.

    Both condition on the smoothing parameters, so p-values near the decision are somewhat low.

    References
    ----------
    Wood (2013a), On p-values for smooth components of an extended generalized additive model,
    Biometrika 100, 221-228. Wood (2013b), A simple test for random effects in regression models,
    Biometrika 100, 1005-1010.
    """
    names = problem.family.param_names
    found = [
        basis
        for name, design in zip(names, problem.designs, strict=True)
        for basis in design.bases
        if name == parameter and basis.label == term and basis.kind != "parametric"
    ]
    if not found:
        known = [
            f"{name}: {basis.label}"
            for name, design in zip(names, problem.designs, strict=True)
            for basis in design.bases
            if basis.kind != "parametric"
        ]
        raise SpecificationError(
            f"{parameter!r} has no smooth or random effect {term!r}; there are: "
            f"{', '.join(known) or 'none'}."
        )
    basis, k = found[0], names.index(parameter)
    local = problem.designs[k].slices[term]
    start = fit.slices[k].start
    columns = slice(start + local.start, start + local.stop)
    size = columns.stop - columns.start
    edf = float(fit.edf[columns].sum())
    residual = None if fit.df_resid is None else max(1, round(fit.df_resid))
    name = "Chi.sq" if residual is None else "F"
    shrink = 1.0 if dispersion is None else fit.dispersion / dispersion
    if not basis.penalties:
        cov = fit.V[columns, columns] / shrink
        statistic, rank, p = wald_joint(fit.beta[columns], cov, df_resid=residual)
        return SmoothTest(parameter, term, edf, float(rank), statistic, name, p)
    if PenaltySum.prepare(basis.penalties).basis.shape[1] == size:
        T, rank, p = _random_effect_test(fit, problem, columns, residual, shrink)
        return SmoothTest(parameter, term, edf, float(rank), _per_df(T, rank, residual), name, p)
    r = min(float(size), float(fit.edf1[columns].sum()))
    T, p = _smooth_test(fit, columns, r, residual, shrink)
    return SmoothTest(parameter, term, edf, r, _per_df(T, r, residual), name, p)


def _per_df(T: float, df: float, residual: int | None) -> float:
    if residual is None:
        return T
    return T / df if df > 0 else 0.0


def _mixture_p(T: float, weights: np.ndarray, residual: int | None) -> float:
    """``P(sum_j weights_j chi2_1 > T)``, or with ``T`` over an independent ``chi2_k / k``."""
    if not weights.size:
        return 1.0
    if residual is None:
        return chi_square_mixture_sf(T, weights)
    return chi_square_mixture_sf(
        0.0, np.append(weights, -T / residual), np.append(np.ones(weights.size), residual)
    )


def _smooth_test(
    fit: StructuredFit, columns: slice, r: float, residual: int | None, shrink: float
) -> tuple[float, float]:
    """Wood's (2013a) statistic of rank ``r`` and its p-value."""
    information = fit.H[columns, columns]
    factor = penalised_cholesky(information)
    if factor.positive_definite:
        # The triangular factor of the weighted design, as a QR decomposition would give it.
        R = (factor.L * factor.root[:, None]).T
    else:
        R = pseudo_root(information)
    values, vectors = np.linalg.eigh(R @ fit.V[columns, columns] @ R.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    usable = int((values > _RANK_TOL * values[0]).sum())
    first = np.where(vectors[0] < 0, -1.0, 1.0)
    r = min(r, float(usable))
    whole = max(int(np.floor(r + 1e-7)), 1)
    part = r - whole
    z = ((vectors * first).T @ (R @ fit.beta[columns]))[:usable] * np.sqrt(shrink / values[:usable])
    if part < 1e-7 or whole >= usable:
        T = float((z[:whole] ** 2).sum())
        if residual is None:
            return T, float(stats.chi2.sf(T, whole))
        return T, float(stats.f.sf(T / whole, whole, residual))
    base = float((z[: whole - 1] ** 2).sum() + z[whole - 1] ** 2 + part * z[whole] ** 2)
    cross = 2 * np.sqrt(0.5 * part * (1 - part)) * float(z[whole - 1] * z[whole])
    last = part + 1
    larger = 0.5 * (last + np.sqrt(last * (2 - last)))
    weights = np.append(np.ones(whole - 1), [larger, last - larger])
    p = np.mean([_mixture_p(max(base + sign * cross, 0.0), weights, residual) for sign in (1, -1)])
    return base + cross, float(p)


def _random_effect_test(
    fit: StructuredFit,
    problem: StructuredProblem,
    columns: slice,
    residual: int | None,
    shrink: float,
) -> tuple[float, int, float]:
    """Wood's (2013b) statistic, the rank of its distribution, and its p-value."""
    inside = np.zeros(fit.beta.size, dtype=bool)
    inside[columns] = True
    kinds = np.concatenate([np.asarray(design.kinds) for design in problem.designs])
    other = (kinds == "random") & ~inside
    H, S, V = fit.H, fit.S_lam, fit.V
    # Precision of b with the other random effects integrated out and the rest profiled: the Schur
    # complement of H + S_lam, that is the inverse of its block of V.
    precision = penalised_cholesky(V[columns, columns])
    T = shrink * float((precision.half_solve(fit.beta[columns]) ** 2).sum())
    # Covariance of the estimate of b if b were zero: noise, and the other random effects.
    spread = (V @ H @ V)[columns, columns]
    if other.any():
        through = (V @ H)[columns][:, other]
        penalty = penalised_cholesky(S[np.ix_(other, other)])
        spread = spread + through @ penalty.solve(through.T)
    scaled = precision.half_solve(precision.half_solve((spread + spread.T) / 2).T)
    weights = np.linalg.eigvalsh((scaled + scaled.T) / 2)
    weights = weights[weights > _RANK_TOL * weights[-1]]
    return T, weights.size, _mixture_p(T, weights, residual)
