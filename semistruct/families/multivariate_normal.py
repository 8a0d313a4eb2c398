"""The multivariate normal distribution: locations, scales and the dependence of the columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semistruct.families._arithmetic import weighted_mean
from semistruct.families._multivariate import MultivariateFamily, check_columns
from semistruct.families.base import CurvatureKind
from semistruct.links import Identity, Link, Log, bounded_exp

__all__ = ["MultivariateNormal"]

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, repr=False)
class MultivariateNormal(MultivariateFamily):
    """Several real columns with a joint normal distribution whose every parameter is modelled.

    Parameters
    ----------
    dimension : int, default=2
        Number D of columns.

    Raises
    ------
    SpecificationError
        If ``dimension`` is not a whole number of at least 2.

    Notes
    -----
    The parameters are ``loc_1`` to ``loc_D`` (identity link), ``scale_1`` to ``scale_D`` (log
    link), and ``slope_j_k`` for ``k < j`` (identity link), those of the modified Cholesky
    decomposition: with residuals ``r_j = y_j - loc_j``,

        ``r_j = sum_{k<j} slope_j_k r_k + scale_j e_j``, ``e_j`` independent standard normal.

    Any values make a covariance matrix, so that every parameter may have any predictor. ``scale_j``
    is the standard deviation of column j given the columns before it, that of the column itself for
    the first; ``slope_j_k`` is a regression coefficient between residuals. The order of the columns
    is part of the model as soon as a scale or slope has a predictor. ``cdf`` and ``quantile`` are
    the columns' own normal distributions, ``(..., n, D)``; covariances come from
    ``distribution(eta).covariance_matrix``. Locations, scales and slopes are mutually orthogonal.

    References
    ----------
    Pourahmadi (1999), Biometrika 86, 677-690.
    Muschinski, Mayr, Simon, Umlauf and Zeileis (2024), Econometrics and Statistics 29, 261-281.

    Examples
    --------
    >>> MultivariateNormal(dimension=2).param_names
    ('loc_1', 'loc_2', 'scale_1', 'scale_2', 'slope_2_1')
    """

    dimension: int = 2

    def __post_init__(self) -> None:
        check_columns("dimension", self.dimension, "MultivariateNormal(dimension=3)")

    @property
    def columns(self) -> int:
        return self.dimension

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        names = [f"{kind}_{j + 1}" for kind in ("loc", "scale") for j in range(self.dimension)]
        return (*names, *[f"slope_{j + 1}_{k + 1}" for j, k in self._pairs])

    @property
    def kernel_links(self) -> tuple[Link, ...]:  # type: ignore[override]
        D = self.dimension
        return (*[Identity()] * D, *[Log()] * D, *[Identity()] * len(self._pairs))

    @property
    def links(self) -> tuple[Link, ...]:
        return self.kernel_links

    @property
    def support(self) -> str:
        return "finite numbers"

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        return [(j, k) for j in range(self.dimension) for k in range(j)]

    def _inside(self, values: np.ndarray) -> np.ndarray:
        return values

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        D = self.dimension
        residual, T, scale = self._pieces(omega, y)
        z = (T @ residual[..., None])[..., 0] / scale
        # Its square must not overflow.
        limit = torch.finfo(z.dtype).max ** 0.4
        z = z.clamp(-limit, limit)
        return -(0.5 * z**2 + omega[..., D : 2 * D]).sum(-1) - 0.5 * D * _LOG_2PI

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        residual, T, scale = self._pieces(omega, y)
        innovation = (T @ residual[..., None])[..., 0]
        # Zero times an overflow is not a number.
        limit = torch.finfo(scale.dtype).max ** 0.5
        pull = (innovation / scale / scale).clamp(-limit, limit)
        in_loc = (T.transpose(-1, -2) @ pull[..., None])[..., 0]
        in_slope = [pull[..., j] * residual[..., k] for j, k in self._pairs]
        return torch.cat(
            [in_loc, innovation * pull - 1, torch.stack(in_slope, dim=-1)],
            dim=-1,
        )

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        D = self.dimension
        residual, T, scale = self._pieces(omega, y)
        precision = scale**-2
        K = omega.shape[-1]
        w = omega.new_zeros(*residual.shape[:-1], K, K)
        w[..., :D, :D] = T.transpose(-1, -2) @ (precision[..., :, None] * T)
        if kind == "expected":
            L = torch.linalg.solve_triangular(T, torch.diag_embed(scale), upper=False)
            square = L @ L.transpose(-1, -2)
            w[..., range(D, 2 * D), range(D, 2 * D)] = 2.0
        else:
            innovation = (T @ residual[..., None])[..., 0]
            pull = innovation * precision
            square = residual[..., :, None] * residual[..., None, :]
            w[..., range(D, 2 * D), range(D, 2 * D)] = 2 * innovation * pull
            w[..., :D, D : 2 * D] = 2 * T.transpose(-1, -2) * pull[..., None, :]
        for i, (j, k) in enumerate(self._pairs, start=2 * D):
            for m, (other, column) in enumerate(self._pairs, start=2 * D):
                if other == j:
                    w[..., i, m] = square[..., k, column] * precision[..., j]
            if kind == "observed":
                weighted = residual[..., k] * precision[..., j]
                w[..., :D, i] = T[..., j, :] * weighted[..., None]
                w[..., k, i] += pull[..., j]
                w[..., D + j, i] = 2 * pull[..., j] * residual[..., k]
        upper = w.triu(1)
        return torch.diag_embed(w.diagonal(dim1=-2, dim2=-1)) + upper + upper.transpose(-1, -2)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        present = weight > 0
        y, weight = y[present], weight[present]
        loc = torch.stack([weighted_mean(column, weight) for column in y.unbind(-1)])
        residual = y - loc
        covariance = (residual.T * weight) @ residual / weight.sum()
        floor = (1e-6 * loc.abs().clamp(min=1.0)) ** 2
        covariance = covariance + torch.diag(floor)
        # L diag(L)^-1 is the inverse of the unit triangle of slopes.
        L = torch.linalg.cholesky(covariance)
        scale = L.diagonal()
        T = torch.linalg.inv(L / scale)
        slopes = [-T[j, k] for j, k in self._pairs]
        return torch.cat([loc, scale, torch.stack(slopes)])

    def distribution(self, eta: Tensor) -> torch.distributions.MultivariateNormal:
        loc = eta[..., : self.dimension]
        T, scale = self._triangle(eta)
        L = torch.linalg.solve_triangular(T, torch.diag_embed(scale), upper=False)
        return torch.distributions.MultivariateNormal(loc, scale_tril=L, validate_args=False)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        joint = self.distribution(eta)
        return torch.special.ndtr((y - joint.mean) / joint.variance.sqrt())

    def quantile(self, eta: Tensor, q: Tensor) -> Tensor:
        joint = self.distribution(eta)
        return joint.mean + joint.variance.sqrt() * torch.special.ndtri(q[..., None])

    def sample(self, eta: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(size, n, D)`` responses; the generator lives on the CPU."""
        joint = self.distribution(eta)
        z = torch.randn((size, *joint.mean.shape), generator=generator, dtype=torch.float64)
        return joint.mean + (joint.scale_tril @ z.to(eta)[..., None])[..., 0]

    def _pieces(self, omega: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Residuals ``(..., n, D)``, ``T`` ``(..., n, D, D)`` and scales ``(..., n, D)``."""
        T, scale = self._triangle(omega)
        return y - omega[..., : self.dimension], T, scale

    def _triangle(self, omega: Tensor) -> tuple[Tensor, Tensor]:
        """The unit triangle ``T`` with ``T r = scale e``, and the scales."""
        D = self.dimension
        one, zero = torch.ones_like(omega[..., 0]), torch.zeros_like(omega[..., 0])
        slopes = dict(zip(self._pairs, omega[..., 2 * D :].unbind(-1), strict=True))
        rows = [
            torch.stack(
                [-slopes[j, k] if k < j else one if k == j else zero for k in range(D)], dim=-1
            )
            for j in range(D)
        ]
        return torch.stack(rows, dim=-2), bounded_exp(omega[..., D : 2 * D], 40.0)
