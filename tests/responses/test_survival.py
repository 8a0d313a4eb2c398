from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GroupKFold, KFold, train_test_split
from sklearn.utils import _safe_indexing

from semistruct.exceptions import DataError
from semistruct.responses import Interval, Surv, as_surv


@pytest.fixture
def y(rng):
    n = 40
    time = rng.exponential(size=n) + 1.0
    return Surv(time, rng.random(n) < 0.6, entry=time - 0.5, id=np.repeat(np.arange(20), 2))


def columns(y):
    return {name: getattr(y, name) for name in ("time", "event", "cause", "entry", "id")}


def assert_rows(part, whole, rows):
    assert isinstance(part, Surv)
    for name, values in columns(whole).items():
        np.testing.assert_array_equal(getattr(part, name), values[rows])


def test_columns_and_shape(y):
    assert y.shape == (40,)
    assert len(y) == 40
    assert y.ndim == 1
    assert y.event.dtype == bool
    assert 0 < y.event.sum() < 40


@pytest.mark.parametrize(
    "rows",
    [
        slice(3, 20, 2),
        np.array([5, 5, 0]),
        [1, 2],
        np.arange(40) % 3 == 0,
        list(np.arange(40) % 3 == 0),
        pd.Series([4, 2]),
        torch.tensor([1, 3]),
        [],
        np.array([], dtype=bool)[:0],
    ],
)
def test_rows(y, rows):
    kept = (
        rows if isinstance(rows, slice) else np.asarray(rows, dtype=int if len(rows) == 0 else None)
    )
    assert_rows(y[rows], y, kept)


def test_one_row(y):
    assert_rows(y[3], y, [3])
    assert_rows(y[-1], y, [39])
    assert [len(row) for row in y] == [1] * 40
    with pytest.raises(IndexError):
        y[40]
    with pytest.raises(DataError, match="one dimension"):
        y[0, 1]


def test_splitters_of_scikit_learn(y):
    X = np.arange(40)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    assert_rows(y_train, y, X_train)
    assert_rows(y_test, y, X_test)
    for train, test in KFold(4).split(X, y):
        assert_rows(_safe_indexing(y, train), y, train)
        assert_rows(_safe_indexing(y, test), y, test)
    for train, test in GroupKFold(4).split(X, y, groups=y.id):
        assert not set(y[train].id) & set(y[test].id)


def test_copies_and_immutability(y):
    for same in (pickle.loads(pickle.dumps(y)), copy.deepcopy(y), copy.copy(y)):
        assert_rows(same, y, slice(None))
    with pytest.raises(AttributeError, match="immutable"):
        y.time = np.ones(40)
    with pytest.raises(ValueError, match="read-only"):
        y.time[0] = 1.0
    time = np.ones(3)
    kept = Surv(time, np.ones(3))
    time[:] = 9.0
    assert kept.time[0] == 1.0


def test_repr():
    assert repr(Surv([1, 2], [True, False])) == "Surv([1, 2+], 1 event)"
    assert repr(Surv(np.arange(9), np.ones(9))) == "Surv([0, 1, 2, 3, 4, 5, ...], 9 rows, 9 events)"
    assert repr(Surv([1, 2], [0, 2], n_causes=2)) == "Surv([1+, 2:2], 1 event)"


def test_zero_times_are_allowed_and_containers_unpacked():
    frame = pd.DataFrame({"t": [0, 3], "e": [True, False]})
    y = Surv(frame["t"], frame["e"])
    np.testing.assert_array_equal(y.time, [0.0, 3.0])
    y = Surv(torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([1, 0]))
    np.testing.assert_array_equal(y.event, [True, False])


def test_competing_causes():
    y = Surv([1, 2, 3], [0, 2, 1], n_causes=2)
    np.testing.assert_array_equal(y.event, [False, True, True])
    np.testing.assert_array_equal(y.of_cause(2).event, [False, True, False])
    assert y.of_cause(2).n_causes == 1
    with pytest.raises(DataError, match="between 1 and 2"):
        y.of_cause(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, np.nan], [1, 0]), "time is missing in 1 row(s), first in row 1"),
        (([1, np.inf], [1, 0]), "time must be finite; 1 row(s) break this, first row 1 with inf"),
        (([1, -2], [1, 0]), "time must not be negative; 1 row(s) break this, first row 1 with -2"),
        (([1, 2], [1, 0, 1]), "event has 3 rows but 2 are needed"),
        (([1, 2], [1, np.nan]), "event is missing in 1 row(s), first in row 1"),
        (([1, 2], [1, 0.5]), "row 1 has 0.5: recode it"),
        (([1, 2], [1, 2]), "as in some of R's data, become 0 / 1 by subtracting 1"),
        (([1, 2, 3], [0, 1, 3]), "row 2 has 3: for competing causes say n_causes=3"),
        (([1, 2], ["yes", "no"]), "event must be numbers"),
        (([1, 2], [1, 0], [0, 2]), "first row 1 with entry 2 and time 2"),
        (([1, 2], [1, 0], [0, 3]), "first row 1 with entry 3 and time 2"),
        (([1, 2], [1, 0], [0, np.nan]), "entry is missing"),
        (([1, 2], [1, 0], [-1, 0]), "entry must not be negative"),
        (([1, 2], [1, 0], [0, -np.inf]), "entry must be finite"),
        (([1, 2], [1, 0], None, [1]), "id has 1 rows but time has 2"),
        (([1, 2], [1, 0], None, ["a", None]), "id is missing in row 1"),
        (([[1, 2], [3, 4]], [1, 0]), "time must have one value per row, got shape (2, 2)"),
        ((["a", "b"], [1, 0]), "time must be numbers"),
    ],
)
def test_unusable_follow_up(arguments, message):
    with pytest.raises(DataError, match=re.escape(message)):
        Surv(*arguments)


def test_causes_are_checked():
    with pytest.raises(DataError, match="row 1 has 3"):
        Surv([1, 2], [1, 3], n_causes=2)
    with pytest.raises(DataError, match="positive whole number"):
        Surv([1, 2], [1, 1], n_causes=0)


def test_other_forms(y):
    assert as_surv(y) is y
    records = np.array([(True, 5.0), (False, 3.0)], dtype=[("cens", "?"), ("time", "f8")])
    frames = [
        pd.DataFrame({"time": [5, 3], "event": [1, 0]}),
        pd.DataFrame({"status": [1, 0], "weeks": [5, 3]}),
        pd.DataFrame({"weeks": [5, 3], "died": [True, False]}),
        pd.DataFrame({"weeks": [5, 3], "died": [1, 0]}),
    ]
    for form in (records, *frames):
        out = as_surv(form)
        np.testing.assert_array_equal(out.time, [5.0, 3.0])
        np.testing.assert_array_equal(out.event, [True, False])
        assert out.entry is None
    out = as_surv(pd.DataFrame({"tstart": [1, 2], "tstop": [5, 3], "status": [1, 0]}))
    np.testing.assert_array_equal(out.entry, [1.0, 2.0])


def test_structured_array_and_back(y):
    back = as_surv(np.asarray(y))
    for name in ("time", "event", "entry"):
        np.testing.assert_array_equal(getattr(back, name), getattr(y, name))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (np.ones((3, 2)), "got an array of shape (3, 2)"),
        ("time", "got str"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}), "do not say which is the event"),
        (pd.DataFrame({"a": [1, 0], "b": [0, 1]}), "do not say which is the event"),
        (
            pd.DataFrame({"a": [1, 2], "b": [3, 4], "event": [1, 0]}),
            "do not say which is the time",
        ),
        (pd.DataFrame({"event": [1, 0]}), "do not say which is the time"),
    ],
)
def test_unclear_forms(form, message):
    with pytest.raises(DataError, match=re.escape(message)):
        as_surv(form)


def test_interval():
    y = Interval([1, 2, -np.inf], [1, np.inf, 3])
    assert y.shape == (3,)
    np.testing.assert_array_equal(y[1:].lower, [2, -np.inf])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(y)).upper, y.upper)
    _, test = train_test_split(y, test_size=1, random_state=0)
    assert len(test) == 1
    with pytest.raises(AttributeError, match="immutable"):
        y.lower = 1
    assert np.asarray(y)["upper"][0] == 1.0


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        ([1, 3], [1, 2], "row 1 has lower 3 and upper 2"),
        ([1, -np.inf], [1, np.inf], "row 1 has no finite bound"),
        ([1, np.inf], [1, np.inf], "row 1 has lower inf"),
        ([1, 2], [1], "upper has 1 rows but 2 are needed"),
    ],
)
def test_unusable_intervals(lower, upper, message):
    with pytest.raises(DataError, match=re.escape(message)):
        Interval(lower, upper)
