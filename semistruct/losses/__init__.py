"""Losses as plain torch functions, usable without the rest of the package."""

from __future__ import annotations

from semistruct.losses.canonical_correlation import canonical_correlations, correlation_loss
from semistruct.losses.contrastive import contrastive_loss, corrupted
from semistruct.losses.cox import CoxRiskSets, cox_partial_likelihood
from semistruct.losses.cox_baseline import CoxBaseline, cox_baseline
from semistruct.losses.cox_information import (
    CoxDerivatives,
    CoxHessian,
    cox_derivatives,
    cox_hessian,
    cox_information,
)
from semistruct.losses.cox_residuals import (
    SchoenfeldResiduals,
    cox_deviance_residuals,
    cox_martingale_residuals,
    cox_schoenfeld_residuals,
    cox_score_residuals,
)
from semistruct.losses.reconstruction import cross_reconstruction_loss, reconstruction_loss
from semistruct.losses.sampled import (
    SampledRiskSets,
    cox_sampled_likelihood,
    sample_risk_sets,
)
from semistruct.losses.similarity import similarity_loss

__all__ = [
    "canonical_correlations",
    "contrastive_loss",
    "correlation_loss",
    "corrupted",
    "cross_reconstruction_loss",
    "reconstruction_loss",
    "similarity_loss",
    "SampledRiskSets",
    "cox_sampled_likelihood",
    "sample_risk_sets",
    "CoxBaseline",
    "CoxDerivatives",
    "CoxHessian",
    "CoxRiskSets",
    "SchoenfeldResiduals",
    "cox_baseline",
    "cox_derivatives",
    "cox_deviance_residuals",
    "cox_hessian",
    "cox_information",
    "cox_martingale_residuals",
    "cox_partial_likelihood",
    "cox_schoenfeld_residuals",
    "cox_score_residuals",
]
