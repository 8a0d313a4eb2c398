"""A whole fitted model: the table model, the deep part where there is one, and its predictor."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from semistruct.blueprint import NetworkBlueprint, row_weights
from semistruct.exceptions import SemistructError
from semistruct.fitting.deep import DeepFit
from semistruct.fitting.structured import StructuredFit, StructuredProblem
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
        """Raw deep scores ``(n, T)`` as they enter the predictors, NaN without the picture.

        None when no deep term is used in predictions, so that no picture has to be read.
        """
        scores = self.unit_scores(frame, device)
        return None if scores is None else self.weighted(scores, frame)

    def weighted(self, scores: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
        """Scores of the units that the rows of ``frame`` read, as they enter the predictors."""
        weights = row_weights(() if self.deep is None else self.deep.slots, frame)
        return scores if weights is None else scores * weights

    def unit_scores(self, frame: pd.DataFrame, device: str = "cpu") -> np.ndarray | None:
        """Raw deep scores ``(n, T)`` of pictures, averaged over the members, before ``by=``."""
        if self.deep is None or self.blueprint is None or not self.deep.calibration.gamma.any():
            return None
        modalities = self.blueprint.read(frame)
        rows = np.arange(len(frame))
        total = np.zeros((len(frame), len(self.deep.slots)))
        for member in self.deep.crossfit.members:
            net = member.net.to(device)
            total += predict_scores(net, modalities, rows)
        scores = self.deep.crossfit.effects(total / len(self.deep.crossfit.members))
        for t, slot in enumerate(self.deep.slots):
            inputs = self.blueprint.plans[slot.network].inputs
            present = np.any([modalities[part.name].present for part in inputs], axis=0)
            scores[~present, t] = np.nan
        return scores

    def eta(self, frame: pd.DataFrame, device: str = "cpu") -> np.ndarray:
        """Predictors ``(n, K)`` of new rows."""
        return self.predictor.eta(frame, self.scores(frame, device))

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
