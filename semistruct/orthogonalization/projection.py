"""Take from latent features what the structured design can say: learned once, replayed by row."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from semistruct._validation import check_length, check_sample_weight
from semistruct.exceptions import DataError, DataWarning, SpecificationError
from semistruct.orthogonalization._least_squares import check_finite, project
from semistruct.terms.base import DesignBlock, TermKind

__all__ = ["Orthogonalizer", "Projection", "Target"]

Target = Literal["structured", "parametric", "none"]

_TARGETS: dict[str, tuple[TermKind, ...]] = {
    "structured": ("parametric", "smooth"),
    "parametric": ("parametric",),
    "none": (),
}

# Rank of the target, as a share of the rows, beyond which it takes too much from the features.
_RANK_SHARE = 1 / 5


@dataclass(frozen=True, eq=False)
class Projection:
    """Latent features on the columns of a design. Frozen; the same map for every row.

    Attributes
    ----------
    G : (p, d) array
        Coefficients of the features on the columns; rows of columns outside the target are zero.
    center : (d,) array
        Constant that no combination of the parametric columns can express; zero where there is an
        intercept. A Cox model has none, and its baseline hazard absorbs :meth:`shift`.
    rank : int
        Number of independent columns in the target, the constant included.
    edf : float
        Trace of the smoother onto the target: ``rank`` where nothing is penalised.
    target : {"structured", "parametric", "none"}
    """

    G: np.ndarray
    center: np.ndarray
    rank: int
    edf: float
    target: Target

    def residual(self, block: DesignBlock, U: np.ndarray) -> np.ndarray:
        """``U - X G - center``, ``(n, d)``: row by row, so any rows in any batch.

        Parameters
        ----------
        block : DesignBlock
            Design ``X (n, p)`` of the rows.
        U : (n, d) array
            Their latent features.
        """
        U = _as_features(U)
        if self.target == "none":
            return U.copy()
        return U - block.matvec(self.G) - self.center

    def absorb(self, beta: np.ndarray, gamma: np.ndarray) -> np.ndarray:
        """Coefficients ``beta + G gamma (p,)`` that go with the residual features.

        ``X beta + U gamma = X absorb(beta, gamma) + residual(X, U) gamma + shift(gamma)``.
        """
        return np.asarray(beta, dtype=float) + self.G @ np.asarray(gamma, dtype=float)

    def shift(self, gamma: np.ndarray) -> float:
        """Constant ``center' gamma`` to add to the predictor; zero where there is an intercept."""
        return float(self.center @ np.asarray(gamma, dtype=float))


@dataclass(frozen=True)
class Orthogonalizer:
    """Learn the projection of latent features on the structured part of a predictor.

    Parameters
    ----------
    target : {"structured", "parametric", "none"}
        What the structured part keeps for itself. ``"structured"``: parametric columns and smooth
        curves; ``"parametric"``: parametric columns only; ``"none"``: nothing.

    Notes
    -----
    ``G`` minimises ``sum_i w_i |u_i - c - x_i G|^2 + tr(G' S G)``. Parametric columns and the
    constant are unpenalised, so that ``X_parametric' W U_perp = 0`` exactly; smooth columns take
    what their penalised smoother takes, since a plain projection on a spline basis would un-smooth
    the curve. Random effects are never part of the target: one level per row would erase the
    features. Both statements about orthogonality hold on the training rows; on new rows the stored
    map is replayed and ``X' U_perp`` is zero only in expectation.

    The design is read in chunks of rows and triangularised by orthogonal transformations; the rank
    is decided after centring and scaling the columns, so units do not matter.

    References
    ----------
    Rügamer, D., Kolb, C. and Klein, N. (2024). Semi-structured distributional regression. The
    American Statistician 78, 88-99.
    Rügamer, D. (2023). A new PHO-rmula for improved performance of semi-structured networks. ICML.

    Examples
    --------
    >>> from semistruct.terms.blocks import DenseBlock
    >>> block = DenseBlock(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]] * 3))
    >>> U = np.array([[1.0], [0.0], [0.0], [1.0]] * 3)
    >>> projection = Orthogonalizer().fit(block, U, ["parametric", "parametric"])
    >>> bool(np.abs(block.rmatvec(projection.residual(block, U))).max() < 1e-12)
    True
    """

    target: Target = "structured"

    def __post_init__(self) -> None:
        if self.target not in _TARGETS:
            raise SpecificationError(
                f"orthogonalization target must be one of {sorted(_TARGETS)}, got {self.target!r}."
            )

    def fit(
        self,
        block: DesignBlock,
        U: np.ndarray,
        kinds: Sequence[TermKind] | np.ndarray,
        penalty: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> Projection:
        """Projection learned from training rows.

        Parameters
        ----------
        block : DesignBlock
            Structured design ``X (n, p)``.
        U : (n, d) array
            Latent features of the rows.
        kinds : (p,) sequence of {"parametric", "smooth", "random"}
            Kind of every column.
        penalty : (p, p) array, optional
            ``S_lam`` in least-squares units: on the scale of a sum of squares of ``U``. Only the
            smooth columns are read. None leaves the curves unpenalised.
        sample_weight : (n,) array, optional
            Case weights; rows of weight zero are not looked at.

        Raises
        ------
        DataError
            If lengths disagree or a feature is not finite.

        Warns
        -----
        DataWarning
            If the target takes more than a fifth of the rows' degrees of freedom.
        """
        n, p = block.shape
        U = _as_features(U)
        check_length(n, U, "U")
        weights = check_sample_weight(sample_weight, n)
        kinds = np.asarray(kinds, dtype=object)
        check_length(p, kinds, "kinds")
        if self.target == "none":
            return Projection(np.zeros((p, U.shape[1])), np.zeros(U.shape[1]), 0, 0.0, "none")
        rows = np.flatnonzero(weights)
        check_finite(U, rows)
        columns = np.flatnonzero(np.isin(kinds, _TARGETS[self.target]))
        # Exact columns first: their triangle does not know of the penalised ones.
        exact = kinds[columns] == "parametric"
        columns = np.concatenate([columns[exact], columns[~exact]])
        n_exact = int(exact.sum())
        S = np.zeros((len(columns) - n_exact,) * 2)
        if penalty is not None:
            smooth = columns[n_exact:]
            S = np.asarray(penalty, dtype=float)[np.ix_(smooth, smooth)]

        def read(chunk: np.ndarray) -> np.ndarray:
            return _columns(block.take(chunk), columns)

        found = project(read, U, weights, rows, n_exact, S)
        if found.edf > _RANK_SHARE * len(rows):
            warnings.warn(
                f"the structured part takes {found.edf:.1f} degrees of freedom from the deep part, "
                f"more than a fifth of the {len(rows)} rows, and leaves it little; use fewer "
                "columns or levels, random effects re() for groups, or a narrower target.",
                DataWarning,
                stacklevel=2,
            )
        G = np.zeros((p, U.shape[1]))
        G[columns] = found.G
        return Projection(G, found.center, found.rank, found.edf, self.target)


def _columns(block: DesignBlock, columns: np.ndarray) -> np.ndarray:
    """Dense ``(m, q)`` array of some columns; random effects are never made dense."""
    p = block.shape[1]
    if len(columns) == p:
        return block.dense()[:, columns]
    selection = np.zeros((p, len(columns)))
    selection[columns, np.arange(len(columns))] = 1.0
    return block.matvec(selection)


def _as_features(U: np.ndarray) -> np.ndarray:
    U = np.asarray(U, dtype=float)
    if U.ndim != 2:
        raise DataError(f"latent features must have shape (n, d), got {U.shape}.")
    return U
