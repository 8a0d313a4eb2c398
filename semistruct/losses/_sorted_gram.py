"""``X' H X`` in one walk over the sorted rows, for right-censored data on the natural scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from semistruct.losses._arithmetic import LINEAR, take
from semistruct.losses._risk_moments import RiskMoments
from semistruct.losses._scans import SuffixScan
from semistruct.losses._segments import SegmentLayout

__all__ = ["SortedDesign", "sorted_design", "sorted_gram"]

# Entries of a block, which should fit the second-level cache of a core: 1 MB.
_BLOCK = 1 << 17


@dataclass(frozen=True, eq=False)
class SortedDesign:
    """Columns of a design in the order in which they are walked through.

    Worth its memory where ``X' H X`` is wanted at several ``eta``: a Newton iteration.

    Attributes
    ----------
    rows : (N, p) tensor
        Centred, in the order of the scan.
    """

    rows: Tensor


def sorted_design(X: Tensor, scan: SuffixScan) -> SortedDesign:
    """The columns ``X`` ``(n, p)`` sorted once.

    Notes
    -----
    The means of the columns are taken off, which does not change ``X' H X`` (``H 1 = 0``) but keeps
    its digits.
    """
    return SortedDesign(X.index_select(0, scan.source).sub_(X.mean(0)))


def sorted_gram(
    design: SortedDesign,
    scan: SuffixScan,
    moments: RiskMoments,
    first: Tensor,
    extra: Tensor | None,
) -> Tensor:
    """Minus the second derivative in the coefficients of a design, ``(p, p)``.

    Parameters
    ----------
    design : SortedDesign
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
    X = design.rows
    p = X.shape[1]
    hazard = take(moments.hazard, scan.source)
    # A product with itself is made as one of half the work.
    root = take(moments.spread(first, extra, positive=True), scan.source).sqrt_()
    root.index_fill_(0, scan.padding, 0.0)
    scale = torch.zeros_like(hazard)
    real = first > 0
    scale[scan.at[real]] = first[real].sqrt() / moments.total[real]
    parts = list(_blocks(scan.rows, max(_BLOCK // max(p, 1), 64)))
    rule, denominators = moments.rule.extra, moments.extra
    tied = rule is not None and extra is not None and denominators is not None
    after = _Picked(scan.at[scan.tied_time], X, parts) if tied else None
    before = _Picked(scan.before, X, parts) if tied else None
    gram = X.new_zeros((p, p))
    carry = X.new_zeros(p)
    sums = X.new_empty((max((part.stop - part.start for part, _, _ in parts), default=0), p))
    for number, (part, folds, carry_on) in enumerate(parts):
        m = part.stop - part.start
        block, S = X[part], sums[:m]
        torch.mul(block, hazard[part, None], out=S)
        if carry_on:
            S[0] += carry
        folded = S.view(folds, m // folds, p)
        torch.cumsum(folded, 1, out=folded)
        carry = S[-1].clone()
        for picked in (after, before):
            if picked is not None:
                picked.collect(S, number)
        S.mul_(scale[part, None])
        _add_product(gram, S, -1.0)
        torch.mul(block, root[part, None], out=S)
        _add_product(gram, S, 1.0)
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


def _add_product(gram: Tensor, S: Tensor, sign: float) -> None:
    """Add ``sign S' S`` to ``gram``."""
    if S.device.type == "cpu":
        rows = S.numpy()
        # numpy sees that the product is symmetric and computes one half of it
        found = torch.from_numpy(rows.T @ rows)
        gram.add_(found, alpha=sign)
    else:
        gram.addmm_(S.T, S, alpha=sign)


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

    def __init__(
        self, positions: Tensor, like: Tensor, parts: list[tuple[slice, int, bool]]
    ) -> None:
        found, self.order = positions.sort()
        self.rows = like.new_zeros((positions.shape[0], like.shape[1]))
        starts = found.new_tensor([part.start for part, _, _ in parts])
        cuts = torch.searchsorted(found, starts)
        # blocks follow one another without gaps, so that each ends where the next begins
        self.cuts = [*cuts.tolist(), positions.shape[0]]
        lengths = cuts.diff(append=cuts.new_tensor([positions.shape[0]]))
        self.within = found - starts.repeat_interleave(lengths)

    def collect(self, S: Tensor, number: int) -> None:
        """Copy what lies in a block with running sums ``S``."""
        low, high = self.cuts[number], self.cuts[number + 1]
        if high > low:
            self.rows[self.order[low:high]] = S[self.within[low:high]]
