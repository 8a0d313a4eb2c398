"""Random curves per group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula, make_problem, predict_link
from _oracles import load_oracle
from scipy.optimize import brentq

from semistruct.exceptions import DataError, SpecificationError
from semistruct.fitting.structured import fit_structured
from semistruct.inference.smooth_tests import smooth_table
from semistruct.terms import s
from semistruct.terms.factor_smooth import null_penalties

# Curves that a smoothing parameter of 1e9 makes straight, against straight ones.
STRAIGHT = 1e-5
# Where the angle of mgcv's null functions lies; the score crosses mgcv's twice in half a turn.
BRACKET = (1.309, 1.571)


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    n, groups = 600, 8
    frame = pd.DataFrame({"x": rng.uniform(size=n), "g": rng.integers(0, groups, n)})
    shift, phase = rng.normal(size=groups), rng.uniform(0.0, 3.0, size=groups)
    own = np.sin(6.0 * frame["x"] + phase[frame["g"]]) + shift[frame["g"]]
    frame["truth"] = 2.0 * frame["x"] + own
    frame["y"] = frame["truth"] + 0.3 * rng.normal(size=n)
    frame["g"] = "g" + frame["g"].astype(str)
    assert frame["g"].nunique() == groups
    return frame


def test_straight_curves_are_random_intercepts_and_slopes(frame):
    centred = frame["x"] - frame["x"].mean()
    frame["unit"] = centred / np.sqrt((centred**2).mean())
    largest = frame["unit"].abs().max()
    intercept, slope = 3.0, 7.0  # raw smoothing parameters
    for base in ("cr", "ps", "tp"):
        term = s("x", "g", bs="fs", base=base, k=6)
        scales = term.build(frame).penalty_scales
        lam = (1e9, intercept * scales[1], slope * scales[2])
        _, curves = fit_formula(
            f"x + {s('x', 'g', bs='fs', base=base, k=6, lam=lam).text()}", frame, frame["y"]
        )
        _, effects = fit_formula(
            f"x + re(g, lam={intercept}) + re(g, unit, lam={slope / largest**2})",
            frame,
            frame["y"],
        )
        np.testing.assert_allclose(curves.eta, effects.eta, atol=STRAIGHT)
        np.testing.assert_allclose(curves.edf_total, effects.edf_total, atol=STRAIGHT)


def test_curves_are_recovered(frame):
    problem, fit = fit_formula("s(x) + s(x, g, bs='fs', k=8)", frame, frame["y"])
    assert fit.converged
    assert len(fit.smoothing) == 4
    error = fit.eta[:, 0] - frame["truth"]
    assert np.sqrt((error**2).mean()) < 0.12  # noise of .3 on some 45 degrees of freedom
    assert set(smooth_table(fit, problem)["term"]) == {"s(x)", "s(x,g)"}
    # The groups share their smoothness: with one penalty each there would be eight.
    assert len(problem.designs[0].penalties) == 4


def test_mgcv_up_to_the_rotation_of_its_null_space():
    """mgcv's null functions are mixtures of constant and slope by an angle that is rounding's."""
    oracle = load_oracle("D02_gam_gaussian_boston_te")
    expected = oracle.expected["fs"]
    formula = "s(lstat, radhi, bs='fs', k=6)"
    problem, ours = fit_formula(formula, oracle.data, oracle.data["medv"].to_numpy())
    design = problem.designs[0]
    null = null_penalties(design.bases[1].raw, oracle.data[["lstat"]].to_numpy())
    found = [np.linalg.eigh(S) for S in null]
    roots = np.array([np.sqrt(values[-1]) * vectors[:, -1] for values, vectors in found])

    def rotated(angle: float):
        c, d = np.cos(angle), np.sin(angle)
        mixed = np.array([[c, -d], [d, c]]) @ roots
        single = [design.penalties[0].S[:6, :6], *(np.outer(v, v) for v in mixed)]
        penalties = tuple(
            replace(penalty, S=np.kron(np.eye(2), S), columns=slice(1, 13))
            for penalty, S in zip(design.penalties, single, strict=True)
        )
        designs = (replace(design, penalties=penalties), *problem.designs[1:])
        return fit_structured(replace(problem, designs=designs))

    np.testing.assert_allclose(rotated(0.0).reml, ours.reml, atol=1e-5)
    # The score tells the angle; the rest has to follow from it.
    angle = brentq(lambda a: rotated(a).reml - expected["score"], *BRACKET, xtol=1e-7)
    fit = rotated(angle)
    np.testing.assert_allclose(fit.edf_total, expected["edf_total"], atol=1e-3)
    np.testing.assert_allclose(fit.dispersion, expected["scale"], rtol=1e-5)
    np.testing.assert_allclose(fit.loglik, expected["loglik"], atol=1e-3)
    new = pd.DataFrame({name: np.atleast_1d(v) for name, v in expected["newdata"].items()})
    link, se = predict_link(design, fit, 0, new)
    np.testing.assert_allclose(link, expected["pred_link"], atol=2e-3)
    np.testing.assert_allclose(se, expected["pred_link_se"], rtol=1e-3)


def test_every_function_can_be_shrunk_to_zero(frame):
    problem = make_problem("s(x, g, bs='fs', k=6)", frame, frame["y"], "normal")
    fit = fit_structured(problem, smoothing=np.full(3, 1e10))
    np.testing.assert_allclose(fit.edf_total, 1.0, atol=1e-4)


def test_unseen_groups_have_the_curve_zero(frame):
    basis = s("x", "g", bs="fs").build(frame)
    new = pd.DataFrame({"x": [0.3, 0.3], "g": ["other", "g1"]})
    X = basis.design(new).dense()
    assert not X[0].any()
    assert X[1].any()


def test_base_and_extrapolation_change_the_curves(frame):
    new = pd.DataFrame({"x": [0.4, 2.0], "g": ["g1", "g1"]})
    tp = s("x", "g", bs="fs", k=6).build(frame).design(new).dense()
    cr = s("x", "g", bs="fs", k=6, base="cr").build(frame).design(new).dense()
    assert not np.allclose(tp, cr)
    held = s("x", "g", bs="fs", k=6, base="cr", extrapolate="constant").build(frame)
    end = pd.DataFrame({"x": [frame["x"].max()], "g": ["g1"]})
    np.testing.assert_array_equal(held.design(new).dense()[1], held.design(end).dense()[0])
    assert not np.allclose(cr[1], held.design(new).dense()[1])


def test_a_cyclic_base_has_one_function_to_shrink(frame):
    basis = s("x", "g", bs="fs", k=6, base="cp").build(frame)
    assert basis.ranks == (5 * 8, 8)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: s("x", bs="fs"), "numeric column and a column of groups"),
        (lambda: s("x", "g", bs="fs", base="re"), "unknown basis of a factor smooth 're'"),
        (lambda: s("x", "g", bs="fs", k=1), "integer above 1"),
        (lambda: s("x", "g", bs="fs", by="z"), "takes no by"),
        (lambda: s("x", "g", bs="fs", extrapolate="none"), "'linear' or 'constant'"),
        (lambda: s("x", "g", bs="fs", lam=-1.0), "not negative"),
    ],
)
def test_wrong_calls(make, match):
    with pytest.raises(SpecificationError, match=match):
        make()


def test_wrong_data(frame):
    with pytest.raises(DataError, match="two groups"):
        s("x", "g", bs="fs").build(frame.assign(g="a"))
    with pytest.raises(DataError, match="constant"):
        s("x", "g", bs="fs").build(frame.assign(x=1.0))
    with pytest.raises(SpecificationError, match="2 penalties"):
        s("x", "g", bs="fs", base="bs", m=(3, 2, 1)).build(frame)
    with pytest.raises(SpecificationError, match="2 values but the term has 3"):
        s("x", "g", bs="fs", lam=(1.0, 2.0)).build(frame)
