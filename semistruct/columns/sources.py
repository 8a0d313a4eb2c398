"""Where the tensors of a column live: the abstraction, and the two that are in memory."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

__all__ = ["BlockSource", "ListSource", "TensorSource"]


class TensorSource(ABC):
    """An immutable store of tensors, addressed by their position ``i`` in the store.

    A column holds positions, not tensors, so that slicing, taking and concatenating never touch
    pixels, and slices of one store share it and its cache.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Number of tensors stored."""

    @abstractmethod
    def read(self, i: int, row: int) -> np.ndarray | None:
        """The tensor at ``i``, read-only; None when it is missing. ``row`` is for messages."""

    @abstractmethod
    def fill(self, block: np.ndarray, at: np.ndarray, i: np.ndarray, rows: np.ndarray) -> None:
        """Write tensors ``i`` into ``block[at]``; missing ones are left as they are."""

    @abstractmethod
    def missing(self, i: np.ndarray) -> np.ndarray:
        """True where the tensor at ``i`` turned out to be missing; may have to look."""

    @abstractmethod
    def digests(self, i: np.ndarray) -> list[str]:
        """A text per tensor that is the same exactly for identical contents."""

    @abstractmethod
    def subset(self, i: np.ndarray) -> TensorSource:
        """A store of only the tensors ``i`` (distinct positions), for pickling."""

    @abstractmethod
    def nbytes(self, i: np.ndarray) -> int:
        """Bytes of memory held by the tensors ``i``."""

    @abstractmethod
    def describe(self, i: int) -> str | None:
        """A short text for a printed table without reading the tensor; None if in memory."""


def digest_of(tensor: np.ndarray) -> str:
    """Hash of shape, element type and bytes."""
    hasher = hashlib.blake2b(f"{tensor.shape}{tensor.dtype.str}".encode(), digest_size=16)
    hasher.update(np.ascontiguousarray(tensor).data)
    return hasher.hexdigest()


class BlockSource(TensorSource):
    """One array ``(m, *shape)``.

    The array is not copied; what is handed out is read-only.
    """

    def __init__(self, block: np.ndarray) -> None:
        self.block = block.view()
        self.block.flags.writeable = False

    def __len__(self) -> int:
        return len(self.block)

    def read(self, i: int, row: int) -> np.ndarray:
        """See :meth:`TensorSource.read`."""
        return self.block[i]

    def fill(self, block: np.ndarray, at: np.ndarray, i: np.ndarray, rows: np.ndarray) -> None:
        """See :meth:`TensorSource.fill`."""
        if len(at) == len(block) and block.dtype == self.block.dtype:
            np.take(self.block, i, axis=0, out=block, mode="clip")  # no intermediate copy
        else:
            block[at] = self.block[i]

    def missing(self, i: np.ndarray) -> np.ndarray:
        """See :meth:`TensorSource.missing`."""
        return np.zeros(len(i), dtype=bool)

    def digests(self, i: np.ndarray) -> list[str]:
        """See :meth:`TensorSource.digests`."""
        return [digest_of(self.block[k]) for k in i]

    def subset(self, i: np.ndarray) -> BlockSource:
        """See :meth:`TensorSource.subset`."""
        if len(i) == len(self.block) and np.array_equal(i, np.arange(len(i))):
            return self
        return BlockSource(self.block[i])

    def nbytes(self, i: np.ndarray) -> int:
        """See :meth:`TensorSource.nbytes`."""
        return len(i) * self.block.itemsize * int(np.prod(self.block.shape[1:]))

    def describe(self, i: int) -> None:
        """See :meth:`TensorSource.describe`."""

    def __repr__(self) -> str:
        return "memory"

    def __getstate__(self) -> np.ndarray:
        return self.block

    def __setstate__(self, block: np.ndarray) -> None:
        self.__init__(block)  # type: ignore[misc]


class ListSource(TensorSource):
    """Tensors of different shapes, one array each."""

    def __init__(self, tensors: Sequence[np.ndarray]) -> None:
        self.tensors = tuple(tensor.view() for tensor in tensors)
        for tensor in self.tensors:
            tensor.flags.writeable = False

    def __len__(self) -> int:
        return len(self.tensors)

    def read(self, i: int, row: int) -> np.ndarray:
        """See :meth:`TensorSource.read`."""
        return self.tensors[i]

    def fill(self, block: np.ndarray, at: np.ndarray, i: np.ndarray, rows: np.ndarray) -> None:
        """See :meth:`TensorSource.fill`."""
        for position, k in zip(at, i, strict=True):
            block[position] = self.tensors[k]

    def missing(self, i: np.ndarray) -> np.ndarray:
        """See :meth:`TensorSource.missing`."""
        return np.zeros(len(i), dtype=bool)

    def digests(self, i: np.ndarray) -> list[str]:
        """See :meth:`TensorSource.digests`."""
        return [digest_of(self.tensors[k]) for k in i]

    def subset(self, i: np.ndarray) -> ListSource:
        """See :meth:`TensorSource.subset`."""
        return ListSource([self.tensors[k] for k in i])

    def nbytes(self, i: np.ndarray) -> int:
        """See :meth:`TensorSource.nbytes`."""
        return sum(self.tensors[k].nbytes for k in i)

    def describe(self, i: int) -> None:
        """See :meth:`TensorSource.describe`."""

    def __repr__(self) -> str:
        return "memory"

    def __getstate__(self) -> tuple[np.ndarray, ...]:
        return self.tensors

    def __setstate__(self, tensors: tuple[np.ndarray, ...]) -> None:
        self.__init__(tensors)  # type: ignore[misc]
