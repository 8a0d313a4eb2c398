"""Training a member whose features are given: a ridge regression, solved exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from semistruct.fitting.augmented import fix_smoothing, take_rows, with_columns
from semistruct.fitting.members import Course, DeepProblem, MemberSolver
from semistruct.fitting.structured import fit_structured
from semistruct.network import SemiStructuredNet, predict_latents, predict_scores
from semistruct.terms import DenseBlock, IndexedBlock, StackedBlock
from semistruct.terms.blocks import FactoredBlock, ScaledBlock

__all__ = ["RidgeSolver"]

_RANK_TOL = 1e-6  # relative to the largest singular value; features are float32


@dataclass(frozen=True)
class RidgeSolver(MemberSolver):
    """The last layer as random effects: one ridge penalty per slot, chosen by REML.

    With features that do not change, the weights ``gamma`` and the structured coefficients are
    the coefficients of one penalised likelihood, and the data choose the amount of shrinkage as
    they choose the smoothness of a curve. The features of the training rows are rotated onto
    their principal axes first, of which there are at most as many as rows; this changes neither
    the ridge penalty nor the fit. There is a single round: nothing is left to choose.

    References
    ----------
    Ruppert, D., Wand, M. P. and Carroll, R. J. (2003). Semiparametric regression, section 4.9.
    """

    def untrained(
        self, problem: DeepProblem, train: np.ndarray, random_state: np.random.SeedSequence
    ) -> SemiStructuredNet:
        units = problem.units(train)
        return problem.blueprint.make(problem.modalities, units, problem.scale, random_state)

    def fit(
        self,
        problem: DeepProblem,
        train: np.ndarray,
        held_out: np.ndarray,
        random_state: np.random.SeedSequence,
        report: Callable[[float], None],
    ) -> Course:
        units = problem.units(train)
        net = self.untrained(problem, train, random_state)
        axes, features, labels, ridge = _rotated_features(problem, net, units)
        columns = _columns(problem, features, units, train)
        smooth = fix_smoothing(problem.structured, problem.start.smoothing)
        extended = with_columns(take_rows(smooth, train), columns, labels, ridge)
        fit = fit_structured(extended)
        taken = [design.p for design in problem.structured.designs]
        for t, slot in enumerate(problem.blueprint.slots):
            start = fit.slices[slot.param].start + taken[slot.param]
            weights = fit.beta[start : start + axes[t].shape[1]]
            taken[slot.param] += axes[t].shape[1]
            gamma = axes[t] @ weights / problem.scale[t]
            with torch.no_grad():
                net.gammas[t].copy_(torch.from_numpy(gamma))
        report(1.0)
        loss = -fit.loglik / problem.structured.sample_weight[train].sum()
        history = pd.DataFrame({"epoch": [1], "train_loss": [loss], "held_out_loss": [math.nan]})
        own = [
            fit.beta[at][: design.p]
            for at, design in zip(fit.slices, problem.structured.designs, strict=True)
        ]
        unseen = problem.units(held_out)
        scores = predict_scores(net, problem.modalities, unseen)
        beta = np.concatenate(own)[None]
        return Course(net, history, ({},), scores[None], beta, problem.levelled(unseen))


def _rotated_features(
    problem: DeepProblem, net: SemiStructuredNet, units: np.ndarray
) -> tuple[list[np.ndarray], list[list[np.ndarray]], list[list[str]], list[list[slice]]]:
    """Principal axes of every slot's features, and the columns they give each predictor."""
    latents = predict_latents(net, problem.modalities, units)
    K = len(problem.structured.designs)
    axes: list[np.ndarray] = []
    columns: list[list[np.ndarray]] = [[] for _ in range(K)]
    labels: list[list[str]] = [[] for _ in range(K)]
    ridge: list[list[slice]] = [[] for _ in range(K)]
    for slot in problem.blueprint.slots:
        features = np.nan_to_num(latents[slot.network])
        _, d, Vt = np.linalg.svd(features, full_matrices=False)
        kept = d > _RANK_TOL * d[0] if d.size and d[0] > 0 else np.zeros(len(d), bool)
        # Unit mean square of the whole block: the search for the ridge penalty starts well scaled.
        axis = Vt[kept].T / np.sqrt(max(int(kept.sum()), 1))
        start = sum(column.shape[1] for column in columns[slot.param])
        axes.append(axis)
        columns[slot.param].append(features @ axis)
        labels[slot.param] += [f"{slot.label}[{j}]" for j in range(axis.shape[1])]
        if axis.shape[1]:
            ridge[slot.param].append(slice(start, start + axis.shape[1]))
    return axes, columns, labels, ridge


def _columns(
    problem: DeepProblem, features: list[list[np.ndarray]], units: np.ndarray, rows: np.ndarray
) -> list[FactoredBlock]:
    """Columns of the rows from the features of the units they read, for every predictor."""
    slots = iter(np.argsort([slot.param for slot in problem.blueprint.slots], kind="stable"))
    found: list[FactoredBlock] = []
    for pieces in features:
        blocks: list[FactoredBlock] = [DenseBlock(np.zeros((len(rows), 0)))]
        for piece in pieces:
            block: FactoredBlock = DenseBlock(piece)
            if problem.unit is not None:
                block = IndexedBlock(block, np.searchsorted(units, problem.unit[rows]))
            slot = next(slots)
            if problem.row_weights is not None:
                block = ScaledBlock(block, problem.row_weights[rows, slot])
            blocks.append(block)
        found.append(StackedBlock(blocks))
    return found
