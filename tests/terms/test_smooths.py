"""Options of smooths: bases, orders, knots, groups, extrapolation; and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms import SMOOTHS, s
from semistruct.terms.blocks import DenseBlock
from semistruct.terms.gaussian_process import correlation
from semistruct.terms.smooth_base import SplineTerm, distinct_rows
from semistruct.terms.thin_plate import radial, representative_rows

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": rng.normal(size=150),
        "z": rng.normal(size=150),
        "group": rng.choice(["a", "b", "c"], 150),
        "dose": rng.normal(size=150),
    }
)
LOW, HIGH = FRAME["x"].min(), FRAME["x"].max()
SPLINES = [bs for bs, kind in SMOOTHS.items() if issubclass(kind, SplineTerm)]
CYCLIC = ("cc", "cp")
SPAN = 1e-7  # residual of a function of size one that lies in the span


def curve(basis, x, beta=None):
    p = len(basis.names)
    beta = np.cos(np.arange(p)) if beta is None else beta
    return basis.design(pd.DataFrame({"x": np.asarray(x, float)})).matvec(beta)


def unpenalised_part(basis, rows):
    """Functions that the penalty does not see, at the rows."""
    values, vectors = np.linalg.eigh(sum(basis.penalties))
    null = vectors[:, values < 1e-9 * values[-1]]
    return basis.design(rows).dense() @ null


# --- extrapolation ------------------------------------------------------------------------------


@pytest.mark.parametrize("bs", [bs for bs in SPLINES if bs not in (*CYCLIC, "gp")])
def test_linear_extrapolation_is_a_straight_line_that_meets_the_curve(bs):
    basis = s("x", bs=bs, k=9).build(FRAME)
    for end, direction in ((LOW, -1.0), (HIGH, 1.0)):
        start = end + 0.01 * direction  # P-spline knots reach a little beyond the data
        y = curve(basis, start + direction * np.array([0.0, 1.0, 2.0, 50.0]))
        step = y[1] - y[0]
        np.testing.assert_allclose(y, y[0] + step * np.array([0, 1, 2, 50]), rtol=1e-7, atol=1e-7)
        assert abs(step) > 1e-3
        near = curve(basis, end + direction * np.array([-1e-6, 1e-6]))
        np.testing.assert_allclose(near[0], near[1], atol=1e-4)


def test_gaussian_process_returns_to_its_trend():
    basis = s("x", bs="gp", k=9).build(FRAME)
    far = curve(basis, HIGH + np.array([200.0, 210.0, 220.0]))
    np.testing.assert_allclose(far[2] - far[1], far[1] - far[0], rtol=1e-6)


@pytest.mark.parametrize("bs", [bs for bs in SPLINES if bs not in CYCLIC])
def test_constant_extrapolation(bs):
    basis = s("x", bs=bs, k=9, extrapolate="constant").build(FRAME)
    linear = s("x", bs=bs, k=9).build(FRAME)
    y = curve(basis, [LOW - 5, LOW, HIGH, HIGH + 5])
    np.testing.assert_array_equal(y[[0, 3]], y[[1, 2]])
    np.testing.assert_array_equal(y[1:3], curve(linear, [LOW, HIGH]))
    assert np.abs(curve(linear, [LOW - 5]) - y[0]) > 1e-3


@pytest.mark.parametrize("extrapolate", ["linear", "constant"])
@pytest.mark.parametrize("bs", CYCLIC)
def test_cyclic_bases_wrap(bs, extrapolate):
    basis = s("x", bs=bs, k=9, knots=(-4, 4), extrapolate=extrapolate).build(FRAME)
    np.testing.assert_allclose(curve(basis, [1.0, 2.5]), curve(basis, [9.0, -13.5]), rtol=1e-9)
    ends = curve(basis, [-4, 4, -4 + 1e-6, 4 - 1e-6])
    np.testing.assert_allclose(ends, ends[0], atol=1e-5)
    slopes = (ends[2] - ends[0]) / 1e-6, (ends[1] - ends[3]) / 1e-6
    np.testing.assert_allclose(*slopes, rtol=1e-4)


# --- orders and null spaces ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bs", "m", "null"),
    [
        ("ps", None, 1),
        ("ps", (2, 1), 0),
        ("ps", (2, 3), 2),
        ("ps", 1, 0),
        ("ps", (1, 2), 1),
        ("bs", None, 1),
        ("bs", (3, 1), 0),
        ("bs", (2, 2), 1),
        ("bs", 2, 0),
        ("bs", (3, 2, 1), 0),
        ("cr", None, 1),
        ("tp", None, 1),
        ("tp", 1, 0),
        ("tp", 3, 2),
        ("gp", None, 1),
        ("gp", -3, 0),
        ("cs", None, 0),
        ("ts", None, 0),
        ("cc", None, 0),
        ("cp", None, 0),
    ],
)
def test_unpenalised_polynomials(bs, m, null):
    basis = s("x", bs=bs, m=m, k=9).build(FRAME)
    assert basis.null_dim == null
    functions = unpenalised_part(basis, FRAME)
    assert functions.shape[1] == null
    powers = np.vander(FRAME["x"], null + 1)
    fitted = powers @ np.linalg.lstsq(powers, functions, rcond=None)[0]
    np.testing.assert_allclose(fitted, functions, atol=1e-6)


def test_derivative_penalty_is_the_integral():
    basis = s("x", bs="bs", k=9).build(FRAME)
    beta = np.cos(np.arange(9))
    knots = basis.raw.knots
    grid = np.linspace(knots[3], knots[-4], 20001)
    f = basis.raw.features(grid[:, None]) @ beta
    second = np.diff(f, 2) / (grid[1] - grid[0]) ** 2
    integral = np.sum(second**2) * (grid[1] - grid[0])
    np.testing.assert_allclose(beta @ basis.raw.penalties[0] @ beta, integral, rtol=1e-3)


def test_cubic_penalty_is_the_integral():
    basis = s("x", bs="cr", k=9).build(FRAME)
    beta = np.cos(np.arange(9))
    grid = np.linspace(LOW, HIGH, 20001)
    f = basis.raw.evaluate(grid[:, None]) @ beta
    second = np.diff(f, 2) / (grid[1] - grid[0]) ** 2
    integral = np.sum(second**2) * (grid[1] - grid[0])
    np.testing.assert_allclose(beta @ basis.raw.penalties[0] @ beta, integral, rtol=1e-3)
    np.testing.assert_allclose(basis.raw.evaluate(basis.raw.knots[:, None]), np.eye(9), atol=1e-12)


@pytest.mark.parametrize("m", [1, 2, -2, 3, 4, 5, (3, 0.5), (2, 1.0, 1.5)])
def test_correlation_functions_change_the_curve(m):
    default = s("x", bs="gp", k=9).build(FRAME).design(FRAME).dense()
    other = s("x", bs="gp", k=9, m=m).build(FRAME).design(FRAME).dense()
    if m == 3:
        np.testing.assert_array_equal(other, default)
    else:
        assert np.abs(other - default).max() > 1e-3


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_correlations_are_correlations(kind):
    r = np.linspace(0.0, 3.0, 50)
    values = correlation(r, kind, 1.5)
    assert values[0] == 1.0
    assert (np.diff(values) <= 0).all()
    points = rng.uniform(size=(30, 2))
    E = correlation(np.linalg.norm(points[:, None] - points, axis=2), kind, 1.5)
    assert np.linalg.eigvalsh(E)[0] > -1e-10


@pytest.mark.parametrize(("order", "d"), [(1, 1), (2, 1), (2, 2), (3, 2), (2, 3), (3, 4)])
def test_radial_function_solves_its_equation(order, d):
    """Outside the origin the m-fold Laplacian of the radial function vanishes."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 60

    def function(r, times):
        if times == 0:
            power = 2 * order - d
            return r**power if d % 2 else r**power * mpmath.log(r)
        return mpmath.diff(lambda t: function(t, times - 1), r, 2) + (d - 1) / r * mpmath.diff(
            lambda t: function(t, times - 1), r
        )

    assert abs(function(mpmath.mpf("0.7"), order)) < mpmath.mpf(10) ** -8
    r = np.array([0.0, 0.7, 1.3])
    shape = np.array([float(function(mpmath.mpf(v), 0)) for v in r[1:]])
    values = radial(r, order, d)
    assert values[0] == 0.0
    np.testing.assert_allclose(values[1:] / shape, values[1] / shape[0], rtol=1e-12)


# --- dimensions and knots -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bs", "names", "p"),
    [
        *((bs, "x", 9) for bs in SPLINES if bs not in ("cc", "gp", "ad")),
        ("ad", "x", 39),
        ("cc", "x", 8),
        ("gp", "x", 11),
        ("tp", "xz", 29),
        ("gp", "xz", 32),
    ],
)
def test_default_dimensions(bs, names, p):
    assert len(s(*names, bs=bs).build(FRAME).names) == p


@pytest.mark.parametrize("bs", ["ps", "bs", "cr", "cs"])
def test_knots(bs):
    default = s("x", bs=bs, k=7).build(FRAME)
    wider = s("x", bs=bs, k=7, knots=(-10, 10)).build(FRAME)
    assert np.abs(default.design(FRAME).dense() - wider.design(FRAME).dense()).max() > 0.01
    given = s("x", bs=bs, k=7, knots=tuple(wider.raw.knots)).build(FRAME)
    np.testing.assert_array_equal(given.raw.knots, wider.raw.knots)


def test_thin_plate_points_are_thinned():
    x = rng.normal(size=(5000, 2))
    points = representative_rows(x, 2000)
    assert points.shape == (2000, 2)
    assert len(distinct_rows(np.vstack([x, points]))) == 5000


def test_thin_plate_of_many_points_is_close_to_the_exact_one(monkeypatch):
    frame = pd.DataFrame({"x": rng.uniform(-2, 2, 700)})
    y = np.sin(3 * frame["x"].to_numpy())

    def fitted(basis):
        X = basis.design(frame).dense()
        A = X.T @ X + 1e-4 * basis.penalties[0]
        return X @ np.linalg.solve(A, X.T @ (y - y.mean()))

    exact = fitted(s("x", bs="tp", k=12).build(frame))
    monkeypatch.setattr("semistruct.terms.thin_plate.MAX_POINTS", 350)
    np.testing.assert_allclose(fitted(s("x", bs="tp", k=12).build(frame)), exact, atol=2e-3)


def test_sparse_rows_are_kept_sparse():
    block = s("x", k=40).build(FRAME).design(FRAME)
    assert block.parts[0].M.nnz == 4 * len(FRAME)


def test_equal_values_share_a_row():
    frame = pd.DataFrame({"x": np.repeat(np.arange(12.0), 40)})
    basis = s("x", bs="tp", k=8).build(frame)
    assert basis.design(frame).parts[0].M.shape[0] == 12
    assert basis.design(frame.drop_duplicates()).parts[0].index is None


# --- by -----------------------------------------------------------------------------------------


def test_numeric_by_multiplies_an_unconstrained_curve():
    basis = s("x", by="dose", k=8).build(FRAME)
    assert basis.label == "s(x):dose"
    assert (len(basis.names), basis.null_dim) == (8, 2)
    raw = basis.raw.evaluate(FRAME[["x"]].to_numpy())
    np.testing.assert_allclose(
        basis.design(FRAME).dense(), raw * FRAME["dose"].to_numpy()[:, None], rtol=1e-14
    )


def test_constant_by_is_constrained():
    frame = FRAME.assign(dose=2.0)
    basis = s("x", by="dose", k=8).build(frame)
    plain = s("x", k=8).build(frame)
    assert len(basis.names) == 7
    np.testing.assert_allclose(
        basis.design(frame).dense(), 2 * plain.design(frame).dense(), rtol=1e-14
    )


def test_factor_by_has_a_curve_and_a_penalty_per_group():
    basis = s("x", by="group", k=8, lam=3.0).build(FRAME)
    plain = s("x", k=8).build(FRAME)
    assert basis.curves == (
        ("s(x):groupa", slice(0, 7)),
        ("s(x):groupb", slice(7, 14)),
        ("s(x):groupc", slice(14, 21)),
    )
    assert basis.names[7] == "s(x):groupb.1"
    assert basis.lam == (3.0, 3.0, 3.0)
    X, X_plain = basis.design(FRAME).dense(), plain.design(FRAME).dense()
    for (_, columns), level, S in zip(basis.curves, "abc", basis.penalties, strict=True):
        inside = (FRAME["group"] == level).to_numpy()
        np.testing.assert_array_equal(X[inside, columns], X_plain[inside])
        assert not X[~inside, columns].any()
        np.testing.assert_array_equal(S[columns, columns], plain.penalties[0])
        np.testing.assert_allclose(np.abs(S).sum(), np.abs(plain.penalties[0]).sum())


@pytest.mark.parametrize("bs", ["ps", "tp"])
def test_ordered_by_has_no_curve_for_its_first_group(bs):
    ordered = FRAME.assign(group=pd.Categorical(FRAME["group"], ["b", "a", "c"], ordered=True))
    basis = s("x", by="group", k=8, bs=bs).build(ordered)
    plain = s("x", by="group", k=8, bs=bs).build(FRAME)
    assert [label for label, _ in basis.curves] == ["s(x):groupa", "s(x):groupc"]
    X, X_plain = basis.design(ordered).dense(), plain.design(FRAME).dense()
    np.testing.assert_allclose(X, np.delete(X_plain, np.s_[7:14], axis=1), rtol=1e-12, atol=1e-13)


def test_group_without_a_curve():
    basis = s("x", by="group", k=8).build(FRAME)
    with pytest.raises(DataError, match=r"no curve for the group 'd'.*row 1.*knows 'a', 'b', 'c'"):
        basis.design(pd.DataFrame({"x": [0.0, 1.0], "group": ["a", "d"]}))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"dose": 0.0}, "by column 'dose' .* zero everywhere"),
        ({"dose": np.datetime64("2020-01-01", "ns")}, "'dose', which has dtype datetime64"),
        ({"dose": np.nan}, "'dose' .* row 0"),
        (
            {"dose": pd.Categorical(["u"] * 150, ["u", "v"], ordered=True)},
            "only 'u'; remove by=",
        ),
    ],
)
def test_bad_by_columns(changes, match):
    with pytest.raises(DataError, match=match):
        s("x", by="dose", k=8).build(FRAME.assign(**changes))


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: s("x", bs="pss"), "unknown smooth 'pss'; did you mean 'ps'"),
        (lambda: s(), "names of one or more columns"),
        (lambda: s(3), "names of one or more columns"),
        (lambda: s("x", "z"), r"te\(x,z\)"),
        (lambda: s("x", k=1), "above 1"),
        (lambda: s("x", k=7.5), "integer above 1, got 7.5"),
        (lambda: s("x", k=True), "integer above 1"),
        (lambda: s("x", by=3), "name of a column"),
        (lambda: s("x", lam=-1), "not negative"),
        (lambda: s("x", lam="auto"), "one finite number"),
        (lambda: s("x", lam=()), "one finite number"),
        (lambda: s("x", m="cubic"), "a number or several"),
        (lambda: s("x", knots=(1, 1)), "increasing"),
        (lambda: s("x", knots=5), "two or more increasing"),
        (lambda: s("x", knots="many"), "two or more increasing"),
        (lambda: s("x", extrapolate="cubic"), "'linear' or 'constant', got 'cubic'"),
    ],
)
def test_bad_options(make, match):
    with pytest.raises(SpecificationError, match=match):
        make()


@pytest.mark.parametrize(
    ("term", "match"),
    [
        (s("x", k=3), r"k=3 is too small for s\(x\) with m=\(2, 2\); use at least 4"),
        (s("x", k=5, m=(2, 6)), "use at least 7"),
        (s("x", m=(2, 2, 2)), "one or two integers"),
        (s("x", m=1.5), "one or two integers"),
        (s("x", k=8, knots=(-5, 0, 5)), "takes 2 or 12 knots, got 3"),
        (s("x", bs="cp", k=3), "use at least 4"),
        (s("x", bs="cp", k=8, knots=(-9, 0, 9)), "takes 2 or 9 knots"),
        (s("x", bs="bs", k=3), "use at least 4"),
        (s("x", bs="bs", m=(3, 4)), "none above the degree"),
        (s("x", bs="bs", m=(3, 2, 2)), "names a derivative twice"),
        (s("x", bs="cr", k=2), "use at least 3"),
        (s("x", bs="cc", k=3), "use at least 4"),
        (s("x", bs="cr", m=3), "takes no m"),
        (s("x", bs="cr", k=8, knots=(-9, 0, 9)), "takes 2 or 8 knots"),
        (s("x", bs="tp", k=2), "2 unpenalised polynomials; use at least 3"),
        (s("x", "z", bs="tp", m=1), "2 m > 2"),
        (s("x", bs="tp", m=(2, 1)), "one integer"),
        (s("x", bs="tp", knots=(0, 1)), "takes no knots"),
        (s("x", bs="gp", k=2), "use at least 3"),
        (s("x", bs="gp", m=6), "kind one of 1 to 5"),
        (s("x", bs="gp", m=(2, 1, 3)), "power <= 2"),
        (s("x", bs="gp", knots=(0, 1)), "takes no knots"),
        (s("x", lam=(1, 2)), "2 values but the term has 1 penalties"),
    ],
)
def test_impossible_combinations(term, match):
    with pytest.raises(SpecificationError, match=match):
        term.build(FRAME)


@pytest.mark.parametrize("bs", ["ps", "cp", "bs", "cr", "cc"])
def test_knots_that_miss_the_data(bs):
    with pytest.raises(DataError, match=r"knots of .* span -1 to 1 but the column runs from"):
        s("x", bs=bs, k=8, knots=(-1, 1)).build(FRAME)


def test_all_knots_given_for_cyclic():
    knots = np.linspace(-4, 4, 9)
    a = s("x", bs="cp", k=8, knots=tuple(knots)).build(FRAME)
    b = s("x", bs="cp", k=8, knots=(-4, 4)).build(FRAME)
    np.testing.assert_allclose(a.design(FRAME).dense(), b.design(FRAME).dense(), atol=1e-14)
    with pytest.raises(DataError, match="span"):
        s("x", bs="cp", k=8, knots=tuple(knots / 9)).build(FRAME)


def test_thin_plate_blocks_are_dense():
    assert isinstance(s("x", bs="tp", k=8).build(FRAME).design(FRAME), DenseBlock)
