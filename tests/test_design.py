from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from semistruct.design import Design, aliased_columns, build_design
from semistruct.exceptions import DataError, DataWarning, SpecificationError
from semistruct.terms import DenseBlock, TermList, cnn, linear, offset, parse_formula, re, s, te

ROUNDING = 1e-10


@pytest.fixture
def table():
    rng = np.random.default_rng(2)
    n = 200
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.random(n),
            "sex": rng.choice(["m", "f"], n),
            "g": rng.choice(list("abcdefgh"), n),
            "e": rng.gamma(2.0, size=n),
        }
    )


def design_of(text, table, weights=None):
    return build_design(parse_formula(text).terms, table, weights)


def test_the_pieces_lie_side_by_side(table):
    design = design_of("x + sex + s(z, k=6) + re(g) + cnn(ct) + offset(log(e))", table)
    assert isinstance(design, Design)
    assert design.names[:3] == ("Intercept", "x", "sex[T.m]")
    assert design.p == len(design.names) == 3 + 5 + 8
    assert dict(design.slices) == {
        "Intercept": slice(0, 1),
        "x": slice(1, 2),
        "sex": slice(2, 3),
        "s(z)": slice(3, 8),
        "re(g)": slice(8, 16),
    }
    assert list(design.kinds) == ["parametric"] * 3 + ["smooth"] * 5 + ["random"] * 8
    assert design.variables == ("x", "sex", "z", "g", "e")
    block = design.block(table)
    assert block.shape == (200, 16)
    np.testing.assert_allclose(design.offset(table), np.log(table["e"]))
    parts = [basis.design(table).dense() for basis in design.bases]
    np.testing.assert_array_equal(block.dense(), np.hstack(parts))


def test_penalties_know_their_columns(table):
    design = design_of(
        "x + s(z, k=6, lam=3) + te(x, z, k=(4, 5)) + re(g) + s(x, by=sex, k=7)", table
    )
    labels = [penalty.label for penalty in design.penalties]
    assert labels == [
        "s(z)",
        "te(x,z)1",
        "te(x,z)2",
        "re(g)",
        "s(x):sex1",
        "s(x):sex2",
    ]
    for penalty in design.penalties:
        size = penalty.columns.stop - penalty.columns.start
        assert penalty.S.shape == (size, size)
        assert penalty.rank == np.linalg.matrix_rank(penalty.S)
        assert penalty.scale > 0
    assert [penalty.lam for penalty in design.penalties] == [3, None, None, None, None, None]
    first, second = design.penalties[-2:]
    assert first.columns.stop <= second.columns.start
    assert design.slices["s(x):sex"] == slice(first.columns.start, second.columns.stop)


@pytest.mark.parametrize("text", ["x*sex + s(z) + re(g)", "1", "s(z)", "0 + sex", "re(g) - 1"])
def test_rows_are_the_same_alone_and_together(text, table):
    design = design_of(text, table)
    whole = design.block(table).dense()
    for i in (0, 199):
        np.testing.assert_allclose(design.block(table.iloc[[i]]).dense(), whole[[i]], atol=ROUNDING)
    np.testing.assert_allclose(design.block(table.iloc[::-1]).dense(), whole[::-1], atol=ROUNDING)


def test_the_empty_predictor_is_a_constant_or_nothing(table):
    assert build_design(TermList(), table).names == ("Intercept",)
    nothing = build_design(TermList() - 1, table)
    assert nothing.p == 0
    assert nothing.block(table).shape == (200, 0)
    np.testing.assert_array_equal(nothing.offset(table), np.zeros(200))
    deep_only = build_design(TermList.of(cnn("ct")), table)
    assert deep_only.names == ("Intercept",)


def test_least_squares_on_the_design_is_statsmodels(table):
    table["y"] = table["x"] - 2 * (table["sex"] == "m") + np.sin(np.arange(200))
    design = design_of("x * sex", table)
    X = design.block(table).dense()
    beta = np.linalg.lstsq(X, table["y"], rcond=None)[0]
    fit = sm.OLS.from_formula("y ~ x * sex", table).fit()
    expected = {name: fit.params[name] for name in fit.params.index}
    assert set(design.names) == set(expected)
    np.testing.assert_allclose(beta, [expected[name] for name in design.names], atol=1e-10)


def test_aliased_columns_are_dropped_in_order_and_named(table):
    table = table.assign(twice=2 * table["x"], c=3.5, total=table["x"] + table["z"])
    with pytest.warns(DataWarning, match=r"'twice', 'c', 'total' are linear combinations"):
        design = design_of("x + twice + c + z + total + sex", table)
    assert design.names == ("Intercept", "x", "z", "sex[T.m]")
    assert design.dropped == ("twice", "c", "total")
    assert "twice" not in design.slices
    assert design.slices["sex"] == slice(3, 4)
    block = design.block(table.iloc[:5])
    assert block.shape == (5, 4)
    np.testing.assert_array_equal(block.dense()[:, 2], table["z"].iloc[:5])


def test_the_earlier_column_stays(table):
    table = table.assign(twice=2 * table["x"])
    with pytest.warns(DataWarning, match="'x'"):
        assert design_of("twice + x", table).names == ("Intercept", "twice")


def test_more_columns_than_rows(table):
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(6, 12)), columns=list("abcdefghijkl"))
    with pytest.warns(DataWarning, match="linear combinations"):
        design = build_design(parse_formula(".").terms, wide)
    assert design.names == ("Intercept", "a", "b", "c", "d", "e")
    with pytest.warns(DataWarning):
        assert design_of("x + z + sex", table.iloc[:1].assign(sex="m")).names == ("Intercept",)


def test_a_factor_that_another_determines(table):
    table = table.assign(coarse=table["g"].map(lambda level: "ab" if level in "ab" else "rest"))
    with pytest.warns(DataWarning, match=r"'coarse\[T.rest\]'"):
        design = design_of("g + coarse", table)
    assert design.p == 8


def test_a_zero_column_and_empty_cells(table):
    with pytest.warns(DataWarning, match="'zero'"):
        assert "zero" not in design_of("x + zero", table.assign(zero=0.0)).names
    cells = table[(table["sex"] == "m") | (table["g"] != "a")]
    with pytest.warns(DataWarning, match=r"'sex\[T.m\]:g\[T\.|'g\[T"):
        design = design_of("g * sex", cells)
    assert design.p == 15
    assert np.linalg.matrix_rank(design.block(cells).dense()) == 15


def random_rank_case(seed):
    rng = np.random.default_rng(seed)
    n, p = 60, 12
    X = rng.normal(size=(n, p)) * 10.0 ** rng.integers(-6, 7, p)
    aliased = []
    for j in range(1, p):
        if rng.random() < 0.3:
            X[:, j] = X[:, :j] @ (rng.normal(size=j) / np.linalg.norm(X[:, :j], axis=0))
            aliased.append(j)
    return X, tuple(aliased)


@pytest.mark.parametrize("seed", range(20))
def test_aliasing_by_construction(seed):
    X, expected = random_rank_case(seed)
    assert aliased_columns(DenseBlock(X)) == expected


def test_nearly_collinear_columns_stay_as_in_r():
    """The tolerance is 1e-7 of the length, where cross-products alone would give up at 1e-8."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 500))
    for size, aliased in [(1e-3, ()), (1e-5, ()), (1e-6, ()), (1e-8, (2,)), (0.0, (2,))]:
        X = np.column_stack([np.ones(500), x, x + size * noise])
        assert aliased_columns(DenseBlock(X)) == aliased
    year = 2000.0 + rng.integers(0, 20, 500)
    X = np.column_stack([np.ones(500), year, year**2, year**2 - 4000 * year + 5])
    assert aliased_columns(DenseBlock(X)) == (3,)


def test_many_levels_need_no_dense_design():
    rng = np.random.default_rng(0)
    n = 20_000
    frame = pd.DataFrame({"g": rng.integers(0, 800, n).astype(str), "x": rng.normal(size=n)})
    frame["inside"] = frame["g"].map(lambda level: float(len(level)))
    with pytest.warns(DataWarning, match="'inside'"):
        design = build_design(parse_formula("C(g) + x + inside").terms, frame)
    assert design.p == 801


def test_rows_of_weight_zero_are_absent(table):
    weights = np.ones(200)
    weights[:50] = 0.0
    changed = table.copy()
    changed.loc[:49, ["x", "z"]] = 1e3
    changed.loc[:49, "sex"] = "unknown"
    changed.loc[:49, "g"] = "new"
    text = "sex + poly(x, 2) + s(z) + re(g)"
    absent = design_of(text, table.iloc[50:])
    weighted = design_of(text, changed, weights)
    assert weighted.names == absent.names
    np.testing.assert_array_equal(
        weighted.block(table.iloc[50:]).dense(), absent.block(table.iloc[50:]).dense()
    )
    for one, other in zip(weighted.penalties, absent.penalties, strict=True):
        np.testing.assert_array_equal(one.S, other.S)
    tripled = design_of(text, table.iloc[50:], np.full(150, 3.0))
    np.testing.assert_array_equal(
        tripled.block(table.iloc[50:]).dense(), absent.block(table.iloc[50:]).dense()
    )


def test_a_column_that_is_constant_where_it_counts_is_dropped(table):
    weights = np.repeat([0.0, 1.0], 100)
    table.loc[100:, "x"] = 4.0
    with pytest.warns(DataWarning, match="'x'"):
        assert design_of("x + z", table, weights).names == ("Intercept", "z")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"x": []}), "no rows"),
        (pd.DataFrame(index=range(3)), "no columns"),
        (np.ones((3, 2)), "must be a pandas DataFrame"),
    ],
)
def test_tables_that_cannot_be_used(frame, message):
    with pytest.raises(DataError, match=message):
        build_design(TermList(), frame)


def test_bad_weights(table):
    with pytest.raises(DataError, match="zero for every row"):
        design_of("x", table, np.zeros(200))
    with pytest.raises(DataError, match="199 rows"):
        design_of("x", table, np.ones(199))


def test_an_offset_that_is_not_finite_is_found_at_once(table):
    with pytest.raises(DataError, match=r"offset\(log\(x\)\) is not finite in \d+ of 200 rows"):
        build_design(linear("z") + offset("log(x)"), table)
    with pytest.raises(DataError, match="needs numbers in the column 'sex'"):
        build_design(TermList.of(offset("sex")), table)


def test_offsets_add_up(table):
    design = build_design(offset("x") + offset("x") + offset("2"), table)
    np.testing.assert_allclose(design.offset(table), 2 * table["x"] + 2)


def test_terms_of_one_label_are_refused(table):
    with pytest.raises(SpecificationError, match=r"two terms are called 's\(z\)'"):
        build_design(s("z") + s("z", k=5), table)
    assert build_design(s("z") + s("z", k=5, label="coarse"), table).p > 4


def test_term_objects_and_the_formula_give_one_design(table):
    by_hand = build_design(linear("x") + s("z") + te("x", "e", k=4) + re("g"), table)
    by_text = design_of("x + s(z) + te(x, e, k=4) + re(g)", table)
    assert by_hand.names == by_text.names
    np.testing.assert_array_equal(by_hand.block(table).dense(), by_text.block(table).dense())


def test_selectors_are_resolved(table):
    design = design_of("e ~ . + s(z) - g", table)
    assert [name for name in design.slices] == ["Intercept", "x", "sex", "s(z)"]


def test_no_warning_without_a_reason(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        design_of("x * sex + s(z) + re(g) + offset(e)", table)
