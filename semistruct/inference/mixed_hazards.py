"""Hazards of mixtures: of those who lack a picture, some have left earlier than others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.func import jacrev, vmap

__all__ = ["Mixing", "mix_intervals", "mixed_hazards", "mixed_log_hazards"]

_NUMBERS = 2 * 10**7  # held at a time for derivatives
_SMALL = 1e-8

Mixing = Callable[[Tensor], Tensor]  # from nodes (Q, K, J) to the predictors (K, J) of the mixture


def mixed_log_hazards(etas: Tensor, lengths: Tensor) -> Tensor:
    """Log hazards, constant in intervals, with the survival and incidences of a mixture.

    Parameters
    ----------
    etas : (Q, K, J) tensor
        Log hazards of the K causes in J intervals, of Q equally likely kinds of subjects.
    lengths : (J,) tensor

    Returns
    -------
    (K, J) tensor

    Notes
    -----
    With ``S_qj`` the probability that kind q reaches interval j, and ``p_qkj`` that of an event of
    cause k in it, ``x_kj = sum_q S_qj p_qkj / sum_q S_qj`` is the mixture's; the hazards
    ``h_kj = -log(1 - x_j) x_kj / (x_j l_j)``, ``x_j = sum_k x_kj``, have exactly its survival
    function and cumulative incidences at all cut points. They fall over time, since subjects at
    high risk leave first (frailty selection).

    References
    ----------
    Aalen, Borgan & Gjessing (2008), Survival and Event History Analysis, chapter 6.

    Examples
    --------
    >>> etas = torch.tensor([[[0.0, 0.0]], [[2.0, 2.0]]], dtype=torch.float64)
    >>> found = mixed_log_hazards(etas, torch.ones(2, dtype=torch.float64))
    >>> survival = torch.exp(-found.exp().sum(0).cumsum(0))
    >>> torch.allclose(survival, torch.exp(-etas.exp()[:, 0].cumsum(1)).mean(0))
    True
    """
    hazards = etas.exp()
    steps = hazards.sum(1) * lengths  # (Q, J)
    weight = _reached(-steps)
    event = hazards * lengths * _mean_survival(steps)[:, None]  # (Q, K, J)
    x = (weight[:, None] * event).sum(0) / weight.sum(0)
    total = x.sum(0).clamp(max=1 - 1e-15)
    # -log(1 - x) / x, which is one in the limit.
    small = total < _SMALL
    safe = torch.where(small, 0.5, total)
    rate = torch.where(small, 1 + total / 2, -torch.log1p(-safe) / safe)
    return x.log() + rate.log() - lengths.log()


def mixed_hazards(etas: Tensor, link: Literal["logit", "cloglog"]) -> Tensor:
    """Predictors of a mixture in discrete time.

    Parameters
    ----------
    etas : (Q, K, J) tensor
        Of the K causes in J intervals, of Q equally likely kinds of subjects.
    link : {"logit", "cloglog"}

    Returns
    -------
    (K, J) tensor
        Of the probabilities of an event among those who reach an interval.
    """
    if link == "cloglog":
        log_survival = -etas[:, 0].exp()  # (Q, J)
        weight = _reached(log_survival)
        event = (weight * -torch.expm1(log_survival)).sum(0) / weight.sum(0)
        return (-torch.log1p(-event.clamp(max=1 - 1e-15))).log()[None]
    zero = torch.zeros_like(etas[:, :1])
    log_total = torch.logsumexp(torch.cat([zero, etas], dim=1), dim=1)  # (Q, J)
    weight = _reached(-log_total)
    event = (weight[:, None] * (etas - log_total[:, None]).exp()).sum(0)
    survived = (weight * (-log_total).exp()).sum(0)
    return event.log() - survived.log()


def mix_intervals(
    etas: Tensor, mixing: Mixing, derivatives: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Predictors of the mixtures of several rows, and their derivatives.

    Parameters
    ----------
    etas : (r, Q, K, J) tensor
    mixing : callable
    derivatives : bool

    Returns
    -------
    predictors : (r, K, J) tensor
    slopes : (r, K, J, K, J) tensor or None
        In what is added to the predictors of all nodes of an interval.
    """
    mixed = vmap(mixing)
    if not derivatives:
        return mixed(etas), None
    r, Q, K, J = etas.shape
    step = max(1, _NUMBERS // (Q * (K * J) ** 2))
    found = torch.empty(r, K, J, K, J, dtype=etas.dtype)
    slopes = vmap(jacrev(partial(_shifted, mixing), argnums=1))
    for start in range(0, r, step):
        part = etas[start : start + step]
        found[start : start + step] = slopes(part, torch.zeros(len(part), K, J, dtype=etas.dtype))
    return mixed(etas), found


def _shifted(mixing: Mixing, etas: Tensor, shift: Tensor) -> Tensor:
    return mixing(etas + shift)


def _reached(log_survival: Tensor) -> Tensor:
    """Probabilities ``(Q, J)`` of reaching each interval, relative to the likeliest kind."""
    reached = torch.cumsum(log_survival, dim=1) - log_survival
    return (reached - reached.amax(dim=0).detach()).exp()


def _mean_survival(steps: Tensor) -> Tensor:
    """``(1 - exp(-s)) / s``, one in the limit."""
    small = steps < _SMALL
    safe = torch.where(small, 1.0, steps)
    return torch.where(small, 1 - steps / 2, -torch.expm1(-safe) / safe)
