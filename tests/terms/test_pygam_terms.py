"""Terms of pyGAM: fits at its smoothing parameters, and what has no equivalent."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pygam
import pytest

from semistruct.design import build_design
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import resolve_family
from semistruct.fitting.structured import StructuredProblem, fit_structured
from semistruct.terms import TermList, linear, parse_formula, resolve_columns, s
from semistruct.terms.pygam_terms import from_pygam

# pyGAM adds a ridge of 1.5e-8 to every coefficient, and one more to its knots.
SAME = 1e-6
# It keeps shapes by a penalty of 1e9 on violations, and stops when few of them change.
SHAPED = 5e-3


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    n = 300
    frame = pd.DataFrame({"x": rng.uniform(size=n), "z": rng.uniform(-1, 3, size=n)})
    frame["g"] = rng.integers(0, 5, n)
    assert frame["g"].nunique() == 5
    return frame


@pytest.fixture
def y(rng, frame) -> np.ndarray:
    x, z, g = frame.to_numpy().T
    return np.sin(4 * x) + z**2 / 4 + 0.3 * g + 0.3 * rng.normal(size=len(frame))


def fitted(terms: TermList, frame: pd.DataFrame, y: np.ndarray, family: str = "normal"):
    family = resolve_family(family)
    designs = [build_design(terms, frame)]
    designs += [build_design(TermList(), frame) for _ in family.param_names[1:]]
    problem = StructuredProblem(
        family,
        np.asarray(y, dtype=float),
        tuple(designs),
        tuple(design.block(frame) for design in designs),
        np.zeros((len(frame), len(designs))),
        np.ones(len(frame)),
    )
    fit = fit_structured(problem)
    return fit, lambda new: designs[0].block(new).matvec(fit.beta[fit.slices[0]])


def reference(model, frame: pd.DataFrame, y: np.ndarray):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pyGAM, about its own use of numpy and scipy
        return model.fit(frame.to_numpy(dtype=float), y)


TERMS = {
    "s, l, f": lambda: pygam.s(0) + pygam.l(1) + pygam.f(2),
    "orders and by": lambda: pygam.s(0, n_splines=12, spline_order=2, lam=3) + pygam.s(1, by=0),
    "linear spline": lambda: pygam.s(0, n_splines=7, spline_order=1, lam=0.2),
    "edge knots": lambda: pygam.s(1, edge_knots=[-2, 4], lam=10) + pygam.l(0, lam=50),
    "two penalties": lambda: pygam.s(0, lam=[1.0, 2.0], penalties=["auto", "derivative"]),
    "te": lambda: pygam.te(0, 1, n_splines=6, lam=[1, 2.0]) + pygam.f(2, lam=30),
    "te by": lambda: pygam.te(0, 1, by=2, n_splines=5),
    "no penalty": lambda: pygam.s(0, n_splines=6, penalties=None) + pygam.l(1, penalties=None),
    "cyclic": lambda: pygam.s(0, basis="cp", n_splines=8, penalties=None) + pygam.l(1),
}


@pytest.mark.parametrize("name", TERMS)
def test_predictions_are_those_of_pygam(frame, y, name):
    fit, predict = fitted(from_pygam(TERMS[name](), frame), frame, y)
    gam = reference(pygam.LinearGAM(TERMS[name]()), frame, y)
    new = pd.DataFrame({"x": np.linspace(-0.2, 1.2, 60), "z": np.linspace(-1.5, 3.5, 60), "g": 2})
    np.testing.assert_allclose(fit.eta[:, 0], gam.predict(frame.to_numpy()), atol=SAME)
    np.testing.assert_allclose(predict(new), gam.predict(new.to_numpy()), atol=SAME)
    np.testing.assert_allclose(fit.edf_total, gam.statistics_["edof"], atol=1e-5)


@pytest.mark.parametrize("shape", ["monotonic_inc", "monotonic_dec", "convex", "concave"])
def test_constraints(frame, y, shape):
    terms = pygam.s(0, constraints=shape, lam=2.0) + pygam.s(1)
    fit, _ = fitted(from_pygam(terms, frame), frame, y)
    gam = reference(pygam.LinearGAM(terms, max_iter=1000, tol=1e-8), frame, y)
    np.testing.assert_allclose(fit.eta[:, 0], gam.predict(frame.to_numpy()), atol=SHAPED)


def test_counts(frame, rng):
    counts = rng.poisson(np.exp(np.sin(4 * frame["x"])))
    terms = pygam.s(0, lam=5.0) + pygam.l(1)
    fit, _ = fitted(from_pygam(terms, frame), frame, counts, "poisson")
    gam = reference(pygam.PoissonGAM(terms, max_iter=1000, tol=1e-10), frame, counts)
    np.testing.assert_allclose(np.exp(fit.eta[:, 0]), gam.predict(frame.to_numpy()), rtol=1e-5)


def test_terms_are_mixed_by_addition(frame, y):
    mixed = linear("z") + s("x", bs="cr") + pygam.f(2)
    assert mixed.structured[2].variables == ()
    resolved = resolve_columns(mixed, frame)
    assert resolved.text() == "z + s(x, bs='cr') + re(g, lam=0.6)"
    assert resolve_columns(resolved, frame) == resolved
    # The response is no feature: positions count the columns without it.
    with_response = pd.DataFrame({"y": y}).join(frame)
    assert resolve_columns(mixed, with_response, ["y"]).text() == resolved.text()
    several = resolve_columns(TermList() + (pygam.s(0) + pygam.l(1)), frame)
    assert several.text() == from_pygam(pygam.s(0) + pygam.l(1), frame).text()
    fit, _ = fitted(mixed, frame, y)
    assert fit.converged


def test_text_is_a_formula(frame):
    for make in TERMS.values():
        text = from_pygam(make(), frame).text()
        again = parse_formula(text).terms.text()
        assert sorted(again.split(" + ")) == sorted(text.split(" + "))


def test_smoothing_may_be_estimated_instead(frame, y):
    terms = pygam.s(0, lam=1e5) + pygam.f(2, lam=1e5)
    kept, _ = fitted(from_pygam(terms, frame), frame, y)
    free, _ = fitted(from_pygam(terms, frame, estimate=True), frame, y)
    assert free.edf_total > kept.edf_total + 2
    assert free.converged


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pygam.s(0, penalties="l2"), "penalty 'l2'.*no equivalent"),
        (lambda: pygam.s(0, spline_order=0), "step function"),
        (lambda: pygam.s(0, dtype="categorical"), "dtype 'categorical'.*f\\(\\)"),
        (lambda: pygam.f(2, coding="dummy"), "coding='dummy'"),
        (lambda: pygam.s(7), "needs 8 columns, but there are 3"),
        (lambda: pygam.te(0, 1, constraints="convex"), "without constraints"),
        (lambda: pygam.te(pygam.l(0), pygam.s(1)), "te.. of a linear_term"),
        (lambda: pygam.s(0, basis="cp", constraints="convex"), "cyclic"),
        (lambda: 3, r"takes terms of pyGAM"),
    ],
)
def test_what_has_no_equivalent(frame, make, match):
    with pytest.raises(SpecificationError, match=match):
        from_pygam(make(), frame)


def test_knots_that_do_not_hold_the_data_are_refused(frame):
    with pytest.raises(DataError, match="widen the knots"):
        build_design(from_pygam(pygam.s(1, edge_knots=[0, 1]), frame), frame)


def test_factors_without_penalty_and_intercepts(frame):
    assert from_pygam(pygam.f(2, penalties=None), frame).text() == "C(g)"
    assert from_pygam(pygam.s(0) + pygam.intercept, frame).structured[0].variables == ("x",)
