"""Two views should say the same: the sum of their canonical correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from semistruct.exceptions import SpecificationError
from semistruct.losses import correlation_loss
from semistruct.objectives.base import (
    ObjectiveLoss,
    ObjectiveValue,
    RepresentationObjective,
    TrainingRows,
)
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.sites import Site

__all__ = ["CanonicalCorrelation"]

_ROWS_PER_FEATURE = 8  # below, the correlations of a batch are mostly chance


@dataclass(frozen=True)
class CanonicalCorrelation(RepresentationObjective):
    """Minus the sum of the canonical correlations of two views' latent features.

    With three or more inputs the sum goes over all pairs of them.

    Parameters
    ----------
    ridge : float
        Added to the covariance of each view, relative to its mean variance.
    weight, epochs, inputs
        See :class:`RepresentationObjective`.

    Notes
    -----
    Rows take part that have both views. Correlations are those of a batch, and perfect in one with
    no more rows than latent features: such batches are left out, batches are made larger by default
    (eight rows per latent feature), and a ``batch_size`` that is too small is refused. Few latent
    features (``latent_dim=4``) make few chance correlations.

    References
    ----------
    Andrew, G., Arora, R., Bilmes, J. and Livescu, K. (2013). Deep canonical correlation analysis.
    ICML. Yao, J., Zhu, X., Zhu, F. and Huang, J. (2017). Deep correlational learning for survival
    prediction from multi-modality data. MICCAI, equation (1).

    Examples
    --------
    >>> CanonicalCorrelation(inputs=("ct", "genes"), epochs=20)
    CanonicalCorrelation(weight=1.0, epochs=20, inputs=('ct', 'genes'), ridge=0.001)
    """

    ridge: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ridge > 0:
            raise SpecificationError(f"ridge must be positive, got {self.ridge!r}.")

    @property
    def name(self) -> str:
        """``"canonical_correlation"``."""
        return "canonical_correlation"

    def why_not(self, sites: Sequence[Site]) -> str | None:
        if len(sites) < 2:
            return "has one input, and two views are correlated; write deep(a, b)"
        return None

    def takes_part(self, present: np.ndarray) -> np.ndarray:
        return present.sum(axis=0) >= 2

    def least_batch(self, sites: Sequence[Site]) -> int:
        return max(site.latent_dim for site in sites) + 1

    def good_batch(self, sites: Sequence[Site]) -> int:
        return _ROWS_PER_FEATURE * max(site.latent_dim for site in sites)

    def make(
        self, sites: Sequence[Site], training: TrainingRows, target: np.ndarray | None
    ) -> ObjectiveLoss:
        return _Correlation(sites, self.ridge)


class _Correlation(ObjectiveLoss):
    def __init__(self, sites: Sequence[Site], ridge: float) -> None:
        super().__init__(sites)
        self.ridge = ridge

    def forward(self, seen: ForwardPass) -> ObjectiveValue:
        total, most = seen.latent(self.sites[0]).new_zeros(()), 0
        for pair in combinations(self.sites, 2):
            both = seen.all_present(pair)
            count = int(both.sum())
            if count > max(site.latent_dim for site in pair):
                first, second = (seen.latent(site)[both] for site in pair)
                if torch.isfinite(first).all() and torch.isfinite(second).all():
                    total = total + correlation_loss(first, second, ridge=self.ridge)
                else:  # the factorisation would raise: say it as any other loss does
                    total = total + torch.nan
                most = max(most, count)
        return ObjectiveValue(total, most)
