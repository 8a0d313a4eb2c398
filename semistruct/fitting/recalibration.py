"""Curves from deep scores to effects, learned on rows that their networks did not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from semistruct.design import Design, build_design
from semistruct.fitting.augmented import fix_smoothing, take_rows, with_columns
from semistruct.fitting.crossfit import CrossFit
from semistruct.fitting.members import DeepProblem
from semistruct.fitting.score_curve import ScoreCurve
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured
from semistruct.fitting.structured_warnings import unreported
from semistruct.terms import IndexedBlock, StackedBlock, add_terms, s
from semistruct.terms.blocks import FactoredBlock, ScaledBlock

__all__ = ["recalibrate"]

_LEAST_ROWS = 200  # rows of the data that have a score of their own
_LEAST_GAIN = 2.0  # in log-likelihood: what two more coefficients cost
_KNOTS = 8
_GRID = 101


def recalibrate(problem: DeepProblem, crossfit: CrossFit, groups: np.ndarray) -> CrossFit:
    """Replace out-of-fold scores by increasing curves of them, where that predicts better.

    Parameters
    ----------
    problem : DeepProblem
        n rows.
    crossfit : CrossFit
    groups : (n,) int array
        Rows that belong together.

    Returns
    -------
    CrossFit
        With the curves, and the scores that follow from them; the same one where no curve helps.

    Notes
    -----
    A network that has seen few rows says which pictures are alike before it says how large their
    effects are: of pictures of two kinds the scores of each kind scatter, and what is best
    predicted from a score is not a multiple of it but flat at both ends. An increasing P-spline of
    the out-of-fold score stands in the place of the score, the rest of the predictor being fitted
    along, its smoothness chosen by restricted likelihood: where effects are proportional to scores
    it is a straight line. It is kept where the out-of-fold log-likelihood of curves learned on the
    other folds exceeds that of slopes by more than a standard error and two units, and that of no
    score at all.
    Scores that vary with time (``by=``) keep their scale, and so do those of terms with several
    inputs, of which a row may lack some: what a score is worth then differs between rows.

    References
    ----------
    Zadrozny, B. and Elkan, C. (2002). Transforming classifier scores into accurate multiclass
    probability estimates. KDD. (Increasing functions of held-out scores.) Pya, N. and Wood, S. N.
    (2015). Shape constrained additive models. *Statistics and Computing* 25.
    """
    rows = np.flatnonzero(crossfit.honest)
    slots = problem.blueprint.slots
    if len(np.unique(groups[rows])) < _LEAST_ROWS:
        return crossfit
    scores = crossfit.scores.copy()
    curves: list[ScoreCurve | None] = [None] * len(slots)
    structured = fix_smoothing(problem.structured, problem.start.smoothing)
    for t, slot in enumerate(slots):
        names = [part.name for part in problem.blueprint.plans[slot.network].inputs]
        present = np.any([problem.modalities[name].present for name in names], axis=0)
        seen = problem.gather(present)
        varies = np.ptp(scores[rows, t]) > 0
        if slot.by is not None or len(names) > 1 or not varies or seen[rows].sum() < _LEAST_ROWS:
            continue
        others = [o for o in range(len(slots)) if o != t and np.ptp(scores[rows, o]) > 0]
        beside = _with_scores(structured, scores, others, [slots[o].param for o in others])
        inside = take_rows(beside, rows)
        trial = _Curve.of(inside, slot.param, scores[rows, t], seen[rows])
        with unreported():
            curve = trial.better_than_a_slope(crossfit.fold[rows], groups[rows])
        if curve is not None:
            curves[t] = curve
            scores[:, t] = np.where(seen, curve(scores[:, t]), 0.0)
    if all(curve is None for curve in curves):
        return crossfit
    found = replace(crossfit, scores=scores, curves=tuple(curves))
    units = crossfit.unit_scores
    return replace(
        found,
        unit_scores=None if units is None else found.effects(units),
        masked={names: found.effects(own) for names, own in crossfit.masked.items()},
    )


def _with_scores(
    problem: StructuredProblem, scores: np.ndarray, slots: Sequence[int], params: Sequence[int]
) -> StructuredProblem:
    K = len(problem.designs)
    own = [[t for t, k in zip(slots, params, strict=True) if k == param] for param in range(K)]
    labels = [[f"score {t}" for t in columns] for columns in own]
    return with_columns(problem, [scores[:, columns] for columns in own], labels)


@dataclass(frozen=True)
class _Curve:
    """A problem of m rows, and the same with a curve or with a slope of one score."""

    problem: StructuredProblem
    param: int
    score: np.ndarray
    seen: np.ndarray
    design: Design

    @classmethod
    def of(
        cls, problem: StructuredProblem, param: int, score: np.ndarray, seen: np.ndarray
    ) -> _Curve:
        term = s("score", k=_KNOTS, constraint="increasing", label="curve of a score")
        known = pd.DataFrame({"score": score[seen]})
        return cls(
            problem, param, score, seen, build_design(add_terms([term]), known, intercept=False)
        )

    def better_than_a_slope(self, fold: np.ndarray, groups: np.ndarray) -> ScoreCurve | None:
        whole = self._with_curve()
        fit = fit_structured(whole)
        fixed = fix_smoothing(whole, fit.smoothing)
        columns = [np.zeros((len(fold), 0)) for _ in self.problem.designs]
        columns[self.param] = (self.score * self.seen)[:, None]
        labels = [["slope of a score"] * column.shape[1] for column in columns]
        slope = with_columns(self.problem, columns, labels)
        ours, linear, none = (_unseen(p, fold) for p in (fixed, slope, self.problem))
        gain = np.bincount(groups, weights=ours - linear)[np.unique(groups)]
        least = np.sqrt(len(gain)) * gain.std(ddof=1)
        if not (gain.sum() > max(least, _LEAST_GAIN) and ours.sum() > none.sum()):
            return None
        known = self.score[self.seen]
        grid = np.linspace(known.min(), known.max(), _GRID)
        curve = self.design.block(pd.DataFrame({"score": grid})).dense()
        beta = fit.beta[fit.slices[self.param]][-self.design.p :]
        return ScoreCurve(grid, curve @ beta) if np.ptp(curve @ beta) > 0 else None

    def _with_curve(self) -> StructuredProblem:
        values = np.where(self.seen, self.score, self.score[self.seen][0])
        distinct, place = np.unique(values, return_inverse=True)
        basis = self.design.bases[-1]  # after that of no parametric columns
        once = basis.design(pd.DataFrame({"score": distinct}))
        block: FactoredBlock = IndexedBlock(once, place)  # type: ignore[arg-type]
        if not self.seen.all():
            block = ScaledBlock(block, self.seen.astype(float))
        k, problem = self.param, self.problem
        designs, blocks = list(problem.designs), list(problem.blocks)
        blocks[k] = StackedBlock((blocks[k], block))  # type: ignore[arg-type]
        designs[k] = _joined(designs[k], self.design)
        return replace(problem, designs=tuple(designs), blocks=tuple(blocks))


def _joined(first: Design, second: Design) -> Design:
    """One design with the columns of both."""
    p = first.p
    moved = {label: slice(at.start + p, at.stop + p) for label, at in second.slices.items()}
    penalties = tuple(
        replace(penalty, columns=slice(penalty.columns.start + p, penalty.columns.stop + p))
        for penalty in second.penalties
    )
    return replace(
        first,
        bases=(*first.bases, second.bases[-1]),
        slices={**first.slices, **moved},
        names=(*first.names, *second.names),
        kinds=np.concatenate([first.kinds, second.kinds]),
        penalties=(*first.penalties, *penalties),
    )


def _unseen(problem: StructuredProblem, fold: np.ndarray) -> np.ndarray:
    """Log-likelihood of every row at coefficients from the other folds, ``(m,)``."""
    found = np.zeros(len(fold))
    for number in np.unique(fold):
        inside = np.flatnonzero(fold == number)
        fit: StructuredFit = fit_structured(take_rows(problem, np.flatnonzero(fold != number)))
        held_out = take_rows(problem, inside)
        eta = held_out.offset.copy()
        for k, (block, at) in enumerate(zip(held_out.blocks, fit.slices, strict=True)):
            eta[:, k] += block.matvec(fit.beta[at])
        found[inside] = held_out.bind().contributions(eta)
    return found
