"""Penalised normal equations: preconditioned Cholesky and determinants of sums of penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, eigh, lapack, solve_triangular

__all__ = ["Factor", "PenaltyDeterminant", "PenaltySum", "penalised_cholesky", "pseudo_root"]

# First ridge tried on the unit-diagonal matrix when Cholesky breaks down.
_FIRST_RIDGE = 1e-6
# Eigenvalues below this share of the largest count as the null space of a penalty.
_RANK_TOL = 1e-9
# Penalties whose norms differ by more than this are never added before a rotation separates them.
_DOMINANCE = np.finfo(float).eps ** (1 / 3)


@dataclass(frozen=True)
class Factor:
    """Cholesky factor of a symmetric matrix ``A``, taken at unit diagonal.

    ``D^-1/2 A D^-1/2 + ridge I = L L'`` with ``D = diag(A)``.

    Attributes
    ----------
    L : (P, P) array
        Lower triangular factor of the scaled matrix.
    root : (P,) array
        ``diag(A) ** 0.5`` (one where the diagonal is not positive).
    ridge : float
        What had to be added to the unit diagonal; zero when ``A`` is positive definite.
    """

    L: np.ndarray
    root: np.ndarray
    ridge: float

    @property
    def positive_definite(self) -> bool:
        """Whether no ridge was needed."""
        return self.ridge == 0.0

    @property
    def logdet(self) -> float:
        """``log |A|`` (of the ridged matrix where a ridge was needed)."""
        return 2.0 * float(np.log(np.diag(self.L)).sum() + np.log(self.root).sum())

    def solve(self, b: np.ndarray) -> np.ndarray:
        """``A^-1 b`` for ``b`` of shape ``(P,)`` or ``(P, m)``."""
        root = self.root if b.ndim == 1 else self.root[:, None]
        if not self.root.size:
            return b.copy()
        return cho_solve((self.L, True), b / root, check_finite=False) / root

    def half_solve(self, b: np.ndarray) -> np.ndarray:
        """``C^-1 b`` where ``A = C C'``, so that ``b' A^-1 b`` is a sum of squares."""
        root = self.root if b.ndim == 1 else self.root[:, None]
        if not self.root.size:
            return b.copy()
        return solve_triangular(self.L, b / root, lower=True, check_finite=False)

    def inverse(self) -> np.ndarray:
        """``A^-1``, exactly symmetric, ``(P, P)``."""
        if not self.root.size:
            return np.zeros((0, 0))
        V, _ = lapack.dpotri(self.L, lower=1)
        V /= self.root
        V /= self.root[:, None]
        V = np.tril(V)
        V += np.tril(V, -1).T
        return V


def penalised_cholesky(A: np.ndarray, *, max_ridge: float = 1e6) -> Factor:
    """Factor a symmetric matrix after scaling it to unit diagonal, with a ridge if it must be.

    Parameters
    ----------
    A : (P, P) array
        Symmetric; ``H + S_lam`` in the engine.
    max_ridge : float
        Give up beyond this ridge on the unit diagonal.

    Returns
    -------
    Factor

    Raises
    ------
    numpy.linalg.LinAlgError
        If ``A`` is not finite, or no ridge up to ``max_ridge`` makes it positive definite.

    Notes
    -----
    Smoothing parameters spread the diagonal over many orders of magnitude; at unit diagonal the
    factorisation only sees the correlations. When it breaks down, ``tau I`` is added with
    ``tau = 1e-6``, then ten times more, until it succeeds.

    Examples
    --------
    >>> factor = penalised_cholesky(np.diag([1e-8, 1e8]))
    >>> factor.positive_definite, round(factor.logdet, 12) == 0
    (True, True)
    """
    A = np.asarray(A, dtype=float)
    if not np.isfinite(A).all():
        raise np.linalg.LinAlgError("the matrix to factor has entries that are not finite")
    diagonal = np.diag(A)
    root = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = A / root
    scaled /= root[:, None]
    size = root.size
    if not size:
        return Factor(scaled, root, 0.0)
    ridge = 0.0
    while ridge <= max_ridge:
        trial = scaled.copy()
        trial[np.arange(size), np.arange(size)] += ridge
        L, info = lapack.dpotrf(trial, lower=1, clean=1, overwrite_a=1)
        # A pivot at rounding level means "singular", even when dpotrf happened to get through.
        smallest = np.diag(L).min() if info == 0 else 0.0
        if info == 0 and smallest > 1e-8:
            return Factor(L, root, ridge)
        ridge = _FIRST_RIDGE if ridge == 0.0 else 10.0 * ridge
    raise np.linalg.LinAlgError(f"no ridge up to {max_ridge:g} made the matrix positive definite")


def pseudo_root(A: np.ndarray, tol: float = _RANK_TOL) -> np.ndarray:
    """``B`` of shape ``(rank, p)`` with ``B' B = A`` for a positive semi-definite ``A``.

    Eigenvalues below ``tol`` times the largest, and negative ones, are dropped.

    Examples
    --------
    >>> pseudo_root(np.array([[4.0, 0.0], [0.0, 0.0]])).shape
    (1, 2)
    """
    if not A.size:
        return np.zeros((0, A.shape[0]))
    values, vectors = eigh((A + A.T) / 2)
    keep = values > tol * max(values[-1], 0.0)
    return (vectors[:, keep] * np.sqrt(values[keep])).T


@dataclass(frozen=True)
class PenaltyDeterminant:
    """What restricted likelihoods need of ``S = sum_j lam_j S_j``.

    Attributes
    ----------
    logdet : float
        ``log |S|_+``, the log of the product of the non-zero eigenvalues.
    traces : (J,) array
        ``lam_j tr(S^- S_j)``; its sum is the rank of ``S``.
    rank : int
        Rank of ``S``.
    """

    logdet: float
    traces: np.ndarray
    rank: int


@dataclass(frozen=True)
class PenaltySum:
    """Penalties of the same ``q`` coefficients, prepared for many values of ``lam``.

    Attributes
    ----------
    matrices : tuple of J (r, r) arrays
        The penalties in an orthogonal basis of the range space of their sum.
    basis : (q, r) array
        That basis.
    log_eigenvalues : float
        For a single penalty, the sum of the logs of its non-zero eigenvalues.
    """

    matrices: tuple[np.ndarray, ...]
    basis: np.ndarray
    log_eigenvalues: float

    @classmethod
    def prepare(cls, penalties: Sequence[np.ndarray]) -> PenaltySum:
        """Find the range space of the sum once.

        Parameters
        ----------
        penalties : sequence of J (q, q) arrays
            Symmetric positive semi-definite.
        """
        total = sum(S / max(np.linalg.norm(S), np.finfo(float).tiny) for S in penalties)
        if len(penalties) == 1 and np.count_nonzero(total - np.diag(np.diag(total))) == 0:
            # Random effects bring identities of many levels: no eigenproblem for those.
            values = np.diag(penalties[0])
            keep = values > _RANK_TOL * max(values.max(), 0.0)
            basis = np.eye(values.size)[:, keep]
            kept = np.diag(values[keep])
            return cls((kept,), basis, float(np.log(values[keep]).sum()))
        values, vectors = eigh((total + total.T) / 2)
        keep = values > _RANK_TOL * max(values[-1], 0.0)
        basis = vectors[:, keep]
        matrices = tuple(basis.T @ S @ basis for S in penalties)
        logs = 0.0
        if len(penalties) == 1:
            logs = float(np.log(values[keep] * np.linalg.norm(penalties[0])).sum())
        return cls(matrices, basis, logs)

    def at(self, lam: Sequence[float] | np.ndarray) -> PenaltyDeterminant:
        """Log-determinant and traces at ``lam`` ``(J,)``; a ``lam`` of zero removes its penalty.

        Notes
        -----
        With several penalties the sum is rotated so that a dominant penalty is exactly zero where
        only smaller ones act (the similarity transform of Wood 2011, appendix B); the result keeps
        full relative accuracy when the ``lam`` differ by 1e16.

        References
        ----------
        Wood (2011), Fast stable restricted maximum likelihood and marginal likelihood estimation
        of semiparametric generalized linear models, JRSS B 73, 3-36.

        Examples
        --------
        >>> parts = PenaltySum.prepare([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])])
        >>> found = parts.at([1e-8, 1e8])
        >>> round(found.logdet, 10) == 0, found.traces.round(10).tolist(), found.rank
        (True, [1.0, 1.0], 2)
        """
        lam = np.asarray(lam, dtype=float)
        size = self.basis.shape[1]
        traces = np.zeros(len(self.matrices))
        if len(self.matrices) == 1:
            if not lam[0] > 0 or not size:
                return PenaltyDeterminant(0.0, traces, 0)
            logdet = self.log_eigenvalues + size * float(np.log(lam[0]))
            return PenaltyDeterminant(logdet, np.full(1, float(size)), size)
        active = [j for j in range(len(self.matrices)) if lam[j] > 0]
        if not active:
            return PenaltyDeterminant(0.0, traces, 0)
        if len(active) < len(self.matrices):
            found = PenaltySum.prepare([self.matrices[j] for j in active]).at(lam[active])
            traces[active] = found.traces
            return PenaltyDeterminant(found.logdet, traces, found.rank)
        rotated = _separate(self.matrices, lam)
        S = sum(x * R for x, R in zip(lam, rotated, strict=True))
        factor = penalised_cholesky(S)
        for j, R in enumerate(rotated):
            traces[j] = lam[j] * np.trace(factor.solve(R))
        return PenaltyDeterminant(factor.logdet, traces, size)

    def pinv(self, lam: Sequence[float] | np.ndarray) -> np.ndarray:
        """Pseudo-inverse of ``sum_j lam_j S_j``, ``(q, q)``, for positive ``lam``."""
        S = sum(x * M for x, M in zip(lam, self.matrices, strict=True))
        return self.basis @ penalised_cholesky(S).inverse() @ self.basis.T


def _separate(matrices: Sequence[np.ndarray], lam: np.ndarray) -> list[np.ndarray]:
    """Rotate penalties jointly so that rounding of large ones cannot hide small ones.

    Returns orthogonal similarity transforms ``Q' S_j Q`` of the same rotation ``Q``, in which
    entries that are zero in exact arithmetic are exactly zero.
    """
    rotated = [M.copy() for M in matrices]
    size = rotated[0].shape[0]
    start, left = 0, list(range(len(rotated)))
    while left and start < size:
        norms = {j: lam[j] * np.linalg.norm(rotated[j][start:, start:]) for j in left}
        largest = max(norms.values())
        dominant = [j for j in left if norms[j] >= _DOMINANCE * largest]
        rest = [j for j in left if j not in dominant]
        if not rest or largest == 0.0:
            break
        block = [rotated[j][start:, start:] for j in dominant]
        unit = sum(B / np.linalg.norm(B) for B in block)
        values = np.linalg.eigvalsh(unit)
        rank = int((values > _RANK_TOL * values[-1]).sum())
        if rank == size - start:
            break
        weighted = sum(lam[j] * B for j, B in zip(dominant, block, strict=True))
        _, U = np.linalg.eigh(weighted)
        U = U[:, ::-1]
        for j in left:
            rotated[j][:, start:] = rotated[j][:, start:] @ U
            rotated[j][start:, :] = U.T @ rotated[j][start:, :]
        start += rank
        for j in dominant:
            rotated[j][start:, :] = 0.0
            rotated[j][:, start:] = 0.0
        left = rest
    return rotated
