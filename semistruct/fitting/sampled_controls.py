"""Training a Cox model on its events, each beside a few of those who were at risk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semistruct._validation import is_positive_whole
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.families.cox import ENTRY, EVENT, STRATUM, TIME
from semistruct.fitting.members import StepSampler
from semistruct.losses import SampledRiskSets, cox_sampled_likelihood, sample_risk_sets

__all__ = ["SampledControls"]


@dataclass(frozen=True)
class SampledControls(StepSampler):
    """Every epoch draws new controls; a step takes some of the events with theirs.

    Unlike a mini-batch, a step then compares every event with as many rows as any other, also the
    late ones, whose risk sets within a mini-batch are small.

    Parameters
    ----------
    n_controls : int
        Per event.

    References
    ----------
    Kvamme, Borgan and Scheel (2019), Time-to-event prediction with neural networks and Cox
    regression, JMLR 20, section 3.2. Goldstein and Langholz (1992), Annals of Statistics 20.
    """

    n_controls: int = 5

    def __post_init__(self) -> None:
        if not is_positive_whole(self.n_controls):
            raise SpecificationError(
                f"n_controls must be a positive whole number, got {self.n_controls!r}."
            )

    def size(self, y: np.ndarray) -> int:
        return max(1, int(y[:, EVENT].sum()) * (1 + self.n_controls))

    def epoch(
        self, y: np.ndarray, weight: np.ndarray, batch_size: int, rng: np.random.Generator
    ) -> Iterator[tuple[np.ndarray, Callable[[Tensor], Tensor]]]:
        used = np.flatnonzero(weight > 0)
        if np.ptp(weight[used]) > 0:
            raise UnsupportedCombinationError(
                "risk_sets='controls' has no case weights other than 0 and 1; use 'batch' or "
                "'full' with sample_weight."
            )
        y = y[used]
        if not y[:, EVENT].any():
            return
        entry, stratum = y[:, ENTRY], y[:, STRATUM]
        sets = sample_risk_sets(
            y[:, TIME],
            y[:, EVENT],
            entry if np.isfinite(entry).any() else None,
            stratum if np.ptp(stratum) > 0 else None,
            n_controls=self.n_controls,
            random_state=rng,
        )
        order = rng.permutation(len(sets))
        at_once = max(1, batch_size // (1 + self.n_controls))
        for start in range(0, len(order), at_once):
            rows, own = _of_events(sets, order[start : start + at_once])
            yield used[rows], lambda eta, own=own: cox_sampled_likelihood(eta[:, 0], own)  # type: ignore[misc]


def _of_events(sets: SampledRiskSets, events: np.ndarray) -> tuple[np.ndarray, SampledRiskSets]:
    """The rows in the risk sets of some events, and these with the rows renumbered."""
    rows, members = np.unique(sets.members.numpy()[events], return_inverse=True)
    return rows, SampledRiskSets(
        len(rows),
        torch.from_numpy(members.reshape(len(events), -1)),
        sets.present[torch.from_numpy(events)],
        sets.n_at_risk[events],
    )
