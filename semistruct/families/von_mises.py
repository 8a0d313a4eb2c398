"""The von Mises distribution of angles: location and concentration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor

from semistruct.families._arithmetic import elementwise, symmetric, weighted_mean
from semistruct.families._quantiles import invert_cdf
from semistruct.families.autodiff import autodiff_gradient, autodiff_information
from semistruct.families.base import CurvatureKind
from semistruct.families.row_distribution import RowDistribution
from semistruct.families.separable import SeparableFamily
from semistruct.families.supports import Support
from semistruct.links import Identity, Log, bounded_exp

__all__ = ["VonMises"]

_ANGLES = Support(
    "angles in radians from -pi to pi",
    lambda y: np.abs(y) <= math.pi,
    "Wrap other angles with (angle + pi) % (2 pi) - pi.",
)
_LARGE = 200.0  # from here on the series of log I0 is exact to double precision
# log I0(k) = k - log(2 pi k) / 2 + 1/(8 k) + ..., the logarithm of Abramowitz and Stegun 9.7.1
_SERIES = (1 / 8, 1 / 16, 25 / 384, 13 / 128, 1073 / 5120)


@dataclass(frozen=True, repr=False)
class VonMises(SeparableFamily):
    """Directions, as angles in radians: the normal distribution of the circle.

    Notes
    -----
    ``f(y) = exp(concentration cos(y - loc)) / (2 pi I0(concentration))`` for ``y`` in
    ``[-pi, pi]``. ``loc`` is the mean direction; it has an identity link, and predictors that
    differ by ``2 pi`` are the same direction. Distribution function and quantiles run from ``-pi``;
    mean and variance are those of the angle as a number on ``[-pi, pi]``, not circular ones.

    References
    ----------
    Mardia and Jupp (2000), Directional Statistics, section 3.5.4.
    """

    param_names = ("loc", "concentration")
    kernel_links = (Identity(), Log())
    links = (Identity(), Log())
    response = _ANGLES

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_concentration = omega.unbind(-1)
        concentration = bounded_exp(log_concentration, 40.0)
        # cos(x) - 1 without cancellation
        bend = -2 * ((y - loc) / 2).sin() ** 2
        return concentration * bend - math.log(2 * math.pi) - _log_i0e(log_concentration)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return autodiff_gradient(self.log_density, omega, y)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        if kind == "observed":
            return autodiff_information(self.log_density, omega, y)
        # The log-density at loc is minus the normalisation: its derivatives are those of E[cos].
        flat = torch.zeros_like(omega)
        flat[..., 1] = omega[..., 1]
        zero = torch.zeros_like(y)
        slope = autodiff_gradient(self.log_density, flat, zero)[..., 1]
        bend = autodiff_information(self.log_density, flat, zero)[..., 1, 1]
        return symmetric(
            {(0, 0): bounded_exp(omega[..., 1], 40.0) - slope, (1, 1): bend + slope}, 2
        )

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        east, north = weighted_mean(y.cos(), weight), weighted_mean(y.sin(), weight)
        length = torch.hypot(east, north).clamp(1e-3, 1 - 1e-8)
        # Banerjee et al. (2005), JMLR 6, 1345-1382, equation (4.4).
        concentration = length * (2 - length**2) / (1 - length**2)
        return torch.stack([torch.atan2(north, east), concentration])

    def distribution(self, eta: Tensor) -> RowDistribution:
        loc, concentration = self.theta(eta).unbind(-1)
        mean = elementwise(lambda m, k: _moments(m, k)[0], loc, concentration)
        variance = elementwise(lambda m, k: _moments(m, k)[1], loc, concentration)
        return RowDistribution(self, eta, mean, variance)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        loc, concentration = self.theta(eta).unbind(-1)
        return elementwise(_cdf, loc, concentration, y)

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        loc, concentration = self.theta(eta).unbind(-1)
        return elementwise(_quantile, loc, concentration, q)


def _log_i0e(log_concentration: Tensor) -> Tensor:
    """``log(exp(-k) I0(k))`` at ``k = exp(log_concentration)``."""
    k = bounded_exp(log_concentration, 40.0)
    large = k > _LARGE
    inverse = k.clamp(min=_LARGE).reciprocal()
    total = torch.zeros_like(inverse)
    for coefficient in reversed(_SERIES):
        total = (total + coefficient) * inverse
    tail = total - 0.5 * (log_concentration + math.log(2 * math.pi))
    near = torch.where(large, torch.full_like(k, _LARGE), k)
    return torch.where(large, tail, torch.special.i0e(near).log())


def _cdf(loc: np.ndarray, concentration: np.ndarray, y: np.ndarray) -> np.ndarray:
    centre = np.remainder(loc + np.pi, 2 * np.pi) - np.pi
    concentration = np.maximum(concentration, 1e-300)
    start = stats.vonmises.cdf(-np.pi - centre, concentration)
    value: np.ndarray = stats.vonmises.cdf(y.clip(-np.pi, np.pi) - centre, concentration) - start
    return value.clip(0, 1)


def _quantile(loc: np.ndarray, concentration: np.ndarray, q: np.ndarray) -> np.ndarray:
    loc, concentration, q = np.broadcast_arrays(loc, concentration, q)
    shape = q.shape
    m, k, level = (np.ascontiguousarray(a).ravel() for a in (loc, concentration, q))
    ends = np.full(level.shape, np.pi)
    return invert_cdf(lambda y, i: _cdf(m[i], k[i], y), level, -ends, ends).reshape(shape)


def _moments(loc: np.ndarray, concentration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance on ``[-pi, pi]``, by quadrature on either side of the cut at pi."""
    nodes, weights = np.polynomial.legendre.leggauss(100)
    centre = np.remainder(loc + np.pi, 2 * np.pi) - np.pi
    width = np.minimum(np.pi, 12 / np.sqrt(np.maximum(concentration, 1e-300)))
    cut = np.where(centre > 0, np.pi, -np.pi) - centre
    cut = cut.clip(-width, width)
    angles, masses = [], []
    for left, right in ((-width, cut), (cut, width)):
        half = (right - left)[..., None] / 2
        x = (right + left)[..., None] / 2 + half * nodes
        density = np.exp(-2 * concentration[..., None] * np.sin(x / 2) ** 2)
        y = centre[..., None] + x
        inside = (right + left)[..., None] / 2 + centre[..., None]
        angles.append(y - 2 * np.pi * np.round(inside / (2 * np.pi)))
        masses.append(half * weights * density / special.i0e(concentration[..., None]))
    y, mass = np.concatenate(angles, axis=-1), np.concatenate(masses, axis=-1)
    mass = mass / mass.sum(axis=-1, keepdims=True)
    mean = (mass * y).sum(axis=-1)
    return mean, (mass * (y - mean[..., None]) ** 2).sum(axis=-1)
