"""Curvature of the Cox partial likelihood in ``eta`` and in regression coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from semistruct.exceptions import DataError
from semistruct.losses._arithmetic import inner
from semistruct.losses._problem import CoxProblem, Ties, cox_problem
from semistruct.losses._risk_moments import LinearMoments, RiskMoments
from semistruct.losses._risk_sets import CoxRiskSets
from semistruct.losses._scans import SuffixScan
from semistruct.losses._sorted_gram import SortedDesign, sorted_design, sorted_gram

__all__ = [
    "CoxDerivatives",
    "CoxHessian",
    "CoxPoint",
    "SortedDesign",
    "as_columns",
    "cox_derivatives",
    "cox_hessian",
    "cox_information",
    "sort_design",
]

# Columns scanned at once: enough to fill vector units, few enough to stay small beside the data.
_COLUMNS = 4
_ROWS = 1 << 14


@dataclass(frozen=True, eq=False)
class CoxHessian:
    """Hessian in ``eta`` of the negative log partial likelihood, as an operator.

    ``H = diag(d) - R' R``, where row ``s`` of ``R`` holds ``sqrt(c_s) w_j exp(eta_j) / D_s`` for
    the members ``j`` of denominator ``s``, and ``d = R' sqrt(c)``. Never formed.

    Attributes
    ----------
    diagonal : (n,) tensor
        ``d``: weighted hazard accumulated by each row.
    """

    diagonal: Tensor
    _moments: RiskMoments
    _first: Tensor
    _extra: Tensor | None

    @property
    def n_denominators(self) -> int:
        """Rows of ``R``."""
        return self._first.shape[-1] + (0 if self._extra is None else self._extra.shape[-1])

    def root(self, V: Tensor, out: Tensor | None = None) -> Tensor:
        """``V R'`` for ``V`` of shape ``(b, n)``: risk-set means of rows times ``sqrt(c)``.

        Returns
        -------
        (b, n_denominators) tensor
            ``X' H X = X' diag(d) X - root(X') root(X')'`` for any design ``X``.
        """
        first, extra = self._moments.means(V)
        if out is None:
            out = V.new_empty((*V.shape[:-1], self.n_denominators))
        split = self._first.shape[-1]
        torch.mul(first, self._first.sqrt(), out=out[..., :split])
        if extra is not None and self._extra is not None:
            torch.mul(extra, self._extra.sqrt(), out=out[..., split:])
        return out

    def matvec(self, V: Tensor) -> Tensor:
        """``V H`` for ``V`` of shape ``(..., n)``."""
        first, extra = self._moments.means(V)
        extra = None if extra is None or self._extra is None else extra * self._extra
        return V * self.diagonal - self._moments.spread(first * self._first, extra, positive=False)

    def gram(self, X: Any) -> Tensor:
        """``X' H X``, ``(p, p)``, for ``X`` of shape ``(n, p)``.

        Notes
        -----
        O(n p^2) operations. Right-censored data are walked through in small blocks of sorted rows;
        with delayed entry, or a very wide ``eta``, the columns are scanned one after the other
        and O(n p) memory is used. Columns are centred first, which does not change the result
        (``H 1 = 0``) but keeps its digits.
        """
        X = as_columns(X, self.diagonal)
        scan = self._moments.risk_sets.scan
        if isinstance(scan, SuffixScan) and self.walks:
            return self.sorted_gram(sorted_design(X, scan))
        return self._gram_by_columns(X)

    @property
    def walks(self) -> bool:
        """Whether :meth:`gram` is one walk over sorted rows."""
        scan = self._moments.risk_sets.scan
        return isinstance(scan, SuffixScan) and isinstance(self._moments, LinearMoments)

    def sorted_gram(self, design: SortedDesign) -> Tensor:
        """:meth:`gram` of a design that was sorted before, where that :attr:`walks`."""
        scan = cast(SuffixScan, self._moments.risk_sets.scan)
        return sorted_gram(design, scan, self._moments, self._first, self._extra)

    def _gram_by_columns(self, X: Tensor) -> Tensor:
        n, p = X.shape
        centre = X.mean(0)
        root = X.new_empty((p, self.n_denominators))
        for start in range(0, p, _COLUMNS):
            part = slice(start, start + _COLUMNS)
            V = (X[:, part] - centre[part]).T.contiguous()
            self.root(V, out=root[part])
        gram = torch.matmul(root, root.T).neg_()
        del root
        rows = X.new_empty((min(n, _ROWS), p))
        weighted = torch.empty_like(rows)
        for start in range(0, n, _ROWS):
            part = slice(start, start + _ROWS)
            size = X[part].shape[0]
            torch.sub(X[part], centre, out=rows[:size])
            torch.mul(rows[:size], self.diagonal[part, None], out=weighted[:size])
            gram.addmm_(rows[:size].T, weighted[:size])
        return 0.5 * (gram + gram.T)


@dataclass(frozen=True, eq=False)
class CoxDerivatives:
    """The log partial likelihood at one ``beta`` with its first two derivatives.

    Attributes
    ----------
    loglik : float
    score : (p,) tensor
    information : (p, p) tensor
        Minus the second derivative.
    """

    loglik: float
    score: Tensor
    information: Tensor


def cox_hessian(
    eta: Any,
    risk_sets: CoxRiskSets,
    *,
    weights: Any = None,
    ties: Ties = "efron",
    time_weights: Any = None,
) -> CoxHessian:
    """The Hessian in ``eta`` as an operator.

    Parameters
    ----------
    eta, risk_sets, weights, ties
        As in :func:`cox_derivatives`.
    time_weights : (K,) tensor or array, optional
        What each event time (``risk_sets.time``) counts, not negative: the Hessian of the loss
        whose terms are multiplied so.
    """
    eta = as_vector(eta, risk_sets)
    problem = cox_problem(eta, weights, risk_sets, ties)
    return _hessian(problem, problem.evaluate(eta)[1], time_weights)


def _hessian(problem: CoxProblem, moments: RiskMoments, time_weights: Any = None) -> CoxHessian:
    first, extra = problem.coefficients()
    if time_weights is not None:
        factor = torch.as_tensor(time_weights).to(first)
        if factor.shape != first.shape or not bool((factor >= 0).all()):
            raise DataError(
                f"time_weights must be {first.shape[-1]} numbers, one for each event time, not "
                f"negative; got shape {tuple(factor.shape)}."
            )
        at_times = problem.at_events(problem.weights) * factor
        first, extra = problem.rule.coefficients(at_times, problem.risk_sets)
    diagonal = moments.spread(first, extra, positive=True)
    return CoxHessian(diagonal, moments, first, extra)


@dataclass(frozen=True, eq=False)
class CoxPoint:
    """A partial likelihood at one ``eta``: value and Hessian from the same sums over risk sets."""

    _problem: CoxProblem
    _centred: Tensor
    _moments: RiskMoments

    @classmethod
    def of(
        cls, eta: Any, risk_sets: CoxRiskSets, *, weights: Any = None, ties: Ties = "efron"
    ) -> CoxPoint:
        """Parameters are those of :func:`cox_derivatives`."""
        eta = as_vector(eta, risk_sets)
        problem = cox_problem(eta, weights, risk_sets, ties)
        return cls(problem, *problem.evaluate(eta))

    @property
    def loglik(self) -> float:
        """Log partial likelihood."""
        problem = self._problem
        first, extra = self._moments.log_denominators()
        c_first, c_extra = problem.coefficients()
        loglik = inner(self._centred, problem.events()) - inner(first, c_first)
        if extra is not None and c_extra is not None:
            loglik -= inner(extra, c_extra)
        return loglik.item()

    @cached_property
    def hessian(self) -> CoxHessian:
        """See :func:`cox_hessian`."""
        return _hessian(self._problem, self._moments)


def cox_derivatives(
    eta: Any,
    X: Any,
    risk_sets: CoxRiskSets,
    *,
    weights: Any = None,
    ties: Ties = "efron",
) -> CoxDerivatives:
    """Log partial likelihood, score and information in the coefficients of ``X``.

    Parameters
    ----------
    eta : (n,) tensor or array
        The predictor, usually ``X @ beta`` plus an offset.
    X : (n, p) tensor or array
    risk_sets : CoxRiskSets
    weights : (n,) tensor or array, optional
        Case weights.
    ties : {"efron", "breslow"}

    Returns
    -------
    CoxDerivatives

    Notes
    -----
    A Newton step is ``torch.linalg.solve(d.information, d.score)``.

    Examples
    --------
    >>> risk_sets = CoxRiskSets.from_data([1.0, 2.0, 3.0], [1, 1, 1])
    >>> d = cox_derivatives([0.0, 0.0, 0.0], [[1.0], [0.0], [0.0]], risk_sets)
    >>> round(d.loglik, 4), round(d.score.item(), 4), round(d.information.item(), 4)
    (-1.7918, 0.6667, 0.2222)
    """
    point = CoxPoint.of(eta, risk_sets, weights=weights, ties=ties)
    hessian = point.hessian
    X = as_columns(X, hessian.diagonal)
    score = X.T @ (point._problem.events() - hessian.diagonal)
    return CoxDerivatives(point.loglik, score, hessian.gram(X))


def cox_information(
    eta: Any,
    X: Any,
    risk_sets: CoxRiskSets,
    *,
    weights: Any = None,
    ties: Ties = "efron",
) -> Tensor:
    """``X' H X``: information about the coefficients of ``X``, ``(p, p)``.

    Parameters are those of :func:`cox_derivatives`.
    """
    return cox_hessian(eta, risk_sets, weights=weights, ties=ties).gram(X)


def sort_design(X: np.ndarray, risk_sets: CoxRiskSets) -> SortedDesign | None:
    """The columns ``X`` ``(n, p)`` in the order of the risk sets; None with delayed entry.

    For :meth:`CoxHessian.sorted_gram` at several ``eta``. ``X`` itself is only read.
    """
    scan = risk_sets.scan
    if not isinstance(scan, SuffixScan):
        return None
    rows = X.take(scan.source.cpu().numpy(), axis=0)
    rows -= X.mean(axis=0)
    return SortedDesign(torch.from_numpy(rows).to(risk_sets.event))


def as_vector(eta: Any, risk_sets: CoxRiskSets) -> Tensor:
    """``eta`` as a detached tensor ``(n,)`` on the device of the risk sets."""
    eta = torch.as_tensor(eta, device=risk_sets.device).detach()
    if eta.dim() != 1:
        raise DataError(f"eta must be 1-dimensional here, got shape {tuple(eta.shape)}.")
    return eta


def as_columns(X: Any, like: Tensor) -> Tensor:
    """``X`` as an ``(n, p)`` tensor of the dtype and device of ``like`` ``(n,)``."""
    if not isinstance(X, Tensor):
        X = torch.as_tensor(np.asarray(X))
    X = X.detach().to(like)
    if X.dim() != 2 or X.shape[0] != like.shape[0]:
        raise DataError(
            f"X must have shape ({like.shape[0]}, p), one row per subject; got {tuple(X.shape)}."
        )
    return X
