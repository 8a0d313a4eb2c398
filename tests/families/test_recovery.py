"""Intercept-only fits recover the parameters that made their data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from _fits import fit_formula

from semistruct.families import (
    BoxCoxColeGreen,
    BoxCoxT,
    Categorical,
    Dirichlet,
    Family,
    GeneralizedExtremeValue,
    GeneralizedPareto,
    HurdleNegativeBinomial,
    HurdlePoisson,
    Laplace,
    MultivariateNormal,
    NegativeBinomial1,
    Ordinal,
    SinhArcsinh,
    Tweedie,
    VonMises,
    ZeroInflatedNegativeBinomial,
    ZeroOneInflatedBeta,
)

ROWS = 20_000
# Chance of one of about fifty estimates beyond it: one in eight; the seed is one where none is.
STANDARD_ERRORS = 3.0

CASES: list[tuple[Family, tuple[float, ...]]] = [
    (Laplace(), (0.7, 1.3)),
    (NegativeBinomial1(), (2.5, 0.8)),
    (HurdlePoisson(), (2.0, 0.4)),
    (ZeroInflatedNegativeBinomial(), (4.0, 0.5, 0.25)),
    (GeneralizedPareto(), (2.0, 0.2)),
    (GeneralizedPareto(), (2.0, -0.2)),
    (GeneralizedExtremeValue(), (1.0, 2.0, 0.15)),
    (GeneralizedExtremeValue(), (1.0, 2.0, -0.2)),
    (SinhArcsinh(), (0.5, 1.5, 0.4, 0.8)),
    (BoxCoxColeGreen(), (3.0, 0.3, 0.4)),
    (BoxCoxColeGreen(), (3.0, 0.1, -0.6)),
    (VonMises(), (0.7, 2.5)),
    (HurdleNegativeBinomial(), (3.0, 0.6, 0.7)),
    (BoxCoxT(), (3.0, 0.2, 0.4, 8.0)),
    (Tweedie(), (2.0, 1.0, 1.4)),
    (Tweedie(power=1.6), (2.0, 1.0)),
    (ZeroOneInflatedBeta(), (0.4, 8.0, 0.2, 0.7)),
    (ZeroOneInflatedBeta(inflated="zero"), (0.4, 8.0, 0.2)),
    (Dirichlet(), (2.0, 1.0, 4.0)),
    (MultivariateNormal(), (0.3, -1.0, 1.2, 0.5, 0.7)),
    (Categorical(), (0.6, 1.8)),
    (Ordinal(categories=4, link="probit"), (0.8, 1.2, 0.4)),
]


@pytest.mark.parametrize(("family", "theta"), CASES, ids=lambda value: repr(value))
def test_maximum_likelihood_recovers_the_truth(family, theta):
    truth = torch.tensor(theta, dtype=torch.float64)
    eta = torch.stack([link.forward(truth[k]) for k, link in enumerate(family.links)])
    y = family.sample(eta[None], ROWS, torch.Generator().manual_seed(8))[:, 0].numpy()
    assert np.unique(y).size > 1
    formulas = dict.fromkeys(family.param_names, "1")
    _, fit = fit_formula(formulas, pd.DataFrame({"row": np.arange(ROWS)}), y, family)
    assert fit.converged
    z = (fit.beta - eta.numpy()) / np.sqrt(np.diag(fit.V))
    assert (np.abs(z) < STANDARD_ERRORS).all(), z
    assert (np.abs(z) > 1e-6).all()  # a fit that never left the truth would not be one
