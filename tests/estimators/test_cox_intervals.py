"""Rows that are intervals of a subject's follow-up: pictures of their own, and shared ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from torch import nn

import semistruct as ss

QUICK = {"n_folds": 2, "n_repeats": 1, "max_epochs": 4, "progress": False, "random_state": 0}
N, PARTS = 60, 3


class Counting(nn.Module):
    """An encoder that counts the pictures it is given."""

    seen = 0

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    def forward(self, x):
        Counting.seen += len(x)
        return self.layers(x)


def study():
    """Subjects, and the same cut into intervals: tables and follow-up."""
    rng = np.random.default_rng(0)
    mark = rng.integers(0, 2, N)
    pictures = rng.integers(0, 60, (N, 1, 8, 8)).astype(np.uint8)
    pictures[mark == 1, :, 2:6, 2:6] += 150
    table = pd.DataFrame({"x": rng.normal(size=N), "ct": ss.ImageArray(pictures)})
    death = rng.exponential(np.exp(-0.7 * table["x"] - 1.5 * mark))
    censored = rng.exponential(2.0, N)
    time, event = np.minimum(death, censored), death <= censored
    cuts = np.sort(rng.uniform(0, time, (PARTS - 1, N)), axis=0)
    edges = np.vstack([np.zeros(N), cuts, time])
    rows = np.repeat(np.arange(N), PARTS)
    last = np.tile(np.arange(PARTS) == PARTS - 1, N)
    split = table.iloc[rows].reset_index(drop=True).assign(id=rows)
    y = ss.Surv(edges[1:].T.ravel(), event[rows] & last, edges[:-1].T.ravel(), rows)
    return table, ss.Surv(time, event), split, y


def counted(formula, table, y, **options):
    Counting.seen = 0
    model = ss.CoxPH(formula, encoders={"own": Counting()}, **QUICK, **options).fit(table, y)
    return Counting.seen, model


@pytest.mark.parametrize("risk_sets", ["batch", "full"])
def test_a_picture_of_all_rows_of_a_subject_is_encoded_once(risk_sets):
    table, whole_y, split, y = study()
    of_subjects, whole = counted("x + own(ct)", table, whole_y, risk_sets=risk_sets)
    of_rows, parts = counted("x + own(ct)", split, y, risk_sets=risk_sets)
    assert of_rows == of_subjects
    fit = parts.fit_
    assert len(fit.inputs) == N and len(fit.frame) == N * PARTS
    # Subjects are not divided among folds.
    assert (pd.Series(fit.deep.crossfit.fold).groupby(split["id"]).nunique() == 1).all()
    # Cutting follow-up changes no likelihood.
    assert_allclose(parts.params, whole.params, rtol=1e-8)


def test_cutting_follow_up_changes_next_to_nothing():
    table, whole_y, split, y = study()
    options = {**QUICK, "max_epochs": 30, "gate": False, "risk_sets": "full"}
    whole = ss.CoxPH("x + mlp(z, dropout=0.0)", **options)
    rng = np.random.default_rng(2)
    z = pd.Series(rng.normal(size=N))
    whole.fit(table.assign(z=z), whole_y)
    parts = ss.CoxPH("x + mlp(z, dropout=0.0)", **options)
    parts.fit(split.assign(z=z[split["id"]].to_numpy()), y)
    new = table.assign(z=rng.normal(size=N))
    # What is left is the pace of the table's coefficients in training, which is one per row.
    assert np.corrcoef(parts.predict(new), whole.predict(new))[0, 1] > 0.97


def test_cluster_in_the_formula_names_the_subjects_too():
    _, _, split, y = study()
    by_id, _ = counted("x + own(ct)", split, y)
    named, _ = counted("x + own(ct) + cluster(id)", split, ss.Surv(y.time, y.event, y.entry))
    unnamed, _ = counted("x + own(ct)", split, ss.Surv(y.time, y.event, y.entry))
    assert by_id == named < unnamed


def test_every_interval_may_have_a_picture_of_its_own():
    _, _, split, y = study()
    rng = np.random.default_rng(1)
    follow = rng.integers(0, 255, (N * PARTS, 1, 8, 8)).astype(np.uint8)
    once, _ = counted("x + own(ct)", split, y)
    each, model = counted("x + own(ct)", split.assign(ct=ss.ImageArray(follow)), y)
    assert each > 2 * once
    assert len(model.fit_.inputs) == N * PARTS
    # Two intervals with one picture, one with another.
    follow[1::PARTS] = follow[::PARTS]
    _, model = counted("x + own(ct)", split.assign(ct=ss.ImageArray(follow)), y)
    assert len(model.fit_.inputs) == N * (PARTS - 1)
    assert (pd.Series(model.fit_.deep.crossfit.fold).groupby(split["id"]).nunique() == 1).all()


def test_columns_that_a_network_reads_separate_the_intervals():
    _, _, split, y = study()
    split["age"] = np.arange(len(split)) / 10.0
    model = ss.CoxPH("x + deep(ct, age)", **QUICK).fit(split, y)
    assert len(model.fit_.inputs) == N * PARTS
    model = ss.CoxPH("x + deep(ct, x)", **QUICK).fit(split, y)
    assert len(model.fit_.inputs) == N


@pytest.mark.parametrize("risk_sets", ["batch", "controls"])
def test_batches_have_their_share_of_subjects_with_events(risk_sets):
    _, _, split, y = study()
    _, model = counted("x + own(ct)", split, y, batch_size=8, risk_sets=risk_sets)
    assert np.isfinite(model.history_["train_loss"].dropna()).all()
    assert np.isfinite(model.predict(split)).all()


def test_a_picture_that_is_lost_on_the_way():
    _, _, split, y = study()
    pictures = split["ct"].copy()
    pictures.iloc[[0, 4, 5]] = None  # the first of one subject, the later two of another
    holes = split.assign(ct=pictures)
    with pytest.warns(ss.DataWarning, match="'ct': 2 rows have no picture .* row 4 of subject 1"):
        ss.CoxPH("x + cnn(ct)", **QUICK).fit(holes, y)
    filled = holes.assign(ct=holes.groupby("id")["ct"].ffill())
    model = ss.CoxPH("x + cnn(ct)", **QUICK).fit(filled, y)
    assert np.isfinite(model.predict(filled)[1:]).all()
