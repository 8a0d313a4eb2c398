"""Semi-structured regression on tables plus images."""

from __future__ import annotations

from semistruct import datasets, families, losses, metrics, nn
from semistruct.columns import ImageArray, TensorArray, as_image_array
from semistruct.estimators import (
    PAMM,
    CoxPH,
    DiscreteHazard,
    EarlyFusion,
    ImageFeatures,
    LateFusion,
    SemiStructuredClassifier,
    SemiStructuredRegressor,
    TwoStage,
    anova,
    check_basis,
    compare,
    concurvity,
    transition_probabilities,
    wrap,
)
from semistruct.estimators.persistence.files import load
from semistruct.exceptions import (
    ConvergenceWarning,
    DataError,
    DataWarning,
    SemistructError,
    SpecificationError,
    UnsupportedCombinationError,
)
from semistruct.responses import Interval, Surv
from semistruct.terms import (
    cnn,
    cumulative,
    deep,
    encoder,
    linear,
    mlp,
    offset,
    re,
    ridge,
    s,
    te,
    ti,
)

__all__ = [
    "PAMM",
    "ConvergenceWarning",
    "CoxPH",
    "DataError",
    "DataWarning",
    "DiscreteHazard",
    "EarlyFusion",
    "ImageArray",
    "ImageFeatures",
    "Interval",
    "LateFusion",
    "SemiStructuredClassifier",
    "SemiStructuredRegressor",
    "SemistructError",
    "SpecificationError",
    "Surv",
    "TensorArray",
    "TwoStage",
    "UnsupportedCombinationError",
    "anova",
    "as_image_array",
    "check_basis",
    "cnn",
    "compare",
    "concurvity",
    "cumulative",
    "datasets",
    "deep",
    "encoder",
    "families",
    "linear",
    "load",
    "losses",
    "metrics",
    "mlp",
    "nn",
    "offset",
    "re",
    "ridge",
    "s",
    "te",
    "ti",
    "transition_probabilities",
    "wrap",
]

__version__ = "0.1.0"
