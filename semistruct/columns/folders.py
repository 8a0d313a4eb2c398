"""Finding the file that belongs to a key of the table."""

from __future__ import annotations

import bisect
import fnmatch
import glob
import os
import re
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError, SpecificationError

__all__ = ["match_files"]

_EXAMPLES_SHOWN = 5


def match_files(
    folder: str | os.PathLike[str], keys: Sequence[Any], pattern: str, must_exist: bool
) -> list[str | None]:
    """Path of the one file of each key.

    Parameters
    ----------
    folder : path
    keys : sequence of n
    pattern : str
        Contains ``{key}`` (a format is allowed) and possibly the wildcards ``*`` and ``?``.
    must_exist : bool
        Raise when a key has no file; else its path is None.

    Returns
    -------
    list of n (str or None)

    Raises
    ------
    DataError
        No such folder, several files of one key, or none and ``must_exist``.
    """
    root = os.path.abspath(folder)
    if not os.path.isdir(root):
        raise DataError(f"there is no folder {root!r}.")
    pieces = _pattern_pieces(pattern)
    names = _list_files(root, recursive="/" in pattern)
    found: dict[Any, list[str]] = {}
    keys = [None if pd.isna(key) else key for key in keys]
    for key in dict.fromkeys(key for key in keys if key is not None):
        found[key] = _files_of(names, _glob_of(pieces, key))
        if len(found[key]) > 1:
            raise DataError(
                f"key {key!r} has {len(found[key])} files in {root!r}: "
                f"{_some(found[key])}. Make the pattern {pattern!r} precise enough for one."
            )
    absent = [key for key, files in found.items() if not files]
    if absent and must_exist:
        wanted = [_glob_of(pieces, key) for key in absent]
        raise DataError(
            f"{len(absent)} of {len(found)} keys have no file in {root!r}: keys {_some(absent)} "
            f"(looked for {_some(wanted)}). Correct the pattern, or pass on_missing='missing'."
        )
    return [
        os.path.join(root, found[key][0]) if key is not None and found[key] else None
        for key in keys
    ]


def _pattern_pieces(pattern: str) -> list[tuple[str, str | None]]:
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise SpecificationError(f"pattern {pattern!r} cannot be read: {error}.") from error
    fields = {field for _, field, _, _ in parsed if field is not None}
    if fields != {"key"}:
        raise SpecificationError(
            f"pattern {pattern!r} must contain '{{key}}' and no other field, for example "
            "'{key}.jpg' or '{key:03d}_*.png'."
        )
    return [(text, None if field is None else (spec or "")) for text, field, spec, _ in parsed]


def _glob_of(pieces: list[tuple[str, str | None]], key: Any) -> str:
    if isinstance(key, float | np.floating) and float(key).is_integer():
        key = int(key)  # integers turned to floats by a missing value in their column
    parts = []
    for text, spec in pieces:
        parts.append(text)
        if spec is not None:
            try:
                parts.append(glob.escape(format(key, spec)))
            except ValueError as error:
                raise SpecificationError(
                    f"the format {spec!r} of the pattern does not fit key {key!r}: {error}."
                ) from error
    return "".join(parts)


def _list_files(root: str, recursive: bool) -> list[str]:
    if not recursive:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())
    names = []
    for folder, _, files in os.walk(root):
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        names += [name if inside == "." else f"{inside}/{name}" for name in files]
    return sorted(names)


def _files_of(names: list[str], wanted: str) -> list[str]:
    """Names that match, looking only at those that begin as the pattern does."""
    start = re.match(r"(?:\[[*?\[]\]|[^*?\[])*", wanted)
    prefix = re.sub(r"\[([*?\[])\]", r"\1", start.group()) if start else ""
    matches = re.compile(fnmatch.translate(wanted)).match
    files = []
    for name in names[bisect.bisect_left(names, prefix) :]:
        if not name.startswith(prefix):
            break
        if matches(name) and name.count("/") == wanted.count("/"):
            files.append(name)
    return files


def _some(values: Sequence[Any]) -> str:
    shown = ", ".join(repr(value) for value in values[:_EXAMPLES_SHOWN])
    return shown + (", ..." if len(values) > _EXAMPLES_SHOWN else "")
