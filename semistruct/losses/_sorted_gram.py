"""``X' H X`` in one walk over the sorted rows, for right-censored data on the natural scale."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from semistruct.losses._arithmetic import LINEAR, take
from semistruct.losses._risk_moments import RiskMoments
from semistruct.losses._scans import SuffixScan
from semistruct.losses._segments import SegmentLayout

__all__ = ["sorted_gram"]

# Entries of a block: three of them fit the second-level cache of a core.
_BLOCK = 1 << 15


def sorted_gram(
    X: Tensor, scan: SuffixScan, moments: RiskMoments, first: Tensor, extra: Tensor | None
) -> Tensor:
    """Minus the second derivative in the coefficients of ``X`` ``(n, p)``, ``(p, p)``.

    Parameters
    ----------
    X : (n, p) tensor
    scan : SuffixScan
    moments : RiskMoments
        On the natural scale.
    first, extra : (K,) and (E,) tensors
        Weight of the logarithm of each denominator.

    Notes
    -----
    With ``S(t)`` the running sums of ``w exp(eta) x`` down in time, the part to subtract is
    ``sum c / D^2 S S'``. For an extra denominator of a tied group ``S`` lies between the sums
    before and after the group's events, ``s S_after + (1 - s) S_before``, so a group's extra
    denominators together need three numbers and no sums of their own.
    """
    p = X.shape[1]
    centre = X.mean(0)  # does not change the result (H 1 = 0) but keeps its digits
    hazard = take(moments.hazard, scan.source)
    accumulated = take(moments.spread(first, extra, positive=True), scan.source)
    accumulated.index_fill_(0, scan.padding, 0.0)
    scale = torch.zeros_like(hazard)
    real = first > 0
    scale[scan.at[real]] = first[real].sqrt() / moments.total[real]
    rule, denominators = moments.rule.extra, moments.extra
    tied = rule is not None and extra is not None and denominators is not None
    after = _Picked(scan.at[scan.tied_time], X) if tied else None
    before = _Picked(scan.before, X) if tied else None
    gram = X.new_zeros((p, p))
    size = max(_BLOCK // max(p, 1), 64)
    carry = X.new_zeros(p)
    rows, sums = X.new_empty((2, size, p))
    for part, folds, carry_on in _blocks(scan.rows, size):
        m = part.stop - part.start
        block, S = rows[:m], sums[:m]
        torch.index_select(X, 0, scan.source[part], out=block)
        block.sub_(centre)
        torch.mul(block, hazard[part, None], out=S)
        if carry_on:
            S[0] += carry
        folded = S.view(folds, m // folds, p)
        torch.cumsum(folded, 1, out=folded)
        carry = S[-1].clone()
        for picked in (after, before):
            if picked is not None:
                picked.collect(S, part)
        S.mul_(scale[part, None])
        gram.addmm_(S.T, S, alpha=-1.0)
        torch.mul(block, accumulated[part, None], out=S)
        gram.addmm_(block.T, S)
    if (
        after is not None
        and before is not None
        and rule is not None
        and extra is not None
        and denominators is not None
    ):
        before.rows.index_fill_(0, scan.nobody, 0.0)
        weight = extra / denominators.square()
        groups, s = scan.tied_time.shape[0], rule.share
        aa, ab, bb = (
            LINEAR.bucket_sum(weight * products, rule.group, groups)[:, None]
            for products in (s * s, s * (1.0 - s), (1.0 - s) ** 2)
        )
        gram.addmm_(after.rows.T, aa * after.rows + ab * before.rows, alpha=-1.0)
        gram.addmm_(before.rows.T, ab * after.rows + bb * before.rows, alpha=-1.0)
    return 0.5 * (gram + gram.T)


def _blocks(layout: SegmentLayout, size: int) -> Iterator[tuple[slice, int, bool]]:
    """Cut a layout into blocks of at most ``size`` rows.

    Yields
    ------
    part : slice
    folds : int
        Whole segments of equal width in the block; one if it is part of a segment.
    carry_on : bool
        Whether the block continues the segment of the one before.
    """
    for start, count, width in layout.classes:
        if width <= size:
            step = size // width
            for i in range(0, count, step):
                folds = min(step, count - i)
                begin = start + i * width
                yield slice(begin, begin + folds * width), folds, False
        else:
            for i in range(count):
                begin = start + i * width
                for j in range(0, width, size):
                    yield slice(begin + j, begin + min(j + size, width)), 1, j > 0


class _Picked:
    """Rows of the running sums at some positions, collected while the blocks pass by."""

    def __init__(self, positions: Tensor, like: Tensor) -> None:
        self.sorted, self.order = positions.sort()
        self.rows = like.new_zeros((positions.shape[0], like.shape[1]))

    def collect(self, S: Tensor, part: slice) -> None:
        """Copy what lies in ``part``, the block with running sums ``S``."""
        edges = self.sorted.new_tensor([part.start, part.stop])
        low, high = torch.searchsorted(self.sorted, edges).tolist()
        if high > low:
            self.rows[self.order[low:high]] = S[self.sorted[low:high] - part.start]
