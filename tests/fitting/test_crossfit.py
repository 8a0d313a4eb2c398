"""Cross-fitting: who trains and who is scored on which rows."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest
import torch

import semistruct as ss
from semistruct.estimators._deep_terms import draw_blueprint
from semistruct.exceptions import DataError
from semistruct.fitting.crossfit import cross_fit
from semistruct.fitting.members import Course, DeepProblem, MemberSolver
from semistruct.fitting.structured import fit_structured
from semistruct.network import predict_scores
from semistruct.terms import cnn
from tests._fits import make_problem

N = 60
SINGLE = 1e-6  # scores of about one in single precision, less their level
SEED = np.random.SeedSequence(4)


@dataclass(frozen=True)
class Spy(MemberSolver):
    """Remembers its rows; its network gives the same score to every row."""

    calls: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def untrained(self, problem, train, random_state):
        return problem.blueprint.make(problem.modalities, train, problem.scale, random_state)

    def fit(self, problem, train, held_out, random_state, report):
        self.calls.append((train, held_out))
        net = self.untrained(problem, train, random_state)
        with torch.no_grad():
            net.gammas[0].fill_(1.0)
        scores = predict_scores(net, problem.modalities, held_out)
        history = pd.DataFrame({"epoch": [1], "train_loss": [0.0], "held_out_loss": [0.0]})
        beta, levelled = problem.start.beta[None], problem.levelled(held_out)
        return Course(net, history, ({},), scores[None], beta, levelled)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "scan": ss.ImageArray(rng.integers(0, 256, (N, 1, 8, 8)).astype(np.uint8)),
        }
    )
    structured = make_problem("x", frame, rng.normal(size=N), "normal")
    blueprint = draw_blueprint([[cnn("scan", hflip=False)], []], frame)
    return DeepProblem(
        structured, fit_structured(structured), blueprint, blueprint.read(frame), np.ones(1)
    )


def test_no_row_is_scored_by_a_network_that_saw_it(problem):
    spy, groups = Spy(), np.arange(N) // 2
    found = cross_fit(problem, spy, groups, n_folds=4, n_repeats=2, random_state=SEED)
    assert len(found.members) == len(spy.calls) == 8
    assert found.honest.all() and set(found.fold) == {0, 1, 2, 3}
    for number, (train, held_out) in enumerate(spy.calls):
        np.testing.assert_array_equal(held_out, np.flatnonzero(found.fold == number // 2))
        np.testing.assert_array_equal(train, np.flatnonzero(found.fold != number // 2))
        assert not set(groups[train]) & set(groups[held_out])
    for number in range(4):
        rows = np.flatnonzero(found.fold == number)
        own = [problem.scores(member.net, rows) for member in found.members[2 * number :][:2]]
        np.testing.assert_allclose(found.scores[rows], np.mean(own, axis=0), atol=SINGLE)


def test_networks_of_different_levels_have_scores_of_one_level(problem):
    missing = problem.modalities["scan"].present.copy()
    missing[:7] = False
    scan = replace(problem.modalities["scan"], present=missing)
    problem = replace(problem, modalities={"scan": scan})
    found = cross_fit(problem, Spy(), np.arange(N), n_folds=4, random_state=SEED)
    present = np.flatnonzero(missing)
    for number, member in enumerate(found.members):
        rows = present[found.fold[present] == number]
        assert found.scores[rows].std() > 0
        np.testing.assert_allclose(found.scores[rows].mean(), 0, atol=1e-6)
        before = replace_level(member.net, 0.0)
        shift = problem.scores(before, present) - problem.scores(member.net, present)
        np.testing.assert_allclose(shift, float(member.net.level[0]), rtol=1e-4)
        assert abs(shift[0, 0]) > 1e-3
    assert not found.scores[~missing].any()


def replace_level(net, value):
    other = copy.deepcopy(net)
    other.level.fill_(value)
    return other


def test_one_fold_holds_rows_out(problem):
    spy, groups = Spy(), np.arange(N) // 2
    found = cross_fit(problem, spy, groups, n_folds=1, random_state=SEED)
    train, held_out = spy.calls[0]
    np.testing.assert_array_equal(np.flatnonzero(found.honest), held_out)
    assert len(held_out) == pytest.approx(N / 5, abs=1)
    assert not set(groups[held_out]) & set(groups[train])
    # The held-out rows have parts, each scored at the epoch that the others choose.
    assert set(found.fold[held_out]) == {0, 1, 2, 3, 4} and (found.fold[train] == -1).all()
    assert all(len(set(found.fold[groups == group])) == 1 for group in set(groups))
    again = problem.scores(found.members[0].net, np.arange(N))
    np.testing.assert_allclose(found.scores, again, atol=SINGLE)


def test_workers_do_not_change_the_result(problem):
    one, two = (
        cross_fit(
            problem,
            Spy(),
            np.arange(N),
            n_folds=3,
            random_state=np.random.SeedSequence(4),
            n_jobs=n_jobs,
        )
        for n_jobs in (None, 2)
    )
    np.testing.assert_array_equal(one.scores, two.scores)


def test_too_few_groups_are_refused(problem):
    with pytest.raises(DataError, match="at least 3 independent groups"):
        cross_fit(problem, Spy(), np.arange(N) % 2, n_folds=5, random_state=SEED)
