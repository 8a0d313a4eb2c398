"""Curves with given degrees of freedom."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula
from _oracles import load_oracle

import semistruct as ss
from semistruct.exceptions import SpecificationError
from semistruct.fitting.selection import df_targets
from semistruct.fitting.structured import fit_structured
from semistruct.terms import s

# The engine stops at 1e-6 degrees of freedom; a curve may be split over several smooths.
MET = 5e-6
# R's coxph prints 15 digits of fits that stopped at 1e-9 of the likelihood.
SURVIVAL = 1e-6


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    n = 300
    frame = pd.DataFrame({name: rng.uniform(size=n) for name in "xzw"})
    frame["g"] = rng.choice(["a", "b"], n)
    eta = np.sin(5 * frame["x"]) + frame["z"] ** 2
    frame["normal"] = eta + 0.3 * rng.normal(size=n)
    frame["poisson"] = rng.poisson(np.exp(eta))
    assert frame.nunique().min() >= 2
    return frame


def spent(formula: str, frame: pd.DataFrame, family: str) -> dict[str, float]:
    problem, fit = fit_formula(formula, frame, frame[family].to_numpy(), family)
    assert fit.converged
    own = problem.designs[0].slices
    return {label: float(fit.edf[fit.slices[0]][at].sum()) for label, at in own.items()}


@pytest.mark.parametrize("family", ["normal", "poisson"])
def test_degrees_of_freedom_are_met_beside_estimated_smooths(frame, family):
    found = spent("s(x, df=4.5) + s(z, bs='cr', df=2) + s(w)", frame, family)
    np.testing.assert_allclose([found["s(x)"], found["s(z)"]], [4.5, 2.0], atol=MET)
    assert found["s(w)"] < 4.0


def test_each_curve_of_a_group_has_its_own(frame):
    problem, fit = fit_formula("s(x, by=g, df=3)", frame, frame["poisson"].to_numpy(), "poisson")
    assert fit.converged
    targets = df_targets(problem)
    assert [target.df for target in targets] == [3.0, 3.0]
    edf = [float(fit.edf[target.columns].sum()) for target in targets]
    np.testing.assert_allclose(edf, 3.0, atol=MET)
    assert fit.smoothing[0] != fit.smoothing[1]


def test_targets_of_several_predictors(frame):
    formulas = {"loc": "w + s(x, df=4)", "scale": "s(w) + s(z, df=1.5)"}
    problem, fit = fit_formula(formulas, frame, frame["normal"].to_numpy())
    edf = [float(fit.edf[target.columns].sum()) for target in df_targets(problem)]
    np.testing.assert_allclose(edf, [4.0, 1.5], atol=MET)


def test_pspline_of_survival():
    oracle = load_oracle("A06_cox_penalised_ridge_pspline_frailty")
    data, new = oracle.data, pd.DataFrame({"age": [45.0, 55.0, 65.0, 75.0], "sex": 1})
    low, high = data["age"].min(), data["age"].max()
    for expected in oracle.expected["pspline"]:
        # R stops within 0.1 of the degrees of freedom asked for; these are the ones it reached.
        k, df = len(expected["coef"]), expected["df"][0]
        model = ss.CoxPH(f"sex + s(age, k={k}, df={df}, knots=({low}, {high}))")
        model.fit(data, ss.Surv(data["time"], data["status"]))
        curve = np.asarray(model.predict(new))
        np.testing.assert_allclose(model.params.iloc[0], expected["sex_coef"], atol=SURVIVAL)
        np.testing.assert_allclose(
            curve - curve[0], expected["terms_age_minus_first"], atol=SURVIVAL
        )


def test_degrees_of_freedom_give_the_curve_that_their_lambda_gives(frame):
    _, fit = fit_formula("s(x, df=5)", frame, frame["normal"].to_numpy())
    lam = float(fit.smoothing[0])
    _, same = fit_formula(f"s(x, lam={lam!r})", frame, frame["normal"].to_numpy())
    np.testing.assert_allclose(same.eta, fit.eta, atol=1e-10)


def test_smoothing_from_elsewhere_is_kept(frame):
    problem, fit = fit_formula("s(x, df=5)", frame, frame["normal"].to_numpy())
    held = fit_structured(problem, smoothing=np.array([3.0]))
    np.testing.assert_allclose(held.smoothing, 3.0, rtol=1e-12)
    assert fit.smoothing[0] != 3.0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: s("x", df=-1.0), "positive number"),
        (lambda: s("x", df="4"), "positive number"),
        (lambda: s("x", df=4, lam=1.0), r"both df= and lam="),
        (lambda: s("x", df=4, select=True), r"both df= and select=True"),
        (lambda: s("x", bs="re", df=4), "takes no df"),
    ],
)
def test_wrong_calls(make, match):
    with pytest.raises(SpecificationError, match=match):
        make()


def test_degrees_of_freedom_out_of_reach(frame):
    with pytest.raises(SpecificationError, match=r"s\(x\): df=9.5 cannot be reached.*1.*9"):
        s("x", df=9.5).build(frame)
    with pytest.raises(SpecificationError, match=r"cannot be reached"):
        s("x", df=1.0).build(frame)
    with pytest.raises(SpecificationError, match="2 penalties"):
        s("x", bs="bs", m=(3, 2, 1), df=4).build(frame)


def test_nothing_warns_on_the_way(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spent("x + s(x, df=3)", frame, "poisson")
