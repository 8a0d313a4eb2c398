"""Cross-fitting: who trains, stops and scores on which rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch

import semistruct as ss
from semistruct.estimators._deep_terms import draw_blueprint
from semistruct.exceptions import DataError
from semistruct.fitting.crossfit import cross_fit
from semistruct.fitting.members import DeepProblem, Member, MemberSolver
from semistruct.fitting.structured import fit_structured
from semistruct.terms import cnn
from tests._fits import make_problem

N = 60
SEED = np.random.SeedSequence(4)


@dataclass(frozen=True)
class Spy(MemberSolver):
    """Remembers its rows; its network gives its number as the score of every row."""

    calls: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def fit(self, problem, train, stop, random_state, report):
        self.calls.append((train, stop))
        net = problem.blueprint.make(problem.modalities, train, problem.scale, random_state)
        with torch.no_grad():
            net.gammas[0].fill_(1.0)
        return Member(net, pd.DataFrame({"epoch": [0]}), best_epoch=0)


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
    for number, (train, stop) in enumerate(spy.calls):
        scored = np.flatnonzero(found.fold == number // 2)
        parts = [set(groups[train]), set(groups[stop]), set(groups[scored])]
        assert all(parts)
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert found.scores.std() > 0


def test_repeats_stop_on_rows_of_their_own(problem):
    spy = Spy()
    cross_fit(problem, spy, np.arange(N), n_folds=2, n_repeats=2, random_state=SEED)
    assert set(spy.calls[0][1]) != set(spy.calls[1][1])


def test_one_fold_holds_rows_out(problem):
    spy = Spy()
    found = cross_fit(problem, spy, np.arange(N), n_folds=1, random_state=SEED)
    train, stop = spy.calls[0]
    held_out = np.flatnonzero(found.honest)
    assert len(held_out) == pytest.approx(N / 5, abs=1)
    assert not set(held_out) & (set(train) | set(stop))


def test_too_few_groups_are_refused(problem):
    with pytest.raises(DataError, match="at least 3 independent groups"):
        cross_fit(problem, Spy(), np.arange(N) % 2, n_folds=5, random_state=SEED)
