"""Photographs of skin lesions with age, sex and site: benign or malignant."""

from __future__ import annotations

import os

import pandas as pd

from semistruct.columns import ImageArray
from semistruct.datasets.locations import ENVIRONMENT_VARIABLE, find_folder
from semistruct.exceptions import DataError

__all__ = ["load_ham10000"]

_TABLE = "ham10000/ham10000_sub.csv"


def load_ham10000(
    *,
    data_home: str | os.PathLike[str] | None = None,
    size: int | tuple[int, int] = 64,
) -> pd.DataFrame:
    """A subset of the HAM10000 collection of pigmented skin lesions.

    Parameters
    ----------
    data_home : path, optional
        Folder that holds ``ham10000/ham10000_sub.csv`` and ``ham10000/images``; by default the
        one named by the environment variable ``SEMISTRUCT_DATA``, then the user's cache.
    size : int or (H, W), default 64
        Size of the images; they are decoded when they are read.

    Returns
    -------
    DataFrame
        ``lesion_id`` (several photos may show one lesion: split by it), ``image_id``, ``dx``,
        ``dx_type``, ``age`` (some missing), ``sex``, ``localization``, ``malignant`` (0 or 1) and
        ``image``.

    Raises
    ------
    DataError
        When the data are not found.

    Notes
    -----
    Licence CC BY-NC 4.0: not for commercial use. semistruct neither ships nor downloads these
    data; the original is at https://doi.org/10.7910/DVN/DBW86T.

    References
    ----------
    Tschandl, P., Rosendahl, C. & Kittler, H. (2018). The HAM10000 dataset, a large collection of
    multi-source dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161.
    """
    home = find_folder(_TABLE, data_home)
    if home is None:
        raise DataError(
            "the skin lesions are not on this computer. Get HAM10000 (licence CC BY-NC 4.0) from "
            "https://doi.org/10.7910/DVN/DBW86T, put its table at ham10000/ham10000_sub.csv with "
            "a column 'image' of paths and 'malignant' of 0 and 1, and set "
            f"{ENVIRONMENT_VARIABLE} (or data_home) to the folder that contains ham10000/."
        )
    table = pd.read_csv(home / _TABLE)
    table["image"] = ImageArray.from_files(
        table["image"], size=size, mode="RGB", root=home / "ham10000"
    )
    for name in ("dx", "dx_type", "sex", "localization"):
        table[name] = table[name].astype("category")
    return table
