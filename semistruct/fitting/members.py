"""Members of the cross-fitted ensemble: what one is asked to learn, and what comes back."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from semistruct._validation import is_positive_whole
from semistruct.blueprint import NetworkBlueprint
from semistruct.exceptions import SpecificationError
from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.modalities import Modality
from semistruct.network import SemiStructuredNet, predict_scores
from semistruct.objectives.bound import BoundObjective

__all__ = ["Course", "DeepProblem", "Member", "MemberSolver", "StepSampler", "TrainingOptions"]


class StepSampler(ABC):
    """What the steps of an epoch look at, where that is not a part of the rows in any order."""

    @abstractmethod
    def size(self, y: np.ndarray) -> int:
        """How many predictors an epoch takes for the responses ``y``."""

    @abstractmethod
    def epoch(
        self, y: np.ndarray, weight: np.ndarray, batch_size: int, rng: np.random.Generator
    ) -> Iterator[tuple[np.ndarray, Callable[[Tensor], Tensor]]]:
        """For every step positions ``(b,)`` in ``y`` and the loss of predictors ``(b, K)`` there.

        A step takes about ``batch_size`` predictors.
        """


@dataclass(frozen=True)
class TrainingOptions:
    """How the members of a deep fit are trained.

    Parameters
    ----------
    max_epochs : int, optional
        Passes over the training rows. By default as many as make about 1,200 steps, but no more
        than 60, which make at least 300 steps, and no fewer than 15.
    batch_size : int, optional
        Rows per step; by default between 32 and 256, growing with the number of rows.
    learning_rate : float
        Peak of the one-cycle schedule of AdamW.
    weight_decay : float
        Of the networks; structured coefficients have their own penalties.
    patience : int, optional
        Rounds without improvement on the held-out rows after which training ends. By default the
        schedule is run to its end, since the last improvement often comes when the rate falls;
        weights of an earlier round are kept where they are better.
    device : str
        Where the networks live.
    full_cohort : bool
        Whether every step takes the gradient of all training rows, exactly, in two passes over
        parts of ``batch_size`` rows: for likelihoods that are no sum over rows.
    sampler : StepSampler, optional
        What every step looks at, instead of ``batch_size`` rows in random order.
    """

    max_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int | None = None
    device: str = "cpu"
    full_cohort: bool = False
    sampler: StepSampler | None = None

    def __post_init__(self) -> None:
        for name in ("max_epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and not is_positive_whole(value):
                raise SpecificationError(
                    f"{name} must be a positive whole number or None, got {value!r}."
                )
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise SpecificationError(
                "learning_rate must be positive and weight_decay not negative, got "
                f"{self.learning_rate!r} and {self.weight_decay!r}."
            )


@dataclass(frozen=True)
class DeepProblem:
    """Rows, likelihood, structured fit and networks of a model with deep terms.

    Attributes
    ----------
    structured : StructuredProblem
        Family, response, design blocks, offsets and weights of all n rows.
    start : StructuredFit
        The fit without deep terms.
    blueprint : NetworkBlueprint
        T slots.
    modalities : mapping of str to Modality
        The inputs of all n rows.
    scale : (T,) array
        One standard deviation of noise in the predictor of each slot.
    unit : (n,) int array, optional
        Row of the modalities that each row reads, where several rows (the intervals of a subject)
        share one: its picture is then encoded once for all of them. By default the same rows.
    row_weights : (n, T) array, optional
        What multiplies the scores of every row, for effects that vary; by default nothing.
    pretraining : tuple of BoundObjective
        What networks are trained for before they are trained for the response.
    auxiliary : tuple of BoundObjective
        What they are trained for besides the response.
    """

    structured: StructuredProblem
    start: StructuredFit
    blueprint: NetworkBlueprint
    modalities: Mapping[str, Modality]
    scale: np.ndarray
    unit: np.ndarray | None = None
    row_weights: np.ndarray | None = None
    pretraining: tuple[BoundObjective, ...] = ()
    auxiliary: tuple[BoundObjective, ...] = ()

    def units(self, rows: np.ndarray) -> np.ndarray:
        """Units that the rows read, each once; the rows themselves where they are the same."""
        return rows if self.unit is None else np.unique(self.unit[rows])

    def rows_of(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """All rows of the units, one unit after the other, and the place of each row's unit.

        The second is None where rows and units are the same.
        """
        if self.unit is None:
            return units, None
        order, starts = self._by_unit
        counts = (starts[1:] - starts[:-1])[units]
        place = np.repeat(np.arange(len(units)), counts)
        within = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        return order[starts[units][place] + within], place

    def gather(self, values: np.ndarray) -> np.ndarray:
        """What each row reads among values of all units."""
        return values if self.unit is None else values[self.unit]

    def scores(self, net: SemiStructuredNet, rows: np.ndarray) -> np.ndarray:
        """Deep scores ``(len(rows), T)``; every unit is encoded once."""
        units = self.units(rows)
        return self.spread(predict_scores(net, self.modalities, units), units, rows)

    def spread(self, scores: np.ndarray, units: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Scores ``(..., len(rows), T)`` of rows from those of the (sorted) units they read."""
        if self.unit is not None:
            scores = scores[..., np.searchsorted(units, self.unit[rows]), :]
        return scores if self.row_weights is None else scores * self.row_weights[rows]

    def levelled(self, units: np.ndarray) -> np.ndarray:
        """Where ``(len(units), T)`` a score has a level: something is there, and not ``by=``.

        What multiplies another column is no constant, and is left alone.
        """
        found = np.zeros((len(units), len(self.blueprint.slots)), bool)
        for t, slot in enumerate(self.blueprint.slots):
            if slot.by is None:
                inputs = self.blueprint.plans[slot.network].inputs
                present = [self.modalities[part.name].present[units] for part in inputs]
                found[:, t] = np.any(present, axis=0)
        return found

    @cached_property
    def _by_unit(self) -> tuple[np.ndarray, np.ndarray]:
        unit = np.zeros(0, dtype=int) if self.unit is None else self.unit
        starts = np.concatenate([[0], np.cumsum(np.bincount(unit))])
        return np.argsort(unit, kind="stable"), starts


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes
    ----------
    net : SemiStructuredNet
    history : DataFrame
        One row per round: ``epoch``, ``train_loss``, ``held_out_loss`` (minus the mean
        log-likelihood per unit of weight); ``train_NAME`` and ``held_out_NAME`` of every auxiliary
        objective.
    best_epoch : int
        Epoch whose weights were kept; 0 is the structured model.
    """

    net: SemiStructuredNet
    history: pd.DataFrame = field(repr=False)
    best_epoch: int


@dataclass(frozen=True, eq=False)
class Course:
    """The rounds a network went through in training, any of which may be the one to keep.

    Attributes
    ----------
    net : SemiStructuredNet
        In the state of the last round.
    history : DataFrame
        As in :class:`Member`, R rounds.
    states : tuple of R mappings of str to Tensor
        What training had changed after each round.
    scores : (R, u, T) array
        Scores of the held-out units after each round, with the level that goes with ``beta``.
    beta : (R, P) array
        The structured coefficients that were trained along.
    levelled : (u, T) bool array
        Where scores have a level, see :meth:`DeepProblem.levelled`.
    pretraining : DataFrame
        What the objectives were before, see :func:`~semistruct.fitting.pretraining.pretrain`.
    """

    net: SemiStructuredNet = field(repr=False)
    history: pd.DataFrame = field(repr=False)
    states: tuple[Mapping[str, Tensor], ...] = field(repr=False)
    scores: np.ndarray = field(repr=False)
    beta: np.ndarray = field(repr=False)
    levelled: np.ndarray = field(repr=False)
    pretraining: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def levels(self) -> np.ndarray:
        """Mean score ``(R, T)`` of the held-out units after each round."""
        counts = np.maximum(self.levelled.sum(axis=0), 1)
        found: np.ndarray = (self.scores * self.levelled).sum(axis=1) / counts
        return found

    def centred(self, kept: int) -> np.ndarray:
        """Scores ``(u, T)`` of a round less their level, which no other network shares."""
        centred: np.ndarray = self.scores[kept] - self.levels[kept] * self.levelled
        return centred

    @property
    def epochs(self) -> np.ndarray:
        """Epochs ``(R,)`` after which the rounds ended."""
        return self.history["epoch"].to_numpy()

    def round_of(self, epoch: int) -> int:
        """The last round that ended by this epoch."""
        return int(np.searchsorted(self.epochs, epoch, side="right")) - 1

    def member(self, epoch: int) -> Member:
        """The network as it was at this epoch, for good."""
        kept = self.round_of(epoch)
        net = copy.deepcopy(self.net)
        net.load_state_dict({**net.state_dict(), **self.states[kept]})
        net.level.copy_(torch.from_numpy(self.levels[kept]))
        net.requires_grad_(False).eval()
        return Member(net, self.history, int(self.epochs[kept]))


class MemberSolver(ABC):
    """A way to train one member."""

    @abstractmethod
    def untrained(
        self, problem: DeepProblem, train: np.ndarray, random_state: np.random.SeedSequence
    ) -> SemiStructuredNet:
        """The network that :meth:`fit` begins with."""

    @abstractmethod
    def fit(
        self,
        problem: DeepProblem,
        train: np.ndarray,
        held_out: np.ndarray,
        random_state: np.random.SeedSequence,
        report: Callable[[float], None],
    ) -> Course:
        """Learn from the rows ``train``, and score the rows ``held_out`` along the way.

        ``report`` is called with the share of the work done since it was called last.
        """
