"""Whether pictures and their mirror images say the same: asked of networks that saw none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from semistruct.fitting.augmented import take_rows
from semistruct.fitting.members import DeepProblem, Member

__all__ = ["mirrored_inputs"]

_LARGEST_WEIGHT = 2.0


def mirrored_inputs(
    problem: DeepProblem, members: Sequence[Member], rows: Sequence[np.ndarray]
) -> tuple[str, ...]:
    """Inputs whose pictures may be mirrored in training.

    Networks that were trained without mirroring score rows they did not see, as they are and
    mirrored. Where sides matter (digits, the side of an organ) the mirror image misleads such a
    network, and the mean of both scores predicts the response worse than the score of the picture
    as it is. Unless it is worse by more than one standard error of the difference, mirror images
    are taken to be more pictures of the same: so with photos of houses.

    Parameters
    ----------
    problem : DeepProblem
    members : sequence of Member
        Trained without mirroring.
    rows : sequence of int arrays
        For each member rows that it did not see; no row twice.

    Returns
    -------
    tuple of str
        Among the inputs for which the encoder leaves the question open.
    """
    plain = _scores(problem, members, rows)
    held_out = np.concatenate(rows)
    found = []
    for name in problem.blueprint.undecided():
        turned = {**problem.modalities, name: replace(problem.modalities[name], mirrored=True)}
        other = _scores(replace(problem, modalities=turned), members, rows)
        gain = _best(problem, held_out, (plain + other) / 2) - _best(problem, held_out, plain)
        if gain.sum() >= -np.sqrt(len(gain)) * gain.std():
            found.append(name)
    return tuple(found)


def _scores(
    problem: DeepProblem, members: Sequence[Member], rows: Sequence[np.ndarray]
) -> np.ndarray:
    """Scores of the members' own held-out rows, one after the other."""
    return np.concatenate(
        [problem.scores(member.net, unseen) for member, unseen in zip(members, rows, strict=True)]
    )


def _best(problem: DeepProblem, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Log-likelihood of each row where each score has the weight that suits it best."""
    bound = take_rows(problem.structured, rows).bind()
    start = problem.start.eta[rows]
    params = [slot.param for slot in problem.blueprint.slots]

    def predictor(gamma: np.ndarray) -> np.ndarray:
        eta = start.copy()
        for k, column in zip(params, (scores * gamma).T, strict=True):
            eta[:, k] += column
        return eta

    def minus_loglik(gamma: np.ndarray) -> tuple[float, np.ndarray]:
        eta = predictor(gamma)
        gradient = (bound.score(eta)[:, params] * scores).sum(axis=0)
        return -bound.loglik(eta), -gradient

    zero = np.zeros(len(params))
    found = minimize(
        minus_loglik, zero, jac=True, method="L-BFGS-B", bounds=[(0.0, _LARGEST_WEIGHT)] * len(zero)
    )
    return bound.contributions(predictor(found.x))
