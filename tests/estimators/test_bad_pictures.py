"""Files of every kind in one column, damaged files, and pictures that say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import semistruct as ss
from semistruct.exceptions import DataError

N = 40
SIZES = [(20, 20), (12, 30), (33, 9)]
QUICK = {"n_folds": 2, "n_repeats": 1, "progress": False, "random_state": 0, "max_epochs": 4}
ALONE = 1e-5  # float32


def _save(grey: np.ndarray, kind: str, path: Path) -> None:
    """One picture as a file of some kind; the brightness of all kinds is the same."""
    colour = Image.fromarray(np.stack([grey] * 3, -1))
    if kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        colour.save(path.with_suffix(".jpg"), exif=exif)
        path.with_suffix(".jpg").rename(path)
        return
    made = {
        "colour": colour,
        "grey": Image.fromarray(grey),
        "alpha": Image.fromarray(np.dstack([grey] * 3 + [np.full_like(grey, 128)])),
        "deep": Image.fromarray(grey.astype(np.uint16) * 257),
        "palette": Image.fromarray(grey).convert("P"),
        "grey with alpha": Image.fromarray(grey).convert("LA"),
        "two colours": Image.fromarray(grey > 100),
    }
    made[kind].save(path)


KINDS = (
    "colour",
    "grey",
    "alpha",
    "deep",
    "palette",
    "grey with alpha",
    "two colours",
    "rotated",
)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    light = rng.uniform(0, 200, N)
    paths = []
    for i in range(N):
        grey = np.clip(light[i] + rng.normal(0, 10, SIZES[i % 3]), 0, 255).astype(np.uint8)
        path = folder / f"{i}.png"
        _save(grey, KINDS[i % len(KINDS)], path)
        paths.append(str(path))
    x = rng.normal(size=N)
    return pd.DataFrame(
        {"x": x, "photo": paths, "light": light, "y": x + light / 50 + rng.normal(0, 0.1, N)}
    )


@pytest.fixture(scope="module")
def model(frame):
    fitted = ss.SemiStructuredRegressor("x + cnn(photo)", gate=False, **QUICK)
    return fitted.fit(frame, frame["y"])


def test_files_of_every_kind_and_size_have_one_shape_and_scale(frame):
    pixels = ss.as_image_array(frame["photo"]).batch()
    assert pixels.shape == (N, 3, 20, 20) and pixels.dtype == np.uint8
    means = pixels.mean((1, 2, 3))
    plain = np.array([KINDS[i % len(KINDS)] != "two colours" for i in range(N)])
    assert np.abs(means - frame["light"])[plain].max() < 8  # by kind, the scale is the same


def test_a_row_is_read_at_the_size_of_training_whatever_stands_beside_it(model, frame):
    together = model.predict(frame)
    alone = [float(model.predict(frame.iloc[[i]])[0]) for i in range(0, N, 3)]
    assert np.std(together) > 0
    np.testing.assert_allclose(alone, together[::3], rtol=ALONE, atol=ALONE)


DAMAGE = {
    "a text file": (lambda path: path.write_text("no picture"), "cannot identify"),
    "an empty file": (lambda path: path.write_bytes(b""), "cannot identify"),
    "a folder": (lambda path: path.mkdir(), "directory"),
    "nothing": (lambda path: None, "no such file"),
}


@pytest.mark.parametrize("kind", [*DAMAGE, "half a file"])
def test_a_damaged_file_is_named_with_its_row(model, frame, tmp_path, kind):
    path, reason = tmp_path / "bad.jpg", "truncated"
    if kind == "half a file":
        content = Path(frame["photo"].iloc[0]).read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
    else:
        make, reason = DAMAGE[kind]
        make(path)
    damaged = frame.copy()
    damaged.loc[7, "photo"] = str(path)
    with pytest.raises(DataError, match=rf"row 7: .*bad\.jpg.*{reason}"):
        ss.SemiStructuredRegressor("x + cnn(photo)", **QUICK).fit(damaged, damaged["y"])
    with pytest.raises(DataError, match=rf"row 2: .*bad\.jpg.*{reason}"):
        model.predict(damaged.iloc[5:9])
    with pytest.raises(DataError, match=r"row 0: .*bad\.jpg"):
        model.predict(damaged.iloc[[7]])
    forgiving = damaged.assign(
        photo=ss.ImageArray.from_files(damaged["photo"], size=20, mode="RGB", on_error="missing")
    )
    missing = damaged.assign(photo=damaged["photo"].where(damaged.index != 7))
    np.testing.assert_allclose(model.predict(forgiving)[7], model.predict(missing)[7], rtol=ALONE)


def test_pictures_that_are_all_the_same_cannot_be_learned_from(frame):
    for rows in (
        [np.full((1, 8, 8), 7, np.uint8)] * N,
        [np.full((1, 8, 8), 200 * (i % 2), np.uint8) for i in range(N)],
    ):
        table = frame.assign(photo=ss.ImageArray(rows))
        with pytest.raises(DataError, match=r"independent groups .* share a subject or a picture"):
            ss.SemiStructuredRegressor("x + cnn(photo)", **QUICK).fit(table, table["y"])


@pytest.mark.parametrize("size", [1, 8])
def test_constant_pictures_and_pictures_of_one_pixel(frame, size):
    rows = [np.full((1, size, size), i, np.uint8) for i in range(N)]
    table = frame.assign(photo=ss.ImageArray(rows))
    fitted = ss.SemiStructuredRegressor("x + cnn(photo)", **QUICK).fit(table, table["y"])
    assert np.isfinite(fitted.predict(table)).all()


def test_one_row(frame, model):
    with pytest.raises(DataError, match=r"independent groups"):
        ss.SemiStructuredRegressor("cnn(photo)", **QUICK).fit(frame.iloc[:1], frame["y"].iloc[:1])
    assert model.predict(frame.iloc[[0]]).shape == (1,)
