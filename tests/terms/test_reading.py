"""Columns are read with their types, and refused with their names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.exceptions import DataError
from semistruct.terms.reading import (
    group_codes,
    group_levels,
    is_numeric,
    is_ordered,
    numeric_column,
    numeric_columns,
)

FRAME = pd.DataFrame(
    {
        "area": [1, 2, 3],
        "price": pd.array([1.5, 2.5, None], dtype="Float64"),
        "sold": [True, False, True],
        "zone": ["b", "a", "b"],
        "size": pd.Categorical(["L", "S", "L"], ["S", "M", "L"], ordered=True),
        "when": pd.date_range("2020-01-01", periods=3),
        "mixed": ["a", 1, "a"],
        "rank": [2, 10, 2],
    }
)


@pytest.mark.parametrize(
    ("name", "expected"), [("area", [1.0, 2.0, 3.0]), ("sold", [1.0, 0.0, 1.0])]
)
def test_numbers(name, expected):
    values = numeric_column(FRAME, name, "s(x)")
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, expected)


def test_several_numbers():
    np.testing.assert_array_equal(
        numeric_columns(FRAME, ["rank", "area"], "s(x)"), [[2, 1], [10, 2], [2, 3]]
    )


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("aera", "'aera', which the table does not have; did you mean 'area'"),
        ("qqq", "the columns are 'area', 'price'"),
        ("zone", r"s\(x\) needs numbers in the column 'zone', which has dtype"),
        ("size", "dtype category"),
        ("when", "dtype datetime64"),
        ("price", "'price' of s\\(x\\) has 1 missing or infinite values, the first in row 2"),
    ],
)
def test_not_numbers(name, match):
    with pytest.raises(DataError, match=match):
        numeric_column(FRAME, name, "s(x)")


def test_infinite_value():
    with pytest.raises(DataError, match="first in row 1"):
        numeric_column(pd.DataFrame({"x": [0.0, np.inf, np.nan]}), "x", "s(x)")


def test_two_columns_of_one_name():
    frame = pd.DataFrame([[1.0, 2.0]], columns=["x", "x"])
    with pytest.raises(DataError, match="2 of that name; rename"):
        numeric_column(frame, "x", "s(x)")


def test_many_columns_are_not_all_listed():
    frame = pd.DataFrame(0.0, index=[0], columns=[f"gene_{i}" for i in range(500)])
    with pytest.raises(DataError, match=r"'gene_7', \.\.\.\.$"):
        numeric_column(frame, "qqq", "s(qqq)")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zone", ("a", "b")),
        ("size", ("S", "L")),  # order of the categories; "M" does not occur
        ("rank", (2, 10)),
        ("sold", (False, True)),
    ],
)
def test_levels(name, expected):
    levels = group_levels(FRAME, name, "re(g)")
    assert levels == expected
    codes = group_codes(FRAME, name, "re(g)", levels)
    assert [levels[code] for code in codes] == FRAME[name].tolist()
    assert (group_codes(FRAME, name, "re(g)", levels[1:]) == codes - 1).all()


def test_a_level_is_recognised_in_another_type_of_column():
    as_text = FRAME.assign(zone=FRAME["zone"].astype("category"))
    np.testing.assert_array_equal(group_codes(as_text, "zone", "re(g)", ("a", "b")), [1, 0, 1])
    as_string = FRAME.assign(zone=FRAME["zone"].astype("string"))
    np.testing.assert_array_equal(group_codes(as_string, "zone", "re(g)", ("a", "b")), [1, 0, 1])
    as_float = FRAME.assign(rank=FRAME["rank"].astype(float))
    np.testing.assert_array_equal(group_codes(as_float, "rank", "re(g)", (2, 10)), [0, 1, 0])


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("mixed", r"mixed types \(int, str\)"),
        ("when", "needs groups in the column 'when', which has dtype datetime64"),
        ("price", "1 rows without a group, the first in row 2"),
        ("zonne", "did you mean 'zone'"),
    ],
)
def test_not_groups(name, match):
    with pytest.raises(DataError, match=match):
        group_levels(FRAME, name, "re(g)")


def test_kinds():
    assert [is_numeric(FRAME, name, "s(x)") for name in FRAME] == [
        True, True, True, False, False, False, False, True,
    ]  # fmt: skip
    assert is_ordered(FRAME, "size", "s(x)")
    assert not is_ordered(FRAME, "zone", "s(x)")
