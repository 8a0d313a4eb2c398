"""Normal responses of constant variance, condensed to as many rows as there are coefficients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from semistruct.families import Normal
from semistruct.families.base import CurvatureKind
from semistruct.fitting._likelihood import Likelihood
from semistruct.links import Identity, Log
from semistruct.terms import DenseBlock

__all__ = ["LeastSquares", "condensed"]

# With fewer rows per coefficient there is nothing to be saved.
_ROWS_PER_COEFFICIENT = 4
# Eigenvalues of the cross-product below this share of the largest carry rounding error only.
_RANK = 1e-14
# Of the precision, so that it stays finite when a squared residual multiplies it.
_LARGEST_EXPONENT = 669.0


@dataclass(frozen=True)
class LeastSquares(Likelihood):
    """A normal likelihood of ``P`` rows of equal weight and one scale, in closed form.

    The general code would give the same numbers. It makes a dozen small tensors for each of them,
    and an evaluation of so few rows costs nothing else.
    """

    @cached_property
    def gram_matrix(self) -> np.ndarray:
        """``X'WX`` of the mean, ``(P - 1, P - 1)``."""
        R = self.blocks[0].dense()
        return self.weight[0] * (R.T @ R)

    def eta(self, beta: np.ndarray) -> np.ndarray:
        return np.column_stack([self.blocks[0].matvec(beta[:-1]), np.full(self.n, beta[-1])])

    def loglik(self, eta: np.ndarray) -> float:
        log_scale, precision, residual = self._rows(eta)
        total = self.weight[0] * self.n * (2 * log_scale + math.log(2 * math.pi))
        value = -0.5 * (total + self.weight[0] * precision * float(residual @ residual))
        return value if math.isfinite(value) else -math.inf

    def score(self, eta: np.ndarray) -> np.ndarray:
        _, precision, residual = self._rows(eta)
        scaled = precision * residual
        return self.weight[0] * np.column_stack([scaled, scaled * residual - 1.0])

    def gradient(self, score: np.ndarray) -> np.ndarray:
        return np.append(self.blocks[0].rmatvec(score[:, 0]), score[:, 1].sum())

    def information(self, eta: np.ndarray, kind: CurvatureKind) -> np.ndarray:
        _, precision, residual = self._rows(eta)
        H = np.zeros((self.size, self.size))
        H[:-1, :-1] = precision * self.gram_matrix
        squares = precision * float(residual @ residual) if kind == "observed" else float(self.n)
        H[-1, -1] = 2 * self.weight[0] * squares
        return H

    def information_traces(
        self, eta: np.ndarray, M: np.ndarray, moves: np.ndarray, kind: CurvatureKind
    ) -> np.ndarray:
        return np.zeros(len(moves))  # the curvature does not depend on the mean

    def dispersion_shift(self, eta: np.ndarray, degrees: float, quadratic: float) -> float:
        _, precision, residual = self._rows(eta)
        squares = self.weight[0] * precision * float(residual @ residual) + quadratic
        left = self.weight[0] * self.n - degrees
        return 0.5 * math.log(max(squares, 1e-300) / left)

    def _rows(self, eta: np.ndarray) -> tuple[float, float, np.ndarray]:
        """Log scale, precision (bounded as the family's is) and residuals ``(P,)``."""
        log_scale = float(eta[0, 1])
        return (
            log_scale,
            math.exp(min(max(-2 * log_scale, -708.0), _LARGEST_EXPONENT)),
            self.y - eta[:, 0],
        )


def condensed(likelihood: Likelihood) -> LeastSquares | None:
    """The same likelihood from a few rows, where it depends on the data through few numbers.

    Parameters
    ----------
    likelihood : Likelihood
        ``n`` rows, ``P`` coefficients.

    Returns
    -------
    LeastSquares or None
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
    if not p or not _is_least_squares(likelihood) or likelihood.n < _ROWS_PER_COEFFICIENT * (p + 1):
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
    return LeastSquares(
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
