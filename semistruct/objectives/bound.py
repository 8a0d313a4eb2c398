"""Objectives for the data of a model, before any network exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from semistruct.blueprint import NetworkBlueprint
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.modalities import Modality
from semistruct.objectives.base import RepresentationObjective
from semistruct.objectives.sites import Site, find_sites

__all__ = ["BoundObjective", "Objectives", "bind_objectives", "checked_objectives"]

# What users give.
Objectives = RepresentationObjective | Sequence[RepresentationObjective] | None


@dataclass(frozen=True, eq=False)
class BoundObjective:
    """An objective, the inputs it acts on, and what it needs from the training table.

    Attributes
    ----------
    objective : RepresentationObjective
    groups : tuple of tuples of Site
    target : (n,) array or None
        Of all n rows of the modalities.
    """

    objective: RepresentationObjective
    groups: tuple[tuple[Site, ...], ...]
    target: np.ndarray | None = field(default=None, repr=False)

    @property
    def least_batch(self) -> int:
        """Number of rows below which a batch says nothing."""
        return max(self.objective.least_batch(group) for group in self.groups)

    @property
    def good_batch(self) -> int:
        """Number of rows that a batch should have."""
        return max(self.objective.good_batch(group) for group in self.groups)

    def usable(self, modalities: Mapping[str, Modality]) -> np.ndarray:
        """Rows ``(n,)`` from which there is something to learn."""
        part = [
            self.objective.takes_part(np.stack([modalities[s.input].present for s in group]))
            for group in self.groups
        ]
        rows: np.ndarray = np.any(part, axis=0)
        if self.target is not None:
            known = self.target >= 0 if self.target.dtype.kind == "i" else np.isfinite(self.target)
            rows = rows & known
        return rows

    def check_rows(
        self, modalities: Mapping[str, Modality], rows: np.ndarray, batch_size: int | None
    ) -> None:
        """Refuse batches and data that are too small.

        Raises
        ------
        SpecificationError
            If ``batch_size`` is smaller than what a batch needs to say something.
        DataError
            If too few of the training rows have what is needed.
        """
        who, least = type(self.objective).__name__, self.least_batch
        if batch_size is not None and batch_size < least:
            raise SpecificationError(
                f"{who} needs batches of at least {least} rows (more than there are latent "
                f"features), and batch_size is {batch_size}; use a larger batch_size or a smaller "
                "latent_dim in the deep term."
            )
        found = int(self.usable(modalities)[rows].sum())
        if found < least:
            raise DataError(
                f"{who} needs at least {least} training rows of a fold that have what it compares, "
                f"and there are {found}; use a smaller latent_dim in the deep term, or leave the "
                "objective out."
            )


def checked_objectives(value: object, option: str) -> tuple[RepresentationObjective, ...]:
    """The value of ``pretraining=`` or ``auxiliary=`` as a tuple.

    Raises
    ------
    SpecificationError
        If it holds anything but objectives.
    """
    if value is None:
        return ()
    given = (value,) if isinstance(value, RepresentationObjective) else value
    if not isinstance(given, Sequence) or isinstance(given, str):
        given = (value,)
    for each in given:
        if not isinstance(each, RepresentationObjective):
            raise SpecificationError(
                f"{option} must be an objective or a list of them, such as "
                f"semistruct.objectives.Reconstruction(), got {each!r}."
            )
    return tuple(given)


def bind_objectives(
    objectives: Sequence[RepresentationObjective],
    blueprint: NetworkBlueprint,
    frame: pd.DataFrame,
    option: str,
) -> tuple[BoundObjective, ...]:
    """Find what each objective acts on.

    Parameters
    ----------
    objectives : sequence of RepresentationObjective
    blueprint : NetworkBlueprint
    frame : DataFrame
        The rows of the modalities.
    option : {"pretraining", "auxiliary"}
        For messages; with modality dropout only the latter sees inputs as absent.

    Raises
    ------
    SpecificationError
        If one applies to no deep term.
    UnsupportedCombinationError
        If it would train encoders that are frozen, or never see what it compares.
    DataError
        If a column that one needs cannot be used.
    """
    if not objectives:
        return ()
    if blueprint.is_linear:
        raise UnsupportedCombinationError(
            f"{option}= trains encoders, and those of "
            f"{', '.join(dict.fromkeys(slot.term.label for slot in blueprint.slots))} are frozen: "
            "the weights of their features are solved for at once. Leave the option out, or put a "
            "layer on top of the features with the option latent_dim of the encoder."
        )
    sites = find_sites(blueprint)
    found = tuple(
        BoundObjective(each, each.groups(sites), each.read_target(frame)) for each in objectives
    )
    if option == "auxiliary" and blueprint.dropout == "one":
        for bound in found:
            _check_pairs_survive(bound, blueprint)
    return found


def _check_pairs_survive(bound: BoundObjective, blueprint: NetworkBlueprint) -> None:
    """Refuse to compare two inputs of which one is always dropped."""
    for group in bound.groups:
        one_left = np.array([[True]] + [[False]] * (len(group) - 1))
        both_drop = len(group) == 2 and all(s.input in blueprint.columns for s in group)
        if both_drop and not bound.objective.takes_part(one_left).any():
            raise UnsupportedCombinationError(
                f"{type(bound.objective).__name__} compares {group[0].input!r} and "
                f"{group[1].input!r}, and modality_dropout='one' drops one of them from every row "
                "in training; give a probability, or use the objective as pretraining=, where "
                "nothing is dropped."
            )
