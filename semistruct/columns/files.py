"""Image files decoded when they are read, with a cache under a byte budget."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np

from semistruct.columns.cache import DecodeCache
from semistruct.columns.decoding import DecodeOptions, ImageHeader, decode_image, read_header
from semistruct.columns.sources import TensorSource
from semistruct.exceptions import DataError, DataWarning

__all__ = ["FileSource", "OnError", "choose_options"]

OnError = Literal["raise", "missing"]

_UNKNOWN, _READABLE, _UNREADABLE = 0, 1, 2
_HEADERS_LOOKED_AT = 64
_ENOUGH_FOR_THREADS = 8
_MAX_THREADS = 4


class FileSource(TensorSource):
    """Image files, decoded lazily.

    Parameters
    ----------
    paths : sequence of str
        Absolute paths.
    options : DecodeOptions
    on_error : {"raise", "missing"}
        What a file that cannot be decoded is: an error when it is read, or a missing value.
    cache : DecodeCache
    warn_colour : bool
        Warn once when a colour file is turned to grey, because grey was only a guess.
    """

    def __init__(
        self,
        paths: Sequence[str],
        options: DecodeOptions,
        on_error: OnError,
        cache: DecodeCache,
        warn_colour: bool = False,
    ) -> None:
        self.paths = tuple(paths)
        self.options = options
        self.on_error = on_error
        self.cache = cache
        self.warn_colour = warn_colour
        self._status = np.zeros(len(self.paths), dtype=np.uint8)
        self._digests: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, i: int, row: int) -> np.ndarray | None:
        """See :meth:`TensorSource.read`; raises :class:`DataError` naming the path and row."""
        pixels = self.cache.get(self.paths[i])
        return self._decode(i, row) if pixels is None else pixels

    def fill(self, block: np.ndarray, at: np.ndarray, i: np.ndarray, rows: np.ndarray) -> None:
        """See :meth:`TensorSource.fill`; decodes on a few threads when there is enough to do."""
        wanted = []
        for position, k, row in zip(at.tolist(), i.tolist(), rows.tolist(), strict=True):
            pixels = self.cache.get(self.paths[k])
            if pixels is None:
                wanted.append((position, k, row))
            else:
                block[position] = pixels

        def decode(place: tuple[int, int, int]) -> None:
            pixels = self._decode(place[1], place[2])
            if pixels is not None:
                block[place[0]] = pixels

        _for_each(decode, wanted)

    def _decode(self, i: int, row: int) -> np.ndarray | None:
        path = self.paths[i]
        if self._status[i] == _UNREADABLE and self.on_error == "missing":
            return None
        if self.warn_colour and not self._is_grey(path):
            self.warn_colour = False
            warnings.warn(
                f"{path!r} is in colour and is read as grey, because the files looked at first "
                "are grey; pass mode='RGB' (or mode='L' to silence this).",
                DataWarning,
                stacklevel=2,
            )
        try:
            pixels = decode_image(path, self.options)
        except MemoryError:
            raise
        except Exception as error:  # pillow raises a dozen kinds for damaged files
            self._status[i] = _UNREADABLE
            if self.on_error == "missing":
                return None
            raise DataError(unreadable_message(path, row, error)) from error
        pixels.flags.writeable = False
        self._status[i] = _READABLE
        self.cache.put(path, pixels)
        return pixels

    def missing(self, i: np.ndarray) -> np.ndarray:
        """Unreadable files, under ``on_error="missing"``: each is decoded once to find out."""
        if self.on_error == "raise":
            return np.zeros(len(i), dtype=bool)
        unknown = np.unique(i[self._status[i] == _UNKNOWN])
        if unknown.size:
            _for_each(lambda k: self.read(k, k), unknown.tolist())
        return self._status[i] == _UNREADABLE

    def digests(self, i: np.ndarray) -> list[str]:
        """Hash of the bytes of each file (the path where it cannot be opened)."""
        return [self._digest(self.paths[k]) for k in i]

    def subset(self, i: np.ndarray) -> FileSource:
        """See :meth:`TensorSource.subset`; the cache is shared."""
        part = FileSource(
            [self.paths[k] for k in i], self.options, self.on_error, self.cache, self.warn_colour
        )
        part._status = self._status[i]
        return part

    def with_options(self, options: DecodeOptions) -> FileSource:
        """The same files decoded differently, with a cache of its own."""
        cache = DecodeCache(self.cache.max_bytes)
        return FileSource(self.paths, options, self.on_error, cache)

    def nbytes(self, i: np.ndarray) -> int:
        """Paths only: pixels belong to the cache."""
        return sum(len(self.paths[k]) for k in i)

    def describe(self, i: int) -> str:
        """File name."""
        return os.path.basename(self.paths[i])

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            try:
                with open(path, "rb") as file:
                    self._digests[path] = hashlib.blake2b(file.read(), digest_size=16).hexdigest()
            except OSError:
                return f"path:{path}"
        return self._digests[path]

    @staticmethod
    def _is_grey(path: str) -> bool:
        header = _header_or_none(path)
        return header is None or header.is_grey

    def __repr__(self) -> str:
        used, budget = self.cache.nbytes / 2**20, self.cache.max_bytes / 2**20
        return f"files ({used:.0f} of {budget:.0f} MiB cached)"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_digests": {}}


def _for_each(act: Callable[[Any], object], items: list[Any]) -> None:
    if len(items) < _ENOUGH_FOR_THREADS:
        for item in items:
            act(item)
        return
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(act, items):
            pass


def unreadable_message(path: str, row: int | None, error: BaseException) -> str:
    """What to say of a file that cannot be decoded."""
    where = "" if row is None else f"row {row}: "
    reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
    return (
        f"{where}cannot decode the image file {path!r} ({reason}). Repair or replace the file, "
        "or pass on_error='missing' to read such files as missing images."
    )


def choose_options(
    paths: Sequence[str],
    size: tuple[int, int] | None,
    mode: Literal["L", "RGB"] | None,
    dtype: Literal["uint8", "float32"],
    on_error: OnError,
) -> tuple[DecodeOptions | None, bool]:
    """Settle size and mode from the headers of a few files when they are not given.

    ``size`` becomes that of the first readable file. ``mode`` becomes "RGB" when any of up to
    64 files, evenly spaced over the column, is in colour, else "L".

    Returns
    -------
    options : DecodeOptions or None
        None when nothing is known: no file is readable and ``on_error="missing"``.
    guessed_grey : bool
        True when grey was concluded from the headers.
    """
    if size is not None and mode is not None:
        return DecodeOptions(size, mode, dtype), False
    first = _first_header(paths)
    if first is None:
        if paths and on_error == "raise":
            _raise_unreadable(paths[0])
        if size is None:
            return None, False
        return DecodeOptions(size, mode or "RGB", dtype), False
    if mode is not None:
        return DecodeOptions(size or first.size, mode, dtype), False
    step = max(1, len(paths) // _HEADERS_LOOKED_AT)
    headers = (_header_or_none(path) for path in paths[::step])
    grey = first.is_grey and all(header is None or header.is_grey for header in headers)
    return DecodeOptions(size or first.size, "L" if grey else "RGB", dtype), grey


def _header_or_none(path: str) -> ImageHeader | None:
    try:
        return read_header(path)
    except Exception:  # pillow raises a dozen kinds for damaged files
        return None


def _first_header(paths: Sequence[str]) -> ImageHeader | None:
    for path in paths:
        header = _header_or_none(path)
        if header is not None:
            return header
    return None


def _raise_unreadable(path: str) -> None:
    try:
        read_header(path)
    except Exception as error:  # pillow raises a dozen kinds for damaged files
        message = unreadable_message(path, None, error)
        raise DataError(f"none of the image files can be read. First: {message}") from error
