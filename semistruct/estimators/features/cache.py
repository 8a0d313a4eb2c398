"""Features of frozen networks, kept in memory for pictures that come again."""

from __future__ import annotations

import io
import pickle
import threading
from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b
from types import FunctionType
from typing import Any

import numpy as np
from torch import Tensor, nn

__all__ = ["FEATURES", "FeatureCache", "module_key"]


class FeatureCache:
    """Vectors by key; the least recently used leave when there are too many.

    Parameters
    ----------
    max_bytes : int
        Of all vectors together.

    Examples
    --------
    >>> cache = FeatureCache(max_bytes=16)
    >>> for key in "abc":
    ...     cache.put(key, np.zeros(1))
    >>> cache.get("a") is None, cache.get("c")
    (True, array([0.]))
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> np.ndarray | None:
        """The vector, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: Hashable, vector: np.ndarray) -> None:
        """Keep a vector."""
        with self._lock:
            before = self._kept.pop(key, None)
            self._bytes += vector.nbytes - (0 if before is None else before.nbytes)
            self._kept[key] = vector
            while self._bytes > self.max_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes


# Shared by all transformers of a process: cross-validation clones them, and every fold asks for
# the same pictures.
FEATURES = FeatureCache(256 * 2**20)


def module_key(module: nn.Module) -> Hashable | None:
    """A key that two modules share only if they compute the same; None where there is none.

    Weights enter by their content, classes and functions by being the same objects, everything
    else by its pickle. A module that cannot be pickled has no key.

    Examples
    --------
    >>> a, b = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> module_key(a) == module_key(a), module_key(a) == module_key(b)
    (True, False)
    """
    content = io.BytesIO()
    pickler = _KeyPickler(content)
    try:
        pickler.dump(module)
    except (pickle.PicklingError, TypeError, AttributeError):  # locks, open files, generators
        return None
    return blake2b(content.getvalue(), digest_size=16).digest(), tuple(pickler.code)


class _KeyPickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.code: list[Any] = []

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            values = obj.detach().cpu().contiguous()
            raw = values.flatten().view(values.dtype).numpy().tobytes()
            return blake2b(raw, digest_size=16).digest(), str(obj.dtype), tuple(obj.shape)
        if isinstance(obj, (type, FunctionType)):
            self.code.append(obj)
            return len(self.code)
        return None
