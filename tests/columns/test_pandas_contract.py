"""pandas' own test-suite for extension arrays, over tensors in memory, ragged, and files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.tests.extension import base
from PIL import Image

from semistruct.columns import ImageArray, TensorArray

KINDS = ("fixed", "ragged", "image", "files")
NO_SCALAR_COMPARISON = "an ndarray is a list-like to pandas, not a scalar"


@pytest.fixture(scope="module")
def picture_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(100):
        Image.fromarray(np.full((1, 1), k, dtype=np.uint8)).save(folder / f"{k}.png")
    return [folder / f"{k}.png" for k in range(100)]


@pytest.fixture(params=KINDS)
def make(request, picture_files):
    """Rows 0..99 that differ from each other, and None, as a column of each kind.

    Every tensor has one element, because the suite compares rows with ``==`` and asks for the
    truth of the answer; larger tensors are in the other files of this folder.
    """
    shapes = {"fixed": "tensor[1]", "ragged": "tensor[?]"}
    if request.param == "files":
        whole = ImageArray.from_files(picture_files)
        return lambda ks: whole.take([-1 if k is None else k for k in ks], allow_fill=True)
    if request.param == "image":
        pixels = list(np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1))
        return lambda ks: ImageArray(
            [None if k is None else pixels[k] for k in ks], "image[1, 1, 1]"
        )
    rows = list(np.random.default_rng(1).normal(size=(100, 1)))
    dtype = shapes[request.param]
    return lambda ks: TensorArray([None if k is None else rows[k] for k in ks], dtype)


@pytest.fixture
def data(make):
    return make(range(100))


@pytest.fixture
def dtype(data):
    return data.dtype


@pytest.fixture
def data_for_twos(make):
    pytest.skip("tensors have no arithmetic")


@pytest.fixture
def data_missing(make):
    return make([None, 0])


@pytest.fixture(params=["data", "data_missing"])
def all_data(request, data, data_missing):
    return data if request.param == "data" else data_missing


@pytest.fixture
def data_repeated(data):
    return lambda count: (data for _ in range(count))


@pytest.fixture
def data_for_sorting(data):
    pytest.skip("tensors have no order")


@pytest.fixture
def data_missing_for_sorting(data):
    pytest.skip("tensors have no order")


@pytest.fixture
def data_for_grouping(make):
    return make([1, 1, None, None, 0, 0, 1, 2])


@pytest.fixture
def na_cmp():
    return lambda a, b: a is pd.NA and b is pd.NA


@pytest.fixture
def na_value(dtype):
    return dtype.na_value


@pytest.fixture(params=[True, False])
def as_series(request):
    return request.param


@pytest.fixture(params=[True, False])
def as_array(request):
    return request.param


@pytest.fixture(params=[True, False])
def as_frame(request):
    return request.param


@pytest.fixture(params=["ffill", "bfill"])
def fillna_method(request):
    return request.param


@pytest.fixture(params=[True, False])
def box_in_series(request):
    return request.param


@pytest.fixture
def invalid_scalar(data):
    return object()


@pytest.fixture
def using_copy_on_write():
    return False


@pytest.fixture(params=[None, lambda x: x])
def sort_by_key(request):
    return request.param


@pytest.fixture(params=[True, False])
def use_numpy(request):
    return request.param


class TestDtype(base.BaseDtypeTests):
    pass


class TestInterface(base.BaseInterfaceTests):
    test_array_interface_copy = None  # an object array is made anew at each request


class TestConstructors(base.BaseConstructorsTests):
    # pandas reads a list of arrays as rows of a table, and one array as several values.
    test_from_dtype = test_series_constructor_scalar_with_index = None


class TestGetitem(base.BaseGetitemTests):
    test_take_pandas_style_negative_raises = None  # pytest refuses its empty pattern


class TestIndex(base.BaseIndexTests):
    pass


class TestMissing(base.BaseMissingTests):
    # fillna refuses an array as the one value; column.array[column.isna()] = tensor works.
    test_fillna_series = test_fillna_frame = test_fillna_scalar = None
    test_fillna_no_op_returns_copy = None


class TestPrinting(base.BasePrintingTests):
    test_array_repr = None  # asks for rows with an ellipsis; ours is a count, see test_tensor_array


class TestReshaping(base.BaseReshapingTests):
    pass


class TestSetitem(base.BaseSetitemTests):
    # A Series reads an array as one value per row, so one tensor for several rows of a Series is
    # refused by pandas itself; column.array[rows] = tensor works.
    test_setitem_sequence_broadcasts = test_setitem_mask_broadcast = None
    test_setitem_loc_scalar_mixed = test_setitem_loc_scalar_multiple_homogoneous = None
    test_setitem_iloc_scalar_mixed = test_setitem_iloc_scalar_multiple_homogoneous = None
    test_setitem_mask = test_setitem_mask_boolean_array_with_na = None
    test_setitem_integer_array = test_setitem_slice = test_setitem_loc_iloc_slice = None
    test_setitem_2d_values = None
    test_setitem_invalid = None  # pytest refuses its empty pattern; see test_tensor_array


class TestCasting(base.BaseCastingTests):
    test_astype_str = test_astype_string = None  # text of a row is its type and shape


class TestMethods(base.BaseMethodsTests):
    test_fillna_copy_frame = test_fillna_copy_series = None  # as in TestMissing
    test_combine_le = None  # tensors have no order
    # The expected table is sorted by value, and the values have no order.
    test_value_counts = test_value_counts_with_normalize = None
