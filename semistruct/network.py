"""The network of a model: the networks of its deep terms, and one linear score for each use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from semistruct.batch import Batch
from semistruct.modalities import Modality
from semistruct.modality_dropout import ModalityDropout
from semistruct.term_network import TermFeatures, TermNetwork

__all__ = ["SemiStructuredNet", "predict_latents", "predict_scores"]

_CHUNK = 64


class SemiStructuredNet(nn.Module):
    """All deep terms of a model, and the weights ``gamma`` with which they enter its predictors.

    Parameters
    ----------
    terms : sequence of TermNetwork
        Each once, also when several predictors share it.
    slots : sequence of (int, int)
        Position of the predictor and of the term network, for each column of the scores.
    scale : (T,) tensor
        Natural size of a score: one standard deviation of noise in its predictor. Learning rates
        and weight decay then mean the same for a response in dollars and for one in millions.
    dropout : ModalityDropout, optional
        What counts as absent in training though it is there.

    Notes
    -----
    ``gamma`` starts at zero, so that training starts from the structured model.

    The level of a score means nothing: a constant belongs to the intercept, and a partial
    likelihood does not see it at all. ``level`` is set when training has ended.
    """

    scale: Tensor
    level: Tensor

    def __init__(
        self,
        terms: Sequence[TermNetwork],
        slots: Sequence[tuple[int, int]],
        scale: Tensor,
        dropout: ModalityDropout | None = None,
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self.dropout = dropout
        self.slots = tuple(slots)
        self.gammas = nn.ParameterList(
            [nn.Parameter(torch.zeros(terms[term].latent_dim)) for _, term in self.slots]
        )
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.get_default_dtype()))
        self.register_buffer("level", torch.zeros_like(self.scale))

    def encode(self, batch: Batch) -> tuple[TermFeatures, ...]:
        """Features of every term: the one pass from which scores and objectives are computed.

        In training some inputs count as absent, where there is modality dropout.
        """
        if self.dropout is not None:
            batch = self.dropout(batch)
        return tuple(term.encode(batch) for term in self.terms)  # type: ignore[operator]

    def scores_of(self, features: Sequence[TermFeatures]) -> Tensor:
        """Deep scores ``(b, T)``: ``U gamma`` less its level, zero where all is absent."""
        scores = torch.stack(
            [
                features[term].joined @ gamma
                for gamma, (_, term) in zip(self.gammas, self.slots, strict=True)
            ],
            dim=1,
        )
        some = torch.stack([features[term].some for _, term in self.slots], dim=1)
        return torch.where(some, scores * self.scale - self.level, 0.0)

    def scores(self, batch: Batch) -> Tensor:
        """Deep scores ``(b, T)`` of a batch, see :meth:`scores_of`."""
        return self.scores_of(self.encode(batch))

    def forward(self, batch: Batch) -> Tensor:
        """The scores."""
        return self.scores(batch)


def predict_scores(
    net: SemiStructuredNet, modalities: Mapping[str, Modality], rows: np.ndarray
) -> np.ndarray:
    """Scores ``(len(rows), T)`` in float64, in evaluation mode, chunk by chunk."""
    device = net.scale.device
    scores = np.zeros((len(rows), len(net.slots)))
    net.eval()
    with torch.no_grad():
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            batch = Batch.read(modalities, chunk, device)
            scores[start : start + len(chunk)] = net.scores(batch).double().cpu().numpy()
    return scores


def _gammas(net: SemiStructuredNet) -> list[nn.Parameter]:
    """Weights of one slot of every term network, in their order."""
    first = {term: gamma for gamma, (_, term) in zip(net.gammas, net.slots, strict=True)}
    return [first[term] for term in range(len(net.terms))]


def predict_latents(
    net: SemiStructuredNet, modalities: Mapping[str, Modality], rows: np.ndarray
) -> list[np.ndarray]:
    """Latent features ``(len(rows), latent_dim)`` of every term network, NaN where absent."""
    device = net.scale.device
    latents = [np.full((len(rows), len(gamma)), np.nan) for gamma in _gammas(net)]
    net.eval()
    with torch.no_grad():
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            batch = Batch.read(modalities, chunk, device)
            for found, term in zip(latents, net.terms, strict=True):
                values = term(batch).double().cpu().numpy()
                here = term.present(batch).cpu().numpy()  # type: ignore[operator]
                found[start : start + len(chunk)][here] = values[here]
    return latents
