"""Ridge terms: columns, the penalty and its units, text, bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms import parse_formula, ridge

FRAME = pd.DataFrame({"age": [50.0, 60.0, 40.0], "dose x": [1.0, 0.0, 2.5], "g": list("aba")})


def test_columns_stay_as_they_are():
    basis = ridge("age", "dose x").build(FRAME)
    np.testing.assert_array_equal(basis.design(FRAME[1:]).dense(), [[60.0, 0.0], [40.0, 2.5]])
    assert basis.names == ("ridge(age)", "ridge(dose x)")
    assert basis.kind == "parametric"
    assert basis.lam == (None,)


def test_penalty():
    scaled = ridge("age", "dose x").build(FRAME)
    plain = ridge("age", "dose x", scale=False).build(FRAME)
    np.testing.assert_array_equal(plain.penalties[0], np.eye(2))
    np.testing.assert_allclose(scaled.penalties[0], np.diag(FRAME[["age", "dose x"]].var()))


@pytest.mark.parametrize("options", [{}, {"theta": 2.0}, {"scale": False, "label": "both"}])
def test_text_is_parsed_back(options):
    term = ridge("age", "dose x", **options)
    assert term in parse_formula("y ~ " + term.text()).terms.structured


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ((), {}, "one or more"),
        (("age", "age"), {}, "twice"),
        (("age",), {"theta": -1}, "theta"),
        (("age",), {"theta": (1, 2)}, "theta"),
        (("age",), {"theta": True}, "theta"),
        (("age",), {"scale": 1}, "scale"),
    ],
)
def test_bad_options(columns, options, said):
    with pytest.raises(SpecificationError, match=said):
        ridge(*columns, **options)


def test_bad_columns():
    with pytest.raises(DataError, match="'g'"):
        ridge("g").build(FRAME)
    with pytest.raises(DataError, match="constant"):
        ridge("age").build(FRAME.assign(age=1.0))
