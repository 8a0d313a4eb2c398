"""Values taken apart and put together again: the same values, shared where they were shared."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pandas as pd
import pytest
import torch
from contracts._family_examples import EXAMPLES
from contracts.test_terms import FRAME, NEW, examples
from scipy import sparse

from semistruct import Surv, TensorArray
from semistruct.estimators.persistence.classes import class_name, known_classes
from semistruct.estimators.persistence.container import Content, read_container, write_container
from semistruct.estimators.persistence.tree import TreeReader, TreeWriter
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import FAMILIES, resolve_family
from semistruct.terms import parse_formula

TABLE = pd.DataFrame(
    {
        "float": [0.1, np.nan, np.inf],
        "whole": [1, 2, 3],
        "maybe": pd.array([1, None, 3], dtype="Int16"),
        "flag": [True, False, True],
        "mask": pd.array([True, None, False], dtype="boolean"),
        "text": ["a", None, "ü"],
        "string": pd.array(["a", None, "c"], dtype="string"),
        "level": pd.Categorical(["lo", "hi", None], ["lo", "hi"], ordered=True),
        "day": pd.to_datetime(["2020-01-01", None, "2021-02-03"]),
        "zone": pd.to_datetime(["2020-01-01", None, "2021-02-03"]).tz_localize("Europe/Vienna"),
        "span": pd.to_timedelta([1, 2, None], unit="h"),
    },
    index=pd.Index([3, 1, 2], name="id"),
)


def again(value):
    """The value after a trip through text and tensors."""
    writer = TreeWriter()
    root = writer.value(value)
    nodes = json.loads(json.dumps(writer.nodes, allow_nan=False))
    return TreeReader(nodes, writer.tensors).value(root)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        2**80,
        0.1 + 0.2,
        float("inf"),
        "s(área)",
        (1, (2.5, None)),
        [1, [2]],
        {"a": 1, 2: (3,)},
        {("a", 1): slice(0, 3)},
        slice(None, 4, 2),
        range(2, 9, 3),
        {3, 1},
        frozenset({"x"}),
        datetime.datetime(2020, 1, 2, 3, 4),
        pd.Timestamp("2020-01-02 03:04", tz="Europe/Vienna"),
        pd.Timedelta("3h"),
        np.dtype("float32"),
        torch.device("cpu"),
    ],
    ids=repr,
)
def test_plain_values(value):
    found = again(value)
    assert found == value
    assert type(found) is type(value)


def test_missing_values_stay_what_they_are():
    assert np.isnan(again(float("nan")))
    assert again(pd.NA) is pd.NA
    assert again(pd.NaT) is pd.NaT


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0).reshape(3, 4)[:, 1:3],
        np.zeros((0, 3)),
        np.array(2.5),
        np.array([True, False]),
        np.arange(3, dtype="uint16"),
        np.array(["a", "bc"]),
        np.array(["a", None, 2.5], dtype=object),
        np.array(["2020-01-01", "NaT"], dtype="datetime64[D]").astype("datetime64[s]"),
    ],
    ids=str,
)
def test_arrays(array):
    found = again(array)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    if array.ndim == 2 and array.size:
        assert found.flags.f_contiguous == array.flags.f_contiguous


def test_an_array_is_as_writeable_as_it_was():
    frozen = np.arange(3.0)
    frozen.setflags(write=False)
    assert not again(frozen).flags.writeable
    assert again(np.arange(3.0)).flags.writeable


def test_numbers_of_numpy_and_tensors_of_torch():
    number = again(np.float32(0.1))
    assert type(number) is np.float32 and number == np.float32(0.1)
    for dtype in (torch.float32, torch.bfloat16, torch.int64):
        tensor = torch.arange(6).reshape(2, 3).to(dtype)
        found = again(tensor)
        assert found.dtype == dtype and torch.equal(found, tensor)


def test_tables():
    pd.testing.assert_frame_equal(again(TABLE), TABLE)
    assert TABLE.isna().any().sum() >= 7
    for name in TABLE:
        pd.testing.assert_series_equal(again(TABLE[name]), TABLE[name])
    empty = TABLE.iloc[:0, :0]
    pd.testing.assert_frame_equal(again(empty), empty)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(2, 9, name="row"),
        pd.Index(["a", "b"], name="term"),
        pd.MultiIndex.from_tuples([("loc", 1), ("scale", 2)], names=["parameter", None]),
        pd.CategoricalIndex(["a", "b"]),
        pd.DatetimeIndex(["2020-01-01"]),
        pd.Index([], dtype=object),
    ],
    ids=lambda index: type(index).__name__,
)
def test_indices(index):
    pd.testing.assert_index_equal(again(index), index)


def test_columns_of_tensors():
    fixed = TensorArray(np.arange(12, dtype="float32").reshape(3, 4))
    ragged = TensorArray([np.ones((2, 2)), None, np.zeros((1, 2))])
    for column in (fixed, ragged):
        found = again(column)
        assert found.dtype == column.dtype
        np.testing.assert_array_equal(found.isna(), column.isna())
        for row in np.flatnonzero(~column.isna()):
            np.testing.assert_array_equal(found[row], column[row])


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array])
def test_sparse_matrices(kind):
    matrix = kind(np.diag([1.0, 0.0, 3.0]))
    found = again(matrix)
    assert type(found) is kind
    np.testing.assert_array_equal(found.toarray(), matrix.toarray())


def test_random_numbers_go_on_where_they_were():
    seed = np.random.SeedSequence(7).spawn(2)[1]
    assert (again(seed).generate_state(3) == seed.generate_state(3)).all()
    generator = np.random.RandomState(3)
    generator.normal(size=3)
    assert again(generator).normal() == generator.normal()


def test_what_is_shared_stays_shared():
    one = np.arange(3)
    first, second, other = again((one, [one], one.copy()))
    assert second[0] is first
    assert other is not first


def test_what_contains_itself_is_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(SpecificationError, match="contains itself"):
        again(loop)


@pytest.mark.parametrize("value", [len, lambda x: x, 1j, np.array([1j]), object(), ValueError()])
def test_code_and_strangers_are_refused(value):
    with pytest.raises(SpecificationError, match="cannot be saved"):
        again({"part": value})


def test_an_error_says_where_the_part_is():
    with pytest.raises(SpecificationError, match=r"\['options'\]\[0\]"):
        again({"options": [len]})


@pytest.mark.parametrize("name", list(FAMILIES))
def test_families(name):
    family = resolve_family(name)
    assert again(family) == family


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: repr(example.family))
def test_families_with_options(example):
    assert again(example.family) == example.family
    assert repr(again(example.family)) == repr(example.family)


@pytest.mark.parametrize("term", examples(), ids=lambda term: term.text())
def test_every_smooth_gives_the_same_design(term):
    basis = term.build(FRAME)
    found_term, found = again((term, basis))
    assert repr(found_term) == repr(term)
    beta = np.linspace(-1, 1, len(basis.names))
    np.testing.assert_array_equal(
        found.design(NEW).matvec(beta), basis.design(NEW).matvec(beta), strict=True
    )
    for S, expected in zip(found.penalties, basis.penalties, strict=True):
        np.testing.assert_array_equal(S, expected, strict=True)


def test_parametric_terms_give_the_same_design():
    text = "poly(x, 2) * group + center(z):order + C(number) + log(z)"
    basis = parse_formula(text).terms.structured[0].build(FRAME)
    np.testing.assert_array_equal(
        again(basis).design(NEW).dense(), basis.design(NEW).dense(), strict=True
    )


def test_follow_up():
    y = Surv([1.0, 2.0, 3.0], [0, 1, 2], entry=[0.0, 0.5, 1.0], id=["a", "a", "b"], n_causes=2)
    found = again(y)
    for name in ("time", "event", "entry", "id"):
        np.testing.assert_array_equal(getattr(found, name), getattr(y, name))


# ------------------------------------------------------------------ what a file may not do


def read(*nodes, tensors=None):
    return TreeReader(list(nodes), tensors or {})


@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "subprocess.Popen", "semistruct.demo.main", "estimators.load"],
)
def test_other_classes_are_refused(name):
    with pytest.raises(DataError, match="none that a saved model can hold"):
        read({"is": "object", "class": name, "has": {}})


def test_the_table_has_nothing_but_classes_of_the_package():
    table = known_classes()
    assert len(table) > 100
    for name, cls in table.items():
        assert cls.__module__.startswith("semistruct.")
        assert class_name(cls) == name


def test_objects_get_their_own_attributes_and_no_others():
    node = {"is": "object", "class": "links.Log", "has": {"name": "evil"}}
    with pytest.raises(DataError, match="attributes name"):
        read(node)
    model = "estimators.regressor.SemiStructuredRegressor"
    for name in ("predict", "__class__", "not a name", "params"):
        with pytest.raises(DataError, match="does not have"):
            read({"is": "object", "class": model, "has": {name: 1}})


def test_an_attribute_that_is_new_has_its_default():
    node = {"is": "object", "class": "terms.smooths.Nothing", "has": {}}
    with pytest.raises(DataError, match="none that"):
        read(node)
    slot = {"param": 0, "term": None, "network": 1}
    found = read({"is": "object", "class": "blueprint.Slot", "has": slot}).value({"#": 0})
    assert found.by is None and found.column == 0
    del slot["network"]
    with pytest.raises(DataError, match="lacks 'network'"):
        read({"is": "object", "class": "blueprint.Slot", "has": slot})


@pytest.mark.parametrize(
    "node",
    [
        {"is": "code", "has": {}},
        {"is": "list", "of": [{"#": 0}]},
        {"is": "list", "of": [{"#": -1}]},
        {"is": "list", "of": [{"#": "0"}]},
        {"is": "array", "tensor": "9"},
        {"is": "dtype", "has": {"text": "nonsense"}},
        {"is": "nullable", "has": {"dtype": "category", "items": []}},
        {"is": "objects", "has": {"dtype": "f8", "shape": [1], "items": ["1"]}},
        {"has": {}},
        {},
        7,
    ],
    ids=str,
)
def test_nonsense_is_refused(node):
    with pytest.raises(DataError):
        read(node)


def test_positions_outside_of_a_sparse_matrix_are_refused():
    writer = TreeWriter()
    writer.value(sparse.csr_array(np.eye(3)))
    key = next(k for k, t in writer.tensors.items() if t.dtype.kind == "i" and t.size == 3)
    writer.tensors[key][0] = 10**6
    with pytest.raises(DataError):
        TreeReader(writer.nodes, writer.tensors)


def test_a_container_keeps_its_content(tmp_path):
    content = Content({"#": 0}, [{"is": "list", "of": []}], {"0": np.arange(3.0)})
    write_container(tmp_path / "file", content)
    found = read_container(tmp_path / "file")
    assert (found.root, found.nodes) == (content.root, content.nodes)
    np.testing.assert_array_equal(found.tensors["0"], content.tensors["0"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
