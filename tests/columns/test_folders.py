"""Files are joined to rows by key, never by position."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from semistruct.columns import ImageArray
from semistruct.columns.folders import match_files
from semistruct.exceptions import DataError, SpecificationError


@pytest.fixture
def folder(tmp_path):
    names = ["1.jpg", "2.jpg", "10.jpg", "007_front.png", "a_x.jpg", "a_y.jpg", "b[1].jpg"]
    for k, name in enumerate(names):
        Image.new("L", (4, 4), 10 * k).save(tmp_path / name)
    for key in ("p1", "p2"):
        (tmp_path / key).mkdir()
        Image.new("L", (4, 4), 99).save(tmp_path / key / "ct.png")
    return tmp_path


def names_of(paths):
    return [None if path is None else path.rsplit("/", 1)[-1] for path in paths]


@pytest.mark.parametrize(
    ("keys", "pattern", "expected"),
    [
        ([10, 1, 2, 1], "{key}.jpg", ["10.jpg", "1.jpg", "2.jpg", "1.jpg"]),
        ([10.0, 1.0], "{key}.jpg", ["10.jpg", "1.jpg"]),
        ([7], "{key:03d}_*.png", ["007_front.png"]),
        (["a"], "{key}_x.*", ["a_x.jpg"]),
        (["b[1]"], "{key}.jpg", ["b[1].jpg"]),
        ([2], "*{key}.jpg", ["2.jpg"]),
        (["p1", "p2"], "{key}/ct.png", ["ct.png", "ct.png"]),
    ],
)
def test_patterns(folder, keys, pattern, expected):
    assert names_of(match_files(folder, keys, pattern, must_exist=True)) == expected


def test_keys_without_file(folder):
    with pytest.raises(DataError, match=r"2 of 3 keys have no file.*55, 66.*on_missing"):
        ImageArray.from_folder(folder, [1, 55, 66])
    column = ImageArray.from_folder(folder, [1, 55, None], on_missing="missing")
    np.testing.assert_array_equal(column.isna(), [False, True, True])


def test_several_files_of_one_key(folder):
    with pytest.raises(DataError, match=r"key 'a' has 2 files.*a_x\.jpg.*a_y\.jpg"):
        ImageArray.from_folder(folder, ["a"], pattern="{key}_*.jpg")
    with pytest.raises(DataError, match="key 1 has 2 files"):
        ImageArray.from_folder(folder, [1], pattern="{key}*.jpg")


def test_order_of_rows_does_not_matter(folder):
    forward = ImageArray.from_folder(folder, [1, 2, 10])
    backward = ImageArray.from_folder(folder, [10, 2, 1])
    np.testing.assert_array_equal(forward.batch(), backward.batch()[::-1])
    assert forward.batch()[:, 0, 0, 0].tolist() == [0, 10, 20]


@pytest.mark.parametrize("pattern", ["x.jpg", "{id}.jpg", "{key}{row}.jpg", "{key.jpg", "{key:zz}"])
def test_wrong_patterns(folder, pattern):
    with pytest.raises(SpecificationError):
        ImageArray.from_folder(folder, [1], pattern=pattern)


def test_no_such_folder(folder):
    with pytest.raises(DataError, match="no folder"):
        ImageArray.from_folder(folder / "nowhere", [1])
