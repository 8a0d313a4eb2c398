"""Wald tests and intervals, coefficient by coefficient and jointly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from semistruct.exceptions import SpecificationError
from semistruct.linalg import pseudo_root

__all__ = ["wald_joint", "wald_table"]


def wald_table(
    beta: np.ndarray,
    cov: np.ndarray,
    names: Sequence[str],
    *,
    df_resid: float | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Coefficients with standard errors, tests of zero and confidence limits.

    Parameters
    ----------
    beta : (p,) array
    cov : (p, p) array
    names : sequence of p str
    df_resid : float, optional
        Residual degrees of freedom where a dispersion was estimated: the reference is then
        Student's t, as in R's lm and mgcv; the normal otherwise.
    level : float
        Coverage of the limits, between 0 and 1.

    Returns
    -------
    DataFrame
        Index ``names``; columns ``coef, se, t (or z), p, lower, upper``.

    Raises
    ------
    SpecificationError
        If ``level`` is not between 0 and 1.

    Notes
    -----
    The limits are functions of the coefficients and their covariance only: on new data from the
    same population they keep their meaning as far as the covariance is right for its estimand.

    Examples
    --------
    >>> wald_table(np.array([1.96]), np.eye(1), ["x"]).round(3)
       coef   se     z     p  lower  upper
    x  1.96  1.0  1.96  0.05    0.0   3.92
    """
    if not 0 < level < 1:
        raise SpecificationError(f"level must lie between 0 and 1, got {level!r}; 0.95 is usual.")
    beta = np.asarray(beta, dtype=float)
    se = np.sqrt(np.maximum(np.diag(cov), 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(beta == 0, 0.0, beta / se)
    # Below one residual degree of freedom Student's t still has a meaning, at zero it has none.
    student = df_resid is not None
    if student and not df_resid > 1e-8:  # type: ignore[operator]
        p = np.full(beta.shape, np.nan)
        quantile = np.nan
    else:
        reference = stats.t(df_resid) if student else stats.norm()
        p = 2 * reference.sf(np.abs(statistic))
        quantile = float(reference.ppf(0.5 + level / 2))
    return pd.DataFrame(
        {
            "coef": beta,
            "se": se,
            "t" if student else "z": statistic,
            "p": p,
            "lower": beta - quantile * se,
            "upper": beta + quantile * se,
        },
        index=list(names),
    )


def wald_joint(
    beta: np.ndarray, cov: np.ndarray, *, df_resid: float | None = None
) -> tuple[float, int, float]:
    """Joint test that all coefficients are zero, for factors and interactions.

    Returns
    -------
    statistic : float
        Chi-square, or F (divided by the rank) where ``df_resid`` is given.
    rank : int
        Rank of ``cov``.
    p : float

    Examples
    --------
    >>> statistic, rank, p = wald_joint(np.array([1.0, 2.0]), np.eye(2))
    >>> statistic, rank, round(p, 3)
    (5.0, 2, 0.082)
    """
    root = pseudo_root(np.asarray(cov, dtype=float))
    rank = root.shape[0]
    if not rank:
        return 0.0, 0, float("nan")
    z, *_ = np.linalg.lstsq(root.T, np.asarray(beta, dtype=float), rcond=None)
    chi_square = float(z @ z)
    if df_resid is None:
        return chi_square, rank, float(stats.chi2.sf(chi_square, rank))
    if not df_resid > 1e-8:
        return chi_square / rank, rank, float("nan")
    return chi_square / rank, rank, float(stats.f.sf(chi_square / rank, rank, df_resid))
