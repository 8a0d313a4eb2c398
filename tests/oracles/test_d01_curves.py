"""A smooth's curve and its standard error against mgcv's predict(type="terms")."""

from __future__ import annotations

import numpy as np
import pytest
from _fits import fit_formula
from _oracles import load_oracle

from semistruct.fitting.model import ModelFit
from semistruct.inference.curves import smooth_curve

pytestmark = pytest.mark.oracle

# mgcv's own convergence, relative to the size of the curve.
FIXED_SMOOTHING = 1e-7


def test_curve_and_standard_error():
    oracle = load_oracle("D01_gam_gaussian_mcycle_bases")
    expected = oracle.expected["ps20_fixed_sp"]
    terms, x = expected["pred_terms"], np.array(expected["newdata"]["times"], dtype=float)
    problem, marginal = fit_formula("s(times, k=20, lam=1.5)", oracle.data, oracle.data["accel"])
    fit = ModelFit(("", ""), problem, marginal, frame=oracle.data)
    curve = smooth_curve(fit, "loc", "s(times)", grid=x)
    value, se = (np.ravel(terms[name]) for name in ("fit", "se"))
    np.testing.assert_allclose(curve["fit"], value, atol=FIXED_SMOOTHING * np.abs(value).max())
    np.testing.assert_allclose(curve["se"], se, rtol=1e-6)
