"""Reading columns as tensors: learned once, the same for new rows."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import semistruct as ss
from semistruct.batch import Batch
from semistruct.exceptions import DataError
from semistruct.modalities import (
    FeatureReader,
    Modality,
    column_reader,
    table_reader,
)

SINGLE = 1e-5  # float32, sums in another order

N = 80


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    scans = rng.integers(0, 255, (N, 1, 5, 4)).astype(np.uint8)
    scans[7] = scans[3]
    column = ss.ImageArray(scans)
    column[5] = None
    return pd.DataFrame(
        {
            "age": rng.normal(60, 9, N),
            "stage": rng.choice(["I", "II", "III"], N),
            "scan": column,
            "omics": ss.TensorArray(rng.normal(size=(N, 6))),
        },
        index=np.arange(N) + 1000,
    )


def test_pictures(frame):
    reader = column_reader(frame, "scan", image=True)
    modality = reader.read(frame)
    assert reader.name == modality.name == "scan" and modality.in_shape == (1, 5, 4)
    assert len(modality) == N
    np.testing.assert_array_equal(np.flatnonzero(~modality.present), [5])
    rows = np.array([9, 5, 0])
    batch = modality.batch(rows)
    assert isinstance(batch, torch.Tensor) and batch.shape == (3, 1, 5, 4)
    assert not batch[1].any()
    np.testing.assert_array_equal(batch[0], frame["scan"].iloc[9])
    loaded = modality.in_memory()
    assert isinstance(loaded.values, np.ndarray)
    np.testing.assert_array_equal(loaded.batch(rows), batch)
    assert loaded.in_memory() is loaded


def test_other_tensors(frame):
    reader = column_reader(frame, "omics", image=False)
    assert reader.in_shape == (6,)
    np.testing.assert_array_equal(
        reader.read(frame).batch(np.arange(3)), frame["omics"].array.batch([0, 1, 2])
    )


def test_identical_pictures_have_one_key_and_missing_ones_none(frame):
    keys = column_reader(frame, "scan", image=True).keys(frame)
    assert keys[3] == keys[7] and keys[5] is None
    assert len(set(keys)) == N - 1
    assert table_reader(frame, ("age",), "mlp(age)").keys(frame) is None


def test_tables(frame):
    reader = table_reader(frame, ("age", "stage"), "mlp(age, stage)")
    assert reader.name == "mlp(age, stage)"
    modality = reader.read(frame)
    assert modality.present.all()
    values = modality.batch(np.arange(N)).numpy()
    assert values.dtype == np.float32 and values.shape == (N, *reader.in_shape)
    alone = reader.read(frame.iloc[[4]]).batch(np.array([0])).numpy()
    np.testing.assert_array_equal(alone[0], values[4])
    np.testing.assert_allclose(values[:, 0], frame["age"], rtol=1e-6)
    assert {tuple(row) for row in values[:, 1:]} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    with pytest.raises(ss.DataError, match="'IV'"):
        reader.read(frame.assign(stage="IV"))
    with pytest.raises(ss.DataError, match="'age'"):
        reader.read(frame.assign(age=np.nan))


def test_new_rows_must_have_the_learned_shape(frame):
    reader = column_reader(frame, "scan", image=True)
    larger = frame.iloc[:2].assign(scan=ss.ImageArray(np.zeros((2, 1, 6, 4), np.uint8)))
    with pytest.raises(ss.DataError, match=r"'scan'.*\(1, 6, 4\).*\(1, 5, 4\)"):
        reader.read(larger)
    nothing = frame.iloc[:2].assign(scan=ss.ImageArray([None, None]))
    modality = reader.read(nothing)
    assert not modality.present.any() and modality.batch(np.arange(2)).shape == (2, 1, 5, 4)


def test_columns_that_cannot_be_read(frame):
    with pytest.raises(ss.DataError, match=r"'scans'.*'scan'"):
        column_reader(frame, "scans", image=True)
    with pytest.raises(ss.DataError, match="'age'"):
        column_reader(frame, "age", image=True)
    with pytest.raises(ss.SpecificationError, match=r"'age'.*TensorArray"):
        column_reader(frame, "age", image=False)
    missing = frame.assign(scan=ss.ImageArray([None] * N))
    with pytest.raises(ss.DataError, match="every row of column 'scan' is missing"):
        column_reader(missing, "scan", image=True)


def test_a_column_of_paths(frame, tmp_path):
    paths = []
    for i, pixels in enumerate(frame["scan"].array.batch()):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels[0]).save(paths[-1])
    files = frame.assign(scan=[str(path) for path in paths])
    reader = column_reader(files, "scan", image=True)
    assert reader.in_shape == (1, 5, 4)
    pictures = reader.read(files).batch(np.array([1, 2]))
    np.testing.assert_array_equal(pictures, frame["scan"].array.batch([1, 2]))
    keys = reader.keys(files)
    assert keys[3] == keys[7]


def frozen():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(20, 7), nn.Tanh())
    return ss.nn.ModuleEncoder(module, (1, 5, 4), frozen=True)


def test_features_of_a_frozen_network(frame):
    inner = column_reader(frame, "scan", image=True)
    reader = FeatureReader("own(scan)", inner, frozen())
    modality = reader.read(frame)
    assert modality.name == "own(scan)" and modality.in_shape == reader.in_shape == (7,)
    assert not modality.present[5] and not modality.batch(np.array([5])).any()
    assert modality.values.std() > 0
    np.testing.assert_array_equal(reader.keys(frame), inner.keys(frame))
    order = np.random.default_rng(0).permutation(N)
    shuffled = reader.read(frame.iloc[order]).values
    np.testing.assert_allclose(shuffled, modality.values[order], rtol=SINGLE, atol=1e-6)
    alone = reader.read(frame.iloc[[77]]).values
    np.testing.assert_allclose(alone[0], modality.values[77], rtol=SINGLE, atol=1e-6)


def test_readers_survive_pickling(frame):
    for reader in (
        column_reader(frame, "scan", image=True),
        table_reader(frame, ("age", "stage"), "t"),
        FeatureReader("f", column_reader(frame, "scan", image=True), frozen()),
    ):
        again = pickle.loads(pickle.dumps(reader))
        rows = np.arange(N)
        np.testing.assert_array_equal(again.read(frame).batch(rows), reader.read(frame).batch(rows))


def test_rows_are_given_in_the_order_asked_for():
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    modality = Modality("m", values, np.ones(3, bool), (2,))
    np.testing.assert_array_equal(modality.batch(np.array([2, 0, 2])), values[[2, 0, 2]])


def test_rows_of_any_length_are_padded_and_masked():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n, 2)) for n in (5, 3, 8)] + [None, np.ones((0, 2))]
    table = pd.DataFrame({"visits": ss.TensorArray(rows), "x": 1.0})
    reader = column_reader(table, "visits", image=False)
    assert reader.ragged and reader.in_shape == (5, 2)
    modality = reader.read(table)
    np.testing.assert_array_equal(modality.present, [True, True, True, False, False])
    assert modality.in_memory() is modality
    some = np.array([1, 3, 0, 4])
    batch, mask = modality.batch(some), modality.mask(some)
    assert batch.shape == (4, 5, 2) and mask.sum(1).tolist() == [3, 0, 5, 0]
    np.testing.assert_array_equal(batch[0, :3], rows[1])
    assert not batch[~mask].any()
    read = Batch.read({"visits": modality}, some)
    assert torch.equal(read.masks["visits"], mask) and torch.equal(read.inputs["visits"], batch)
    absent = np.array([3, 4])
    assert modality.batch(absent).shape == (2, 1, 2) and not modality.mask(absent).any()
    nothing = reader.read(table.iloc[3:4])
    assert nothing.batch(np.array([0])).shape == (1, 1, 2)
    assert nothing.mask(np.array([0])).tolist() == [[False]]


def test_rows_of_one_length_may_be_read_as_rows_of_any(frame):
    assert column_reader(frame, "omics", image=False).ragged is False
    series = column_reader(frame, "omics", image=False, ragged=True)
    assert series.in_shape == (6, 1)
    modality = series.read(frame)
    rows = np.array([4, 1])
    assert modality.batch(rows).shape == (2, 6, 1) and modality.mask(rows).all()
    np.testing.assert_array_equal(modality.batch(rows)[..., 0], frame["omics"].array.batch(rows))
    fixed = column_reader(frame, "omics", image=False).read(frame)
    assert fixed.mask(rows) is None and not Batch.read({"omics": fixed}, rows).masks


def test_only_the_number_of_elements_may_differ_from_training():
    table = pd.DataFrame({"visits": ss.TensorArray([np.ones((4, 2)), np.ones((6, 2))])})
    reader = column_reader(table, "visits", image=False)
    other = pd.DataFrame({"visits": ss.TensorArray([np.ones((4, 3)), np.ones((6, 3))])})
    with pytest.raises(DataError, match=r"'visits' has rows of elements of shape \(3,\)"):
        reader.read(other)


def test_thousands_of_columns_are_read_at_once():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 2500))
    table = pd.DataFrame(values).add_prefix("gene ")
    started = time.process_time()
    reader = table_reader(table, tuple(table.columns), "genes")
    batch = reader.read(table).batch(np.arange(20))
    assert time.process_time() - started < 20  # it was minutes when terms were joined one by one
    np.testing.assert_array_equal(batch, values.astype(np.float32))


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_row(ragged, wrong):
    rows = [np.ones((3 + (i if ragged else 0), 2)) for i in range(100)]
    rows[4] = None
    table = pd.DataFrame({"visits": ss.TensorArray(rows)})
    reader = column_reader(table, "visits", image=False)
    assert reader.read(table).present.sum() == 99
    rows[77][1, 1] = wrong
    with pytest.raises(DataError, match=r"'visits' has missing or infinite numbers in row 77"):
        reader.read(pd.DataFrame({"visits": ss.TensorArray(rows)}))
