"""Partial likelihood of sampled risk sets: every event beside a few controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semistruct._validation import is_positive_whole
from semistruct.exceptions import DataError, SpecificationError
from semistruct.losses._risk_sets import CoxRiskSets

__all__ = ["SampledRiskSets", "cox_sampled_likelihood", "sample_risk_sets"]


@dataclass(frozen=True, eq=False, repr=False)
class SampledRiskSets:
    """Every event with some of the rows that were at risk beside it.

    Attributes
    ----------
    n_rows : int
    members : (E, m + 1) int64 tensor
        Rows of each sampled risk set, the case first. Where fewer than ``m`` others were at risk,
        the case stands again in the places that are left; ``present`` is then false.
    present : (E, m + 1) bool tensor
    n_at_risk : (E,) int64 array
        Rows in the whole risk set of each event. With ``n_at_risk / (m + 1)`` as weights, sums
        over a sampled risk set estimate those over the whole one (Borgan et al. 1995).
    """

    n_rows: int
    members: Tensor
    present: Tensor
    n_at_risk: np.ndarray

    def __len__(self) -> int:
        return self.members.shape[0]

    def __repr__(self) -> str:
        events, width = self.members.shape
        return f"SampledRiskSets({self.n_rows} rows, {events} events with {width - 1} controls)"

    @property
    def rows(self) -> np.ndarray:
        """The rows that stand in some sampled risk set, upwards: all whose ``eta`` is needed."""
        return np.unique(self.members.numpy())


def sample_risk_sets(
    time: Any,
    event: Any,
    entry: Any = None,
    strata: Any = None,
    *,
    n_controls: int = 5,
    random_state: int | np.random.Generator | None = None,
) -> SampledRiskSets:
    """Draw controls for every event from those at risk when it happens, without replacement.

    Parameters
    ----------
    time, event, entry, strata : (n,) array-like
        The follow-up, as in :meth:`CoxRiskSets.from_data`.
    n_controls : int
        Per event, ``m``.
    random_state : int, Generator or None

    Returns
    -------
    SampledRiskSets
        A row may be a control several times, also before it is a case itself.

    Raises
    ------
    DataError
        If the follow-up is unusable, or nobody has an event.
    SpecificationError
        If ``n_controls`` is not a positive whole number.

    References
    ----------
    Thomas (1977), appendix to Liddell et al., J. R. Stat. Soc. A 140, 469-491.

    Examples
    --------
    >>> sample_risk_sets([2.0, 3.0, 5.0, 6.0], [1, 0, 1, 0], n_controls=2, random_state=0)
    SampledRiskSets(4 rows, 2 events with 2 controls)
    """
    if not is_positive_whole(n_controls):
        raise SpecificationError(f"n_controls must be a positive whole number, got {n_controls!r}.")
    checked = CoxRiskSets.from_data(time, event, entry, strata, device="cpu")
    if not checked.n_events:
        raise DataError(f"none of the {checked.n_rows} rows has an event to draw controls for.")
    rng = np.random.default_rng(random_state)
    stop = np.asarray(time, dtype=np.float64)
    start = None if entry is None else np.asarray(entry, dtype=np.float64)
    code = checked.row_stratum
    code = np.zeros(checked.n_rows, dtype=np.int64) if code is None else code
    cases, members, sizes = [], [], []
    for s in range(len(checked.strata)):
        own = np.flatnonzero(code == s)
        own = own[np.argsort(-stop[own], kind="stable")]
        place = np.flatnonzero(checked.event.numpy()[own] > 0)
        if not place.size:
            continue
        ends = np.searchsorted(-stop[own], -stop[own[place]], side="right")
        if start is None:
            drawn, size = _from_prefixes(place, ends, int(n_controls), rng)
        else:
            drawn, size = _from_intervals(place, ends, stop[own], start[own], int(n_controls), rng)
        cases.append(own[place])
        members.append(np.where(drawn < 0, -1, own[drawn]))
        sizes.append(size)
    case, control = np.concatenate(cases), np.concatenate(members)
    present = np.column_stack([np.ones(len(case), dtype=bool), control >= 0])
    rows = np.column_stack([case, np.where(control >= 0, control, case[:, None])])
    return SampledRiskSets(
        checked.n_rows,
        torch.from_numpy(rows),
        torch.from_numpy(present),
        np.concatenate(sizes),
    )


def _from_prefixes(
    place: np.ndarray, ends: np.ndarray, m: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``m`` of the positions ``0, ..., end - 1`` but the own one, for each event; -1 for none.

    By Floyd's method (Bentley and Floyd 1987, CACM 30): the k-th draw is from one more position
    than the last, and takes that one where what it draws has been taken.
    """
    others = ends - 1
    drawn = np.full((len(place), m), -1)
    for k in range(m):
        top = others - m + k  # below zero where there are fewer than m others
        all_of_them = others < m
        choice = rng.integers(0, np.maximum(top, 0) + 1)
        taken = (drawn[:, :k] == choice[:, None]).any(axis=1)
        choice = np.where(taken, top, choice)
        drawn[:, k] = np.where(all_of_them, np.where(k < others, k, -1), choice)
    # Positions are counted without the case.
    return drawn + ((drawn >= place[:, None]) & (drawn >= 0)), ends


def _from_intervals(
    place: np.ndarray,
    ends: np.ndarray,
    stop: np.ndarray,
    start: np.ndarray,
    m: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The same where rows of a prefix may not have entered yet."""
    drawn, size = np.full((len(place), m), -1), np.empty(len(place), dtype=np.int64)
    for k, (case, end) in enumerate(zip(place, ends, strict=True)):
        present = np.flatnonzero(start[:end] < stop[case])
        size[k] = present.size
        others = present[present != case]
        chosen = rng.choice(others, min(m, others.size), replace=False)
        drawn[k, : chosen.size] = chosen
    return drawn, size


def cox_sampled_likelihood(eta: Tensor, risk_sets: SampledRiskSets) -> Tensor:
    """Negative log partial likelihood per event, over sampled risk sets.

    What a step of training costs is then the rows in the risk sets it looks at, ``E (m + 1)`` at
    most, however large the cohort; the estimate stays consistent, with ``m / (m + 1)`` of the
    information of the full cohort where the effect is none.

    Parameters
    ----------
    eta : (n,) tensor
        Log partial hazards of all rows; only those of ``risk_sets.rows`` are read.
    risk_sets : SampledRiskSets

    Returns
    -------
    loss : () tensor
        ``mean_k { log sum_{j in S_k} exp(eta_j) - eta_{i_k} }``. Events at one time are taken one
        by one, each beside the others.

    Raises
    ------
    DataError
        If ``eta`` has another number of rows.

    References
    ----------
    Thomas (1977), see :func:`sample_risk_sets`. Goldstein & Langholz (1992), Annals of Statistics
    20, 1903-1928 (consistency and efficiency). Borgan, Goldstein & Langholz (1995), Annals of
    Statistics 23, 1749-1778.

    Examples
    --------
    >>> from semistruct.losses import cox_partial_likelihood
    >>> sets = sample_risk_sets([2.0, 3.0, 5.0], [1, 0, 1], n_controls=5, random_state=0)
    >>> eta = torch.tensor([0.3, 0.0, -0.1], dtype=torch.float64)
    >>> full = cox_partial_likelihood(eta, [2.0, 3.0, 5.0], [1, 0, 1], reduction="mean")
    >>> bool(torch.isclose(cox_sampled_likelihood(eta, sets), full))
    True
    """
    if eta.dim() != 1 or eta.shape[0] != risk_sets.n_rows:
        raise DataError(
            f"eta has shape {tuple(eta.shape)} but the risk sets have {risk_sets.n_rows} rows."
        )
    members = risk_sets.members.to(eta.device)
    values = eta[members].masked_fill(~risk_sets.present.to(eta.device), -torch.inf)
    return (torch.logsumexp(values, dim=1) - eta[members[:, 0]]).mean()
