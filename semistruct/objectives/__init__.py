"""Objectives for representations: what the features of networks shall be good for.

Each is a frozen configuration object for the options ``pretraining=`` (minimised before the
networks are trained for the response) and ``auxiliary=`` (added to the loss) of the estimators.
"""

from __future__ import annotations

from semistruct.objectives.base import RepresentationObjective
from semistruct.objectives.canonical_correlation import CanonicalCorrelation
from semistruct.objectives.contrastive import Contrastive
from semistruct.objectives.proxy import Proxy
from semistruct.objectives.reconstruction import Reconstruction
from semistruct.objectives.similarity import Similarity

__all__ = [
    "OBJECTIVES",
    "CanonicalCorrelation",
    "Contrastive",
    "Proxy",
    "Reconstruction",
    "RepresentationObjective",
    "Similarity",
]

OBJECTIVES: dict[str, type[RepresentationObjective]] = {
    "canonical_correlation": CanonicalCorrelation,
    "contrastive": Contrastive,
    "proxy": Proxy,
    "reconstruction": Reconstruction,
    "similarity": Similarity,
}
