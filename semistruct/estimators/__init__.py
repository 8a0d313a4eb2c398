"""Estimators: where names become classes and everything comes together."""

from __future__ import annotations

from semistruct.estimators.classifier import SemiStructuredClassifier
from semistruct.estimators.comparing.compare import compare
from semistruct.estimators.comparison import anova, check_basis, concurvity
from semistruct.estimators.cox import CoxPH
from semistruct.estimators.discrete_hazard import DiscreteHazard
from semistruct.estimators.early_fusion import EarlyFusion
from semistruct.estimators.features.image_features import ImageFeatures
from semistruct.estimators.features.mask_features import MaskFeatures, mask_features
from semistruct.estimators.late_fusion import LateFusion
from semistruct.estimators.multi_task_logistic import MultiTaskLogistic
from semistruct.estimators.pamm import PAMM
from semistruct.estimators.regressor import SemiStructuredRegressor
from semistruct.estimators.transitions import transition_probabilities
from semistruct.estimators.two_stage import TwoStage
from semistruct.estimators.wrappers.wrap import wrap

__all__ = [
    "PAMM",
    "CoxPH",
    "DiscreteHazard",
    "EarlyFusion",
    "ImageFeatures",
    "LateFusion",
    "MaskFeatures",
    "MultiTaskLogistic",
    "SemiStructuredClassifier",
    "SemiStructuredRegressor",
    "TwoStage",
    "anova",
    "check_basis",
    "compare",
    "concurvity",
    "mask_features",
    "transition_probabilities",
    "wrap",
]
