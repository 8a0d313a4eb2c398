"""Structured coefficients where some rows lack pictures: their likelihood is that of a mixture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from semistruct.families.cox import EVENT
from semistruct.fitting.augmented import take_rows, with_offset
from semistruct.fitting.score_nodes import Nodes
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured

__all__ = ["solve_mixture"]

_ITERATIONS = 25
_TOL = 1e-4  # change of predictors, in standard deviations of the score's part


def solve_mixture(
    problem: StructuredProblem, shifts: Nodes, owner: np.ndarray | None = None
) -> StructuredFit:
    """Maximise the penalised likelihood of rows whose deep part is known up to its law.

    Parameters
    ----------
    problem : StructuredProblem
        n rows, smoothing parameters fixed.
    shifts : Nodes
        What the deep terms may add to the predictors of every row, ``(N, K)``.
    owner : (n,) int array, optional
        Rows of one number share a picture, so that their nodes are the same; by default none do.

    Notes
    -----
    The EM algorithm: nodes have the weights they have after the responses were seen, and the
    coefficients maximise the mean log-likelihood under these. For a partial likelihood that is one
    with the offset ``log E exp(shift)``, where the baseline hazard of the last step is part of the
    weights (Klein 1992, Biometrics 48, for frailties). The covariance of the result takes the
    weights as known. ``eta`` has the mean shift, or that offset.
    """
    if problem.family.separable:
        return _separable(problem, shifts, owner)
    return _partial_likelihood(problem, shifts)


def _separable(
    problem: StructuredProblem, shifts: Nodes, owner: np.ndarray | None
) -> StructuredFit:
    family = problem.family
    row = shifts.row
    spread = take_rows(problem, row)
    spread = with_offset(spread, shifts.values)
    group, place = _shared(shifts, owner)
    bound = family.bind(np.ascontiguousarray(spread.y), np.ones(len(row)))
    posterior = shifts.weight
    scale = max(float(shifts.values.std()), 1e-12)
    last = None
    for _ in range(_ITERATIONS):
        fit = fit_structured(replace(spread, sample_weight=spread.sample_weight * posterior))
        if last is not None and np.abs(fit.eta - last).max() < _TOL * scale:
            break
        last = fit.eta
        # All rows of a picture speak for its nodes.
        rows = bound.contributions(np.ascontiguousarray(fit.eta))
        total = np.bincount(group, weights=rows)[group]
        posterior = _shares(total, place)
    mean = np.column_stack(
        [np.bincount(row, posterior * column, problem.y.shape[0]) for column in shifts.values.T]
    )
    eta = np.array(problem.offset + mean)
    for k, (block, at) in enumerate(zip(problem.blocks, fit.slices, strict=True)):
        eta[:, k] += block.matvec(fit.beta[at])
    return replace(fit, eta=eta)


def _partial_likelihood(problem: StructuredProblem, shifts: Nodes) -> StructuredFit:
    row, values = shifts.row, shifts.values[:, 0]
    event = problem.y[:, EVENT]
    weight = np.where(problem.sample_weight > 0, problem.sample_weight, 1.0)
    bound = problem.bind()
    posterior = shifts.weight
    scale = max(float(values.std()), 1e-12)
    last = None
    for _ in range(_ITERATIONS):
        offset = np.log(np.bincount(row, posterior * np.exp(values), len(event)))
        fit = fit_structured(with_offset(problem, offset[:, None]))
        if last is not None and np.abs(fit.eta - last).max() < _TOL * scale:
            break
        last = fit.eta
        hazard = event - bound.score(fit.eta)[:, 0] / weight  # cumulative, at the offset
        loglik = event[row] * values - hazard[row] * np.exp(values - offset[row])
        posterior = _shares(loglik, row)
    return fit


def _shared(shifts: Nodes, owner: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """For every node a number that nodes of rows that share them have in common, and the rows'."""
    if owner is None:
        return np.arange(len(shifts.row)), shifts.row
    within = np.arange(len(shifts.row)) - shifts.start[shifts.row]
    most = int(shifts.count.max())
    own = owner[shifts.row]
    return own * most + within, shifts.row


def _shares(loglik: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Weights ``(N,)`` of the nodes that add up to one in every row."""
    n = int(row.max()) + 1
    top = np.full(n, -np.inf)
    np.maximum.at(top, row, loglik)
    share = np.exp(loglik - top[row])
    found: np.ndarray = share / np.bincount(row, share, n)[row]
    return found
