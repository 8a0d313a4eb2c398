"""The houses are found, fetched, checked and decoded; no test goes online."""

from __future__ import annotations

import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

import semistruct.datasets.houses as houses
from semistruct.datasets import load_ham10000, load_houses
from semistruct.exceptions import DataError, SpecificationError

TEXT = b"4 4 4053 85255 869500\n4 3.5 3343 36372 865200\n3 2 1056 96019  219800\n"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No data set in the environment, an empty cache."""
    monkeypatch.delenv("SEMISTRUCT_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")


def archive_at(path, text=TEXT, skip=(), prefix="Houses-dataset-abc/Houses Dataset"):
    with zipfile.ZipFile(path, "w") as content:
        content.writestr(f"{prefix}/HousesInfo.txt", text)
        for house in (1, 2, 3):
            for k, room in enumerate(houses.ROOMS):
                name = f"{house}_{room}.jpg"
                if name in skip:
                    continue
                photo = io.BytesIO()
                Image.new("RGB", (40, 30), (60 * house, 50 * k, 10)).save(photo, "JPEG")
                content.writestr(f"{prefix}/{name}", photo.getvalue())
    return path


@pytest.fixture
def online(monkeypatch, tmp_path):
    """A download that gives a small archive; the list counts the downloads."""
    downloads = []

    def retrieve(url, known_hash, fname, path):
        assert "emanhamed/Houses-dataset" in url and "5e148219" in url
        path.mkdir(parents=True, exist_ok=True)
        downloads.append(url)
        return str(archive_at(path / fname))

    monkeypatch.setattr("pooch.retrieve", retrieve)
    monkeypatch.setattr(houses, "TABLE_SHA256", hashlib.sha256(TEXT).hexdigest())
    return downloads


def test_absent_data_say_what_to_do():
    with pytest.raises(DataError, match=r"download=True.*SEMISTRUCT_DATA"):
        load_houses()
    with pytest.raises(DataError, match=r"CC BY-NC.*SEMISTRUCT_DATA"):
        load_ham10000()


def test_download_is_checked_resized_and_kept(online, tmp_path):
    frame = load_houses(download=True)
    columns = ["house_id", "bedrooms", "bathrooms", "area", "zipcode", "price", *houses.ROOMS]
    assert frame.columns.tolist() == columns
    assert frame["bathrooms"].tolist() == [4.0, 3.5, 2.0]
    assert frame["zipcode"].tolist() == ["85255", "36372", "96019"]
    assert frame["price"].iloc[2] == 219800
    assert frame["kitchen"].dtype == "image[3, 64, 64; uint8]"
    np.testing.assert_allclose(
        frame["frontal"].array.batch()[:, 0].mean((1, 2)), [60, 120, 180], atol=4
    )
    kept = tmp_path / "cache" / "houses" / "images" / "002_bedroom.jpg"
    with Image.open(kept) as photo:
        assert photo.size == (128, 128)
    load_houses(download=True)
    load_houses()
    assert len(online) == 1
    cache = tmp_path / "cache"
    assert sorted(path.name for path in cache.iterdir()) == ["downloads", "houses"]
    assert not list((cache / "downloads").iterdir())


def test_places_and_options(online, tmp_path, monkeypatch):
    home = tmp_path / "home"
    load_houses(download=True, data_home=home)
    with pytest.raises(DataError):
        load_houses()
    monkeypatch.setenv("SEMISTRUCT_DATA", str(home))
    frame = load_houses(size=(10, 12), photos=["bathroom"])
    assert frame.columns[-1] == "bathroom" and frame["bathroom"].dtype == "image[3, 10, 12; uint8]"
    assert len(load_houses(data_home=home, photos=[]).columns) == 6
    with pytest.raises(SpecificationError, match="garden"):
        load_houses(photos=["garden"])


def test_another_table_is_refused(online, tmp_path, monkeypatch):
    monkeypatch.setattr(houses, "TABLE_SHA256", "0" * 64)
    with pytest.raises(DataError, match="sha256"):
        load_houses(download=True)
    assert not (tmp_path / "cache" / "houses").exists()


def test_incomplete_or_damaged_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(houses, "TABLE_SHA256", hashlib.sha256(TEXT).hexdigest())
    target = tmp_path / "home" / "houses"
    archive = archive_at(tmp_path / "a.zip", skip=["3_kitchen.jpg"])
    with pytest.raises(DataError, match=r"3_kitchen\.jpg"):
        houses.prepare(archive, target)
    archive.write_bytes(b"not an archive")
    with pytest.raises(DataError, match="not the complete archive"):
        houses.prepare(archive, target)
    assert not target.exists()


def test_failed_download(monkeypatch):
    def retrieve(**_):
        raise OSError("no route")

    monkeypatch.setattr("pooch.retrieve", lambda *args, **options: retrieve(**options))
    with pytest.raises(DataError, match=r"no route.*yourself"):
        load_houses(download=True)


def test_skin_lesions(tmp_path):
    folder = tmp_path / "ham10000"
    (folder / "images").mkdir(parents=True)
    for k in range(3):
        Image.new("RGB", (9, 9), (k, 0, 0)).save(folder / "images" / f"{k}.png")
    (folder / "ham10000_sub.csv").write_text(
        "lesion_id,image_id,dx,dx_type,age,sex,localization,malignant,image\n"
        + "".join(f"L{k // 2},I{k},nv,histo,,male,back,0,images/{k}.png\n" for k in range(3))
    )
    frame = load_ham10000(data_home=tmp_path, size=8)
    assert frame["image"].array.batch().shape == (3, 3, 8, 8)
    assert frame["age"].isna().all() and frame["sex"].dtype == "category"
