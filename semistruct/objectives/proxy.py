"""Features that are good for something else of which much is known: a proxy target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from semistruct.encoders.randomness import initial_weights
from semistruct.exceptions import DataError, SpecificationError
from semistruct.objectives.base import (
    ObjectiveLoss,
    ObjectiveValue,
    RepresentationObjective,
    TrainingRows,
)
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.sites import Site
from semistruct.terms.measurement import is_tensor

__all__ = ["Proxy"]


@dataclass(frozen=True)
class Proxy(RepresentationObjective):
    """Error of predicting another column linearly from the features: a proxy of the response.

    Parameters
    ----------
    column : str
        Of the training table; no prediction needs it. Numbers: squared error in units of their
        standard deviation; text, booleans and categoricals: cross-entropy. Rows in which it is
        missing take no part; of rows that share a picture the first one speaks.
    weight, epochs, inputs
        See :class:`RepresentationObjective`. By default the column is predicted from what enters
        the predictor, all inputs of a term joined; with ``inputs`` from the features of these.

    Notes
    -----
    A network sees the proxy of its training rows only, so that held-out rows judge it honestly.

    References
    ----------
    Jean, N., Burke, M., Xie, M., Davis, W. M., Lobell, D. B. and Ermon, S. (2016). Combining
    satellite imagery and machine learning to predict poverty. Science 353, 790-794: night-time
    lights as a proxy for wealth.

    Examples
    --------
    >>> Proxy("nightlights", epochs=20).name
    'proxy_nightlights'
    """

    column: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.column, str):
            raise SpecificationError(f"the column of a Proxy must be a name, got {self.column!r}.")

    @property
    def name(self) -> str:
        """``"proxy_"`` and the column."""
        return f"proxy_{self.column}"

    def why_not(self, sites: Sequence[Site]) -> str | None:
        return None

    def takes_part(self, present: np.ndarray) -> np.ndarray:
        return present.sum(axis=0) >= 1

    def read_target(self, frame: pd.DataFrame) -> np.ndarray:
        """Numbers, or the numbers of sorted levels with a type of whole numbers, ``(n,)``."""
        if self.column not in frame.columns:
            raise DataError(
                f"the table has no column {self.column!r}, which Proxy predicts; it has "
                f"{', '.join(map(repr, frame.columns))}."
            )
        column = frame[self.column]
        is_number = pd.api.types.is_numeric_dtype(column.dtype)
        if is_number and not pd.api.types.is_bool_dtype(column.dtype):
            numbers = column.to_numpy(dtype=float, na_value=np.nan)
            if np.isinf(numbers).any():
                raise DataError(f"column {self.column!r}, which Proxy predicts, has infinities.")
            self._check_varies(len(np.unique(numbers[np.isfinite(numbers)])))
            return numbers
        if is_tensor(column):
            raise DataError(
                f"column {self.column!r}, which Proxy predicts, has tensors; it must have numbers "
                "or levels."
            )
        codes, levels = pd.factorize(column.astype(str).where(column.notna()), sort=True)
        self._check_varies(len(levels))
        return codes.astype(np.int64)

    def _check_varies(self, n_values: int) -> None:
        if n_values < 2:
            raise DataError(
                f"column {self.column!r}, which Proxy predicts, is the same in every row."
            )

    def make(
        self, sites: Sequence[Site], training: TrainingRows, target: np.ndarray | None
    ) -> ObjectiveLoss:
        values = np.zeros(0) if target is None else target
        n_levels = int(values.max()) + 1 if values.dtype.kind == "i" else 0
        own = values[training.rows]
        center, scale = 0.0, 1.0
        if not n_levels:
            known = own[np.isfinite(own)]
            center, spread = (float(known.mean()), float(known.std())) if known.size else (0.0, 1.0)
            scale = spread if spread > 0 else 1.0
        return _Proxy(
            sites,
            torch.from_numpy(values if n_levels else (values - center) / scale),
            n_levels,
            joined=self.inputs is None,
            random_state=training.seeds(1)[0],
        )


class _Proxy(ObjectiveLoss):
    target: Tensor

    def __init__(
        self,
        sites: Sequence[Site],
        target: Tensor,
        n_levels: int,
        *,
        joined: bool,
        random_state: int,
    ) -> None:
        super().__init__(sites)
        self.joined, self.n_levels = joined, n_levels
        self.register_buffer("target", target if n_levels else target.float())
        with initial_weights(random_state):
            width = sites[0].joined_dim if joined else sum(site.latent_dim for site in sites)
            self.layer = nn.Linear(width, max(1, n_levels))

    def forward(self, seen: ForwardPass) -> ObjectiveValue:
        term = seen.features[self.sites[0].term]
        target = self.target[torch.from_numpy(seen.units).to(self.target.device)]
        known = target >= 0 if self.n_levels else torch.isfinite(target)
        if self.joined:
            features, here = term.joined, term.some & known
        else:
            features = torch.cat([seen.latent(site) for site in self.sites], dim=1)
            here = seen.all_present(self.sites) & known
        predicted = self.layer(features[here])
        count = int(here.sum())
        if not count:
            return ObjectiveValue(predicted.sum() * 0.0, 0)
        if self.n_levels:
            return ObjectiveValue(cross_entropy(predicted, target[here]), count)
        return ObjectiveValue((predicted[:, 0] - target[here]).square().mean(), count)
