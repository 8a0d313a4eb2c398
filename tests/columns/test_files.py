"""Image files as a column: lazy, cached, joined by key, honest about damage."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import semistruct.columns.files as files
from semistruct.columns import ImageArray
from semistruct.exceptions import DataError, DataWarning, SpecificationError

N = 12
IMAGE_BYTES = 3 * 10 * 8


def picture(k: int, height: int = 10, width: int = 8) -> np.ndarray:
    rng = np.random.default_rng(k)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """0.png to 11.png, 10 x 8 in colour, all different."""
    for k in range(N):
        Image.fromarray(picture(k)).save(tmp_path / f"{k}.png")
    return tmp_path


@pytest.fixture
def paths(folder):
    return [folder / f"{k}.png" for k in range(N)]


@pytest.fixture
def decoded(monkeypatch):
    """Paths in the order they are decoded."""
    calls: list[str] = []
    real = files.decode_image

    def counted(path, options):
        calls.append(path)
        return real(path, options)

    monkeypatch.setattr(files, "decode_image", counted)
    return calls


def damage(path, kind):
    if kind == "text":
        path.write_text("this is not an image")
    elif kind == "truncated":
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


DAMAGES = ["text", "truncated", "empty", "absent"]


def test_reads_what_was_written(paths):
    column = ImageArray.from_files(paths)
    assert column.dtype == "image[3, 10, 8; uint8]"
    expected = np.stack([np.moveaxis(picture(k), -1, 0) for k in range(N)])
    np.testing.assert_array_equal(column.batch(), expected)
    np.testing.assert_array_equal(column.batch([3, 3, 0]), expected[[3, 3, 0]])
    np.testing.assert_array_equal(column[4], expected[4])
    np.testing.assert_array_equal(column.load().batch(), expected)


def test_paths_may_be_relative_to_a_root_or_missing(folder):
    column = ImageArray.from_files(["0.png", None, "", np.nan, "1.png"], root=folder)
    np.testing.assert_array_equal(column.isna(), [False, True, True, True, False])
    assert not column.batch()[1:4].any()
    with pytest.raises(DataError, match="row 1: a path must be text"):
        ImageArray.from_files(["0.png", 5], root=folder)


def test_relative_paths_survive_a_change_of_folder(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(folder)
    column = ImageArray.from_files(["0.png"])
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    np.testing.assert_array_equal(column[0], np.moveaxis(picture(0), -1, 0))


# ---------------------------------------------------------------------- laziness and cache


def test_nothing_is_decoded_before_it_is_read(paths, decoded):
    column = ImageArray.from_files(paths)
    frame = pd.DataFrame({"x": range(N), "ct": column})
    text = repr(frame) + repr(column) + repr(frame["ct"])
    assert "0.png" in text and "files" in text
    part = frame.sample(5, random_state=0).merge(frame[["x"]], on="x")
    part.copy(), part.isna(), frame["ct"].array.content_keys(), pickle.dumps(frame)
    assert decoded == []
    pd.concat([part, frame])
    assert len(decoded) <= 2  # pandas looks at the first row of each piece
    before = len(decoded)
    frame["ct"].array[11]
    assert len(decoded) == before + 1


def test_slices_share_the_cache(paths, decoded):
    column = ImageArray.from_files(paths)
    column.batch()
    column[2:9].batch()
    column.take([5, 1]).batch()
    ImageArray._concat_same_type([column[:3], column[6:]]).batch()
    assert len(decoded) == N


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_cache_stays_under_its_budget(paths, decoded, kept):
    column = ImageArray.from_files(paths, cache_bytes=kept * IMAGE_BYTES + 10)
    for _ in range(3):
        column.batch()
        cache = column._rows.stores[0].cache
        assert cache.nbytes <= kept * IMAGE_BYTES + 10 and len(cache) == kept
    assert len(decoded) > N


def test_pickle_has_paths_not_pixels(folder):
    for k in range(N):
        Image.fromarray(picture(k, 300, 300)).save(folder / f"{k}.png")
    column = ImageArray.from_files([folder / f"{k}.png" for k in range(N)])
    column.batch()
    content = pickle.dumps(column[:6])
    assert len(content) < 6000 < column.batch([0]).nbytes
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.batch(), column.batch(range(6)))


def test_pickle_of_a_used_cache_is_small_for_frames(paths):
    frame = pd.DataFrame({"ct": ImageArray.from_files(paths)})
    frame["ct"].array.batch()
    assert frame["ct"].array.equals(pickle.loads(pickle.dumps(frame))["ct"].array)


def test_memory_and_files_in_one_column(paths):
    lazy = ImageArray.from_files(paths)
    memory = ImageArray(np.zeros((2, 3, 10, 8), dtype=np.uint8))
    whole = pd.concat([pd.Series(lazy), pd.Series(memory)], ignore_index=True).array
    assert isinstance(whole, ImageArray) and whole.dtype == lazy.dtype
    mixed = whole.take([0, 13, -1, 5], allow_fill=True)
    np.testing.assert_array_equal(mixed.isna(), [False, False, True, False])
    np.testing.assert_array_equal(mixed.batch()[[0, 3]], lazy.batch([0, 5]))
    assert not mixed.batch()[1:3].any()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(mixed)).batch(), mixed.batch())
    mixed[2] = lazy[1]
    np.testing.assert_array_equal(mixed[2], lazy[1])


# ---------------------------------------------------------------------- size and mode


def test_mixed_sizes_take_the_first_unless_told(folder):
    Image.fromarray(picture(1, 31, 47)).save(folder / "1.png")
    names = [folder / "0.png", folder / "1.png"]
    assert ImageArray.from_files(names).tensor_shape == (3, 10, 8)
    assert ImageArray.from_files(names[::-1]).tensor_shape == (3, 31, 47)
    assert ImageArray.from_files(names, size=16).batch().shape == (2, 3, 16, 16)
    assert ImageArray.from_files(names, size=(5, 7)).batch().shape == (2, 3, 5, 7)
    (folder / "0.png").write_text("no")
    assert ImageArray.from_files(names).tensor_shape == (3, 31, 47)


def test_grey_and_colour_together_are_colour(folder):
    Image.new("L", (8, 10), 7).save(folder / "0.png")
    column = ImageArray.from_files([folder / "0.png", folder / "1.png"])
    assert column.tensor_shape == (3, 10, 8) and (column[0] == 7).all()
    assert ImageArray.from_files([folder / "0.png"]).tensor_shape == (1, 10, 8)
    grey = ImageArray.from_files([folder / "0.png", folder / "1.png"], mode="L")
    assert grey.tensor_shape == (1, 10, 8)


def test_colour_beyond_the_files_looked_at_warns(folder):
    Image.new("L", (8, 10), 7).save(folder / "0.png")
    paths = [folder / "0.png"] * 129
    paths[1] = folder / "1.png"
    column = ImageArray.from_files(paths)
    assert column.tensor_shape == (1, 10, 8)
    with pytest.warns(DataWarning, match=r"1\.png.*mode='RGB'"):
        column[1]
    column.batch([0, 1])


def test_float_pixels(paths):
    column = ImageArray.from_files(paths, dtype="float32")
    assert column.dtype == "image[3, 10, 8; float32]"
    expected = ImageArray.from_files(paths).batch() / np.float32(255)
    np.testing.assert_allclose(column.batch(), expected, rtol=1e-6)


def test_conform_decodes_at_another_shape(paths):
    column = ImageArray.from_files(paths).conform((1, 5, 4))
    assert column.batch().shape == (N, 1, 5, 4)
    expected = ImageArray.from_files(paths, size=(5, 4), mode="L")
    np.testing.assert_array_equal(column.batch(), expected.batch())
    with pytest.raises(DataError, match="1 or 3 channels"):
        column.conform((2, 5, 4))


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": (1, 2, 3)}, {"mode": "HSV"}, {"on_error": "x"}, {"dtype": "i8"}]
)
def test_wrong_options(paths, wrong):
    with pytest.raises(SpecificationError):
        ImageArray.from_files(paths, **wrong)


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_file_raises_with_path_and_row(paths, kind):
    damage(paths[9], kind)
    column = ImageArray.from_files(paths)
    assert not column.isna().any()
    repr(pd.DataFrame({"ct": column}))
    assert column.batch(range(9)).shape[0] == 9
    for read in (column.batch, lambda: column[9], lambda: column.take([2, 9])[1]):
        with pytest.raises(DataError, match=r"row \d+: cannot decode.*9\.png.*on_error='missing'"):
            read()
    with pytest.raises(DataError, match=r"row 9:"):
        column.batch()
    with pytest.raises(DataError, match=r"row 1:"):
        column[8:].batch()


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_file_can_be_missing(paths, kind, decoded):
    damage(paths[9], kind)
    column = ImageArray.from_files(paths, on_error="missing")
    expected = np.arange(N) == 9
    np.testing.assert_array_equal(column.isna(), expected)
    np.testing.assert_array_equal(column.isna(), expected)
    assert len(decoded) == N  # looked at once
    assert column[9] is pd.NA and not column.batch()[9].any()
    assert column.batch([0]).any()
    part = pickle.loads(pickle.dumps(column[8:]))
    np.testing.assert_array_equal(part.isna(), [False, True, False, False])
    assert len(pd.DataFrame({"ct": column}).dropna()) == N - 1
    assert column.content_keys()[9] == "missing:9"
    np.testing.assert_array_equal(column.load().isna(), expected)


def test_damage_found_while_reading_shows_afterwards(paths):
    damage(paths[9], "truncated")
    column = ImageArray.from_files(paths, on_error="missing")
    assert not column.batch()[9].any()
    assert column.isna()[9] and column[5:].isna()[4]


def test_no_file_readable(paths):
    for path in paths:
        damage(path, "text")
    with pytest.raises(DataError, match=r"none of the image files.*0\.png"):
        ImageArray.from_files(paths)
    column = ImageArray.from_files(paths, on_error="missing")
    assert column.isna().all() and len(column) == N
    sized = ImageArray.from_files(paths, on_error="missing", size=4)
    assert sized.isna().all() and sized.batch().shape == (N, 3, 4, 4)


def test_no_rows(paths):
    column = ImageArray.from_files([], size=4, mode="RGB")
    assert column.batch().shape == (0, 3, 4, 4)
    assert len(ImageArray.from_files([])) == 0
    assert len(ImageArray.from_files(paths)[:0].batch()) == 0


# ---------------------------------------------------------------------- identical files


def test_keys_find_copies_under_other_names(folder, paths):
    (folder / "copy.png").write_bytes(paths[2].read_bytes())
    column = ImageArray.from_files([*paths, folder / "copy.png", paths[0], None])
    keys = column.content_keys()
    assert keys[2] == keys[N] and keys[0] == keys[N + 1] and len(set(keys)) == N + 1
    np.testing.assert_array_equal(keys[3:5], column[3:5].content_keys())
    assert ImageArray.from_files([folder / "no.png"], size=2, mode="L").content_keys()[0]
