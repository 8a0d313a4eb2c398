"""scikit-learn's own checks of an estimator, for models without pictures."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from semistruct import SemiStructuredRegressor

# Fits of the same rows in another order or with repeated rows stop at the same tolerance.
SAME_FIT = 1e-8

ESTIMATORS = [
    SemiStructuredRegressor(),
    SemiStructuredRegressor(missing="drop", cov_type="sandwich"),
]


# Some checks have more columns than rows; the warning is right, and tested below.
@pytest.mark.filterwarnings("ignore:the columns .* linear combinations")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    # One check is skipped by scikit-learn unless this is set; it compares numpy input with and
    # without array API dispatch.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


@pytest.fixture
def numbers():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 3))
    y = X @ [1.0, -2.0, 0.5] + rng.normal(size=60)
    assert X.std() > 0
    return X, y


def test_a_row_of_weight_zero_is_absent(numbers):
    X, y = numbers
    weight = np.ones(60)
    weight[::3] = 0.0
    y = np.where(weight > 0, y, 1e6)
    weighted = SemiStructuredRegressor().fit(X, y, sample_weight=weight)
    without = SemiStructuredRegressor().fit(X[weight > 0], y[weight > 0])
    np.testing.assert_allclose(weighted.predict(X), without.predict(X), rtol=SAME_FIT)
    np.testing.assert_allclose(weighted.bse, without.bse, rtol=SAME_FIT)


def test_more_columns_than_rows(numbers):
    X, _ = numbers
    wide = X[:50].reshape(5, 30)
    y = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    with pytest.warns(UserWarning) as caught:
        model = SemiStructuredRegressor().fit(wide, y)
    assert any("linear combination" in str(warning.message) for warning in caught)
    np.testing.assert_allclose(model.predict(wide), y, atol=1e-4)
    assert np.isfinite(model.predict(wide + 1.0)).all()
