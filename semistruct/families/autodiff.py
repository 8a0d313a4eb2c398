"""Families that write their log-density only: derivatives by automatic differentiation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from semistruct.families.base import CurvatureKind
from semistruct.families.separable import SeparableFamily

__all__ = ["AutodiffFamily", "autodiff_gradient", "autodiff_information"]

LogDensity = Callable[[Tensor, Tensor], Tensor]

# Levels at which the expectation over a continuous response is taken. Measured against the closed
# forms of the logistic and Gumbel distributions: relative error 2e-8 and 1e-7.
_NODES = 64
# What an expectation over counts may leave out in the upper tail.
_TAIL = 1e-13
# With more counts than these a distribution is nearly continuous, and is taken as if it were.
_MOST_COUNTS = 2000


class AutodiffFamily(SeparableFamily):
    """A separable likelihood given by its log-density, distribution function and quantiles.

    Score and observed curvature are exact derivatives of ``log_density`` (K + 1 passes over the
    rows, no loop over rows). The expected curvature is the expectation of the score's outer
    product: by Gauss-Legendre quadrature over probability levels for a continuous response, by
    summation over ``0, 1, 2, ...`` for counts, unless these go into the thousands. The
    derivatives returned are values: they carry no graph of their own. A family whose expected
    curvature is known in closed form is a :class:`SeparableFamily` that calls the two functions
    of this module for the rest.
    """

    @abstractmethod
    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        """Quantile function at natural parameters ``(..., n, K)``."""

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        return self.theta_quantile(self.theta(eta), q)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return autodiff_gradient(self.log_density, omega, y)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "expected":
            return self._expected_information(omega.detach())
        return autodiff_information(self.log_density, omega, y)

    def _expected_information(self, omega: Tensor) -> Tensor:
        columns = zip(omega.unbind(-1), self.kernel_links, strict=True)
        theta = torch.stack([link.inverse(column) for column, link in columns], dim=-1)
        total = torch.zeros(*omega.shape, omega.shape[-1], dtype=omega.dtype, device=omega.device)
        top = 0.0
        if self.discrete:
            upper = torch.tensor(1 - _TAIL, dtype=torch.float64, device=omega.device)
            top = float(self.theta_quantile(theta.double(), upper).max())
        if self.discrete and top <= _MOST_COUNTS:
            counts = torch.arange(int(top) + 1, device=omega.device).to(omega)
            masses = (self.log_density(omega, count).exp() for count in counts)
            pairs = zip(masses, counts, strict=True)
        else:
            levels, weights = _nodes(omega)
            pairs = zip(weights, (self.theta_quantile(theta, q) for q in levels), strict=True)
        for mass, y in pairs:
            gradient = self.gradient(omega, y)
            outer = gradient[..., :, None] * gradient[..., None, :]
            total += mass[..., None, None] * outer
        return total


def autodiff_gradient(log_density: LogDensity, omega: Tensor, y: Tensor) -> Tensor:
    """First derivatives of each row's ``log_density(omega, y)`` in ``omega``, ``(..., n, K)``."""
    with torch.enable_grad():
        leaf = _leaf(omega, y)
        (gradient,) = torch.autograd.grad(log_density(leaf, y).sum(), leaf)
    return gradient


def autodiff_information(log_density: LogDensity, omega: Tensor, y: Tensor) -> Tensor:
    """Minus the second derivatives of each row, ``(..., n, K, K)``, exactly symmetric."""
    with torch.enable_grad():
        leaf = _leaf(omega, y)
        value = log_density(leaf, y).sum()
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
        rows = [
            torch.autograd.grad(column.sum(), leaf, retain_graph=True)[0]
            for column in gradient.unbind(-1)
        ]
    hessian = torch.stack(rows, dim=-2)
    return -0.5 * (hessian + hessian.transpose(-1, -2))


def _leaf(omega: Tensor, y: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(omega.shape[:-1], y.shape)
    return omega.detach().expand(*shape, omega.shape[-1]).clone().requires_grad_()


def _nodes(like: Tensor) -> tuple[Tensor, Tensor]:
    """Levels in (0, 1) and weights summing to 1, dense near both ends where scores may diverge."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    t = (nodes + 1) / 2
    levels = t**3 * (10 - 15 * t + 6 * t**2)
    weights = weights / 2 * 30 * t**2 * (1 - t) ** 2
    return torch.as_tensor(levels).to(like), torch.as_tensor(weights).to(like)
