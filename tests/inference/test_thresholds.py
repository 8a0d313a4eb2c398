"""Thresholds between ordered classes: values and the delta method against numerical derivatives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from semistruct import SemiStructuredClassifier, SpecificationError
from semistruct.inference.thresholds import has_thresholds, threshold_table


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = np.digitize(x + rng.logistic(size=300), [-1.0, 0.5, 1.2])
    assert (np.bincount(y) > 30).all()
    return SemiStructuredClassifier("x", "ordinal").fit(pd.DataFrame({"x": x}), y).fit_


def test_delta_method(fit):
    def thresholds(beta):
        return np.cumsum([-beta[0], *np.exp(beta[2:])])

    beta, V = fit.marginal.beta, fit.marginal.V
    table = threshold_table(fit, V, level=0.8)
    np.testing.assert_allclose(table["threshold"], thresholds(beta))
    h = 1e-6 * np.eye(4)
    J = np.column_stack([(thresholds(beta + s) - thresholds(beta - s)) / 2e-6 for s in h])
    np.testing.assert_allclose(table["se"], np.sqrt(np.diag(J @ V @ J.T)), rtol=1e-7)
    width = stats.norm.ppf(0.9) * table["se"]
    np.testing.assert_allclose(table["upper"] - table["threshold"], width)
    np.testing.assert_allclose(table["threshold"] - table["lower"], width)
    assert table.index.tolist() == ["0|1", "1|2", "2|3"]


def test_without_an_intercept_the_first_threshold_is_zero(fit):
    frame = fit.frame
    model = SemiStructuredClassifier("0 + x", "ordinal").fit(frame, fit.problem.y.astype(int))
    assert model.thresholds().loc["0|1"].tolist() == [0.0] * 4
    assert has_thresholds(fit) and has_thresholds(model.fit_)


def test_a_level_is_a_probability(fit):
    with pytest.raises(SpecificationError, match=r"between 0 and 1, got 95"):
        threshold_table(fit, fit.marginal.V, level=95)
