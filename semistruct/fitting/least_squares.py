"""Normal responses of constant variance, condensed to as many rows as there are coefficients."""

from __future__ import annotations

import math

import numpy as np

from semistruct.families import Normal
from semistruct.fitting._likelihood import Likelihood
from semistruct.links import Identity, Log
from semistruct.terms import DenseBlock

__all__ = ["condensed"]

# With fewer rows per coefficient there is nothing to be saved.
_ROWS_PER_COEFFICIENT = 4
# Eigenvalues of the cross-product below this share of the largest carry rounding error only.
_RANK = 1e-14


def condensed(likelihood: Likelihood) -> Likelihood | None:
    """The same likelihood from a few rows, where it depends on the data through few numbers.

    Parameters
    ----------
    likelihood : Likelihood
        ``n`` rows, ``P`` coefficients.

    Returns
    -------
    Likelihood or None
        Normal with ``P`` rows of equal weight, whose log-likelihood, gradient and information at
        any coefficients are those of all rows; None where the model is another one, or small.

    Notes
    -----
    With ``W`` the case weights and ``b0`` the least-squares coefficients, ``RSS(b) = RSS(b0) +
    (b - b0)' X'WX (b - b0)``, which neither cancels nor squares the response: rows ``R`` with
    ``R'R = X'WX`` and a row of zeros whose response is ``sqrt(RSS(b0))`` have it, too. Wood, Goude
    and Shaw (2015), Generalized additive models for large data sets, JRSS C 64, 139-155, section 2.
    """
    at = likelihood.dispersion
    if at is None or at.parameter != 1 or len(likelihood.blocks) != 2:
        return None
    p = likelihood.blocks[0].shape[1]
    if not _is_least_squares(likelihood) or likelihood.n < _ROWS_PER_COEFFICIENT * (p + 1):
        return None
    weight, block = likelihood.weight, likelihood.blocks[0]
    response = likelihood.y - likelihood.offset[:, 0]
    gram = likelihood.gram(weight, 0)
    values, vectors = np.linalg.eigh(gram)
    known = values > _RANK * values[-1]
    values, vectors = values[known], vectors[:, known]
    b0 = np.zeros(p)
    left = response
    for _ in range(2):  # the second time takes the rounding error of the first out
        b0 = b0 + vectors @ ((vectors.T @ block.rmatvec(weight * left)) / values)
        left = response - block.matvec(b0)
    R = np.zeros((p + 1, p))
    R[: values.size] = np.sqrt(values)[:, None] * vectors.T
    y = R @ b0
    y[-1] = math.sqrt(weight @ left**2)
    share = weight.sum() / (p + 1)
    return Likelihood(
        likelihood.family,
        y / math.sqrt(share),
        np.full(p + 1, share),
        (DenseBlock(R / math.sqrt(share)), DenseBlock(np.ones((p + 1, 1)))),
        np.zeros((p + 1, 2)),
        at,
    )


def _is_least_squares(likelihood: Likelihood) -> bool:
    family = likelihood.family
    return (
        type(family) is Normal
        and family.links == (Identity(), Log())
        and not likelihood.offset[:, 1].any()
    )
