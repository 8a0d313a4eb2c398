"""The categorical distribution: a regression against statsmodels, names of the classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from _fits import fit_formula

from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Bernoulli, Categorical

COEFFICIENT = 1e-8  # two Newton iterations on one concave likelihood
STANDARD_ERROR = 1e-7


def test_regression_against_statsmodels():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=400), "z": rng.uniform(-1, 1, 400)})
    eta = np.column_stack([np.zeros(400), 0.5 + frame["x"], -0.3 + frame["z"]])
    y = (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)
    assert (np.bincount(y) > 40).all()
    weight = rng.integers(1, 4, 400)
    family = Categorical(categories=("a", "b", "c"))
    _, fit = fit_formula({"b": "x + z", "c": "x + z"}, frame, y, family, sample_weight=weight)
    rows = np.repeat(np.arange(400), weight)
    reference = sm.MNLogit(y[rows], sm.add_constant(frame.iloc[rows])).fit(
        disp=0, method="newton", tol=1e-12
    )
    np.testing.assert_allclose(fit.beta, reference.params.to_numpy().T.ravel(), rtol=COEFFICIENT)
    np.testing.assert_allclose(
        np.sqrt(np.diag(fit.V)), reference.bse.to_numpy().T.ravel(), rtol=STANDARD_ERROR
    )
    np.testing.assert_allclose(fit.loglik, reference.llf, rtol=1e-12)
    counts = np.bincount(y[rows])
    null = counts @ np.log(counts / counts.sum())
    np.testing.assert_allclose(fit.loglik_null, null, rtol=1e-12)


def test_two_classes_are_the_bernoulli_distribution():
    eta = torch.linspace(-800, 800, 21, dtype=torch.float64)[:, None]
    y = torch.arange(21).double() % 2
    two, bernoulli = Categorical(categories=2), Bernoulli()
    for method in ("contributions", "score", "row_information"):
        torch.testing.assert_close(getattr(two, method)(eta, y), getattr(bernoulli, method)(eta, y))


def test_names():
    assert Categorical(categories=["b", "a"]) == Categorical(categories=("b", "a"))
    assert Categorical(categories=("b", "a")).param_names == ("a",)
    assert Categorical(categories=4).param_names == ("1", "2", "3")


@pytest.mark.parametrize("categories", [1, True, ("a",), ("a", "a"), ("a", 1), "abc", 2.0])
def test_refused_categories(categories):
    with pytest.raises(SpecificationError, match="two at least and all different"):
        Categorical(categories=categories)


def test_a_label_is_no_number():
    with pytest.raises(DataError, match="must be numeric"):
        Categorical(categories=("a", "b")).validate(["a", "b"])
