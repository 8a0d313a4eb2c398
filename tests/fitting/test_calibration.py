"""The gate: signal is kept with its slope, noise is dropped."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semistruct.fitting.calibration import calibrate
from semistruct.fitting.structured import fit_structured
from tests._fits import make_problem

N = 400
FOLD = np.arange(N) % 5


def calibrated(y, scores, frame, **options):
    problem = make_problem("x", frame, y, "normal")
    settings = {
        "raw": scores,
        "rows": np.arange(N),
        "fold": FOLD,
        "groups": np.arange(N),
    }
    return calibrate(
        problem, fit_structured(problem), scores, [0] * scores.shape[1], **(settings | options)
    )


@pytest.fixture
def data():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=N)})
    signal = rng.normal(size=N)
    y = frame["x"].to_numpy() + signal + rng.normal(size=N)
    assert y.std() > 0
    return frame, signal, y, rng


def test_a_signal_keeps_its_slope(data):
    frame, signal, y, _ = data
    found = calibrated(y, signal[:, None] * 2.0, frame)
    assert found.gamma[0] == pytest.approx(0.5, abs=0.06)
    row = found.table.iloc[0]
    assert row["kept"] and row["gain"] > row["se"] > 0


def test_noise_is_dropped_and_never_turned_round(data):
    frame, signal, y, rng = data
    kept = 0
    for _ in range(40):
        found = calibrated(y, rng.normal(size=(N, 1)), frame)
        assert found.gamma[0] >= 0
        kept += int(found.gamma[0] > 0)
    # An out-of-fold gain happens to noise in about a sixth of data sets.
    assert kept <= 8
    assert calibrated(y, -signal[:, None], frame).gamma[0] == 0


def test_of_two_slots_the_useless_one_goes(data):
    frame, signal, y, _ = data
    useless = np.zeros(12)
    for seed in range(12):
        noise = np.random.default_rng(100 + seed).normal(size=N)
        found = calibrated(y, np.column_stack([noise, signal]), frame)
        useless[seed] = found.gamma[0]
        assert found.gamma[1] == pytest.approx(1.0, abs=0.12)
    assert (useless == 0).sum() >= 8
    assert useless.mean() < 0.03


def test_without_the_gate_slopes_are_kept_but_not_below_zero(data):
    frame, signal, y, _ = data
    weak = signal[:, None] * 0.05 + np.random.default_rng(3).normal(size=(N, 1))
    ungated = calibrated(y, weak, frame, gate=False)
    assert ungated.gamma[0] == calibrated(y, weak, frame, gate=False).gamma[0] >= 0
    assert calibrated(y, -signal[:, None], frame, gate=False).gamma[0] == 0


def test_networks_that_stayed_at_their_start_have_no_slope(data):
    frame, signal, y, _ = data
    raw = np.where(FOLD == 0, signal, 0.0)[:, None]
    found = calibrated(y, raw - 0.1 * frame[["x"]].to_numpy(), frame, raw=raw, fold=(FOLD > 0) * 1)
    assert np.isfinite(found.gamma).all()
    assert calibrated(y, np.zeros((N, 1)), frame).gamma[0] == 0
