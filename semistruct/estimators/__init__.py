"""Estimators: where names become classes and everything comes together."""

from __future__ import annotations

from semistruct.estimators.cox import CoxPH
from semistruct.estimators.discrete_hazard import DiscreteHazard
from semistruct.estimators.pamm import PAMM
from semistruct.estimators.regressor import SemiStructuredRegressor
from semistruct.estimators.transitions import transition_probabilities

__all__ = [
    "PAMM",
    "CoxPH",
    "DiscreteHazard",
    "SemiStructuredRegressor",
    "transition_probabilities",
]
