"""From smoothing parameters to degrees of freedom and back."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import brentq

from semistruct.exceptions import SpecificationError
from semistruct.terms.base import DesignBlock

__all__ = ["DfKind", "demmler_reinsch", "df_for_lambda", "lambda_for_df"]

DfKind = Literal["trH", "tr2H_HH"]

# Eigenvalues below this share of the largest belong to the null space of the penalty.
NULL_SHARE = 1e-12
# |log lambda| at which every smoother is numerically at its limits: the eigenvalues span 28 units,
# and one more than rounding takes 37.
LOG_LIMIT = 100.0
# Smallest diagonal element of a triangular factor, relative to the largest, of a design of full
# rank: factored from its rows, and from its cross-products.
RANK_ROWS, RANK_GRAM = 1e-10, 1e-7


def demmler_reinsch(
    X: np.ndarray | DesignBlock, S: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Eigenvalues of the penalty where the design is orthonormal.

    Parameters
    ----------
    X : (n, p) array or DesignBlock
        Of full column rank.
    S : (p, p) array
        Penalty, positive semi-definite.
    weights : (n,) array, optional
        Of the rows; ones by default.

    Returns
    -------
    d : (p,) array, ascending
        Zero on the null space. The smoother ``X (X'WX + lam S)^-1 X'W`` has the eigenvalues
        ``1 / (1 + lam d)``.

    Raises
    ------
    SpecificationError
        If ``X`` is not of full column rank.

    References
    ----------
    Demmler, A. and Reinsch, C. (1975). Oscillation matrices with spline smoothing. *Numerische
    Mathematik* 24, 375-382.
    """
    if isinstance(X, DesignBlock):
        n, p, tolerance = *X.shape, RANK_GRAM
        A = X.gram(np.ones(n) if weights is None else weights)
        try:
            R = np.linalg.cholesky(A).T
        except np.linalg.LinAlgError:
            R = np.zeros((p, p))
    else:
        n, p, tolerance = *X.shape, RANK_ROWS
        R = np.linalg.qr(X if weights is None else X * np.sqrt(weights)[:, None], mode="r")
    diagonal = np.abs(np.diag(R))
    if n < p or diagonal.min() <= tolerance * diagonal.max():
        raise SpecificationError(
            f"the design of {n} rows and {p} columns has linearly dependent columns, so degrees of "
            "freedom do not determine lambda; drop the aliased columns."
        )
    half = solve_triangular(R, S, trans="T")
    M = solve_triangular(R, half.T, trans="T")
    d = np.clip(np.linalg.eigvalsh((M + M.T) / 2), 0.0, None)
    d[d < NULL_SHARE * d[-1]] = 0.0
    return d


def df_for_lambda(d: np.ndarray, lam: float, kind: DfKind = "trH") -> float:
    """Degrees of freedom of the smoother with Demmler-Reinsch eigenvalues ``d``.

    Parameters
    ----------
    d : (p,) array
        From :func:`demmler_reinsch`.
    lam : float
    kind : {"trH", "tr2H_HH"}
        Trace of the smoother ``H``, or of ``2 H - H H``.

    Examples
    --------
    >>> df_for_lambda(np.array([0.0, 1.0]), 1.0)
    1.5
    >>> df_for_lambda(np.array([0.0, 1.0]), 1.0, "tr2H_HH")
    1.75
    """
    h = 1.0 / (1.0 + lam * d)
    return float(h.sum() if kind == "trH" else (2.0 * h - h * h).sum())


def lambda_for_df(
    X: np.ndarray | DesignBlock,
    S: np.ndarray,
    df: float,
    kind: DfKind = "trH",
    weights: np.ndarray | None = None,
) -> float:
    """The smoothing parameter at which the smoother has the given degrees of freedom.

    Parameters
    ----------
    X : (n, p) array or DesignBlock
        Of full column rank.
    S : (p, p) array
        Penalty.
    df : float
        Between the dimension of the penalty's null space and ``p``; excludes whatever ``X``
        excludes, such as the intercept.
    kind : {"trH", "tr2H_HH"}
        As in :func:`df_for_lambda`.
    weights : (n,) array, optional

    Raises
    ------
    SpecificationError
        If no smoothing parameter gives ``df``.

    Examples
    --------
    >>> round(lambda_for_df(np.eye(3), np.diag([0.0, 1.0, 1.0]), 2.0), 6)
    1.0
    """
    d = demmler_reinsch(X, S, weights)
    null_dim, p = int((d == 0.0).sum()), len(d)
    if not null_dim < df < p:
        raise SpecificationError(
            f"df={df:g} cannot be reached: this smoother has more than {null_dim} and fewer than "
            f"{p} degrees of freedom."
        )
    # In units of the eigenvalues, so that the bracket does not depend on the scale of S.
    unit = float(np.exp(np.log(d[d > 0.0]).mean()))
    log_lam = brentq(
        lambda u: df_for_lambda(d / unit, np.exp(u), kind) - df, -LOG_LIMIT, LOG_LIMIT, xtol=1e-13
    )
    return float(np.exp(log_lam) / unit)
