"""The Dirichlet distribution against the beta distribution and in a regression."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from _fits import fit_formula
from scipy import stats
from scipy.optimize import minimize

from semistruct.families import Beta, Dirichlet


def test_two_components_are_the_beta_distribution():
    share = torch.tensor([0.1, 0.5, 0.95], dtype=torch.float64)
    y = torch.stack([share, 1 - share], dim=-1)
    a = torch.tensor([[2.0, 5.0]], dtype=torch.float64).expand(3, -1)
    eta = torch.stack([torch.logit(a[:, 0] / 7), torch.full((3,), np.log(7.0))], dim=-1)
    torch.testing.assert_close(
        Dirichlet(components=2).contributions(a.log(), y), Beta().contributions(eta, share)
    )


def test_regression_finds_the_maximum():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, 300)
    a = np.exp(np.column_stack([0.5 + x, np.full(300, 1.0), 0.2 - 0.5 * x]))
    y = np.array([rng.dirichlet(row) for row in a])
    formulas = {"concentration_1": "x", "concentration_3": "x"}
    _, fit = fit_formula(formulas, pd.DataFrame({"x": x}), y, Dirichlet())
    assert fit.converged

    def minus_loglik(b):
        found = np.exp(np.column_stack([b[0] + b[1] * x, np.full(300, b[2]), b[3] + b[4] * x]))
        rows = zip(y, found, strict=True)
        return -sum(stats.dirichlet.logpdf(share / share.sum(), row) for share, row in rows)

    search = minimize(minus_loglik, np.zeros(5), method="BFGS")
    np.testing.assert_allclose(fit.beta, search.x, atol=1e-4)
    np.testing.assert_allclose(fit.loglik, -search.fun, atol=1e-6)
