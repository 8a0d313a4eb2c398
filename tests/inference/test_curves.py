"""Curves, surfaces, groups and partial residuals against direct computation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula

from semistruct.exceptions import DataError, SpecificationError
from semistruct.fitting.model import ModelFit
from semistruct.inference.curves import (
    band_quantile,
    partial_residuals,
    placed_terms,
    random_effects,
    smooth_curve,
    smooth_surface,
)

# Sums of the same products in another order.
ROUNDING = 1e-10


def model(formulas, frame, y, family="normal", weight=None):
    problem, marginal = fit_formula(formulas, frame, y, family, weight)
    return ModelFit(("",) * len(problem.designs), problem, marginal, frame=frame)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    n = 240
    frame = pd.DataFrame(
        {
            "x": rng.uniform(0, 10, n),
            "u": rng.normal(size=n),
            "v": rng.normal(size=n),
            "dose": rng.uniform(1, 2, n),
            "zone": pd.Categorical(rng.choice(["b", "a"], n), categories=["b", "a", "none"]),
            "ward": rng.choice(list("pqrst"), n),
        }
    )
    frame.loc[frame["zone"] == "a", "x"] *= 0.5
    y = np.sin(frame["x"]) + frame["u"] * frame["v"] + rng.normal(size=n) * 0.5
    formulas = {
        "loc": "s(x, by=zone) + s(x, by=dose, label='varying') + te(u, v) + re(ward)",
        "scale": "s(x)",
    }
    return model(formulas, frame, y)


def test_curve_is_the_design_times_the_coefficients(fitted):
    curve = smooth_curve(fitted, "scale", "s(x)", grid=17)
    design, at = fitted.problem.designs[1], fitted.marginal.slices[1]
    x = np.linspace(fitted.frame["x"].min(), fitted.frame["x"].max(), 17)
    np.testing.assert_array_equal(curve["x"], x)
    rows = fitted.frame.iloc[:17].assign(x=x)
    X = design.block(rows).dense()
    X[:, 0] = 0.0  # the intercept is no part of the curve
    V = fitted.marginal.V[at, at]
    np.testing.assert_allclose(curve["fit"], X @ fitted.marginal.beta[at], atol=ROUNDING)
    np.testing.assert_allclose(curve["se"], np.sqrt(np.diag(X @ V @ X.T)), atol=ROUNDING)
    q = band_quantile(fitted, 0.95)
    np.testing.assert_allclose(curve["upper"] - curve["fit"], q * curve["se"], atol=ROUNDING)


def test_level_widens_the_band(fitted):
    narrow, wide = (smooth_curve(fitted, "scale", "s(x)", level=level) for level in (0.5, 0.99))
    assert (wide["lower"] < narrow["lower"]).all()
    assert (narrow["lower"] < narrow["fit"]).all()
    assert (narrow["fit"] < narrow["upper"]).all()
    with pytest.raises(SpecificationError, match="between 0 and 1"):
        smooth_curve(fitted, "scale", "s(x)", level=95)


def test_groups_have_curves_over_their_own_ranges(fitted):
    curve = smooth_curve(fitted, "loc", "s(x):zone", grid=9)
    assert list(curve) == ["by", "x", "fit", "se", "lower", "upper"]
    assert list(curve["by"]) == ["b"] * 9 + ["a"] * 9
    for group, block in curve.groupby("by", sort=False):
        own = fitted.frame.loc[fitted.frame["zone"] == group, "x"]
        assert (block["x"].min(), block["x"].max()) == (own.min(), own.max())


def test_numeric_by_is_the_effect_of_one_unit(fitted):
    curve = smooth_curve(fitted, "loc", "varying", grid=np.array([1.0, 2.0]))
    term = next(term for term in placed_terms(fitted) if term.label == "varying")
    rows = pd.DataFrame({"x": [1.0, 2.0], "dose": [3.0, 3.0]})
    three = term.basis.design(rows).matvec(fitted.marginal.beta[term.columns])
    np.testing.assert_allclose(3 * curve["fit"], three, atol=ROUNDING)


def test_surface(fitted):
    surface = smooth_surface(fitted, "loc", "te(u,v)", grid=12)
    assert len(surface) == 144
    assert surface["x"].nunique() == surface["z"].nunique() == 12
    seen = fitted.frame[["u", "v"]].to_numpy()
    ranges = np.ptp(seen, axis=0)
    for row in surface.sample(30, random_state=0).itertuples():
        nearest = np.linalg.norm((seen - [row.x, row.z]) / ranges, axis=1).min()
        assert row.observed == (nearest <= 0.1)
    assert 0 < surface["observed"].mean() < 1
    assert smooth_surface(fitted, "loc", "te(u,v)", grid=12, too_far=2.0)["observed"].all()


def test_random_effects(fitted):
    effects = random_effects(fitted, "loc", "re(ward)")
    assert list(effects.index) == list("pqrst")
    at = fitted.problem.designs[0].slices["re(ward)"]
    np.testing.assert_array_equal(effects["fit"], fitted.marginal.beta[at])
    with pytest.raises(SpecificationError, match="smooth_curve"):
        random_effects(fitted, "loc", "te(u,v)")


def test_partial_residuals_of_the_normal_are_residuals_beside_the_curve(fitted):
    rows = partial_residuals(fitted, "loc", "te(u,v)")
    term = next(term for term in placed_terms(fitted) if term.label == "te(u,v)")
    effect = term.basis.design(fitted.frame).matvec(fitted.marginal.beta[term.columns])
    residual = fitted.problem.y - fitted.marginal.eta[:, 0]
    np.testing.assert_allclose(rows, effect + residual, atol=ROUNDING)


def test_rows_of_weight_zero_are_absent():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": np.r_[rng.uniform(size=80), 9.0]})
    weight = np.r_[np.ones(80), 0.0]
    fit = model("s(x)", frame, rng.normal(size=81), weight=weight)
    assert smooth_curve(fit, "loc", "s(x)")["x"].max() < 1
    assert np.isnan(partial_residuals(fit, "loc", "s(x)")[-1])


def test_without_training_rows_the_support_gives_the_range(fitted):
    bare = replace(fitted, frame=None)
    pd.testing.assert_frame_equal(
        smooth_curve(bare, "scale", "s(x)"), smooth_curve(fitted, "scale", "s(x)")
    )
    with pytest.raises(DataError, match="kept without"):
        smooth_surface(bare, "loc", "te(u,v)")


@pytest.mark.parametrize(
    ("param", "label", "message"),
    [
        ("lok", "s(x)", "did you mean 'loc'"),
        ("scale", "s(z)", "did you mean 's"),
        ("loc", "te(u,v)", "smooth_surface"),
        ("loc", "re(ward)", "random_effects"),
    ],
)
def test_errors_name_what_exists(fitted, param, label, message):
    with pytest.raises(SpecificationError, match=message):
        smooth_curve(fitted, param, label)


def test_a_parameter_without_smooths():
    frame = pd.DataFrame({"x": np.arange(10.0)})
    fit = model("x", frame, np.random.default_rng(0).normal(size=10))
    with pytest.raises(SpecificationError, match="neither smooths nor random effects"):
        smooth_curve(fit, "loc", "s(x)")
