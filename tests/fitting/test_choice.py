"""The epoch to keep is chosen by rows the networks did not see, never by the row itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.fitting.choice import choose_epochs
from semistruct.fitting.members import Course
from semistruct.terms import cnn
from tests._deep import make_deep_problem, picture_table

N = 120
FOLD = np.arange(N) % 3
HELD_OUT = [np.flatnonzero(k == FOLD) for k in range(3)]


@pytest.fixture(scope="module")
def problem():
    return make_deep_problem(picture_table(N), [[cnn("scan", hflip=False)], []])


def course(problem, scores, epochs):
    """Made-up scores ``(R, m)`` with the coefficients of the structured model."""
    history = pd.DataFrame({"epoch": epochs, "train_loss": 0.0, "held_out_loss": 0.0})
    beta = np.tile(problem.start.beta, (len(epochs), 1))
    scores = np.asarray(scores)[:, :, None]
    return Course(None, history, ({},) * len(epochs), scores, beta, np.ones(scores.shape[1:], bool))


def residual(problem, rows):
    return problem.structured.y[rows] - problem.start.eta[rows, 0]


def shares(problem, rows, values):
    """Scores that explain these shares of what the table leaves, one after the other."""
    return np.outer(values, residual(problem, rows))


def test_the_epoch_with_the_highest_likelihood_of_all_rows(problem):
    courses = [
        [course(problem, shares(problem, r, [0, 0.4, 0.9, -1]), [0, 2, 4, 6])] for r in HELD_OUT
    ]
    chosen = choose_epochs(problem, courses, HELD_OUT, FOLD)
    assert chosen.final == 4 and chosen.of_part.tolist() == [4, 4, 4]


def test_a_part_has_no_say_in_its_own_epoch(problem):
    """One part would like epoch 4 very much; the others are better off at epoch 2."""
    values = [[0, 0, 1.0], [0, 0.3, 0.1], [0, 0.3, 0.1]]
    courses = [
        [course(problem, shares(problem, rows, own), [0, 2, 4])]
        for rows, own in zip(HELD_OUT, values, strict=True)
    ]
    chosen = choose_epochs(problem, courses, HELD_OUT, FOLD)
    assert chosen.of_part[0] == 2
    assert (chosen.of_part[1:] == 4).all() and chosen.final == 4


def test_networks_of_a_split_are_judged_by_their_mean(problem):
    """Each alone is worse than the structured model, together they are right."""
    rng = np.random.default_rng(0)
    courses = []
    for rows in HELD_OUT:
        noise = 30 * rng.normal(size=len(rows))
        right = residual(problem, rows)
        courses.append(
            [course(problem, [0 * right, right + sign * noise], [0, 1]) for sign in (1, -1)]
        )
    alone = [[own[0]] for own in courses]
    assert choose_epochs(problem, alone, HELD_OUT, FOLD).final == 0
    assert choose_epochs(problem, courses, HELD_OUT, FOLD).final == 1


def test_an_epoch_is_not_held_against_for_its_confidence(problem):
    """Scores of the right shape count, at three times their size too: a slope will shrink them."""
    rng = np.random.default_rng(1)
    courses = []
    for rows in HELD_OUT:
        right = residual(problem, rows)
        blurred = right + 1.5 * right.std() * rng.normal(size=len(rows))
        courses.append([course(problem, [0 * right, 0.3 * blurred, 3 * right], [0, 1, 2])])
    assert choose_epochs(problem, courses, HELD_OUT, FOLD).final == 2


def test_a_network_that_ended_early_stays_as_it_was(problem):
    long = [[course(problem, shares(problem, r, [0, 0.2, 0.9]), [0, 2, 4])] for r in HELD_OUT[:2]]
    short = [[course(problem, shares(problem, HELD_OUT[2], [0, 0.8]), [0, 2])]]
    chosen = choose_epochs(problem, long + short, HELD_OUT, FOLD)
    assert chosen.final == 4 and short[0][0].round_of(4) == 1


def test_predictors_that_are_not_finite_are_never_chosen(problem):
    scores = [shares(problem, rows, [0, 0.5, 0.9]) for rows in HELD_OUT]
    scores[1][2, 0] = np.nan
    courses = [[course(problem, own, [0, 1, 2])] for own in scores]
    chosen = choose_epochs(problem, courses, HELD_OUT, FOLD)
    assert chosen.final == 1 and chosen.of_part.tolist() == [1, 2, 1]


def test_a_single_part_leaves_the_structured_model(problem):
    """Nothing else can choose for it."""
    rows = HELD_OUT[0]
    part = np.where(FOLD == 0, 0, -1)
    own = [[course(problem, shares(problem, rows, [0, 0.9]), [0, 1])]]
    chosen = choose_epochs(problem, own, [rows], part)
    assert chosen.of_part.tolist() == [0] and chosen.final == 1
