"""Running sums that start anew in every stratum, without subtracting one sum from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semistruct.losses._arithmetic import Arithmetic

__all__ = ["SegmentLayout", "lay_out"]


@dataclass(frozen=True)
class SegmentLayout:
    """Segments side by side in one vector, those of similar length padded to a common width.

    Attributes
    ----------
    size : int
        Length of the vector, at most twice the sum of the segments' lengths.
    classes : tuple of (start, count, width)
        ``count`` segments of ``width`` entries each begin at ``start``. Padding is at the end of a
        segment, so whatever stands there does not reach a running sum that is read.
    """

    size: int
    classes: tuple[tuple[int, int, int], ...]

    @classmethod
    def single(cls, length: int) -> SegmentLayout:
        """The layout of one segment."""
        return cls(length, ((0, 1, length),))

    def cumsum(self, values: Tensor, arithmetic: Arithmetic) -> Tensor:
        """Running sums of ``values`` ``(..., size)`` within each segment."""
        if len(self.classes) == 1 and self.classes[0][1] == 1:
            return arithmetic.cumsum(values)
        sums = torch.empty_like(values)
        for start, count, width in self.classes:
            part = slice(start, start + count * width)
            folded = values[..., part].unflatten(-1, (count, width))
            sums[..., part] = arithmetic.cumsum(folded).flatten(-2)
        return sums


def lay_out(lengths: np.ndarray) -> tuple[SegmentLayout, np.ndarray]:
    """Lay segments of the given lengths out, grouped by powers of two.

    Parameters
    ----------
    lengths : (S,) int array
        All positive.

    Returns
    -------
    layout : SegmentLayout
    starts : (S,) int array
        Where each segment begins in the vector.

    Examples
    --------
    >>> layout, starts = lay_out(np.array([5, 2, 6]))
    >>> layout
    SegmentLayout(size=14, classes=((0, 1, 2), (2, 2, 6)))
    >>> starts
    array([2, 0, 8])
    """
    power = np.ceil(np.log2(lengths)).astype(np.int64)
    starts = np.empty(len(lengths), dtype=np.int64)
    classes = []
    size = 0
    for c in np.unique(power):
        members = np.flatnonzero(power == c)
        width = int(lengths[members].max())
        starts[members] = size + width * np.arange(members.size)
        classes.append((size, int(members.size), width))
        size += width * members.size
    return SegmentLayout(int(size), tuple(classes)), starts
