"""Censored and truncated responses: probabilities, derivatives, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import LogNormalAFTFitter, WeibullAFTFitter
from lifelines.datasets import load_rossi
from scipy import stats

import semistruct as ss
from semistruct.exceptions import DataError, UnsupportedCombinationError
from semistruct.families import Censored, resolve_family

CENSORABLE = (
    "normal",
    "lognormal",
    "student_t",
    "laplace",
    "logistic",
    "gamma",
    "inverse_gaussian",
    "weibull",
    "exponential",
    "log_logistic",
    "beta",
    "gumbel",
    "generalized_extreme_value",
    "generalized_pareto",
    "sinh_arcsinh",
    "box_cox_cole_green",
)


def rows(family):
    """Exact, right-, left- and interval-censored rows, some with delayed entry."""
    unit = 0.5 if family == "beta" else 1.0
    lower = np.array([0.7, 0.4, 0.0, 0.3, 0.6, 0.5, 0.3]) * unit
    upper = np.array([0.7, np.inf, 0.9, 0.8, 0.60001, 0.5, np.inf])
    upper = np.where(np.isfinite(upper), upper * unit, upper)
    entry = np.array([-np.inf, -np.inf, -np.inf, 0.2, -np.inf, 0.4, 0.1])
    entry = np.where(np.isfinite(entry), entry * unit, entry)
    return ss.Interval(lower, upper, entry)


def predictors(family, m):
    rng = np.random.default_rng(0)
    first = family.initial_eta(torch.tensor([0.3, 0.35, 0.45, 0.4], dtype=torch.float64))
    return first + torch.from_numpy(0.1 * rng.normal(size=(m, len(first))))


@pytest.mark.parametrize("name", CENSORABLE)
def test_contributions_are_log_probabilities(name):
    family = resolve_family(name)
    censored, y = Censored(family), rows(name)
    encoded = torch.from_numpy(censored.validate(y))
    eta = predictors(family, len(y))
    found = censored.contributions(eta, encoded).numpy()
    for i in range(len(y)):
        at = eta[i : i + 1]

        def F(t, at=at):
            if t == -np.inf or (t <= 0 and family.response.lower == 0):
                return 0.0
            return 1.0 if t == np.inf else float(family.cdf(at, torch.tensor([t]))[0])

        low, high = y.lower[i], y.upper[i]
        if low == high:
            expected, rounding = float(family.contributions(at, torch.tensor([low]))[0]), 0.0
        else:
            probability = F(high) - F(max(low, y.entry[i]))
            if probability < 1e-12:
                continue  # subtraction is no reference there
            expected, rounding = np.log(probability), 1e-15 / probability
        expected -= np.log(1 - F(y.entry[i]))
        assert found[i] == pytest.approx(expected, rel=1e-6, abs=1e-8 + rounding), i


@pytest.mark.parametrize("name", [name for name in CENSORABLE if name != "laplace"])
def test_derivatives(name):
    family = resolve_family(name)
    censored, y = Censored(family), rows(name)
    encoded = torch.from_numpy(censored.validate(y))
    eta = predictors(family, len(y)).requires_grad_()
    (auto,) = torch.autograd.grad(censored.contributions(eta, encoded).sum(), eta)
    score = censored.score(eta.detach(), encoded)
    torch.testing.assert_close(score, auto, rtol=1e-7, atol=1e-8)
    information = censored.row_information(eta.detach(), encoded)
    for k in range(eta.shape[1]):
        shift = torch.zeros_like(eta)
        shift[:, k] = 1e-5
        up, down = (censored.score(eta.detach() + s, encoded) for s in (shift, -shift))
        torch.testing.assert_close(-(up - down) / 2e-5, information[:, :, k], rtol=2e-4, atol=2e-4)
    expected = censored.row_information(eta.detach(), encoded, "expected")
    assert (torch.linalg.eigvalsh(expected) >= -1e-9).all()


def test_far_tails_are_finite():
    censored = Censored(resolve_family("normal"))
    y = ss.Interval([40.0, -60.0, 30.0, 1e-9], [np.inf, -50.0, 30.5, 2e-9])
    encoded = torch.from_numpy(censored.validate(y))
    eta = torch.zeros(4, 2, dtype=torch.float64)
    expected = [
        stats.norm.logsf(40),
        stats.norm.logcdf(-50),
        stats.norm.logsf(30) + np.log1p(-np.exp(stats.norm.logsf(30.5) - stats.norm.logsf(30))),
        stats.norm.logpdf(0) + np.log(1e-9),
    ]
    np.testing.assert_allclose(censored.contributions(eta, encoded), expected, rtol=1e-9)
    assert censored.score(eta, encoded).isfinite().all()


@pytest.fixture(scope="module")
def rossi():
    return load_rossi()


@pytest.mark.parametrize(
    ("family", "peer"), [("weibull", WeibullAFTFitter), ("lognormal", LogNormalAFTFitter)]
)
def test_accelerated_failure_times_agree_with_lifelines(rossi, family, peer):
    columns = ["fin", "age", "prio"]
    other = peer().fit(rossi[["week", "arrest", *columns]], "week", "arrest")
    model = ss.SemiStructuredRegressor("Surv(week, arrest) ~ fin + age + prio", family=family).fit(
        rossi
    )
    name = "lambda_" if family == "weibull" else "mu_"
    theirs = other.params_[name][["Intercept", *columns]].to_numpy()
    first = model.family_.param_names[0]
    np.testing.assert_allclose(model.params[first], theirs, rtol=2e-4, atol=1e-5)
    errors = other.standard_errors_[name][["Intercept", *columns]].to_numpy()
    np.testing.assert_allclose(model.bse[first], errors, rtol=2e-3)
    assert model.loglik_ == pytest.approx(other.log_likelihood_, abs=1e-4)
    times = [10, 30, 50]
    np.testing.assert_allclose(
        model.predict_survival_function(rossi[:4], times),
        other.predict_survival_function(rossi[:4], times=times),
        rtol=1e-3,
    )
    np.testing.assert_allclose(
        model.predict_median(rossi[:4]), other.predict_median(rossi[:4]), rtol=2e-3
    )
    y = ss.Surv(rossi["week"], rossi["arrest"])
    assert model.score(rossi, y) == pytest.approx(other.concordance_index_, abs=0.01)


def test_the_cumulative_hazard_has_no_end(rossi):
    model = ss.SemiStructuredRegressor("Surv(week, arrest) ~ age", family="weibull").fit(rossi)
    shape, scale = (model.predict_params(rossi[:2])[name] for name in ("shape", "scale"))
    hazard = model.predict_cumulative_hazard(rossi[:2], [0.0, 10.0, 5000.0])
    for t in hazard.index:
        np.testing.assert_allclose(hazard.loc[t], (t / scale) ** shape, rtol=1e-6)


def test_delayed_entry_agrees_with_lifelines(rossi):
    table = rossi.assign(start=np.where(rossi["week"] > 8, rossi.index % 6, 0.0))
    other = WeibullAFTFitter().fit(
        table[["week", "arrest", "start", "age"]], "week", "arrest", entry_col="start"
    )
    model = ss.SemiStructuredRegressor(
        "Surv(week, arrest, entry=start) ~ age", family="weibull"
    ).fit(table)
    theirs = other.params_["lambda_"][["Intercept", "age"]].to_numpy()
    np.testing.assert_allclose(model.params["scale"], theirs, rtol=1e-3)


def test_curves_and_pictures_under_censoring():
    rng = np.random.default_rng(0)
    n = 400
    frame = pd.DataFrame({"x": rng.uniform(-2, 2, n), "z": rng.normal(size=n)})
    time = np.exp(np.sin(2 * frame["x"]) + frame["z"] ** 2 / 2 + 0.3 * rng.normal(size=n))
    limit = rng.exponential(6.0, n)
    y = ss.Surv(np.minimum(time, limit), time <= limit)
    curve = ss.SemiStructuredRegressor("s(x)", family="lognormal").fit(frame, y)
    deep = ss.SemiStructuredRegressor(
        "s(x) + mlp(z)", family="lognormal", n_folds=2, n_repeats=1, progress=False, random_state=0
    ).fit(frame, y)
    assert curve.edf_.iloc[-1] > 0 and deep.score(frame, y) > curve.score(frame, y) + 0.03
    assert (deep.sample(frame, 2, random_state=0) > 0).all()


@pytest.fixture
def study():
    rng = np.random.default_rng(1)
    return pd.DataFrame({"x": rng.normal(size=40)}), rng.exponential(size=40) + 0.1


def test_zero_weights_are_absent(study):
    frame, time = study
    event, weight = np.arange(40) % 3 > 0, np.where(np.arange(40) < 5, 0.0, 1.0)
    model = ss.SemiStructuredRegressor("x", family="weibull")
    a = model.fit(frame, ss.Surv(time, event), sample_weight=weight).params
    b = model.fit(frame[5:], ss.Surv(time[5:], event[5:])).params
    np.testing.assert_allclose(a, b, rtol=1e-8)


@pytest.mark.parametrize(
    ("family", "y", "error", "match"),
    [
        ("poisson", lambda t: ss.Surv(t, t > 0), UnsupportedCombinationError, "discrete"),
        ("von_mises", lambda t: ss.Surv(t, t > 0), UnsupportedCombinationError, "weibull"),
        ("weibull", lambda t: ss.Surv(t, t < 0), DataError, "all 40 rows are right-censored"),
        ("weibull", lambda t: ss.Interval(-t - 1, -t), DataError, "positive"),
        ("weibull", lambda t: ss.Surv(t[:30], t[:30] > 0), DataError, "30 rows"),
    ],
)
def test_refusals(study, family, y, error, match):
    frame, time = study
    model = ss.SemiStructuredRegressor("x", family=family)
    with pytest.raises(error, match=match):
        model.fit(frame, y(time))
    assert not hasattr(model, "fit_")


def test_an_unknown_column_of_the_response(study):
    with pytest.raises(DataError, match="no column 'upper'"):
        ss.SemiStructuredRegressor("Interval(x, upper) ~ 1").fit(study[0])
