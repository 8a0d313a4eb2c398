"""Increasing curves in the place of deep scores: where they help, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import semistruct as ss
from semistruct.fitting.crossfit import CrossFit
from semistruct.fitting.recalibration import recalibrate
from semistruct.fitting.score_curve import ScoreCurve
from semistruct.terms import encoder
from tests._deep import frozen, make_deep_problem

N = 600


def problem_of(effect, seed=0):
    """A response moved by ``effect(kind)``, and out-of-fold scores that scatter about the kind."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, N).astype(float)
    x = rng.normal(size=N)
    frame = pd.DataFrame({"x": x, "u": ss.TensorArray(rng.normal(size=(N, 2)).astype(np.float32))})
    score = kind + rng.normal(0, 0.25, N)
    frame["y"] = x + effect(kind, score) + rng.normal(0, 0.5, N)
    problem = make_deep_problem(frame, [[encoder("own", "u")], []], encoders={"own": frozen(2)})
    fold = rng.integers(0, 5, N)
    crossfit = CrossFit((), score[:, None], fold >= 0, fold, pd.DataFrame())
    return problem, crossfit, kind


def test_two_kinds_become_a_step():
    problem, crossfit, kind = problem_of(lambda kind, score: 2 * kind)
    found = recalibrate(problem, crossfit, np.arange(N))
    (curve,) = found.curves
    assert (np.diff(curve.effect) >= -1e-12).all()
    assert_allclose(found.scores[:, 0], found.effects(crossfit.scores)[:, 0])
    before, after = (
        np.corrcoef(kind, scores[:, 0])[0, 1] ** 2 for scores in (crossfit.scores, found.scores)
    )
    assert before < 0.85 and after > before + 0.06
    gap = found.scores[kind == 1, 0].mean() - found.scores[kind == 0, 0].mean()
    assert 1.7 < gap < 2.1


def test_effects_that_are_proportional_stay_as_they_are():
    problem, crossfit, _ = problem_of(lambda kind, score: 2 * score)
    assert recalibrate(problem, crossfit, np.arange(N)) is crossfit


@pytest.mark.parametrize("seed", range(4))
def test_noise_gets_no_curve(seed):
    problem, crossfit, _ = problem_of(lambda kind, score: 0.0, seed)
    found = recalibrate(problem, crossfit, np.arange(N))
    assert found is crossfit


def test_few_rows_and_constant_scores_are_left_alone():
    problem, crossfit, _ = problem_of(lambda kind, score: 2 * kind)
    assert recalibrate(problem, crossfit, np.arange(N) // 5) is crossfit
    still = replace(crossfit, scores=np.zeros((N, 1)))
    assert recalibrate(problem, still, np.arange(N)) is still


def test_rows_without_a_picture_keep_a_score_of_zero():
    problem, crossfit, _ = problem_of(lambda kind, score: 2 * kind)
    present = np.ones(N, bool)
    present[:50] = False
    modalities = {
        name: replace(modality, present=present) for name, modality in problem.modalities.items()
    }
    scores = np.where(present[:, None], crossfit.scores, 0.0)
    found = recalibrate(
        replace(problem, modalities=modalities), replace(crossfit, scores=scores), np.arange(N)
    )
    assert (found.scores[:50] == 0).all() and found.curves[0] is not None


def test_beyond_the_last_scores_a_curve_goes_straight_on():
    curve = ScoreCurve(np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, 4.0]))
    assert_allclose(curve(np.array([-1.0, 0.5, 1.5, 4.0])), [-3.0, 1.5, 3.5, 6.0])
    assert np.isnan(curve(np.array([np.nan]))).all()
    assert [curve.slope(at) for at in (-1.0, 0.5, 1.5, 4.0)] == [3.0, 3.0, 1.0, 1.0]


def test_predictions_and_files_use_the_curve(tmp_path):
    rng = np.random.default_rng(1)
    n = 500
    kind = rng.integers(0, 2, n)
    features = (kind[:, None] + rng.normal(0, 0.5, (n, 3))).astype(np.float32)
    frame = pd.DataFrame({"x": rng.normal(size=n), "u": ss.TensorArray(features)})
    y = frame["x"] + 3 * kind + rng.normal(0, 0.5, n)
    model = ss.SemiStructuredRegressor(
        "x + own(u)", encoders={"own": frozen(3)}, progress=False, random_state=0
    ).fit(frame, y)
    assert model.fit_.deep.crossfit.curves[0] is not None
    members = model.fit_.deep.crossfit.members
    assert len(members) == 5
    straight = replace(model.fit_.deep.crossfit, curves=())
    plain = replace(model.fit_, deep=replace(model.fit_.deep, crossfit=straight))
    raw, curved = plain.scores(frame)[:, 0], model.fit_.scores(frame)[:, 0]
    assert_allclose(curved, model.fit_.deep.crossfit.curves[0](raw))
    assert np.corrcoef(kind, curved)[0, 1] > np.corrcoef(kind, raw)[0, 1] + 0.01
    path = tmp_path / "model.semistruct"
    model.save(path)
    again = ss.load(path, encoders={"own": frozen(3)})
    assert_allclose(again.predict(frame), model.predict(frame), rtol=0)
