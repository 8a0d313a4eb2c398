"""One file to one array: modes, depths, orientation, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from semistruct.columns.decoding import DecodeOptions, decode_image, read_header
from semistruct.exceptions import DataError

HEIGHT, WIDTH = 6, 9
COLOUR = (200, 100, 50)
LUMA = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
GREY = DecodeOptions((HEIGHT, WIDTH), "L")
RGB = DecodeOptions((HEIGHT, WIDTH), "RGB")


def save(tmp_path, image, name="picture.png", **options):
    path = str(tmp_path / name)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("options", [GREY, RGB], ids=["grey", "colour"])
def test_every_mode_becomes_the_wanted_one(tmp_path, mode, options):
    if mode == "I;16":
        image = Image.fromarray(np.full((HEIGHT, WIDTH), 30000, dtype=np.uint16))
    else:
        image = Image.new("RGB", (WIDTH, HEIGHT), COLOUR).convert(mode)
    name = "picture.tif" if mode == "CMYK" else "picture.png"
    pixels = decode_image(save(tmp_path, image, name), options)
    assert pixels.shape == options.shape and pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_colour_and_grey_values(tmp_path):
    path = save(tmp_path, Image.new("RGB", (WIDTH, HEIGHT), COLOUR))
    np.testing.assert_array_equal(decode_image(path, RGB)[:, 0, 0], COLOUR)
    assert (decode_image(path, GREY) == LUMA).all()
    assert not read_header(path).is_grey
    path = save(tmp_path, Image.new("L", (WIDTH, HEIGHT), 77))
    assert (decode_image(path, RGB) == 77).all()
    assert read_header(path).is_grey and read_header(path).size == (HEIGHT, WIDTH)


def test_alpha_is_dropped_not_blended(tmp_path):
    path = save(tmp_path, Image.new("RGBA", (WIDTH, HEIGHT), (*COLOUR, 10)))
    np.testing.assert_array_equal(decode_image(path, RGB)[:, 0, 0], COLOUR)


def test_palette_with_transparency(tmp_path):
    image = Image.new("RGB", (WIDTH, HEIGHT), COLOUR).quantize(4)
    path = save(tmp_path, image, transparency=b"\x00\x10\x20\x30")
    np.testing.assert_array_equal(decode_image(path, RGB)[:, 0, 0], COLOUR)


def test_sixteen_bit_uses_its_full_range(tmp_path):
    deep = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    path = save(tmp_path, Image.fromarray(deep))
    np.testing.assert_array_equal(decode_image(path, GREY)[0], np.rint(deep / 257.0))
    unit = decode_image(path, DecodeOptions((HEIGHT, WIDTH), "L", "float32"))
    np.testing.assert_allclose(unit[0], deep / 65535.0, rtol=1e-6)


def test_float_output_of_eight_bit(tmp_path):
    path = save(tmp_path, Image.new("L", (WIDTH, HEIGHT), 51))
    unit = decode_image(path, DecodeOptions((HEIGHT, WIDTH), "RGB", "float32"))
    assert unit.dtype == np.float32 and unit.shape == (3, HEIGHT, WIDTH)
    np.testing.assert_allclose(unit, 0.2, rtol=1e-6)


def test_floating_point_files_are_refused(tmp_path):
    path = save(tmp_path, Image.fromarray(np.ones((HEIGHT, WIDTH), np.float32)), "picture.tif")
    with pytest.raises(DataError, match="no known range"):
        decode_image(path, GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path, orientation):
    upright = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    upright[0, 0] = 255  # the corner that has to come back to the top left
    undo = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1], 5: lambda a: a.T, 6: lambda a: a.T[::-1],
        7: lambda a: a.T[::-1, ::-1], 8: lambda a: a.T[:, ::-1],
    }  # fmt: skip
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, stored, exif=exif)
    assert read_header(path).size == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(decode_image(path, GREY)[0], upright)


def test_resizing_averages_when_shrinking(tmp_path):
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = decode_image(save(tmp_path, Image.fromarray(board)), DecodeOptions((8, 8), "L"))
    assert small.min() > 120 and small.max() < 135


def test_large_jpeg_reads_like_the_whole(tmp_path):
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    path = save(tmp_path, Image.fromarray(np.tile(ramp, (480, 1))), "big.jpg", quality=95)
    pixels = decode_image(path, DecodeOptions((16, 16), "RGB"))
    expected = Image.fromarray(np.tile(ramp, (480, 1))).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(pixels[0].astype(int), np.asarray(expected).astype(int), atol=4)
