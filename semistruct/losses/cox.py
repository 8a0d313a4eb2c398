"""The Cox partial likelihood as a torch loss: exact, batched, stratified, truncated."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from semistruct.exceptions import DataError, SpecificationError
from semistruct.losses._arithmetic import LINEAR, take
from semistruct.losses._risk_moments import (
    RiskMoments,
    TieRule,
    risk_moments,
    tie_rule,
    working_dtype,
)
from semistruct.losses._risk_sets import CoxRiskSets

__all__ = ["CoxRiskSets", "Reduction", "Ties", "cox_partial_likelihood"]

Ties = Literal["efron", "breslow"]
Reduction = Literal["sum", "mean", "none"]


def cox_partial_likelihood(
    eta: Tensor,
    time: Any = None,
    event: Any = None,
    *,
    entry: Any = None,
    strata: Any = None,
    weights: Tensor | None = None,
    ties: Ties = "efron",
    reduction: Reduction = "sum",
    risk_sets: CoxRiskSets | None = None,
) -> Tensor:
    """Negative log partial likelihood of a Cox model: a loss to be minimised in ``eta``.

    Parameters
    ----------
    eta : (..., n) tensor
        Log partial hazards. Leading dimensions are independent members (folds, bootstrap samples,
        ensembles) that share the follow-up; one call equals the loop over them.
    time, event, entry, strata : (n,) array-like, optional
        The follow-up, as in :meth:`CoxRiskSets.from_data`. Leave out when ``risk_sets`` is given.
    weights : (n,) or (..., n) tensor, optional
        Case weights as in R: constants, not repetitions. A weight of zero removes the row, also
        from the number of tied events.
    ties : {"efron", "breslow"}
    reduction : {"sum", "mean", "none"}
        ``"mean"`` divides by the sum of the events' weights; ``"none"`` gives every row's
        contribution ``(..., n)``, zero for censored rows, ties shared in proportion to weights.
    risk_sets : CoxRiskSets, optional
        Sorted once, used in every epoch.

    Returns
    -------
    loss : (...) tensor
        In the precision of ``eta`` (single precision for half), zero when there is no event.
        Twice differentiable in ``eta``, in closed form; ``weights`` are constants.

    Raises
    ------
    DataError
        If the follow-up is unusable, lengths differ, or a weight is negative or not finite.
    SpecificationError
        If an option is unknown, or both or neither of follow-up and ``risk_sets`` are given.

    Notes
    -----
    With ``D_k`` the events at ``t_k`` that have positive weight, ``m_k`` their number, ``W_k``
    their weight and ``A_k``, ``B_k`` the sums of ``w_j exp(eta_j)`` over the risk set and over
    ``D_k``::

        Breslow  sum_k { W_k log A_k - sum_{D_k} w_i eta_i }
        Efron    sum_k { (W_k / m_k) sum_{r < m_k} log(A_k - r / m_k B_k) - sum_{D_k} w_i eta_i }

    Sums are accumulated in double precision, O(n log n) in time and O(n) in memory for any pattern
    of ties, and only ever added (``A_k - r/m B_k`` as others + ``(1 - r/m) B_k``), so the result is
    right for any spread of ``eta``: on the natural scale up to a range of 1300, on the logarithmic
    scale (about ten times slower) beyond.

    References
    ----------
    Cox (1972), J. R. Stat. Soc. B 34; Breslow (1974), Biometrics 30; Efron (1977), JASA 72.

    Examples
    --------
    >>> eta = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    >>> loss = cox_partial_likelihood(eta, [2.0, 3.0, 3.0], [1, 1, 0])
    >>> round(loss.item(), 4)
    1.6135
    >>> torch.autograd.grad(loss, eta)[0].sum().abs().item() < 1e-12
    True
    """
    if ties not in ("efron", "breslow"):
        raise SpecificationError(f"ties must be 'efron' or 'breslow', got {ties!r}.")
    if reduction not in ("sum", "mean", "none"):
        raise SpecificationError(f"reduction must be 'sum', 'mean' or 'none', got {reduction!r}.")
    if risk_sets is None:
        if time is None or event is None:
            raise SpecificationError("give time and event, or risk_sets.")
        risk_sets = CoxRiskSets.from_data(time, event, entry, strata, device=eta.device)
    elif not (time is None and event is None and entry is None and strata is None):
        raise SpecificationError("give either the follow-up (time, event, ...) or risk_sets.")
    problem = _problem(eta, weights, risk_sets, ties == "efron")
    if problem.weights is not None and problem.weights.dim() > eta.dim():
        eta = eta.expand(problem.weights.shape)
    loss = _PartialLikelihood.apply(eta, problem, reduction != "none")
    if reduction == "mean":
        loss = loss / problem.event_weight(loss)
    return loss


class _Problem(NamedTuple):
    """A likelihood up to ``eta``."""

    risk_sets: CoxRiskSets
    weights: Tensor | None
    rule: TieRule

    def event_weight(self, like: Tensor) -> Tensor | float:
        """Sum of the events' weights; one where it is zero."""
        if self.weights is None:
            return max(self.risk_sets.n_events, 1)
        total = (self.weights * self.risk_sets.event).sum(-1)
        return torch.where(total > 0, total, torch.ones_like(total)).to(like.dtype)

    def at_events(self, of_rows: Tensor | None) -> Tensor:
        """Sums of a row quantity (default: the weights) over the events of each event time."""
        rs = self.risk_sets
        if of_rows is None:
            of_rows = self.weights
        if of_rows is None:
            return rs.count
        return LINEAR.bucket_sum(take(of_rows, rs.event_rows), rs.event_time, rs.n_times)

    def coefficients(self) -> tuple[Tensor, Tensor | None]:
        """Weight of the logarithm of each denominator in the summed loss."""
        return self.rule.coefficients(self.at_events(None), self.risk_sets)

    def events(self) -> Tensor:
        """``w_i event_i``, ``(..., n)``."""
        event = self.risk_sets.event
        return event if self.weights is None else event * self.weights


def _problem(eta: Tensor, weights: Tensor | None, risk_sets: CoxRiskSets, efron: bool) -> _Problem:
    n = risk_sets.n_rows
    if eta.dim() == 0 or eta.shape[-1] != n:
        raise DataError(
            f"eta has shape {tuple(eta.shape)} but the risk sets have {n} rows; the last "
            "dimension of eta is the rows."
        )
    if risk_sets.device != eta.device:
        raise DataError(
            f"eta is on {eta.device} and the risk sets on {risk_sets.device}; move them once with "
            "risk_sets.to(eta.device)."
        )
    if weights is None:
        return _Problem(risk_sets, None, tie_rule(risk_sets, efron, None))
    weights = torch.as_tensor(weights, device=eta.device)
    if weights.requires_grad:
        raise SpecificationError("weights are constants of the loss; detach them.")
    weights = weights.to(working_dtype(eta.device))
    if weights.dim() == 0 or weights.shape[-1] != n:
        raise DataError(f"weights have shape {tuple(weights.shape)} but eta has {n} rows.")
    if weights.numel():
        low, high = torch.aminmax(weights)
        smallest = low.item()
        if not (smallest >= 0.0 and high.item() < torch.inf):
            bad = (~((weights >= 0.0) & (weights < torch.inf))).nonzero()[0].tolist()
            raise DataError(
                f"weights must be finite and not negative; row {bad[-1]} has "
                f"{weights[tuple(bad)].item()}."
            )
    else:
        smallest = 1.0
    shape = torch.broadcast_shapes(eta.shape, weights.shape)
    if shape != eta.shape or weights.dim() > 1:
        weights = weights.expand(shape)
    rule = tie_rule(risk_sets, efron, weights if smallest == 0.0 else None)
    return _Problem(risk_sets, weights, rule)


class _PartialLikelihood(torch.autograd.Function):
    """The loss; its derivative is :class:`_Score`, in closed form."""

    @staticmethod
    def forward(ctx: Any, eta: Tensor, problem: _Problem, reduced: bool) -> Tensor:
        ctx.problem, ctx.reduced = problem, reduced
        dtype = eta.dtype if eta.dtype in (torch.float32, torch.float64) else torch.float32
        working = eta.to(working_dtype(eta.device))
        centred, moments = risk_moments(working, problem.weights, problem.risk_sets, problem.rule)
        ctx.save_for_backward(eta)
        ctx.moments = moments
        first, extra = moments.log_denominators()
        if reduced:
            c_first, c_extra = problem.coefficients()
            loss = (first * c_first).sum(-1)
            if c_extra is not None:
                loss += (extra * c_extra).sum(-1)
            loss -= (centred * problem.events()).sum(-1)
        else:
            per_event = take(_mean_over_denominators(problem, first, extra), _time_of(problem))
            loss = (per_event - centred) * problem.events()
        return loss.to(dtype)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        (eta,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradient = _Score.apply(cotangent, eta, ctx.problem, ctx.moments, ctx.reduced)
        else:
            gradient = _score(cotangent, ctx.problem, ctx.moments, ctx.reduced).to(eta.dtype)
        return gradient, None, None


class _Score(torch.autograd.Function):
    """The derivative of the loss; its own derivative is a product with the Hessian."""

    @staticmethod
    def forward(
        ctx: Any,
        cotangent: Tensor,
        eta: Tensor,
        problem: _Problem,
        moments: RiskMoments,
        reduced: bool,
    ) -> Tensor:
        ctx.problem, ctx.moments, ctx.reduced = problem, moments, reduced
        ctx.save_for_backward(cotangent)
        ctx.dtype = eta.dtype
        return _score(cotangent, problem, moments, reduced).to(eta.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (cotangent,) = ctx.saved_tensors
        problem, moments, dtype = ctx.problem, ctx.moments, ctx.moments.hazard.dtype
        v, u = v.to(dtype), cotangent.to(dtype)
        mean_first, mean_extra = moments.means(v)
        if ctx.reduced:
            first, extra = problem.coefficients()
            spread = moments.spread(first, extra, positive=True)
            of_cotangent = (v * (spread - problem.events())).sum(-1)
        else:
            first, extra = problem.rule.coefficients(
                problem.at_events(u * problem.events()), problem.risk_sets
            )
            spread = moments.spread(first, extra, positive=False)
            mean = _mean_over_denominators(problem, mean_first, mean_extra)
            of_cotangent = (take(mean, _time_of(problem)) - v) * problem.events()
        first = first * mean_first
        extra = None if extra is None else extra * mean_extra
        of_eta = v * spread - moments.spread(first, extra, positive=False)
        if ctx.reduced:
            of_eta = u[..., None] * of_eta
        return of_cotangent.to(cotangent.dtype), of_eta.to(ctx.dtype), None, None, None


def _score(cotangent: Tensor, problem: _Problem, moments: RiskMoments, reduced: bool) -> Tensor:
    """``cotangent' d loss / d eta``, ``(..., n)``, in the working precision."""
    u = cotangent.to(moments.hazard.dtype)
    if reduced:
        first, extra = problem.coefficients()
        score = moments.spread(first, extra, positive=True).sub_(problem.events())
        return score.mul_(u[..., None])
    u = u * problem.events()
    first, extra = problem.rule.coefficients(problem.at_events(u), problem.risk_sets)
    return moments.spread(first, extra, positive=False).sub_(u)


def _time_of(problem: _Problem) -> Tensor:
    """Number of each row's event time; zero, a dummy, for censored rows."""
    rs = problem.risk_sets
    of_rows = rs.event_time.new_zeros(rs.n_rows)
    of_rows[rs.event_rows] = rs.event_time
    return of_rows


def _mean_over_denominators(problem: _Problem, first: Tensor, extra: Tensor | None) -> Tensor:
    """Mean over the denominators of each event time, ``(..., K)``."""
    rule, rs = problem.rule, problem.risk_sets
    if extra is None:
        return first
    if rule.live is not None:
        extra = extra * rule.live
    tied_time = rs.scan.tied_time
    sums = LINEAR.bucket_sum(extra, rule.group, tied_time.shape[0])
    first = first.clone()
    first[..., tied_time] = (take(first, tied_time) + sums) * take(rule.share_count, tied_time)
    return first
