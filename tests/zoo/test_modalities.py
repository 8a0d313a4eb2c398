"""What the objectives of the features do on held-out rows, and what absence does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import semistruct as ss
from semistruct import zoo
from semistruct.network import predict_scores
from tests._zoo import CASES, QUICK, SMALL, fitted

EXACT = 1e-12  # an absent modality takes no part in any sum


def course(table, name):
    """The first and the last value of an objective on held-out rows, means over networks."""
    column = table.dropna(subset=[name]).groupby("member")[name]
    return column.first().mean(), column.last().mean()


def test_canonical_correlation_of_held_out_views_rises_in_deep_corr_surv():
    history = fitted("deep_corr_surv").pretraining_history_
    before, after = course(history, "held_out_canonical_correlation")
    assert after < before - 0.1  # minus the sum of the correlations


def test_cross_reconstruction_of_held_out_rows_falls_in_cross_ae():
    history = fitted("cross_ae").history_
    name = next(
        column for column in history if column.startswith("held_out_") and "cross" in column
    )
    before, after = course(history, name)
    assert after < 0.95 * before


def test_reconstruction_of_held_out_rows_falls_in_concat_ae():
    before, after = course(fitted("concat_ae").history_, "held_out_reconstruction")
    assert after < 0.95 * before
    assert "fusion='concat'" in repr(fitted("concat_ae").formula)


def test_features_of_a_patient_become_similar_in_cheerla_gevaert():
    before, after = course(fitted("cheerla_gevaert").history_, "held_out_similarity")
    assert after < before


@pytest.mark.parametrize("name", ["cheerla_gevaert", "cross_ae"])
def test_an_absent_modality_changes_nothing(name):
    """Not the mean of the others, whatever numbers stand behind the mask."""
    _, _, test, _ = CASES[name].halves()
    model = fitted(name)
    net = model.fit_.deep.crossfit.members[0].net
    modalities = model.fit_.blueprint.read(test[:6])
    absent = replace(modalities["rna"], present=np.zeros(6, bool))
    noise = replace(absent, values=absent.batch(np.arange(6)).numpy() + 100)
    scores = [
        predict_scores(net, {**modalities, "rna": one}, np.arange(6)) for one in (absent, noise)
    ]
    assert scores[0].std() > 0
    np.testing.assert_allclose(scores[1], scores[0], rtol=EXACT)
    both = predict_scores(net, modalities, np.arange(6))
    assert np.abs(both - scores[0]).max() > 1e-3


def test_the_proxy_helps_where_responses_are_few():
    frame, _ = CASES["jean_transfer"].study()
    rng = np.random.default_rng(0)
    y = 2.0 * (frame["light"] == "bright") + rng.normal(0, 1.5, len(frame))
    train, test = slice(0, 60), slice(60, None)
    options = {**QUICK, "max_epochs": 5, "gate": False, "learning_rate": 3e-3, "n_folds": 3}
    score = {}
    for proxy in (True, False):
        chosen = {} if proxy else {"pretraining": None}
        model = zoo.jean_transfer("street", proxy="light", network=SMALL, **options, **chosen)
        score[proxy] = model.fit(frame[train], y[train]).score(frame[test], y[test])
    assert score[True] > score[False] + 0.02


def test_objectives_may_be_replaced():
    model = zoo.concat_ae("ct", "rna", auxiliary=None, pretraining=ss.objectives.Reconstruction())
    assert model.auxiliary is None and model.pretraining == ss.objectives.Reconstruction()
