"""Several equally likely values for some rows: what is averaged where a picture is missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Nodes"]


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes of rows, one of a row that is known as it is.

    Attributes
    ----------
    n : int
        Number of rows.
    row : (N,) int array
        Row of every node, upwards; every row has one at least.
    values : (N, ...) array

    Examples
    --------
    >>> nodes = Nodes(2, np.array([0, 1, 1]), np.array([[1.0], [2.0], [4.0]]))
    >>> nodes.mean(nodes.values).tolist()
    [[1.0], [3.0]]
    """

    n: int
    row: np.ndarray
    values: np.ndarray

    @classmethod
    def single(cls, values: np.ndarray) -> Nodes:
        """One node for every row."""
        return cls(len(values), np.arange(len(values)), values)

    @property
    def is_single(self) -> bool:
        """Whether every row has one node."""
        return len(self.row) == self.n

    @cached_property
    def count(self) -> np.ndarray:
        """Number of nodes of every row, ``(n,)``."""
        return np.bincount(self.row, minlength=self.n)

    @cached_property
    def start(self) -> np.ndarray:
        """Position of the first node of every row, ``(n,)``."""
        found: np.ndarray = np.cumsum(self.count) - self.count
        return found

    @property
    def weight(self) -> np.ndarray:
        """Share of every node in its row, ``(N,)``."""
        found: np.ndarray = 1.0 / self.count[self.row]
        return found

    @property
    def mixed(self) -> np.ndarray:
        """Rows with several nodes."""
        return np.flatnonzero(self.count > 1)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Means ``(n, ...)`` of values ``(N, ...)`` over the nodes of every row."""
        if self.is_single or not self.n:
            return values
        total = np.add.reduceat(values, self.start, axis=0)
        found: np.ndarray = total / self._count_like(values)
        return found

    def logmean(self, values: np.ndarray) -> np.ndarray:
        """Logarithm ``(n, ...)`` of the means of ``exp(values)``."""
        if self.is_single or not self.n:
            return values
        top = np.maximum.reduceat(values, self.start, axis=0)
        top = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(divide="ignore"):
            found: np.ndarray = top + np.log(self.mean(np.exp(values - top[self.row])))
        return np.where(self._count_like(values) > 1, found, values[self.start])

    def columns(self) -> list[np.ndarray]:
        """As many arrays ``(n, ...)`` as a row has nodes at most, one as likely as another.

        Exact where rows have one number of nodes, or one node.
        """
        most = int(self.count.max()) if self.n else 1
        places = [self.start + (q * self.count) // most for q in range(most)]
        return [self.values[place] for place in places]

    def take(self, rows: np.ndarray) -> Nodes:
        """The nodes of some rows, in this order."""
        counts = self.count[rows]
        row = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Nodes(len(rows), row, self.values[self.start[rows][row] + within])

    def _count_like(self, values: np.ndarray) -> np.ndarray:
        return self.count.reshape(-1, *[1] * (values.ndim - 1))
