"""Discrete time: likelihoods by other means, curves, causes, pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.optimize import check_grad

import semistruct as ss
from semistruct.exceptions import UnsupportedCombinationError
from semistruct.families.discrete_hazard import DiscreteHazards
from tests.estimators.test_pamm import survival_data

N = 240
CUTS = [0.25, 0.5, 1.0, 1.5, 3.0]


def long_rows(frame: pd.DataFrame, y: ss.Surv) -> pd.DataFrame:
    """Intervals with the event, or half or more of which was survived; by a plain loop."""
    rows = []
    edges = [0.0, *CUTS]
    for i in range(len(frame)):
        for a, b in zip(edges, CUTS, strict=False):
            event = int(y.cause[i]) if a < y.time[i] <= b else 0
            if y.time[i] > b or event or y.time[i] - a >= (b - a) / 2:
                rows.append({"age": frame["age"].iloc[i], "tend": b, "event": event})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("link", ["logit", "cloglog"])
def test_coefficients_are_those_of_a_binomial_model_of_the_intervals(link):
    frame, y, _ = survival_data()
    model = ss.DiscreteHazard("tend + age", link=link, cuts=CUTS).fit(frame, y)
    rows = long_rows(frame, y)
    X = sm.add_constant(rows[["tend", "age"]].to_numpy())
    links = sm.families.links
    chosen = links.Logit() if link == "logit" else links.CLogLog()
    glm = sm.GLM(rows["event"], X, family=sm.families.Binomial(chosen)).fit(tol=1e-12)
    assert_allclose(model.params["hazard", "age"], np.asarray(glm.params)[-1], rtol=1e-7)
    assert_allclose(model.loglik_, glm.llf, rtol=1e-10)
    if link == "logit":
        assert_allclose(model.bse["hazard", "age"], np.asarray(glm.bse)[-1], rtol=1e-6)


def test_competing_causes_are_a_multinomial_logit():
    frame, y, _ = survival_data(causes=2)
    model = ss.DiscreteHazard("tend + age", cuts=CUTS).fit(frame, y)
    rows = long_rows(frame, y)
    X = sm.add_constant(rows[["tend", "age"]].to_numpy())
    logit = sm.MNLogit(rows["event"], X).fit(disp=0, tol=1e-12, maxiter=200)
    for k in (1, 2):
        assert_allclose(
            model.params[f"hazard_{k}", "age"], np.asarray(logit.params)[-1, k - 1], rtol=1e-5
        )
    assert_allclose(model.loglik_, logit.llf, rtol=1e-9)


@pytest.mark.parametrize(
    "family", [DiscreteHazards(), DiscreteHazards(link="cloglog"), DiscreteHazards((1, 2, 3))]
)
def test_score_and_curvature_are_derivatives(family):
    rng = np.random.default_rng(0)
    K = len(family.causes)
    cause = rng.integers(0, K + 1, 12)
    y = (cause[:, None] == np.arange(1, K + 1)).astype(float)
    bound = family.bind(y, rng.uniform(0.5, 2, 12))
    eta = rng.normal(-0.5, 1, (12, K))

    def value(flat):
        return bound.loglik(flat.reshape(12, K))

    assert check_grad(value, lambda f: bound.score(f.reshape(12, K)).ravel(), eta.ravel()) < 1e-5
    w = bound.curvature(eta).w
    for k in range(K):
        step = np.zeros((12, K))
        step[:, k] = 1e-6
        slope = (bound.score(eta + step) - bound.score(eta - step)) / 2e-6
        assert_allclose(-slope, w[:, :, k], atol=1e-6)


def test_curves_multiply_the_probabilities_of_surviving():
    frame, y, _ = survival_data()
    model = ss.DiscreteHazard("s(tend, k=4) + age", cuts=CUTS).fit(frame, y)
    hazard = model.predict_hazard(frame[:5]).to_numpy()
    survival = model.predict_survival_function(frame[:5]).to_numpy()
    assert_allclose(survival, np.cumprod(1 - hazard, axis=0), rtol=1e-12)
    between = model.predict_survival_function(frame[:5], [0.2, 0.6]).to_numpy()
    assert_allclose(between, [np.ones(5), survival[1]])
    band = model.predict_survival_function(frame[:2], level=0.9).to_numpy().reshape(5, 2, 3)
    assert (band[..., 1] <= band[..., 0]).all() and (band[..., 0] <= band[..., 2]).all()


def test_incidences_and_survival_add_up_to_one():
    frame, y, _ = survival_data(causes=2)
    model = ss.DiscreteHazard("tend + age", cuts=CUTS).fit(frame, y)
    incidence = model.predict_cumulative_incidence(frame)
    total = sum(incidence[cause].to_numpy() for cause in (1, 2))
    assert_allclose(total + model.predict_survival_function(frame).to_numpy(), 1.0, rtol=1e-12)


def test_pictures_are_read():
    frame, y, bright = survival_data(400)
    model = ss.DiscreteHazard(
        "tend + age + cnn(scan)", cuts=CUTS, n_folds=2, n_repeats=1, progress=False, random_state=0
    ).fit(frame, y)
    deep = model.term_contributions(frame)["hazard", "cnn(scan)"]
    assert deep[bright].mean() - deep[~bright].mean() > 0.5


def test_what_makes_no_sense_is_refused():
    frame, y, _ = survival_data(60, causes=2)
    with pytest.raises(UnsupportedCombinationError, match="mapping"):
        ss.DiscreteHazard("cause + age", cuts=CUTS).fit(frame, y)
    with pytest.raises(UnsupportedCombinationError, match="multinomial"):
        ss.DiscreteHazard("age", link="cloglog", cuts=CUTS).fit(frame, y)
    with pytest.raises(ss.SpecificationError, match="link"):
        ss.DiscreteHazard("age", link="probit", cuts=CUTS).fit(frame, y.of_cause(1))
