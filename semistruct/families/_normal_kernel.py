"""The normal log-density in ``(loc, log scale)``, shared by the normal and its transformations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from semistruct.families._arithmetic import symmetric
from semistruct.families.base import CurvatureKind
from semistruct.links import bounded_exp

__all__ = ["normal_gradient", "normal_information", "normal_log_density"]

# Nats kept free for the squared residual that multiplies a precision. The precision is thereby
# bounded at exp(669) in float64 and exp(48) in float32: the documented floor on the scale.
_MARGIN = 40.0


def _precision(log_scale: Tensor) -> Tensor:
    return bounded_exp(-2 * log_scale, _MARGIN)


def normal_log_density(omega: Tensor, z: Tensor) -> Tensor:
    """``-(z - loc)^2 / (2 scale^2) - log scale - log(2 pi) / 2``, ``(..., n)``."""
    loc, log_scale = omega.unbind(-1)
    square = (z - loc) ** 2 * _precision(log_scale)
    return -0.5 * square - log_scale - 0.5 * math.log(2 * math.pi)


def normal_gradient(omega: Tensor, z: Tensor) -> Tensor:
    """Derivatives in ``loc`` and ``log scale``, ``(..., n, 2)``."""
    loc, log_scale = omega.unbind(-1)
    residual = z - loc
    h = _precision(log_scale)
    return torch.stack([residual * h, residual**2 * h - 1], dim=-1)


def normal_information(omega: Tensor, z: Tensor, kind: CurvatureKind) -> Tensor:
    """Minus second derivatives in ``loc`` and ``log scale``, ``(..., n, 2, 2)``."""
    loc, log_scale = omega.unbind(-1)
    h = _precision(log_scale)
    if kind == "expected":
        return symmetric({(0, 0): h, (1, 1): torch.full_like(h, 2.0)}, 2)
    residual = z - loc
    return symmetric({(0, 0): h, (0, 1): 2 * residual * h, (1, 1): 2 * residual**2 * h}, 2)
