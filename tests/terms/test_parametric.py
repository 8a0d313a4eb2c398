from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from formulaic import model_matrix

from semistruct.columns import ImageArray
from semistruct.exceptions import DataError, DataWarning, SpecificationError
from semistruct.terms import Parametric, parse_formula
from semistruct.terms._factored import Factored

ROUNDING = 1e-12  # the same arithmetic in another order


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    n = 120
    return pd.DataFrame(
        {
            "x": rng.gamma(2.0, size=n),
            "z": rng.normal(size=n),
            "count": rng.integers(0, 5, n),
            "sex": rng.choice(["m", "f"], n),
            "stage": pd.Categorical(rng.choice(["II", "I", "III"], n), ["I", "II", "III", "IV"]),
            "flag": rng.random(n) < 0.4,
            "zip": rng.choice([98101, 98103, 98115], n),
            "living area": rng.normal(size=n),
        }
    )


def basis_of(text, table, intercept=True):
    return Parametric(text, intercept).build(table)


FORMULAE = [
    "x",
    "x + sex",
    "sex*stage",
    "sex:stage",
    "x:sex",
    "x*sex - x",
    "sex/x",
    "(x + z + sex)**2",
    "C(zip)",
    "C(count)*z",
    "log(x) + exp(z) + sqrt(x)",
    "poly(x, 3)",
    "poly(x, 2):sex",
    "scale(x) + center(z)",
    "stage",
    "C(sex)",
]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("text", FORMULAE)
def test_design_and_names_are_those_of_formulaic(text, intercept, table):
    table["stage"] = table["stage"].cat.remove_unused_categories()
    basis = basis_of(text, table, intercept)
    context = {"sqrt": np.sqrt, "log": np.log, "exp": np.exp}
    written = f"{'1' if intercept else '0'} + {text}"
    expected = model_matrix(written, table, context=context)
    assert basis.names == tuple(expected.columns)
    assert np.ptp(expected.to_numpy()) > 0
    np.testing.assert_allclose(
        basis.design(table).dense(), expected.to_numpy(dtype=float), atol=ROUNDING
    )


def test_names_of_the_columns(table):
    basis = basis_of("x + sex + stage + flag + C(zip) + `living area` + log(x) + I(x**2)", table)
    assert basis.names == (
        "Intercept",
        "x",
        "sex[T.m]",
        "stage[T.II]",
        "stage[T.III]",
        "flag[T.True]",
        "C(zip)[T.98103]",
        "C(zip)[T.98115]",
        "living area",
        "log(x)",
        "I(x**2)",
    )
    assert dict(basis.term_slices)["C(zip)"] == slice(6, 8)
    assert basis.variables == ("x", "sex", "stage", "flag", "zip", "living area")


def test_transformations_have_their_values(table):
    basis = basis_of("log1p(x) + I(x**2 - 2 * z / (1 + x)) + I(flag * x) + abs(z)", table)
    x, z, flag = table["x"], table["z"], table["flag"]
    expected = np.column_stack(
        [np.ones(120), np.log1p(x), x**2 - 2 * z / (1 + x), flag * x, np.abs(z)]
    )
    np.testing.assert_allclose(basis.design(table).dense(), expected, atol=ROUNDING)


def test_reference_level_by_ref(table):
    basis = basis_of("C(stage, ref='III') + C(zip, ref=98103)", table)
    assert basis.names[1:] == (
        "C(stage, ref='III')[T.I]",
        "C(stage, ref='III')[T.II]",
        "C(zip, ref=98103)[T.98101]",
        "C(zip, ref=98103)[T.98115]",
    )
    with pytest.raises(DataError, match="has no level 'IV'"):
        basis_of("C(stage, ref='IV')", table)


def test_without_intercept_the_first_factor_has_all_levels(table):
    assert basis_of("sex + stage", table, intercept=False).names == (
        "sex[f]",
        "sex[m]",
        "stage[T.II]",
        "stage[T.III]",
    )


def test_intercept_alone_and_nothing(table):
    assert basis_of("", table).names == ("Intercept",)
    np.testing.assert_array_equal(basis_of("", table).design(table).dense(), np.ones((120, 1)))
    assert basis_of("", table, intercept=False).design(table).shape == (120, 0)


@pytest.mark.parametrize("text", [*FORMULAE, "I(center(x)**2) + scale(log(x))"])
def test_rows_are_replayed_alone_in_any_order_and_as_other_dtypes(text, table):
    basis = basis_of(text, table)
    whole = basis.design(table).dense()
    order = np.random.default_rng(0).permutation(len(table))
    np.testing.assert_array_equal(basis.design(table.iloc[order]).dense(), whole[order])
    for i in (0, 7, 119):
        np.testing.assert_array_equal(basis.design(table.iloc[[i]]).dense(), whole[[i]])
    other = table.astype({"zip": float, "count": "Int64", "sex": "category", "stage": object})
    np.testing.assert_allclose(basis.design(other).dense(), whole, atol=ROUNDING)
    assert basis.design(table.iloc[:0]).shape == (0, whole.shape[1])


def test_what_was_learned_survives_pickling_and_does_not_change(table):
    basis = basis_of("poly(x, 2) + scale(z) + C(zip)", table)
    state = pickle.dumps(basis)
    new = table.iloc[:5].assign(x=[9.0, 10, 11, 12, 13])
    first = basis.design(new).dense()
    assert pickle.dumps(basis) == state
    np.testing.assert_array_equal(pickle.loads(state).design(new).dense(), first)


def test_poly_spans_what_raw_powers_span(table):
    y = table["z"] + table["x"] ** 2
    orthogonal = basis_of("poly(x, 2)", table).design(table).dense()
    raw = basis_of("poly(x, 2, raw=True)", table).design(table).dense()
    np.testing.assert_allclose(raw[:, 2], table["x"] ** 2)
    np.testing.assert_allclose(
        sm.OLS(y, orthogonal).fit().fittedvalues, sm.OLS(y, raw).fit().fittedvalues, atol=1e-9
    )


def test_levels_no_row_has_are_left_out_and_then_unknown(table):
    basis = basis_of("stage", table)
    assert dict(basis.levels)["stage"] == ("I", "II", "III")
    new = table.iloc[:3].assign(stage=pd.Categorical(["I", "IV", "IV"], ["I", "IV"]))
    with pytest.raises(
        DataError, match=r"level 'IV' of the column 'stage' \(row 1, 2 rows"
    ) as error:
        basis.design(new)
    assert "'I', 'II', 'III'" in str(error.value)


def test_an_unknown_level_names_some_of_many_known_ones():
    frame = pd.DataFrame({"g": [f"level {i:02d}" for i in range(40)] * 3})
    with pytest.raises(DataError, match=r"'level 09', \.\.\. \(40 in all\)"):
        basis_of("g", frame).design(pd.DataFrame({"g": ["nowhere"]}))


def test_bools_are_factors_whatever_holds_them(table):
    basis = basis_of("flag", table)
    for dtype in (object, "boolean"):
        new = table.astype({"flag": dtype})
        assert basis_of("flag", new).names == basis.names
        np.testing.assert_array_equal(basis.design(new).dense(), basis.design(table).dense())


@pytest.mark.parametrize("dtype", ["string", "category", object])
def test_text_is_a_factor_whatever_holds_it(dtype, table):
    assert basis_of("sex", table.astype({"sex": dtype})).names == ("Intercept", "sex[T.m]")


@pytest.mark.parametrize("dtype", ["float32", "Float64", object])
def test_numbers_are_numbers_whatever_holds_them(dtype, table):
    assert basis_of("x", table.astype({"x": dtype})).names == ("Intercept", "x")


def test_missing_values_name_columns_and_counts(table):
    table.loc[3:5, "x"] = np.nan
    table.loc[7, "sex"] = None
    for attempt in (
        lambda: basis_of("x + sex + z", table),
        lambda: basis_of("x + sex + z", table.dropna()).design(table),
    ):
        with pytest.raises(DataError, match=r"'x' \(3 of 120 rows\), 'sex' \(1 of 120 rows\)"):
            attempt()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([np.inf, 1.0, 2.0], "1 infinite values, the first in row 0"),
        (pd.to_datetime(["2020-01-01"] * 3), "turn the dates into numbers"),
        (pd.to_timedelta([1, 2, 3], unit="D"), "turn the durations"),
        (["a", 1, 2.0], "values of type float, int, str"),
        ([[1], [2], [3]], "values of type list"),
        ([1j, 2j, 3j], "neither numbers nor groups"),
        (pd.period_range("2020", periods=3, freq="D"), "neither numbers nor groups"),
        ([None, None, None], "missing values in 'v'"),
    ],
)
def test_columns_that_are_neither_numbers_nor_groups(column, message):
    with pytest.raises(DataError, match=message):
        basis_of("v", pd.DataFrame({"v": column}))


def test_a_changed_kind_of_column_is_an_error(table):
    basis = basis_of("x + sex", table)
    with pytest.raises(DataError, match=r"x needs numbers in the column 'x'"):
        basis.design(table.assign(x="high"))
    with pytest.raises(DataError, match="the level 1 of the column 'sex'"):
        basis.design(table.assign(sex=1))


def test_a_missing_column_suggests_another(table):
    with pytest.raises(DataError, match=r"needs the column 'stages'.*did you mean 'stage'"):
        basis_of("stages", table)
    with pytest.raises(DataError, match="needs the column 'x'"):
        basis_of("x", table).design(table.drop(columns="x"))
    twice = pd.concat([table, table[["x"]]], axis=1)
    with pytest.raises(DataError, match="has 2 of that name"):
        basis_of("x", twice)


def test_functions_of_groups_are_refused(table):
    with pytest.raises(DataError, match=r"log\(sex\) needs numbers in the column 'sex'"):
        basis_of("log(sex)", table)


def test_values_that_are_not_finite_name_the_column(table):
    with pytest.raises(DataError, match=r"log\(z\) is not finite in \d+ of 120 rows"):
        basis_of("log(z)", table)
    basis = basis_of("log(x)", table)
    with pytest.raises(DataError, match=r"log\(x\) is not finite in 1 of 2 rows, .* row 1"):
        basis.design(pd.DataFrame({"x": [1.0, 0.0]}))
    with pytest.raises(DataError, match=r"scale\(c\) is not finite"):
        basis_of("scale(c)", table.assign(c=1.0))


def test_poly_needs_enough_distinct_values():
    with pytest.raises(DataError, match="more than 3 distinct values"):
        basis_of("poly(v, 3)", pd.DataFrame({"v": [1.0, 2.0, 1.0, 2.0]}))


def test_an_image_is_not_a_linear_term():
    frame = pd.DataFrame({"ct": ImageArray(np.zeros((3, 1, 4, 4), dtype=np.uint8))})
    with pytest.raises(SpecificationError, match=r"cnn\(ct\)"):
        basis_of("ct", frame)


def test_a_text_column_is_no_factor():
    """Ten thousand different strings are an id, a text or a path."""
    frame = pd.DataFrame({"id": [f"{i}" for i in range(10_000)]})
    with pytest.raises(DataError, match=r"10000 levels in 10000 rows.*re\(id\).*cnn\(id\)"):
        basis_of("id", frame)
    few = pd.DataFrame({"id": [f"{i}" for i in range(60)] * 2})
    with pytest.raises(DataError, match="60 levels in 120 rows"):
        basis_of("id", few)
    assert len(basis_of("C(id)", few).names) == 60
    assert len(basis_of("id", pd.concat([few, few])).names) == 60
    assert len(basis_of("id", pd.DataFrame({"id": list("abc")})).names) == 3


def test_a_factor_of_one_level_is_dropped_with_a_warning(table):
    with pytest.warns(DataWarning, match=r"one level only.*sex \('m'\)"):
        basis = basis_of("x + sex", table[table["sex"] == "m"])
    assert basis.names == ("Intercept", "x")
    with pytest.raises(DataError, match="level 'f'"):
        basis.design(table)


def test_many_levels_are_kept_sparse():
    rng = np.random.default_rng(0)
    n = 4000
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(0, 300, n).astype(str)})
    frame["z"] = rng.normal(size=n)
    basis = basis_of("x + g + z", frame)
    block = basis.design(frame)
    stored = sum(part.M.size if isinstance(part, Factored) else 0 for part in block.parts)
    assert stored < 6 * n
    X = block.dense()
    assert X.shape == (n, 302)
    w = rng.random(n)
    np.testing.assert_allclose(block.gram(w), X.T @ (w[:, None] * X), atol=1e-8)
    assert basis.names[0] == "Intercept"
    assert basis.names[-1] == "z"
    np.testing.assert_array_equal(X[:, -1], frame["z"])


def test_without_drops_columns_and_moves_slices(table):
    basis = basis_of("x + sex + stage", table).without([1, 4])
    assert basis.names == ("Intercept", "sex[T.m]", "stage[T.II]")
    assert basis.term_slices == (
        ("Intercept", slice(0, 1)),
        ("sex", slice(1, 2)),
        ("stage", slice(2, 3)),
    )
    assert basis.design(table).shape == (120, 3)
    assert basis.without([0]).names == ("sex[T.m]", "stage[T.II]")


def test_columns_of_equal_name_are_an_error(table):
    frame = table.assign(**{"log(x)": 1.0})
    with pytest.raises(SpecificationError, match=r"are called 'log\(x\)'"):
        basis_of("log(x) + `log(x)`", frame)


def test_no_warnings_from_the_libraries_beneath(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        basis_of("x + sex * stage + poly(x, 2) + log(x)", table).design(table)


def test_a_selector_is_resolved_by_build(table):
    term = parse_formula("x ~ . - sex").terms.structured[0]
    assert "x" not in term.build(table[["x", "z", "count", "sex"]]).names


def test_a_column_called_1_is_not_the_intercept(table):
    """Tables made from arrays have the columns 0, 1, 2; formulaic's intercept is a factor "1"."""
    table = table.rename(columns={"x": "0", "z": "1", "count": "2", "sex": "3"})
    basis = basis_of("`0` + `1` + `2`", table)
    assert basis.names == ("Intercept", "0", "1", "2")
    X = basis.design(table).dense()
    np.testing.assert_array_equal(X[:, 1:], table[["0", "1", "2"]])
    crossed = basis_of("`1` * `3` + exp(`1`)", table)
    assert crossed.names == ("Intercept", "1", "3[T.m]", "exp(`1`)", "1:3[T.m]")
    assert basis_of("`1`", table.assign(**{"1": table["3"]}), False).names == ("1[f]", "1[m]")
