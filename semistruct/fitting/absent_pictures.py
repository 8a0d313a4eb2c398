"""The scores that rows with missing pictures may have, for every set of columns that may lack."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from semistruct.blueprint import NetworkBlueprint
from semistruct.fitting.absent_scores import LEAST_ROWS, AbsentScores, learn_absent_scores
from semistruct.fitting.score_nodes import Nodes
from semistruct.modalities import Modality

__all__ = ["AbsentPictures", "absence_patterns", "known_scores", "learn_absent_pictures"]

_FEW = 3  # columns of which every subset has a law of its own


@dataclass(frozen=True)
class AbsentPictures:
    """Laws of the deep scores of rows that lack pictures.

    Attributes
    ----------
    columns : tuple of str
        Columns of pictures and tensors that the deep terms in use read.
    laws : tuple of AbsentScores
        One for every set of columns that was thought of, smaller sets first.
    around_table : bool
        Whether they are laws of what is left of the scores when what the predictors' columns
        predict for them is taken off; else of the scores.
    """

    columns: tuple[str, ...]
    laws: tuple[AbsentScores, ...]
    around_table: bool = True

    def law_of(self, missing: Collection[str]) -> AbsentScores | None:
        """The law for rows that lack these columns.

        Where their number is large and this set has no law, that of the smallest set that
        contains it: it does without more pictures than is necessary.
        """
        found = (law for law in self.laws if set(missing) <= set(law.missing))
        return next(found, None)

    def of_rows(
        self, blueprint: NetworkBlueprint, modalities: Mapping[str, Modality]
    ) -> list[AbsentScores | None]:
        """The law of every row; None of a row that has its pictures."""
        lacking = blueprint.lacking(modalities, self.columns)
        laws: dict[tuple[bool, ...], AbsentScores | None] = {(False,) * len(self.columns): None}
        found = []
        for pattern in map(tuple, lacking.tolist()):
            if pattern not in laws:
                missing = [c for c, lack in zip(self.columns, pattern, strict=True) if lack]
                laws[pattern] = self.law_of(missing)
            found.append(laws[pattern])
        return found

    def nodes(
        self,
        frame: pd.DataFrame,
        scores: np.ndarray,
        shadows: np.ndarray,
        law_of_row: Sequence[AbsentScores | None],
    ) -> Nodes:
        """Possible scores of every row.

        Parameters
        ----------
        frame : DataFrame of n rows
        scores : (n, T) array
            As far as they are known: without the pictures that the row's law does without, NaN
            where a slot has no other input.
        shadows : (n, T) array
            What the table predicts for them.
        law_of_row : sequence of n (AbsentScores or None)
            None for a row that is known as it is.
        """
        rows = {id(law): np.flatnonzero([own is law for own in law_of_row]) for law in self.laws}
        count = np.ones(len(frame), dtype=int)
        for law in self.laws:
            count[rows[id(law)]] = len(law.nodes)
        row = np.repeat(np.arange(len(frame)), count)
        start = np.cumsum(count) - count
        values = scores[row]
        for law in self.laws:
            own = rows[id(law)]
            if own.size:
                found = law.deviations(frame.iloc[own], scores[own] - shadows[own])
                at = start[own][:, None] + np.arange(len(law.nodes))
                for a, t in enumerate(law.slots):
                    base = shadows[own, t]
                    if law.from_known[a]:
                        base = np.where(np.isfinite(scores[own, t]), scores[own, t], base)
                    values[at, t] = base[:, None] + found[:, :, a]
        return Nodes(len(frame), row, values)


def absence_patterns(columns: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Sets of columns that rows may lack, smaller ones first.

    All of them where there are few; else each column, all but one of them, and all.

    Examples
    --------
    >>> absence_patterns(["ct", "pet"])
    (('ct',), ('pet',), ('ct', 'pet'))
    >>> len(absence_patterns(list("abcdef")))
    13
    """
    M = len(columns)
    sizes = range(1, M + 1) if M <= _FEW else sorted({1, M - 1, M})
    return tuple(chosen for size in sizes for chosen in combinations(columns, size))


def known_scores(
    blueprint: NetworkBlueprint,
    modalities: Mapping[str, Modality],
    scores: np.ndarray,
) -> np.ndarray:
    """Scores ``(n, T)`` with NaN where a row has no input of the slot."""
    return np.where(blueprint.present(modalities), scores, np.nan)


def learn_absent_pictures(
    blueprint: NetworkBlueprint,
    modalities: Mapping[str, Modality],
    scores: np.ndarray,
    masked: Mapping[tuple[str, ...], np.ndarray],
    shadows: np.ndarray | None,
    kept: Sequence[int],
    weight: np.ndarray,
    frame: pd.DataFrame,
    columns: Sequence[str],
) -> AbsentPictures | None:
    """Learn what the scores in use may be for rows without pictures.

    Parameters
    ----------
    blueprint : NetworkBlueprint
        T slots.
    modalities : mapping of str to Modality
        The inputs of u units.
    scores : (u, T) array
        From networks that had not seen the unit; NaN where there are none.
    masked : mapping from sets of columns to (u, T) arrays
        The same as if all units lacked these columns, for sets where that is more than leaving out
        slots.
    shadows : (u, T) array or None
        What the table predicts for the scores, where it predicts one number for a row.
    kept : sequence of int
        The slots in use.
    weight : (u,) array
    frame : DataFrame of u rows
    columns : sequence of str
        The columns of the table that the scores may depend on.
    """
    reads = {t: blueprint.columns_of(blueprint.slots[t]) for t in kept}
    pictures = [
        c for c in dict.fromkeys(blueprint.columns.values()) if c in set().union(*reads.values())
    ]
    if not pictures:
        return None
    around_table = shadows is not None
    if shadows is None:
        shadows = np.zeros(scores.shape)
    lacking = blueprint.lacking(modalities, pictures)
    full = known_scores(blueprint, modalities, scores)
    laws = []
    for missing in absence_patterns(pictures):
        without = blueprint.without(modalities, missing)
        some = blueprint.present(without)
        known = np.where(some, masked.get(missing, scores), np.nan)
        slots = [t for t in kept if reads[t] & set(missing)]
        has_all = np.logical_not(lacking.any(axis=1))
        deviation = np.full((len(frame), len(slots)), np.nan)
        for a, t in enumerate(slots):
            own = [pictures.index(column) for column in reads[t]]
            has = ~lacking[:, own].any(axis=1)
            deviation[has, a] = full[has, t] - shadows[has, t]
        # With rows to learn from it is they that say what a part of the pictures is worth.
        few = (has_all & np.isfinite(deviation).all(axis=1)).sum() < LEAST_ROWS
        if few:
            partly = some[:, slots] & np.isfinite(deviation)
            deviation = np.where(partly, full[:, slots] - known[:, slots], deviation)
        relative = np.full(known.shape, np.nan)
        relative[:, list(kept)] = (known - shadows)[:, list(kept)]
        law = learn_absent_scores(
            missing, slots, deviation, relative, has_all, weight, frame, columns
        )
        laws.append(replace(law, from_known=(bool(few),) * len(slots)))
    return AbsentPictures(tuple(pictures), tuple(laws), around_table)
