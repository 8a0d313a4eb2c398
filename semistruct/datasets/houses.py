"""535 Californian houses: a small table, four photographs each, and the price."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pooch
from PIL import Image, ImageOps

from semistruct.columns import ImageArray
from semistruct.datasets.locations import ENVIRONMENT_VARIABLE, cache_folder, find_folder
from semistruct.exceptions import DataError, SpecificationError

__all__ = ["load_houses"]

COMMIT = "5e148219"
ARCHIVE_URL = f"https://github.com/emanhamed/Houses-dataset/archive/{COMMIT}.zip"
TABLE_SHA256 = "47d22d22d96b490d19a3bc686edd3524af97e2c7041cfbd57c0f463ba80bb664"
ROOMS = ("frontal", "bedroom", "bathroom", "kitchen")
PIXELS = 128

_TABLE = "houses/houses.csv"
_COLUMNS = ["bedrooms", "bathrooms", "area", "zipcode", "price"]
_JPEG_QUALITY = 95


def load_houses(
    *,
    download: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    size: int | tuple[int, int] = 64,
    photos: Sequence[str] = ROOMS,
) -> pd.DataFrame:
    """Prices of 535 Californian houses, with photographs as image columns.

    Parameters
    ----------
    download : bool, default False
        Fetch the original once when it is not on this computer, check it, and keep the photos at
        128 x 128 in the cache.
    data_home : path, optional
        Folder that holds ``houses/houses.csv`` and ``houses/images``, and that a download goes
        to. By default the folder named by the environment variable ``SEMISTRUCT_DATA``, then the
        cache of the user.
    size : int or (H, W), default 64
        Size of the images; the photos are decoded when they are read.
    photos : sequence of {"frontal", "bedroom", "bathroom", "kitchen"}
        Which photos become columns.

    Returns
    -------
    DataFrame
        ``house_id, bedrooms, bathrooms, area`` (square feet), ``zipcode`` (a factor), ``price``
        (US dollars), and one :class:`~semistruct.ImageArray` per photo.

    Raises
    ------
    DataError
        When the data are not found and not to be downloaded, or what was downloaded is not the
        original.

    Notes
    -----
    Some photos serve several houses; split by ``frame["frontal"].array.content_keys()``. The
    photos are largely a proxy of location: with the zip code in the table they add next to
    nothing. The authors state no licence, so semistruct fetches the data and never ships them.

    References
    ----------
    Ahmed, E. & Moustafa, M. (2016). House price estimation from visual and textual features.
    Proceedings of the 8th International Joint Conference on Computational Intelligence.
    Data: https://github.com/emanhamed/Houses-dataset
    """
    unknown = [room for room in photos if room not in ROOMS]
    if unknown:
        raise SpecificationError(f"photos {unknown} do not exist; choose from {list(ROOMS)}.")
    home = find_folder(_TABLE, data_home)
    if home is None and download:
        home = cache_folder(data_home)
        archive = fetch_archive(home)
        prepare(archive, home / "houses")
        archive.unlink()  # hundreds of megabytes that nobody reads again
    if home is None:
        raise DataError(
            "the houses are not on this computer. Call load_houses(download=True) once with an "
            f"internet connection; or set {ENVIRONMENT_VARIABLE} (or data_home) to a folder that "
            "contains houses/houses.csv and houses/images/001_frontal.jpg and so on."
        )
    table = pd.read_csv(home / _TABLE)[["house_id", *_COLUMNS]]
    table["zipcode"] = table["zipcode"].astype(str).astype("category")
    for room in photos:
        table[room] = ImageArray.from_folder(
            home / "houses" / "images",
            table["house_id"],
            pattern=f"{{key:03d}}_{room}.jpg",
            size=size,
            mode="RGB",
        )
    return table


def fetch_archive(home: Path) -> Path:
    """Download the repository at the commit the package names; path of the zip archive."""
    try:
        path = pooch.retrieve(
            ARCHIVE_URL, known_hash=None, fname=f"houses-{COMMIT}.zip", path=home / "downloads"
        )
    except Exception as error:  # requests, urllib3 and the system have each their own kinds
        raise DataError(
            f"downloading {ARCHIVE_URL} failed ({error}). Check the connection, or fetch the file "
            f"yourself and put it at {home / 'downloads' / f'houses-{COMMIT}.zip'}."
        ) from error
    return Path(path)


def prepare(archive: Path, folder: Path) -> None:
    """Check the archive and write ``houses.csv`` and the photos at 128 x 128 to ``folder``.

    The folder appears only when it is complete.

    Raises
    ------
    DataError
        When the archive is damaged, lacks a photo, or its table is not the published one.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = {Path(name).name: name for name in content.namelist()}
            text = content.read(members["HousesInfo.txt"])
            found = hashlib.sha256(text).hexdigest()
            if found != TABLE_SHA256:
                raise DataError(
                    f"HousesInfo.txt in {str(archive)!r} has sha256 {found}, expected "
                    f"{TABLE_SHA256}. Delete the archive and download again."
                )
            table = parse_table(text)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                images = Path(scratch) / "houses" / "images"
                images.mkdir(parents=True)
                for house in table["house_id"]:
                    for room in ROOMS:
                        original = content.read(members[f"{house}_{room}.jpg"])
                        _shrink(original, images / f"{house:03d}_{room}.jpg")
                table.to_csv(images.parent / "houses.csv", index=False)
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(images.parent, folder)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise DataError(
            f"{str(archive)!r} is not the complete archive of the houses ({error}). Delete it and "
            "download again."
        ) from error


def parse_table(text: bytes) -> pd.DataFrame:
    """``HousesInfo.txt`` as a table: five numbers a line, houses numbered from 1."""
    table = pd.read_csv(io.BytesIO(text), sep=r"\s+", header=None, names=_COLUMNS)
    table.insert(0, "house_id", range(1, len(table) + 1))
    return table


def _shrink(original: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(original)) as photo:
        upright = ImageOps.exif_transpose(photo).convert("RGB")
        upright.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS).save(path, quality=_JPEG_QUALITY)
