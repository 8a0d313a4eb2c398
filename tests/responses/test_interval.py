"""Intervals: what they are made of and refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import semistruct as ss
from semistruct.exceptions import DataError


def test_bounds_and_rows():
    y = ss.Interval([1, np.nan, 3, 0], [1, 2, np.nan, 4], entry=[-np.inf, -np.inf, 1, -np.inf])
    assert y.lower.tolist() == [1, -np.inf, 3, 0] and y.upper.tolist() == [1, 2, np.inf, 4]
    assert len(y) == 4 and y.shape[0] == 4
    part = y[[2, 0]]
    assert part.lower.tolist() == [3, 1] and part.entry.tolist() == [1, -np.inf]
    again = pickle.loads(pickle.dumps(y))
    np.testing.assert_array_equal(again.upper, y.upper)
    assert repr(part) == "Interval([(3, inf], 1], delayed entry)"
    with pytest.raises(AttributeError, match="immutable"):
        y.lower = y.upper


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([2.0], [1.0]), "row 0 has lower 2 and upper 1"),
        (([np.nan], [np.nan]), "no finite bound"),
        (([1.0, 2.0], [3.0]), "upper"),
        ((["a"], [1.0]), "lower must be numbers"),
        (([1.0], [2.0], [2.0]), "entry must be before upper"),
        (([1.0], [2.0], [np.nan]), "entry"),
    ],
)
def test_refusals(arguments, match):
    with pytest.raises(DataError, match=match):
        ss.Interval(*arguments)
