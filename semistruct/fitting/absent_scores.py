"""What the deep scores of a row would be if its missing pictures were there, given the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve

from semistruct.fitting.table_features import TableFeatures

__all__ = ["AbsentScores", "learn_absent_scores"]

N_NODES = 24
N_JOINT_NODES = 64  # where several scores are unknown together
LEAST_ROWS = 50  # from fewer neither mean nor variance depend on anything
_PARTS = 5
_RIDGE = 1.0  # prior information of a standardised feature, in rows
_NEWTON_STEPS = 25
_LOG_RANGE = 3.0  # of variances around their mean


@dataclass(frozen=True)
class AbsentScores:
    """The conditional law of deep scores given what is known of a row, as equally likely nodes.

    The deviation of slot t's score from what is predicted for it without the missing pictures is
    ``m_t(x) + s_t(x) e_t``.

    Attributes
    ----------
    missing : tuple of str
        The columns of pictures that are missing.
    slots : tuple of A int
        The slots whose scores are then not known.
    features : TableFeatures
        Numbers of the table on which mean and logarithm of the variance depend.
    known : tuple of k int
        Slots whose scores, as far as they are known without the missing pictures, they depend on.
    center, spread, lowest, highest : (k,) arrays
        Of these in the rows that were learned from.
    mean, log_variance : (A, 1 + f + k) arrays
        Coefficients, a constant first; zeros behind it where the rest says nothing.
    nodes : (Q, A) array
        Standardised deviations, one row as likely as another.
    from_known : tuple of A bool
        Whether deviations are from what is known of the score itself; else from what the table
        predicts for it, as far as ``mean`` does not say more.
    """

    missing: tuple[str, ...]
    slots: tuple[int, ...]
    features: TableFeatures
    known: tuple[int, ...]
    center: np.ndarray
    spread: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    mean: np.ndarray
    log_variance: np.ndarray
    nodes: np.ndarray
    from_known: tuple[bool, ...] = ()

    def deviations(self, frame: pd.DataFrame, known: np.ndarray) -> np.ndarray:
        """Possible deviations of the unknown scores of every row, ``(n, Q, A)``.

        Parameters
        ----------
        frame : DataFrame of n rows
        known : (n, T) array
            What is known of all scores, less what the table predicts for them.
        """
        F = self._predictors(frame, known)
        sd = _standard_deviation(F, self.log_variance)
        found: np.ndarray = (F @ self.mean.T)[:, None] + sd[:, None] * self.nodes
        return found

    def _predictors(self, frame: pd.DataFrame, known: np.ndarray) -> np.ndarray:
        own = np.clip(known[:, list(self.known)], self.lowest, self.highest)
        z = (own - self.center) / self.spread
        return np.column_stack([np.ones(len(frame)), self.features.of(frame), z])


def learn_absent_scores(
    missing: Sequence[str],
    slots: Sequence[int],
    deviation: np.ndarray,
    known: np.ndarray,
    complete: np.ndarray,
    weight: np.ndarray,
    frame: pd.DataFrame,
    columns: Sequence[str],
) -> AbsentScores:
    """Learn the law from rows that have the pictures, post hoc.

    Parameters
    ----------
    missing : sequence of str
        The columns that are to be done without.
    slots : sequence of A int
        The slots whose scores are then not known.
    deviation : (n, A) array
        Scores less what is predicted for them without these columns, from networks that had not
        seen the rows; NaN in rows that cannot be learned from.
    known : (n, T) array
        What is known of all scores without these columns, less what the table predicts for them;
        NaN where nothing is.
    complete : (n,) bool array
        Rows that have all pictures.
    weight : (n,) array
    frame : DataFrame of n rows
    columns : sequence of str
        The columns of the table that mean and variance may depend on.

    Notes
    -----
    Mean and log variance are linear in bounded features of the table, and in the scores that are
    known, where that predicts unseen rows better than a constant does by more than one standard
    error (cross-validated squared error and normal log score), else constant. Scores that were made
    orthogonal to the table have no other linear mean than zero; after ``orthogonalize="none"``
    they have one.

    The nodes are standardised deviations of actual rows: every so many of them, in the order of
    their first principal component, so that the deviations of several terms keep their dependence.
    They are moved so that mean and covariance are those of all rows. Where no row has all of
    several pictures, their terms count as independent given the rest.
    """
    A = len(slots)
    usable = np.isfinite(deviation) & (weight > 0)[:, None]
    complete = complete & usable.all(axis=1)
    some = usable.any(axis=1)
    several = complete.sum() >= min(LEAST_ROWS, max(some.sum() // 2, 2))
    rows = complete if several else some
    z = known[rows]
    varies = (
        np.isfinite(z).all(axis=0) & (np.ptp(z, axis=0) > 0) if several else [False] * z.shape[1]
    )
    use = np.flatnonzero(varies)
    own = known[:, list(use)]
    seen = own[rows] if rows.any() else np.zeros((1, len(use)))
    features = TableFeatures.learn(frame[rows], columns if rows.any() else ())
    law = AbsentScores(
        missing=tuple(missing),
        slots=tuple(int(t) for t in slots),
        features=features,
        known=tuple(int(t) for t in use),
        center=seen.mean(axis=0),
        spread=seen.std(axis=0),
        lowest=seen.min(axis=0),
        highest=seen.max(axis=0),
        mean=np.zeros((A, 0)),
        log_variance=np.zeros((A, 0)),
        nodes=np.zeros((1, A)),
    )
    # A single row per number of a part, also where rows are sorted.
    F = law._predictors(frame, known)
    mean, log_variance = np.zeros((A, F.shape[1])), np.zeros((A, F.shape[1]))
    standard = np.full(deviation.shape, np.nan)
    part = np.random.default_rng(0).permutation(len(frame)) % _PARTS
    for a in range(A):
        at = np.flatnonzero(complete if several else usable[:, a])
        if not at.size:
            log_variance[a, 0] = -np.inf
            continue
        G, u, w = F[at], deviation[at, a], weight[at]
        mean[a] = _mean_coefficients(G, u, w, part[at])
        left = u - G @ mean[a]
        log_variance[a] = _variance_coefficients(G, left, w, part[at])
        sd = _standard_deviation(G, log_variance[[a]])[:, 0]
        standard[at, a] = np.divide(left, sd, out=np.zeros_like(left), where=sd > 0)
    nodes = _joint_nodes(standard, weight, complete if several else None)
    return AbsentScores(**{**vars(law), "mean": mean, "log_variance": log_variance, "nodes": nodes})


def _standard_deviation(F: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    """``(n, A)``; zero for a constant of minus infinity."""
    constant = log_variance[:, 0]
    slope = F[:, 1:] @ log_variance[:, 1:].T
    return np.exp(0.5 * (constant + np.clip(slope, -_LOG_RANGE, _LOG_RANGE)))


def _joint_nodes(
    standard: np.ndarray, weight: np.ndarray, complete: np.ndarray | None
) -> np.ndarray:
    """Nodes ``(Q, A)``: of complete rows, or of one column after the other."""
    A = standard.shape[1]
    size = N_NODES if A == 1 else N_JOINT_NODES
    if complete is not None:
        return _nodes(standard[complete], weight[complete], size)
    rng = np.random.default_rng(0)
    columns = []
    for a in range(A):
        rows = np.isfinite(standard[:, a])
        if rows.any():
            # In an order that makes the columns independent of each other.
            columns.append(
                rng.permutation(_nodes(standard[rows][:, [a]], weight[rows], size)[:, 0])
            )
        else:
            columns.append(np.zeros(size))
    return np.column_stack(columns)


def _nodes(standard: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """Every so many rows along the first principal component, with the moments of all."""
    mean = np.average(standard, axis=0, weights=weight)
    centred = standard - mean
    cov = (centred * (weight / weight.sum())[:, None]).T @ centred
    _, vectors = np.linalg.eigh(cov)
    order = np.argsort(centred @ vectors[:, -1], kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    at = np.searchsorted(share, (np.arange(size) + 0.5) / size)
    chosen = centred[order[np.minimum(at, len(order) - 1)]]
    chosen = chosen - chosen.mean(axis=0)
    return mean + chosen @ _root(chosen.T @ chosen / size, inverse=True) @ _root(cov)


def _root(cov: np.ndarray, inverse: bool = False) -> np.ndarray:
    """Symmetric square root, or its pseudo-inverse, ``(A, A)``."""
    values, vectors = np.linalg.eigh(cov)
    values = np.sqrt(np.maximum(values, 0.0))
    usable = values > 1e-8 * max(values.max(), 1e-300)
    if inverse:
        values = np.divide(1.0, values, out=np.zeros_like(values), where=usable)
    return (vectors * values) @ vectors.T


def _mean_coefficients(
    F: np.ndarray, u: np.ndarray, weight: np.ndarray, part: np.ndarray
) -> np.ndarray:
    constant = np.zeros(F.shape[1])
    constant[0] = np.average(u, weights=weight)
    if F.shape[1] == 1 or len(u) < LEAST_ROWS or u.std() == 0:
        return constant
    gain = np.zeros(len(u))
    for number in np.unique(part):
        inside = part == number
        level = np.average(u[~inside], weights=weight[~inside])
        found = F[inside] @ _ridge(F[~inside], u[~inside], weight[~inside])
        gain[inside] = (u[inside] - level) ** 2 - (u[inside] - found) ** 2
    return _ridge(F, u, weight) if _is_gain(weight * gain) else constant


def _variance_coefficients(
    F: np.ndarray, left: np.ndarray, weight: np.ndarray, part: np.ndarray
) -> np.ndarray:
    constant = np.zeros(F.shape[1])
    overall = float(np.average(left**2, weights=weight))
    constant[0] = np.log(overall) if overall > 0 else -np.inf
    if F.shape[1] == 1 or len(left) < LEAST_ROWS or overall <= 0:
        return constant
    squares = left**2 / overall
    gain = np.zeros(len(left))
    for number in np.unique(part):
        inside = part == number
        a = _log_linear(F[~inside], squares[~inside], weight[~inside])
        level = np.average(squares[~inside], weights=weight[~inside])
        variance = _standard_deviation(F[inside], a[None])[:, 0] ** 2
        s = squares[inside]
        gain[inside] = 0.5 * (np.log(level) + s / level - np.log(variance) - s / variance)
    if not _is_gain(weight * gain):
        return constant
    found = _log_linear(F, squares, weight)
    found[0] += np.log(overall)
    # With its bounds the variance need not average to that of the rows.
    sd = _standard_deviation(F, found[None])[:, 0]
    found[0] += np.log(np.average((left / sd) ** 2, weights=weight))
    return found


def _is_gain(gain: np.ndarray) -> bool:
    return bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))


def _penalty(F: np.ndarray) -> np.ndarray:
    penalty = np.full(F.shape[1], _RIDGE)
    penalty[0] = 0.0
    return np.diag(penalty)


def _ridge(F: np.ndarray, u: np.ndarray, weight: np.ndarray) -> np.ndarray:
    H = F.T @ (F * weight[:, None]) + _penalty(F)
    return cho_solve(cho_factor(H), F.T @ (weight * u))


def _log_linear(F: np.ndarray, squares: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Gamma regression of squares with a logarithmic link and a ridge, by Fisher scoring."""
    penalty = _penalty(F)
    H = cho_factor(0.5 * F.T @ (F * weight[:, None]) + penalty)
    a = np.zeros(F.shape[1])
    a[0] = np.log(max(np.average(squares, weights=weight), np.finfo(float).tiny))
    for _ in range(_NEWTON_STEPS):
        ratio = squares * np.exp(-np.clip(F @ a, -30, 30))
        step = cho_solve(H, 0.5 * F.T @ (weight * (ratio - 1)) - penalty @ a)
        a = a + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    return a
