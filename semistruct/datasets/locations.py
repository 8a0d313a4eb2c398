"""Where data sets are looked for: a folder given, ``SEMISTRUCT_DATA``, the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

import pooch

__all__ = ["ENVIRONMENT_VARIABLE", "cache_folder", "find_folder"]

ENVIRONMENT_VARIABLE = "SEMISTRUCT_DATA"


def cache_folder(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Folder that downloads are kept in: ``data_home``, else the cache of the system's user."""
    return Path(pooch.os_cache("semistruct") if data_home is None else data_home).expanduser()


def find_folder(table: str, data_home: str | os.PathLike[str] | None = None) -> Path | None:
    """First folder in which the file ``table`` exists; None when there is none.

    Parameters
    ----------
    table : str
        Path below the folder, for example ``"houses/houses.csv"``.
    data_home : path, optional
        The only folder looked into when given; else the environment variable
        ``SEMISTRUCT_DATA`` and then the cache are.
    """
    if data_home is not None:
        places = [cache_folder(data_home)]
    else:
        named = os.environ.get(ENVIRONMENT_VARIABLE)
        places = [*([Path(named).expanduser()] if named else []), cache_folder()]
    return next((place for place in places if (place / table).is_file()), None)
