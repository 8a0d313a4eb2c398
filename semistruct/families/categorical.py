"""The categorical distribution: one of several classes, by a multinomial logit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.families.base import CurvatureKind
from semistruct.families.classes import ClassFamily
from semistruct.links import Link, Log

__all__ = ["Categorical"]


@dataclass(frozen=True, repr=False)
class Categorical(ClassFamily):
    """One of C classes without an order; every class but the first has a predictor.

    Parameters
    ----------
    categories : int or tuple of str, default=3
        The number of classes or their names; the first is the reference. The parameters are called
        like the other classes.

    Raises
    ------
    SpecificationError
        If there are fewer than two classes, or two of one name.

    Notes
    -----
    The multinomial logit with a baseline category: ``log(P(Y = j) / P(Y = 0)) = eta_j``. A
    parameter is the odds of its class against the reference, with a log link; its coefficients are
    log odds ratios. Two classes are the Bernoulli distribution. Observed and expected curvature
    are one, ``diag(p) - p p'``. ``cdf`` and ``quantile`` follow the order of the classes as given.

    References
    ----------
    McCullagh and Nelder (1989), section 5.2.4. Agresti (2013), Categorical Data Analysis, 8.1.

    Examples
    --------
    >>> Categorical(categories=("bus", "car", "train")).param_names
    ('car', 'train')
    """

    @property
    def param_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.labels[1:]

    @property
    def kernel_links(self) -> tuple[Link, ...]:  # type: ignore[override]
        return (Log(),) * (len(self.labels) - 1)

    @property
    def links(self) -> tuple[Link, ...]:
        return self.kernel_links

    def log_probabilities(self, eta: Tensor) -> Tensor:
        return torch.log_softmax(torch.cat([torch.zeros_like(eta[..., :1]), eta], dim=-1), dim=-1)

    def gradient(self, omega: Tensor, y: Tensor) -> Tensor:
        return (y[..., None] == self._codes(omega)[1:]).to(omega) - self._chances(omega)

    def information(self, omega: Tensor, y: Tensor, kind: CurvatureKind) -> Tensor:
        p = self._chances(omega)
        p = p.expand(*torch.broadcast_shapes(p.shape[:-1], y.shape), p.shape[-1])
        return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        shares = self.class_shares(y, weight)
        return shares[1:] / shares[0]

    def _chances(self, omega: Tensor) -> Tensor:
        return self.probabilities(omega)[..., 1:]
