"""Modality dropout: in training whole inputs of a row count as absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from semistruct.batch import Batch
from semistruct.encoders.randomness import SeededModule
from semistruct.exceptions import SpecificationError

__all__ = ["DropRates", "ModalityDropout", "check_drop_rates", "drop_rates_of"]

DropRates = float | Mapping[str, float] | Literal["one"] | None

_ALLOWED = (
    "modality_dropout must be None, a probability below 1, a dictionary from columns to "
    "probabilities, or 'one'"
)


def check_drop_rates(rates: DropRates) -> DropRates:
    """The option, with None where nothing is ever dropped.

    Raises
    ------
    SpecificationError
        If it is none of the allowed values, or a probability does not lie in ``[0, 1)``.

    Examples
    --------
    >>> check_drop_rates({"ct": 0.2})
    {'ct': 0.2}
    >>> check_drop_rates(0.0) is None
    True
    """
    if rates is None or (isinstance(rates, str) and rates == "one"):
        return rates
    if isinstance(rates, Mapping):
        checked = {str(name): _probability(rate) for name, rate in rates.items()}
        return checked if any(checked.values()) else None
    return _probability(rates) or None


def drop_rates_of(rates: DropRates, columns: Mapping[str, str]) -> dict[str, float] | None:
    """Probability for every input that may be dropped; None for ``"one"``.

    Parameters
    ----------
    rates : None, float, mapping or "one"
        Checked.
    columns : mapping of str to str
        The column of pictures or tensors that each input reads.

    Raises
    ------
    SpecificationError
        If a column is named that no deep term reads, or "one" of a single column is to be dropped.

    Examples
    --------
    >>> drop_rates_of(0.25, {"ct": "ct", "own(pet)": "pet"})
    {'ct': 0.25, 'own(pet)': 0.25}
    """
    known = ", ".join(map(repr, dict.fromkeys(columns.values()))) or "none"
    if isinstance(rates, str):
        if len(set(columns.values())) < 2:
            raise SpecificationError(
                "modality_dropout='one' drops one of the columns of pictures and tensors that a "
                f"row has and keeps the others, so it needs two; deep terms read {known}. Give a "
                "probability."
            )
        return None
    if not isinstance(rates, Mapping):
        return dict.fromkeys(columns, float(rates or 0.0))
    unknown = sorted(set(rates) - set(columns.values()))
    if unknown:
        raise SpecificationError(
            f"modality_dropout names {unknown[0]!r}, but the columns of pictures and tensors that "
            f"deep terms read are: {known}."
        )
    return {name: float(rates.get(column, 0.0)) for name, column in columns.items()}


class ModalityDropout(SeededModule):
    """Random masks of inputs: what is dropped counts as absent, it is not set to zero.

    Parameters
    ----------
    columns : mapping of str to str
        Inputs that may be dropped, and the column each of them reads: inputs of one column are
        dropped together.
    rates : None, float, mapping or "one"
        Probability for every column, or "one": of the columns that a row has, exactly one is
        dropped, where it has at least two (Vale-Silva & Rohr 2021).
    random_state : int, optional
        Seed of the masks.

    References
    ----------
    Cheerla & Gevaert (2019), Bioinformatics 35, i446-i454 (multimodal dropout). Vale-Silva & Rohr
    (2021), Scientific Reports 11, 13505.

    Examples
    --------
    >>> drop = ModalityDropout({"ct": "ct", "pet": "pet"}, "one", random_state=0)
    >>> both = torch.ones(100, dtype=torch.bool)
    >>> kept = drop.kept({"ct": both, "pet": both})
    >>> bool((kept["ct"] ^ kept["pet"]).all())
    True
    """

    def __init__(
        self, columns: Mapping[str, str], rates: DropRates, random_state: int | None = None
    ) -> None:
        super().__init__(random_state)
        self.columns = dict(columns)
        self.rates = drop_rates_of(rates, columns)

    def forward(self, batch: Batch) -> Batch:
        """The batch with some of its inputs absent in training; outside of it as it is."""
        if not self.training or not self.columns:
            return batch
        return replace(batch, present={**batch.present, **self.kept(batch.present)})

    def kept(self, present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Which rows ``(b,)`` keep each of the inputs that may be dropped."""
        owner = {column: name for name, column in self.columns.items()}
        have = torch.stack([present[name] for name in owner.values()], dim=1)  # (b, M)
        uniform = torch.rand(have.shape, generator=self.generator(have.device), device=have.device)
        if self.rates is None:
            chosen = torch.where(have, uniform, -1.0).argmax(dim=1)
            places = torch.arange(have.shape[1], device=have.device)
            dropped = (chosen[:, None] == places) & (have.sum(dim=1) > 1)[:, None]
        else:
            limits = [self.rates[name] for name in owner.values()]
            dropped = uniform < torch.tensor(limits, device=have.device)
        place = {column: j for j, column in enumerate(owner)}
        return {
            name: present[name] & ~dropped[:, place[column]]
            for name, column in self.columns.items()
        }


def _probability(rate: object) -> float:
    if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= float(rate) < 1:
        raise SpecificationError(f"{_ALLOWED}; got {rate!r}.")
    return float(rate)
