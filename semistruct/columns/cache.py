"""A cache of decoded rows that never holds more than its budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

__all__ = ["DecodeCache"]


class DecodeCache:
    """Least-recently-used cache of arrays, bounded in bytes and safe to use from threads.

    A pickled cache is an empty cache with the same budget: decoded pixels never travel.

    Parameters
    ----------
    max_bytes : int
        Budget. An array larger than the whole budget is not kept; 0 keeps nothing.

    Examples
    --------
    >>> cache = DecodeCache(max_bytes=16)
    >>> cache.put("a", np.zeros(2)); cache.put("b", np.zeros(1))
    >>> cache.get("a") is None, cache.nbytes
    (True, 8)
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = int(max_bytes)
        self.nbytes = 0
        self._arrays: OrderedDict[Any, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> np.ndarray | None:
        """The cached array, now the most recently used; None when it is not there."""
        with self._lock:
            array = self._arrays.get(key)
            if array is not None:
                self._arrays.move_to_end(key)
            return array

    def put(self, key: Any, array: np.ndarray) -> None:
        """Keep ``array``, forgetting the least recently used ones until it fits."""
        with self._lock:
            previous = self._arrays.pop(key, None)
            if previous is not None:
                self.nbytes -= previous.nbytes
            if array.nbytes > self.max_bytes:
                return
            while self._arrays and self.nbytes + array.nbytes > self.max_bytes:
                _, oldest = self._arrays.popitem(last=False)
                self.nbytes -= oldest.nbytes
            self._arrays[key] = array
            self.nbytes += array.nbytes

    def __len__(self) -> int:
        return len(self._arrays)

    def __reduce__(self) -> tuple[type[DecodeCache], tuple[int]]:
        return DecodeCache, (self.max_bytes,)
