"""Distributions of events over intervals: the written-out likelihood, pycox's formulas, curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from numpy.testing import assert_allclose
from scipy.optimize import check_grad, minimize

import semistruct as ss
from semistruct.families.interval_probabilities import IntervalProbabilities
from tests.estimators.test_pamm import survival_data

CUTS = [0.25, 0.5, 1.0, 3.0]
J = len(CUTS)
FAMILIES = [
    IntervalProbabilities(3, head="pmf"),
    IntervalProbabilities(3, head="mtlr"),
    IntervalProbabilities(3, (1, 2), "pmf"),
    IntervalProbabilities(3, (1, 2), "mtlr"),
]


def rows_of(family: IntervalProbabilities, n: int = 24) -> np.ndarray:
    """Events, censored rows and late entries, all of which occur."""
    rng = np.random.default_rng(0)
    number = rng.integers(0, family.n_intervals, n)
    cause = rng.integers(0, len(family.causes) + 1, n)
    entered = np.minimum(rng.integers(0, 3, n), number)
    number = np.where(cause == 0, number + rng.integers(0, 2, n), number)
    assert (cause == 0).any() and (entered > 0).any() and (number == family.n_intervals).any()
    return family.encode(number, cause, entered)


def by_loops(family: IntervalProbabilities, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each row's log-likelihood, outcome by outcome."""
    K, n_int = len(family.causes), family.n_intervals
    found = []
    for row, (number, cause, entered) in zip(eta.reshape(-1, K, n_int), y, strict=True):
        odds = np.zeros((K, n_int))
        for k in range(K):
            for j in range(n_int):
                odds[k, j] = np.exp(row[k, j] if family.head == "pmf" else row[k, j:].sum())
        p = odds / (1 + odds.sum())
        rest = 1 - p.sum()
        later = rest + p[:, int(number) :].sum()
        happened = p[int(cause) - 1, int(number)] if cause > 0 else later
        found.append(np.log(happened) - np.log(rest + p[:, int(entered) :].sum()))
    return np.array(found)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_the_likelihood_is_the_written_out_one(family):
    y = rows_of(family)
    rng = np.random.default_rng(1)
    eta, weight = rng.normal(size=(len(y), len(family.param_names))), rng.uniform(0.5, 2, len(y))
    expected = by_loops(family, eta, y)
    assert_allclose(family.bind(y, weight).contributions(eta), weight * expected, rtol=1e-10)
    loss = family.batch_loss(*(torch.from_numpy(v) for v in (eta, y, weight)))
    assert_allclose(float(loss), -(weight * expected).sum() / weight.sum(), rtol=1e-10)
    assert not np.allclose(expected, by_loops(family, 0 * eta, y))


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_score_and_curvature_are_derivatives(family):
    y = rows_of(family)
    rng = np.random.default_rng(2)
    shape = (len(y), len(family.param_names))
    bound, eta = family.bind(y, rng.uniform(0.5, 2, len(y))), rng.normal(size=shape)

    def value(flat):
        return bound.loglik(flat.reshape(shape))

    assert check_grad(value, lambda f: bound.score(f.reshape(shape)).ravel(), eta.ravel()) < 1e-4
    w = bound.curvature(eta).w
    for k in range(shape[1]):
        step = np.zeros(shape)
        step[:, k] = 1e-6
        slope = (bound.score(eta + step) - bound.score(eta - step)) / 2e-6
        assert_allclose(-slope, w[:, :, k], atol=1e-6)
    expected = bound.curvature(eta, "expected").w
    assert not np.allclose(expected, w)
    assert (np.linalg.eigvalsh(expected) > -1e-12).all()


def test_losses_are_those_of_pycox():
    """Kvamme's formulas: ``gamma`` keeps the exponentials finite, the reference has ``phi = 0``."""
    rng = np.random.default_rng(3)
    n, size = 40, 5
    phi, index = rng.normal(size=(n, size)), rng.integers(0, size, n)
    event = rng.integers(0, 2, n)
    padded = np.column_stack([phi, np.zeros(n)])
    gamma = padded.max(axis=1)
    cumsum = np.cumsum(np.exp(padded - gamma[:, None]), axis=1)
    sum_ = cumsum[:, -1]
    at = (np.arange(n), index)
    with np.errstate(divide="ignore"):
        part1 = np.where(event, padded[at] - gamma, 0.0)
        part3 = np.where(event, 0.0, np.log(sum_ - cumsum[at]))
    nll_pmf = -(part1 - np.log(sum_) + part3)
    # pycox's index of a censored row is that of the last interval it was seen in.
    y = IntervalProbabilities.encode(np.where(event, index, index + 1), event, np.zeros(n))
    own = IntervalProbabilities(size, head="pmf").bind(y, np.ones(n)).contributions(phi)
    assert_allclose(-own, nll_pmf, rtol=1e-9)
    reverse = np.cumsum(phi[:, ::-1], axis=1)[:, ::-1]
    mtlr = IntervalProbabilities(size, head="mtlr").bind(y, np.ones(n)).contributions(phi)
    pmf = IntervalProbabilities(size, head="pmf").bind(y, np.ones(n)).contributions(reverse)
    assert_allclose(mtlr, pmf, rtol=1e-12)


def test_without_censoring_it_is_a_multinomial_logit():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"age": rng.normal(size=400)})
    time = rng.exponential(np.exp(-0.5 * frame["age"]))
    y = ss.Surv(np.minimum(time, 3.0), time < 3.0)
    model = ss.MultiTaskLogistic("age", head="pmf", cuts=CUTS).fit(frame, y)
    outcome = np.searchsorted(CUTS, np.where(time < 3.0, time, 99))
    # The reference of statsmodels is the first class.
    recoded = np.where(outcome == J, 0, outcome + 1)
    logit = sm.MNLogit(recoded, sm.add_constant(frame["age"].to_numpy())).fit(
        disp=0, tol=1e-12, maxiter=200
    )
    assert_allclose(model.loglik_, logit.llf, rtol=1e-9)
    own = model.params.to_numpy().reshape(J, 2)
    assert_allclose(own, np.asarray(logit.params).T, rtol=1e-5, atol=1e-6)
    assert_allclose(model.bse.to_numpy().reshape(J, 2), np.asarray(logit.bse).T, rtol=1e-4)


@pytest.mark.parametrize("head", ["mtlr", "pmf"])
def test_the_fit_maximises_the_likelihood_of_censored_follow_up(head):
    frame, y, _ = survival_data()
    assert (~y.event & (y.time < 0.9)).any()
    model = ss.MultiTaskLogistic("age", head=head, cuts=CUTS).fit(frame, y)
    family = IntervalProbabilities(J, head=head)
    X = np.column_stack([np.ones(len(frame)), frame["age"]])
    rows = model.fit_.problem.y

    def loss(beta):
        return -by_loops(family, X @ beta.reshape(2, J), rows).sum()

    found = minimize(loss, np.zeros(2 * J), method="BFGS", options={"gtol": 1e-4})
    assert_allclose(-found.fun, model.loglik_, rtol=1e-6)
    assert_allclose(model.params.to_numpy().reshape(J, 2).T.ravel(), found.x, atol=5e-3)


def test_both_heads_are_one_model_without_penalties_and_networks():
    frame, y, _ = survival_data()
    mtlr, pmf = (
        ss.MultiTaskLogistic("age", head=head, cuts=CUTS).fit(frame, y) for head in ("mtlr", "pmf")
    )
    assert_allclose(mtlr.loglik_, pmf.loglik_, rtol=1e-9)
    assert not np.allclose(mtlr.params, pmf.params)
    assert_allclose(
        mtlr.predict_survival_function(frame), pmf.predict_survival_function(frame), rtol=1e-5
    )


def test_curves_follow_from_the_probabilities():
    frame, y, _ = survival_data(causes=2)
    model = ss.MultiTaskLogistic("age", cuts=CUTS).fit(frame, y)
    p = model.predict_probabilities(frame[:6])
    survival = model.predict_survival_function(frame[:6])
    assert_allclose(survival, 1 - p.cumsum(), rtol=1e-9)
    incidence = model.predict_cumulative_incidence(frame[:6])
    assert_allclose(incidence[1] + incidence[2] + survival, 1.0, rtol=1e-12)
    each = [model.predict_probabilities(frame[:6], cause=k) for k in (1, 2)]
    assert_allclose(each[0] + each[1], p, rtol=1e-12)
    between = model.predict_survival_function(frame[:6], [0.1, 0.6]).to_numpy()
    assert_allclose(between, [np.ones(6), survival.iloc[1]])
    alone = model.predict_survival_function(frame.iloc[[3]]).to_numpy()[:, 0]
    assert_allclose(alone, survival.iloc[:, 3], rtol=1e-12)
    assert model.score(frame, y) > 0.5


@pytest.mark.parametrize("head", ["mtlr", "pmf"])
def test_bands_are_those_of_the_delta_method(head):
    frame, y, _ = survival_data()
    model = ss.MultiTaskLogistic("age", head=head, cuts=CUTS).fit(frame, y)
    fit, x = model.fit_.marginal, np.array([1.0, frame["age"].iloc[0]])

    def hazards(beta):
        return -model.family_.log_survival((beta.reshape(J, 2) @ x)[None])[0, 1:]

    steps = 1e-5 * np.eye(2 * J)
    slopes = np.column_stack(
        [(hazards(fit.beta + step) - hazards(fit.beta - step)) / 2e-5 for step in steps]
    )
    expected = np.sqrt(np.einsum("tp,pq,tq->t", slopes, fit.V, slopes))
    times = np.array(CUTS)
    assert_allclose(model._hazard_errors(frame[:1], times)[:, 0], expected, rtol=1e-6)
    average = model._average_survival_error(frame[:1], times)
    assert_allclose(average, np.exp(-hazards(fit.beta)) * expected, rtol=1e-6)
    band = model.predict_survival_function(frame[:1], level=0.9).to_numpy()
    assert (band[:, 1] < band[:, 0]).all() and (band[:, 0] < band[:, 2]).all()


def test_delayed_entry_conditions_on_being_there():
    frame, y, _ = survival_data()
    entry = np.where(y.time > 0.6, 0.5, 0.0)
    late = ss.Surv(y.time, y.event, entry)
    model = ss.MultiTaskLogistic("age", cuts=CUTS).fit(frame, late)
    without = ss.MultiTaskLogistic("age", cuts=CUTS).fit(frame, y)
    # Early intervals are seen by fewer, so that their probability is larger.
    found, naive = (m.predict_probabilities(frame[:1]).iloc[0, 0] for m in (model, without))
    assert found > naive


def test_smooths_pictures_and_files(tmp_path):
    frame, y, bright = survival_data(300)
    model = ss.MultiTaskLogistic(
        "s(age, k=4) + cnn(scan, hflip=False)",
        cuts=3,
        n_folds=2,
        n_repeats=1,
        max_epochs=30,
        progress=False,
        random_state=0,
    ).fit(frame, y)
    assert len({slot.network for slot in model.fit_.deep.slots}) == 1
    survival = model.predict_survival_function(frame).iloc[1]
    assert survival[~bright].mean() - survival[bright].mean() > 0.1
    path = tmp_path / "model.semistruct"
    model.save(path)
    again = ss.load(path).predict_survival_function(frame[:5])
    assert_allclose(again, model.predict_survival_function(frame[:5]), rtol=0)
    assert "interval_1" in str(model.summary())
    assert len(model.plot().axes) >= 2


def test_what_makes_no_sense_is_refused():
    frame, y, _ = survival_data(60)
    with pytest.raises(ss.SpecificationError, match="head"):
        ss.MultiTaskLogistic("age", head="probit", cuts=CUTS).fit(frame, y)
    with pytest.raises(ss.SpecificationError, match="cause"):
        ss.MultiTaskLogistic("age", cuts=CUTS).fit(frame, y).predict_probabilities(frame, cause=2)
    twice = ss.Surv(np.r_[1.0, 2.0, 1.0], [0, 1, 1], [0.0, 1.0, 0.0], id=["a", "a", "b"])
    with pytest.raises(ss.DataError, match="same id"):
        ss.MultiTaskLogistic("age", cuts=[1, 2]).fit(frame[:3], twice)
