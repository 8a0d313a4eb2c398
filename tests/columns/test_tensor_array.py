"""Tensors in a column: values, laws of take and concat, tables, copies and pickles."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, train_test_split

from semistruct.columns import ImageArray, TensorArray, TensorDtype
from semistruct.exceptions import DataError

N = 7


def block(n: int = N, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, 2, 3))
    assert n < 2 or not np.array_equal(values[0], values[1])
    return values


def with_missing() -> tuple[list, TensorArray]:
    rows: list = [None if k in (2, 5) else row for k, row in enumerate(block())]
    return rows, TensorArray(rows)


def assert_rows(column: TensorArray, rows: list) -> None:
    """The column holds exactly these tensors, None for missing."""
    np.testing.assert_array_equal(column.isna(), [row is None for row in rows])
    for value, row in zip(column, rows, strict=True):
        if row is not None:
            np.testing.assert_array_equal(value, row)
        else:
            assert value is pd.NA


# ---------------------------------------------------------------------- types


@pytest.mark.parametrize(
    "text",
    ["tensor[2, 3; float32]", "tensor[?, 5; float64]", "tensor[...; int64]", "tensor[...]"],
)
def test_dtype_reads_its_own_name(text):
    assert pd.api.types.pandas_dtype(text).name == text
    assert pickle.loads(pickle.dumps(TensorDtype.construct_from_string(text))) == text


@pytest.mark.parametrize("text", ["tensor[2, x; float32]", "tensor[2; foo]", "tensors", "image[2]"])
def test_dtype_refuses_other_names(text):
    with pytest.raises(TypeError, match="Cannot construct"):
        TensorDtype.construct_from_string(text)


def test_dtype_is_inferred():
    assert TensorArray(block()).dtype == "tensor[2, 3; float64]"
    assert TensorArray([np.ones((5, 2)), None, np.ones((3, 2))]).dtype == "tensor[?, 2; float64]"
    assert TensorArray([np.ones(2), np.ones((2, 2))]).dtype == "tensor[...; float64]"
    assert TensorArray([np.ones(2, "int8"), np.ones(2, "float32")]).dtype == "tensor[2; float32]"
    assert TensorArray([None, None]).dtype == "tensor[...]"


def test_astype_between_tensor_types():
    column = TensorArray(block())
    assert column.astype("tensor").dtype == column.dtype
    assert column.astype("tensor[?, 3; float64]").dtype.name == "tensor[?, 3; float64]"
    single = column.astype("tensor[...; float32]")
    np.testing.assert_array_equal(single.batch(), block().astype("float32"))
    with pytest.raises(DataError, match="do not fit"):
        column.astype("tensor[5, 3; float64]")
    with pytest.raises(TypeError, match="batch"):
        column.astype(float)
    objects = column.astype(object)
    assert objects.shape == (N,) and isinstance(objects[0], np.ndarray)


# ---------------------------------------------------------------------- bad input


def test_wrong_values_are_refused():
    with pytest.raises(DataError, match="one number per row"):
        TensorArray(np.array([[1, 2], ["a", "b"]]))
    with pytest.raises(DataError, match="row 1 of a TensorArray"):
        TensorArray([np.ones(2), "picture"])
    with pytest.raises(DataError, match="do not fit"):
        TensorArray(block(), dtype="tensor[3, 3; float64]")
    with pytest.raises(DataError, match="without loss"):
        TensorArray(block(), dtype="tensor[2, 3; int64]")


# ---------------------------------------------------------------------- reading


def test_batch_has_zeros_where_missing():
    rows, column = with_missing()
    expected = np.array([np.zeros((2, 3)) if row is None else row for row in rows])
    np.testing.assert_array_equal(column.batch(), expected)
    np.testing.assert_array_equal(column.batch([5, 0, 0, -1]), expected[[5, 0, 0, -1]])
    np.testing.assert_array_equal(column.batch(slice(1, 4)), expected[1:4])
    np.testing.assert_array_equal(column.batch(column.isna()), np.zeros((2, 2, 3)))
    assert column.batch([]).shape == (0, 2, 3)
    with pytest.raises(IndexError):
        column.batch([N])


def test_batch_is_new_and_rows_are_read_only():
    values = block()
    column = TensorArray(values)
    column.batch()[:] = 0.0
    np.testing.assert_array_equal(column.batch(), values)
    with pytest.raises(ValueError, match="read-only"):
        column[0][:] = 0.0


def test_copy_argument_detaches_from_the_array():
    values = block()
    column = TensorArray(values, copy=True)
    values[:] = 0.0
    np.testing.assert_array_equal(column.batch(), block())


def test_ragged_rows():
    rows = [np.full((length, 2), float(length)) for length in (3, 1, 4)]
    column = TensorArray([rows[0], None, rows[1], rows[2]])
    with pytest.raises(DataError, match="padded_batch"):
        column.batch()
    padded = column.padded_batch([3, 1, 2])
    assert padded.values.shape == (3, 4, 2)
    np.testing.assert_array_equal(padded.mask.sum(axis=1), [4, 0, 1])
    np.testing.assert_array_equal(padded.values[0], rows[2])
    assert not padded.values[~padded.mask].any()
    with pytest.raises(DataError, match="no common shape"):
        TensorArray([np.ones((2, 2)), np.ones((2, 3))]).padded_batch()


def test_only_missing_rows_have_no_shape():
    with pytest.raises(DataError, match="only missing rows"):
        TensorArray([None, None]).batch()


def test_to_numpy_block_respects_its_limit():
    column = TensorArray(block())
    np.testing.assert_array_equal(column.to_numpy_block(), block())
    with pytest.raises(DataError, match="max_bytes"):
        column.to_numpy_block(max_bytes=N * 6 * 8 - 1)


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_columns(n):
    column = TensorArray(block(n))
    assert len(column) == n and column.batch().shape == (n, 2, 3)
    assert len(column.content_keys()) == n and column.isna().shape == (n,)
    assert len(pd.concat([pd.Series(column), pd.Series(column)])) == 2 * n
    repr(pd.DataFrame({"t": column}))


# ---------------------------------------------------------------------- laws


positions = st.lists(st.integers(-1, N - 1), max_size=12)


@settings(max_examples=60, deadline=None)
@given(positions)
def test_take_is_indexing(indices):
    rows, column = with_missing()
    assert_rows(column.take(indices), [rows[i] for i in indices])
    filled = column.take(indices, allow_fill=True)
    assert_rows(filled, [None if i == -1 else rows[i] for i in indices])
    instead = column.take(indices, allow_fill=True, fill_value=np.ones((2, 3)))
    assert_rows(instead, [np.ones((2, 3)) if i == -1 else rows[i] for i in indices])


@settings(max_examples=40, deadline=None)
@given(st.lists(positions, min_size=1, max_size=4), positions)
def test_concat_then_take_is_take_then_concat(pieces, chosen):
    rows, column = with_missing()
    other = TensorArray(block(N, seed=1))
    columns = [column if k % 2 else other for k in range(len(pieces))]
    whole = TensorArray._concat_same_type(
        [col.take(piece, allow_fill=True) for col, piece in zip(columns, pieces, strict=True)]
    )
    expected = [
        None if i == -1 else (rows[i] if k % 2 else block(N, seed=1)[i])
        for k, piece in enumerate(pieces)
        for i in piece
    ]
    assert_rows(whole, expected)
    chosen = [i for i in chosen if i < len(expected)] if expected else []
    assert_rows(whole.take(chosen), [expected[i] for i in chosen])


@settings(max_examples=40, deadline=None)
@given(positions)
def test_pickle_keeps_rows(indices):
    rows, column = with_missing()
    part = column.take(indices, allow_fill=True)
    assert_rows(pickle.loads(pickle.dumps(part)), [None if i == -1 else rows[i] for i in indices])


@settings(max_examples=40, deadline=None)
@given(positions)
def test_keys_agree_exactly_where_contents_do(indices):
    _, column = with_missing()
    part = column.take(indices, allow_fill=True)
    keys, missing = part.content_keys(), part.isna()
    assert len(set(keys[missing])) == missing.sum()
    for a in range(len(part)):
        for b in range(a):
            same = not missing[a] and not missing[b] and np.array_equal(part[a], part[b])
            assert (keys[a] == keys[b]) == same


def test_out_of_bounds_take():
    column = TensorArray(block())
    with pytest.raises(IndexError):
        column.take([N])
    with pytest.raises(ValueError, match="less than allowed"):
        column.take([-2], allow_fill=True)
    with pytest.raises(IndexError):
        column[:0].take([0])


# ---------------------------------------------------------------------- setting


def test_set_rows():
    rows, column = with_missing()
    column[0] = None
    column[2] = np.ones((2, 3))
    column[[3, 4]] = np.full((2, 3), 2.0)
    column[column.isna()] = TensorArray(np.full((2, 2, 3), 3.0))
    three = np.full((2, 3), 3.0)
    two = np.full((2, 3), 2.0)
    assert_rows(column, [three, rows[1], np.ones((2, 3)), two, two, three, rows[6]])
    with pytest.raises(DataError, match="do not fit"):
        column[0] = np.ones((3, 3))
    with pytest.raises(ValueError, match="cannot set 2 rows from 3"):
        column[[0, 1]] = TensorArray(block(3))


def test_setting_in_a_copy_leaves_the_original():
    for duplicate in (TensorArray.copy, copy.copy, copy.deepcopy):
        column = TensorArray(block())
        other = duplicate(column)
        other[0] = None
        assert not column.isna().any() and other.isna()[0]


def test_all_missing_column_learns_its_type():
    column = TensorArray([None, None])
    column[1] = np.ones((2, 3))
    assert column.dtype == "tensor[2, 3; float64]"
    assert column.batch().shape == (2, 2, 3)


def test_set_missing_through_a_table():
    frame = pd.DataFrame({"t": TensorArray(block()), "x": range(N)})
    frame.loc[frame["x"] > 4, "t"] = None
    np.testing.assert_array_equal(frame["t"].isna(), frame["x"] > 4)


# ---------------------------------------------------------------------- comparison


def test_equality_is_by_content():
    rows, column = with_missing()
    np.testing.assert_array_equal(column == column.copy(), [row is not None for row in rows])
    np.testing.assert_array_equal(column == rows[0], np.arange(N) == 0)
    np.testing.assert_array_equal(column != rows[0], np.arange(N) != 0)
    assert column.equals(TensorArray(rows)) and not column.equals(TensorArray(block()))
    nan = TensorArray(np.full((1, 2), np.nan))
    assert not (nan == nan.copy()).any()


def test_unique_factorize_counts():
    values = block()
    column = TensorArray([values[0], None, values[1], values[0].copy(), None])
    codes, distinct = column.factorize()
    np.testing.assert_array_equal(codes, [0, -1, 1, 0, -1])
    assert_rows(distinct, [values[0], values[1]])
    assert_rows(column.unique(), [values[0], None, values[1]])
    np.testing.assert_array_equal(column.duplicated(), [False, False, False, True, True])
    np.testing.assert_array_equal(column.value_counts().to_numpy(), [2, 1])
    with pytest.raises(TypeError, match="no order"):
        pd.Series(column).sort_values()


# ---------------------------------------------------------------------- tables


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"id": np.arange(N), "g": list("aabbccc"), "t": TensorArray(block())},
        index=np.arange(100, 100 + N),
    )


def holds_its_rows(frame: pd.DataFrame) -> bool:
    return np.array_equal(frame["t"].array.batch(), block()[frame["id"]])


def test_selection_keeps_rows_together(frame):
    assert holds_its_rows(frame.iloc[[3, 1, 1]])
    assert holds_its_rows(frame.loc[[106, 100]])
    assert holds_its_rows(frame[frame["id"] % 2 == 0])
    assert holds_its_rows(frame.sample(frac=1.0, random_state=0))
    assert holds_its_rows(frame.sort_values("id", ascending=False))
    assert holds_its_rows(frame.copy(deep=True)) and holds_its_rows(copy.deepcopy(frame))
    assert holds_its_rows(frame.reset_index().set_index("id", drop=False))


def test_joins_keep_rows_together(frame):
    other = pd.DataFrame({"id": [6, 2, 2, 9], "w": [1.0, 2.0, 3.0, 4.0]})
    assert holds_its_rows(frame.merge(other, on="id"))
    left = other.merge(frame, on="id", how="left")
    np.testing.assert_array_equal(left["t"].isna(), [False, False, False, True])
    assert left["t"].dtype == frame["t"].dtype
    on_tensor = frame.merge(frame[["t", "g"]].iloc[:3], on="t")
    assert len(on_tensor) == 3 and holds_its_rows(on_tensor)


def test_concat_of_tables(frame):
    both = pd.concat([frame, frame.iloc[:2]], ignore_index=True)
    assert holds_its_rows(both) and both["t"].dtype == frame["t"].dtype
    lacking = pd.concat([frame, pd.DataFrame({"id": [50]})])
    assert lacking["t"].dtype == frame["t"].dtype and lacking["t"].isna().sum() == 1
    longer = frame.assign(t=TensorArray(np.zeros((N, 4, 3))))
    assert pd.concat([frame, longer])["t"].dtype == "tensor[?, 3; float64]"


def test_groups(frame):
    for _, part in frame.groupby("g"):
        assert holds_its_rows(part)
    assert len(frame.groupby("t", sort=False).size()) == N


def test_scikit_learn_splits(frame):
    train, test = train_test_split(frame, test_size=3, random_state=0)
    assert len(test) == 3 and holds_its_rows(train) and holds_its_rows(test)
    repeated = pd.concat([frame, frame])
    keys = repeated["t"].array.content_keys()
    for fit, held in GroupKFold(3).split(repeated, groups=keys):
        assert not set(keys[fit]) & set(keys[held])


def test_slices_do_not_copy_and_pickles_are_compact():
    values = np.zeros((1000, 50, 50))
    column = TensorArray(values)
    part = column[10:20]
    assert np.shares_memory(part[0], values)
    assert len(pickle.dumps(part)) < 12 * 50 * 50 * 8
    assert part.nbytes < 11 * 50 * 50 * 8


def test_printing_is_short(frame):
    assert "float64(2, 3)" in repr(frame)
    text = repr(frame["t"].array)
    assert "TensorArray" in text and f"Length: {N}" in text and len(text) < 200


def test_between_classes():
    images = ImageArray(np.arange(8, dtype="uint8").reshape(2, 1, 2, 2))
    tensors = TensorArray(images)
    assert type(tensors) is TensorArray and tensors.dtype == "tensor[1, 2, 2; uint8]"
    back = ImageArray(tensors)
    assert back.dtype == images.dtype and (back == images).all()
    assert pd.concat([pd.Series(images), pd.Series(tensors)]).dtype == tensors.dtype


def test_lengths_and_padding_of_rows_of_one_shape():
    block = np.arange(24.0).reshape(4, 3, 2)
    column = TensorArray(block)
    column[1] = None
    assert column.lengths().tolist() == [3, 0, 3, 3]
    padded = column.padded_batch([3, 1])
    np.testing.assert_array_equal(padded.values[0], block[3])
    assert padded.mask.tolist() == [[True] * 3, [False] * 3]
    assert column.element_shape == (2,)
    ragged = TensorArray([np.ones((2, 5)), np.ones((4, 5)), None])
    assert ragged.lengths().tolist() == [2, 4, 0] and ragged.element_shape == (5,)
    with pytest.raises(DataError, match="no common shape"):
        TensorArray([np.ones((2, 5)), np.ones((2, 6))]).lengths()
