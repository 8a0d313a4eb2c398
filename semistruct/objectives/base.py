"""What an objective for representations is: a frozen wish, and the loss made from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from torch import Tensor, nn

from semistruct._validation import is_positive_whole
from semistruct.blueprint import SCALING_ROWS
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.modalities import Modality
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.sites import Site, site_groups

__all__ = ["ObjectiveLoss", "ObjectiveValue", "RepresentationObjective", "TrainingRows"]


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """What an objective may learn from before training: the training rows of one fold.

    Attributes
    ----------
    modalities : mapping of str to Modality
        The inputs of all n rows.
    rows : int array
        The training rows among them.
    random_state : SeedSequence
        Of the objective's weights and draws.
    """

    modalities: Mapping[str, Modality]
    rows: np.ndarray
    random_state: np.random.SeedSequence

    def seeds(self, count: int) -> list[int]:
        """Whole numbers to seed modules with."""
        return [int(seed) for seed in self.random_state.generate_state(count)]

    def sample(self, site: Site) -> Tensor:
        """Rows ``(m, *in_shape)`` that have an input, some of them where there are very many."""
        modality = self.modalities[site.input]
        present = self.rows[modality.present[self.rows]]
        if len(present) > SCALING_ROWS:
            present = present[np.linspace(0, len(present) - 1, SCALING_ROWS).astype(int)]
        return modality.batch(present)


@dataclass(frozen=True, eq=False)
class ObjectiveValue:
    """An objective at some rows.

    Attributes
    ----------
    loss : scalar tensor
        Zero where no row takes part.
    count : int
        Number of rows that take part.
    """

    loss: Tensor
    count: int


class ObjectiveLoss(nn.Module, ABC):
    """An objective for one group of inputs, with the parameters that serve it alone.

    Parameters
    ----------
    sites : sequence of Site
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        super().__init__()
        self.sites = tuple(sites)

    @abstractmethod
    def forward(self, seen: ForwardPass) -> ObjectiveValue:
        """The loss of the rows of a pass; what is absent takes no part."""


@dataclass(frozen=True, kw_only=True)
class RepresentationObjective(ABC):
    """Something latent features shall be good for besides the response. Frozen.

    Parameters
    ----------
    weight : float
        Factor of the loss in a sum: of several objectives, or with the likelihood, which is minus
        the mean log-likelihood of a row.
    epochs : int, optional
        Passes over the rows as ``pretraining``; of several objectives the longest. By default as
        many as make about 600 steps, between 15 and 60.
    inputs : tuple of str, optional
        Columns of the inputs that take part ("table" for the tabular columns of a term). By
        default all inputs of every deep term to which the objective applies.
    """

    weight: float = 1.0
    epochs: int | None = None
    inputs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        who = type(self).__name__
        if not isinstance(self.weight, Real) or not 0 < float(self.weight) < np.inf:
            raise SpecificationError(
                f"weight of {who} must be a positive number, got {self.weight!r}; leave the "
                "objective out to switch it off."
            )
        if self.epochs is not None and not is_positive_whole(self.epochs):
            raise SpecificationError(
                f"epochs of {who} must be a positive whole number or None, got {self.epochs!r}."
            )
        if self.inputs is not None:
            given = (self.inputs,) if isinstance(self.inputs, str) else self.inputs
            if not given or not all(isinstance(name, str) for name in given):
                raise SpecificationError(
                    f"inputs of {who} must be names of columns, got {self.inputs!r}."
                )
            object.__setattr__(self, "inputs", tuple(given))

    @property
    @abstractmethod
    def name(self) -> str:
        """What its values are called in histories."""

    @abstractmethod
    def why_not(self, sites: Sequence[Site]) -> str | None:
        """Why it does not apply to a group of inputs, as the end of a sentence; None if it does."""

    @abstractmethod
    def takes_part(self, present: np.ndarray) -> np.ndarray:
        """Rows ``(n,)`` that the objective can use, from ``(S, n)``: who has which input."""

    @abstractmethod
    def make(
        self, sites: Sequence[Site], training: TrainingRows, target: np.ndarray | None
    ) -> ObjectiveLoss:
        """The loss for a network that is about to be trained.

        Parameters
        ----------
        sites : sequence of Site
            A group to which it applies.
        training : TrainingRows
        target : (n,) array or None
            What :meth:`read_target` found.
        """

    def least_batch(self, sites: Sequence[Site]) -> int:
        """Number of rows below which a batch says nothing."""
        return 1

    def good_batch(self, sites: Sequence[Site]) -> int:
        """Number of rows that a batch should have."""
        return self.least_batch(sites)

    def read_target(self, frame: pd.DataFrame) -> np.ndarray | None:
        """What it needs from the training table ``(n,)``, NaN where that is not known."""
        return None

    def groups(self, sites: Sequence[Site]) -> tuple[tuple[Site, ...], ...]:
        """The groups of inputs to which it applies.

        Raises
        ------
        SpecificationError
            If it applies to none.
        UnsupportedCombinationError
            If the encoders are frozen.
        """
        groups = site_groups(sites, self.inputs)
        trained = [group for group in groups if any(site.trained for site in group)]
        if not trained:
            raise UnsupportedCombinationError(
                f"{type(self).__name__} trains encoders, and those of "
                f"{', '.join(dict.fromkeys(s.label for g in groups for s in g))} are frozen; leave "
                "the objective out, or put a layer on top of the frozen features with the option "
                "latent_dim of the encoder."
            )
        reasons = [self.why_not(group) for group in trained]
        found = [group for group, why in zip(trained, reasons, strict=True) if why is None]
        if not found:
            described = "; ".join(
                f"{group[0].label} {why}" for group, why in zip(trained, reasons, strict=True)
            )
            raise SpecificationError(
                f"{type(self).__name__} applies to no deep term of the model: {described}."
            )
        return tuple(found)
