"""Ordered classes: a latent variable between thresholds (cumulative link model)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semistruct._registry import lookup
from semistruct.families._latent import LATENT, EndLog, IntervalLog, width
from semistruct.families.base import CurvatureKind
from semistruct.families.classes import ClassFamily, taken
from semistruct.links import Identity, Link, Log

__all__ = ["Ordinal"]


@dataclass(frozen=True, repr=False)
class Ordinal(ClassFamily):
    """One of C ordered classes, by the thresholds that a latent variable has passed.

    Parameters
    ----------
    categories : int or tuple of str, default=3
        The number of classes or their names, in order.
    link : {"logit", "probit", "cloglog"}, default="logit"
        Of the probabilities ``P(Y <= j)``: proportional odds, a latent normal variable, or the
        proportional hazards of grouped times.

    Raises
    ------
    SpecificationError
        If there are fewer than two classes, or two of one name, or the link is unknown.

    Notes
    -----
    ``P(Y <= j) = F(c_j - eta)`` with ``F`` the inverse link, as in R's ``polr`` and statsmodels'
    ``OrderedModel``: a larger predictor means higher classes. Here ``eta`` is ``location``, which
    has the intercept, and the first threshold is 0; the others are sums of the widths of the
    classes between them, ``c_{j+1} = c_j + width``. Parameters are ``location`` (identity link)
    and a width for each of the C - 2 inner classes (log link), called ``width_<class>``, so that
    every predictor makes ordered thresholds. In the parametrisation without an intercept, the
    thresholds are ``c_j`` minus the intercept; see :meth:`thresholds`. A width with a predictor of
    its own lets distances between classes differ between rows (no proportional odds).

    Two classes are the Bernoulli distribution. Score and curvature are in closed form and keep
    their digits for thin classes and in remote tails.

    References
    ----------
    McCullagh (1980), Regression models for ordinal data, JRSS B 42, 109-142.
    Agresti (2010), Analysis of Ordinal Categorical Data, chapters 3 and 5.

    Examples
    --------
    >>> Ordinal(categories=("none", "mild", "severe")).param_names
    ('location', 'width_mild')
    """

    link: str = "logit"

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup(LATENT, self.link, "link")

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("location", *(f"width_{label}" for label in self.labels[1:-1]))

    @property
    def kernel_links(self) -> tuple[Link, ...]:  # type: ignore[override]
        return (Identity(), *[Log()] * (len(self.labels) - 2))

    @property
    def links(self) -> tuple[Link, ...]:
        return self.kernel_links

    def thresholds(self, eta: Tensor) -> Tensor:
        """``c_j - eta``: what the latent noise must exceed, increasing, ``(..., n, C - 1)``."""
        location, above = eta[..., :1], width(eta[..., 1:]).cumsum(-1)
        return torch.cat([torch.zeros_like(location), above], dim=-1) - location

    def log_probabilities(self, eta: Tensor) -> Tensor:
        lowest, inner, highest = self._pieces(eta)
        return torch.cat([lowest.value, inner.value, highest.value], dim=-1)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        slopes = self._slopes(omega, y)
        return slopes.x[..., None] * slopes.J + slopes.t[..., None] * slopes.T

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "expected":
            return self._expected(omega)
        slopes = self._slopes(omega, y)
        J, T = slopes.J, slopes.T
        cross = _outer(J, T)
        hessian = (
            slopes.xx[..., None, None] * _outer(J, J)
            + slopes.xt[..., None, None] * (cross + cross.transpose(-1, -2))
            + slopes.tt[..., None, None] * _outer(T, T)
        )
        bend = slopes.x[..., None] * torch.cat([torch.zeros_like(J[..., :1]), J[..., 1:]], dim=-1)
        return -hessian - torch.diag_embed(bend)

    def separates(self, eta: np.ndarray, y: np.ndarray) -> bool:
        # Every row between its own thresholds: all distances may be multiplied by a number.
        at = self.thresholds(torch.from_numpy(eta)).numpy()
        ends = np.pad(at, ((0, 0), (1, 1)), constant_values=(-np.inf, np.inf))
        rows, own = np.arange(len(y)), y.astype(int)
        return bool(((ends[rows, own] < 0) & (ends[rows, own + 1] > 0)).all())

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        points = LATENT[self.link].point(self.class_shares(y, weight).cumsum(0)[:-1])
        return torch.cat([-points[:1], points.diff()])

    def _pieces(self, omega: Tensor) -> tuple[EndLog, IntervalLog, EndLog]:
        """The lowest class ``(..., n, 1)``, the inner ones ``(..., n, C - 2)``, the highest."""
        latent, at = LATENT[self.link], self.thresholds(omega)
        inner = latent.log_interval(at[..., :-1], omega[..., 1:])
        return latent.log_cdf(at[..., :1]), inner, latent.log_sf(at[..., -1:])

    def _slopes(self, omega: Tensor, y: Tensor) -> _Slopes:
        lowest, inner, highest = self._pieces(omega)
        none = torch.zeros_like(lowest.value)

        def of_class(low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
            return taken(torch.cat([low, middle, high], dim=-1), y)

        number = torch.arange(omega.shape[-1] - 1, device=omega.device)
        own = (y - 1)[..., None]
        w = torch.where(number < own, width(omega[..., 1:]), 0.0)
        J = torch.cat([-torch.ones_like(w.sum(-1, keepdim=True)), w], dim=-1)
        T = torch.cat([torch.zeros_like(own), (number == own).to(own)], dim=-1).to(omega)
        return _Slopes(
            J,
            T.expand(J.shape),
            x=of_class(lowest.first, inner.x, highest.first),
            t=of_class(none, inner.t, none),
            xx=of_class(lowest.second, inner.xx, highest.second),
            xt=of_class(none, inner.xt, none),
            tt=of_class(none, inner.tt, none),
        )

    def _expected(self, omega: Tensor) -> Tensor:
        """The mean outer product of the scores of all classes."""
        chances = self.probabilities(omega)
        total = torch.zeros_like(_outer(omega, omega))
        for j in range(chances.shape[-1]):
            score = self.gradient(omega, torch.full_like(omega[..., 0], j))
            total = total + chances[..., j, None, None] * _outer(score, score)
        return total


@dataclass(frozen=True)
class _Slopes:
    """Of the observed class, whose interval starts at ``x`` and has the logarithmic width ``t``.

    Attributes
    ----------
    J, T : (..., n, K) Tensors
        Derivatives of ``x`` and ``t`` in the predictors.
    x, t, xx, xt, tt : (..., n) Tensors
        Derivatives of the log-probability in ``x`` and ``t``. The lowest class ends at ``x``.
    """

    J: Tensor
    T: Tensor
    x: Tensor
    t: Tensor
    xx: Tensor
    xt: Tensor
    tt: Tensor


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a[..., :, None] * b[..., None, :]
