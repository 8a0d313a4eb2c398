"""The multivariate normal distribution against least squares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from _fits import fit_formula

from semistruct.families import MultivariateNormal

EXACT = {"rtol": 1e-6, "atol": 1e-8}  # a maximum found by Newton steps


def bivariate(n: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, n)
    first = 1.2 * rng.normal(size=n)
    second = 0.7 * first + np.exp(-0.5 + 0.4 * x) * rng.normal(size=n)
    return pd.DataFrame({"x": x}), np.column_stack([1 + 2 * x + first, -x + second])


def test_equal_columns_of_x_are_least_squares():
    frame, y = bivariate(400)
    formulas = {"loc_1": "x", "loc_2": "x"}
    _, fit = fit_formula(formulas, frame, y, MultivariateNormal())
    X = np.column_stack([np.ones(len(y)), frame["x"]])
    coefficients, *_ = np.linalg.lstsq(X, y, rcond=None)
    np.testing.assert_allclose(fit.beta[:4], coefficients.T.ravel(), **EXACT)
    residual = y - X @ coefficients
    covariance = residual.T @ residual / len(y)
    found = MultivariateNormal().distribution(torch.as_tensor(fit.eta[:1])).covariance_matrix[0]
    np.testing.assert_allclose(found, covariance, **EXACT)


def test_dependence_and_scale_have_predictors():
    frame, y = bivariate(4000)
    formulas = {"loc_1": "x", "loc_2": "x", "scale_2": "x", "slope_2_1": "x"}
    _, fit = fit_formula(formulas, frame, y, MultivariateNormal())
    truth = [1, 2, 0, -1, np.log(1.2), -0.5, 0.4, 0.7, 0.0]
    z = (fit.beta - truth) / np.sqrt(np.diag(fit.V))
    assert (np.abs(z) < 4).all(), z
