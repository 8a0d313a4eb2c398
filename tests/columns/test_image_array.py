"""Images in memory: what is accepted, what is refused, and the conversion of columns."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from semistruct import columns
from semistruct.columns import ImageArray, ImageDtype, TensorArray, as_image_array
from semistruct.exceptions import DataError

N = 5


def pixels(n: int = N, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, 6, 8), dtype=np.uint8)


@pytest.mark.parametrize("element", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_accepts_channels_first(element, channels):
    column = ImageArray(pixels(channels=channels).astype(element))
    assert column.dtype == ImageDtype((channels, 6, 8), element)
    assert column.batch([1]).dtype == element


def test_accepts_grey_without_channel():
    assert ImageArray(pixels()[:, 0]).tensor_shape == (1, 6, 8)
    assert ImageArray([pixels()[0, 0], None]).tensor_shape == (1, 6, 8)
    assert ImageArray(pixels().astype("float16")).element_dtype == np.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pixels().transpose(0, 2, 3, 1), "channels last"),
        (pixels().reshape(N, -1), r"\(n, C, H, W\)"),
        (pixels().astype("int64"), "uint8"),
        (pixels().astype("uint16"), "astype"),
        (np.full((2, 1, 4, 4), np.nan), "not finite"),
        ([pixels()[0], pixels()[0, :, :4]], r"one shape.*row 1"),
        ([pixels()[0], 5], "row 1"),
        ([np.zeros((1, 1, 4, 4), "uint8")], r"row 0.*\(C, H, W\)"),
        ([None, np.zeros((40, 40, 3), "uint8")], "row 1: .*channels last"),
    ],
)
def test_refuses(values, message):
    with pytest.raises(DataError, match=message):
        ImageArray(values)


def test_concat_of_different_shapes_or_types_is_refused():
    column = pd.Series(ImageArray(pixels()))
    smaller = pd.Series(ImageArray(pixels()[:, :, :4]))
    floating = pd.Series(ImageArray(pixels() / 255.0))
    for other in (smaller, floating):
        with pytest.raises(DataError, match="conform"):
            pd.concat([column, other])
    enlarged = pd.Series(smaller.array.conform((3, 6, 8)))
    assert pd.concat([column, enlarged]).dtype == column.dtype


def test_conform_in_memory():
    column = ImageArray([*pixels(), None])
    assert column.conform((3, 6, 8)) is column
    small = column.conform((1, 3, 4))
    assert small.dtype == "image[1, 3, 4; uint8]"
    np.testing.assert_array_equal(small.isna(), column.isna())
    flat = ImageArray(np.full((1, 3, 8, 8), 9, dtype=np.uint8)).conform((1, 4, 4))
    assert (flat.batch() == 9).all()
    wide = ImageArray(np.full((1, 1, 8, 8), 0.5)).conform((3, 16, 16))
    np.testing.assert_allclose(wide.batch(), 0.5)
    with pytest.raises(DataError, match="channels"):
        ImageArray(pixels(channels=2)).conform((3, 6, 8))


# ---------------------------------------------------------------------- as_image_array


@pytest.fixture
def paths(tmp_path):
    for k, image in enumerate(pixels()):
        Image.fromarray(np.moveaxis(image, 0, -1)).save(tmp_path / f"{k}.png")
    return [tmp_path / f"{k}.png" for k in range(N)]


def test_as_image_array_takes_what_holds_images(paths):
    sources = {
        "column": ImageArray(pixels()),
        "series": pd.Series(ImageArray(pixels()), name="ct"),
        "tensors": TensorArray(pixels()),
        "block": pixels(),
        "objects": pd.Series(list(pixels())),
        "paths": pd.Series(paths),
        "texts": [str(path) for path in paths],
        "pillow": [Image.open(path) for path in paths],
        "strings": pd.Series([str(path) for path in paths], dtype="string"),
    }
    for name, source in sources.items():
        column = as_image_array(source)
        assert isinstance(column, ImageArray), name
        np.testing.assert_array_equal(column.batch(), pixels(), err_msg=name)
        assert as_image_array(source, shape=(1, 3, 4)).batch().shape == (N, 1, 3, 4), name
    column = sources["column"]
    assert as_image_array(column) is column
    for image in sources["pillow"]:
        image.close()


def test_as_image_array_keeps_missing(paths):
    for rows in ([None, *paths], [np.nan, *pixels()], [pd.NA, None]):
        series = pd.Series(rows, dtype=object)
        assert as_image_array(series).isna()[0]
        assert as_image_array(series, shape=(1, 4, 4)).batch().shape == (len(rows), 1, 4, 4)


def test_pillow_images_of_different_sizes_take_the_first():
    images = [Image.new("L", (4, 6), 3), None, Image.new("RGB", (9, 9), (5, 5, 5))]
    column = as_image_array(images)
    assert column.tensor_shape == (3, 6, 4) and (column[2] == 5).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pd.Series([1.0, 2.0], name="age"), r"column 'age': .*row 0 is float"),
        (pd.Series(["a.png", 3], name="ct"), "column 'ct': .*row 1 is int"),
        (pd.Series(["nowhere.png"], name="ct"), r"column 'ct': .*no such file"),
        (pd.Series(pd.Categorical(["x"]), name="g"), "column 'g': "),
        (pd.Series(TensorArray([np.ones(2)]), name="t"), "column 't': "),
    ],
)
def test_as_image_array_refuses_the_rest(values, message):
    with pytest.raises(DataError, match=message):
        as_image_array(values)


def test_paths_become_images_by_astype(paths):
    series = pd.Series([str(path) for path in paths]).astype("image")
    assert series.dtype == "image[3, 6, 8; uint8]"
    small = pd.Series(paths).astype("image[1, 3, 4; uint8]")
    assert small.array.batch().shape == (N, 1, 3, 4)


# ---------------------------------------------------------------------- contact sheet


def test_contact_sheet():
    column = pd.Series(ImageArray([*pixels(), None])).array
    figure = column.show()
    assert isinstance(figure, Figure)
    drawn = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title() for axis in drawn] == list("012345")
    assert [len(axis.images) for axis in drawn] == [1] * N + [0]
    np.testing.assert_allclose(
        drawn[0].images[0].get_array(), np.moveaxis(pixels()[0], 0, -1) / 255.0
    )
    some = column.show([4, 0], ncols=1, labels=["left", "right"])
    assert [axis.get_title() for axis in some.axes] == ["left", "right"]
    with pytest.raises(DataError, match="labels"):
        column.show([4, 0], labels=["one"])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_contact_sheet_of_any_channels_and_scale(channels, tmp_path):
    values = np.random.default_rng(0).normal(0, 5, (3, channels, 5, 9))
    figure = ImageArray(values).show()
    figure.savefig(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_contact_sheet_of_nothing():
    assert isinstance(ImageArray(pixels())[:0].show(), Figure)
    assert isinstance(ImageArray([None, None]).show(), Figure)


def test_columns_do_not_load_a_plotting_library_or_torch():
    files = sorted(Path(columns.__file__).parent.glob("*.py"))
    assert files
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not {"matplotlib", "torch"} & set(
                    ast.unparse(node).replace(".", " ").split()
                )
