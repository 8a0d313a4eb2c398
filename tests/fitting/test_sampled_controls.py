"""Training on events beside sampled controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import semistruct as ss
from semistruct.fitting.sampled_controls import SampledControls
from semistruct.losses import cox_partial_likelihood


def follow_up(n=80, strata=2):
    rng = np.random.default_rng(0)
    entry = np.where(rng.random(n) < 0.3, rng.uniform(0, 0.2, n), -np.inf)
    time = 0.2 + rng.exponential(size=n)
    return np.column_stack([entry, time, rng.random(n) < 0.6, rng.integers(0, strata, n)])


def test_an_epoch_takes_every_event_once():
    y, rng = follow_up(), np.random.default_rng(1)
    sampler = SampledControls(3)
    n_events = int(y[:, 2].sum())
    assert sampler.size(y) == 4 * n_events
    steps = list(sampler.epoch(y, np.ones(len(y)), 20, rng))
    assert len(steps) == -(-n_events // 5)
    assert all(len(rows) <= 20 and (np.diff(rows) > 0).all() for rows, _ in steps)
    cases = np.concatenate([rows[y[rows, 2] > 0] for rows, _ in steps])
    assert set(cases) == set(np.flatnonzero(y[:, 2]))
    again = list(sampler.epoch(y, np.ones(len(y)), 20, rng))
    assert any(set(a) != set(b) for (a, _), (b, _) in zip(steps, again, strict=True))


def test_with_everybody_as_control_the_loss_is_the_partial_likelihood():
    y = follow_up()
    eta = torch.randn(len(y), 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ((rows, loss),) = SampledControls(200).epoch(
        y, np.ones(len(y)), 10**6, np.random.default_rng(0)
    )
    expected = cox_partial_likelihood(
        eta[:, 0], y[:, 1], y[:, 2], entry=y[:, 0], strata=y[:, 3], reduction="mean"
    )
    assert float(loss(eta[rows])) == pytest.approx(float(expected), rel=1e-12)


def test_rows_of_weight_zero_are_absent_and_other_weights_refused():
    y, weight = follow_up(), np.ones(80)
    weight[::4] = 0
    steps = SampledControls(2).epoch(y, weight, 32, np.random.default_rng(0))
    assert all((weight[rows] == 1).all() for rows, _ in steps)
    weight[1] = 2.0
    with pytest.raises(ss.UnsupportedCombinationError, match="case weights"):
        next(SampledControls(2).epoch(y, weight, 32, np.random.default_rng(0)))


def test_no_event_is_no_step():
    y = follow_up()
    y[:, 2] = 0
    assert not list(SampledControls(2).epoch(y, np.ones(80), 32, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"z{j}": rng.normal(size=300) for j in range(3)})
    time = rng.exponential(np.exp(-2 * np.sin(2 * frame["z0"])))
    limit = rng.exponential(2.0, 300)
    return frame, ss.Surv(np.minimum(time, limit), time <= limit)


def fitted(study, **options):
    settings = {"n_folds": 2, "n_repeats": 1, "max_epochs": 30, "learning_rate": 1e-2}
    model = ss.CoxPH("z1 + mlp(z0, z2)", random_state=0, progress=False, **(settings | options))
    return model.fit(*study)


def test_a_cox_model_learns_from_sampled_controls(study):
    table = ss.CoxPH("z1").fit(*study).score(*study)
    controls = fitted(study, risk_sets="controls", n_controls=4)
    assert controls.score(*study) > table + 0.1
    few = fitted(study, risk_sets="controls", n_controls=1)
    assert np.abs(few.predict(study[0]) - controls.predict(study[0])).max() > 1e-3
    again = fitted(study, risk_sets="controls", n_controls=4)
    np.testing.assert_array_equal(again.predict(study[0]), controls.predict(study[0]))


@pytest.mark.parametrize("wrong", [0, 2.5, "many"])
def test_a_wrong_number_of_controls(study, wrong):
    with pytest.raises(ss.SpecificationError, match="n_controls"):
        fitted(study, risk_sets="controls", n_controls=wrong)
