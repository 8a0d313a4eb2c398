"""A whole fitted model: the table model, the deep part where there is one, and its predictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pandas as pd

from semistruct.blueprint import NetworkBlueprint, row_weights
from semistruct.exceptions import SemistructError
from semistruct.fitting.deep import DeepFit
from semistruct.fitting.score_nodes import Nodes
from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.modalities import Modality
from semistruct.network import predict_latents, predict_scores
from semistruct.predictor import Predictor, ScoreColumn

__all__ = ["ModelFit"]


@dataclass(frozen=True)
class ModelFit:
    """Everything that was learned. Frozen.

    Attributes
    ----------
    formulas : tuple of K str
        The predictor of every parameter as it was resolved.
    problem : StructuredProblem
        Likelihood, response and design blocks of the training rows.
    marginal : StructuredFit
        The fit without deep terms: coefficients and standard errors that are published.
    cluster : (n,) array or None
        Group of every training row, for a cluster covariance.
    blueprint : NetworkBlueprint or None
    deep : DeepFit or None
    frame : DataFrame of n rows, or None
        The columns of the training rows that the predictors read: ranges, rugs and pictures of
        plots are taken from it. No prediction and no test needs it.
    unit : (n,) int array, or None
        Row of ``inputs`` that each row reads its pictures from; None where they are in ``frame``.
    inputs : DataFrame or None
        The rows of the data, where those of the likelihood are intervals of them.
    """

    formulas: tuple[str, ...]
    problem: StructuredProblem = field(repr=False)
    marginal: StructuredFit = field(repr=False)
    cluster: np.ndarray | None = field(default=None, repr=False)
    blueprint: NetworkBlueprint | None = field(default=None, repr=False)
    deep: DeepFit | None = field(default=None, repr=False)
    frame: pd.DataFrame | None = field(default=None, repr=False)
    unit: np.ndarray | None = field(default=None, repr=False)
    inputs: pd.DataFrame | None = field(default=None, repr=False)

    def input_rows(self, rows: np.ndarray) -> pd.DataFrame:
        """What the networks read for some rows of the likelihood."""
        if self.unit is not None and self.inputs is not None:
            return self.inputs.iloc[self.unit[rows]]
        if self.frame is None:
            raise SemistructError("the model was kept without its training rows.")
        return self.frame.iloc[rows]

    @property
    def predictor(self) -> Predictor:
        """Coefficients and projections with which new rows are predicted."""
        columns: tuple[ScoreColumn, ...] = ()
        if self.deep is None:
            fit = self.marginal
        else:
            fit = self.deep.fit
            columns = tuple(
                ScoreColumn(
                    slot.label,
                    slot.param,
                    projection.G,
                    float(projection.center[0]),
                    float(gamma),
                )
                for slot, projection, gamma in zip(
                    self.deep.slots,
                    self.deep.projections,
                    self.deep.calibration.gamma,
                    strict=True,
                )
            )
        beta = tuple(fit.beta[at] for at in fit.slices)
        return Predictor(self.problem.designs, beta, columns)

    def scores(self, frame: pd.DataFrame, device: str = "cpu") -> np.ndarray | None:
        """Raw deep scores ``(n, T)`` as they enter the predictors.

        Where a picture is missing the mean of what the score may be. None when no deep term is used
        in predictions, so that no picture has to be read.
        """
        nodes = self.nodes(frame, device)
        return None if nodes is None else self.weighted(nodes.mean(nodes.values), frame)

    def weighted(self, scores: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
        """Scores of the units that the rows of ``frame`` read, as they enter the predictors."""
        weights = row_weights(() if self.deep is None else self.deep.slots, frame)
        return scores if weights is None else scores * weights

    def nodes(self, frame: pd.DataFrame, device: str = "cpu") -> Nodes | None:
        """Raw deep scores ``(N, T)`` of pictures, averaged over the members, before ``by=``.

        A row that lacks pictures has several nodes: what its scores may be, given the rest of the
        row. None when no deep term is used in predictions, so that no picture has to be read.
        """
        if self.deep is None or self.blueprint is None or not self.deep.calibration.gamma.any():
            return None
        modalities = self.blueprint.read(frame)
        rows = np.arange(len(frame))
        scores = self._known_scores(modalities, rows, device)
        absent = self.deep.absent
        if absent is None:
            return Nodes.single(scores)
        laws = absent.of_rows(self.blueprint, modalities)
        if not any(laws):
            return Nodes.single(scores)
        for law in absent.laws:
            # Pictures that the law does without although they are there.
            present = ~self.blueprint.lacking(modalities, law.missing).all(axis=1)
            own = np.flatnonzero(present & np.array([one is law for one in laws]))
            if own.size:
                without = self.blueprint.without(modalities, law.missing)
                scores[own] = self._known_scores(without, own, device)
        return absent.nodes(frame, scores, self._shadows(frame), laws)

    def _known_scores(
        self, modalities: Mapping[str, Modality], rows: np.ndarray, device: str
    ) -> np.ndarray:
        """Scores of rows, averaged over the members; NaN where a slot has no input."""
        deep, blueprint = cast(DeepFit, self.deep), cast(NetworkBlueprint, self.blueprint)
        total = np.zeros((len(rows), len(deep.slots)))
        for member in deep.crossfit.members:
            total += predict_scores(member.net.to(device), modalities, rows)
        present = blueprint.present(modalities)[rows]
        scores = deep.crossfit.effects(total / len(deep.crossfit.members))
        return np.where(present, scores, np.nan)

    def _shadows(self, frame: pd.DataFrame) -> np.ndarray:
        """What the table predicts for scores before ``by=``; zero where that varies in a row."""
        deep = cast(DeepFit, self.deep)
        slots = deep.slots
        if deep.absent is None or not deep.absent.around_table:
            return np.zeros((len(frame), len(slots)))
        return self.predictor.shadows(frame) * [slot.by is None for slot in slots]

    def eta(self, frame: pd.DataFrame, device: str = "cpu") -> np.ndarray:
        """Predictors ``(n, K)`` of new rows, with the mean scores where pictures are missing."""
        return self.predictor.eta(frame, self.scores(frame, device))

    def node_etas(self, frame: pd.DataFrame, device: str = "cpu") -> Nodes:
        """Predictors ``(N, K)`` of new rows: several of a row that lacks pictures."""
        nodes = self.nodes(frame, device)
        if nodes is None:
            return Nodes.single(self.predictor.eta(frame, None))
        center = nodes.mean(nodes.values)
        eta = self.predictor.eta(frame, self.weighted(center, frame))
        if nodes.is_single:
            return Nodes.single(eta)
        change = nodes.values - center[nodes.row]
        weights = row_weights(cast(DeepFit, self.deep).slots, frame)
        if weights is not None:
            change = change * weights[nodes.row]
        return Nodes(nodes.n, nodes.row, self.predictor.moved(eta[nodes.row], change))

    def embeddings(self, frame: pd.DataFrame, device: str = "cpu") -> pd.DataFrame:
        """Latent features of every deep term and member, columns ``(term, member, feature)``."""
        if self.deep is None or self.blueprint is None:
            return pd.DataFrame(index=frame.index)
        modalities = self.blueprint.read(frame)
        rows = np.arange(len(frame))
        found = {}
        labels = {slot.network: slot.term.label for slot in self.deep.slots}
        for m, member in enumerate(self.deep.crossfit.members):
            latents = predict_latents(member.net.to(device), modalities, rows)
            for network, label in labels.items():
                for j, column in enumerate(latents[network].T):
                    found[label, m, j] = column
        table = pd.DataFrame(found, index=frame.index)
        table.columns = pd.MultiIndex.from_tuples(found, names=["term", "member", "feature"])
        return table
