"""The simulated cancer study is what it says it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.utils import concordance_index

from semistruct.datasets import simulate_omics, true_log_hazard
from semistruct.datasets.omics import _scores
from semistruct.exceptions import SpecificationError

SMALL = {"n_rna": 300, "n_methylation": 100}


@pytest.fixture(scope="module")
def frame():
    return simulate_omics(4000, **SMALL)


def test_columns_and_shapes(frame):
    assert frame["rna"].array.tensor_shape == (300,)
    assert frame["methylation"].array.element_dtype == np.float32
    assert set(frame["stage"].cat.categories) == {"I", "II", "III", "IV"}
    assert 0.4 < frame["event"].mean() < 0.7
    assert frame["time"].between(0, 9).all()
    default = simulate_omics()
    assert default.shape == (400, 7) and default["rna"].array.tensor_shape == (3000,)


def test_the_seed_decides(frame):
    again = simulate_omics(4000, **SMALL)
    pd.testing.assert_frame_equal(again.drop(columns=["rna"]), frame.drop(columns=["rna"]))
    np.testing.assert_array_equal(again["rna"].array.batch(), frame["rna"].array.batch())
    assert not simulate_omics(4000, **SMALL, random_state=1)["time"].equals(frame["time"])


def test_correlations_are_those_of_the_truth(frame):
    rna = frame["rna"].array.batch()
    within = np.corrcoef(rna[:, :50].T)[np.triu_indices(50, 1)].mean()
    assert within == pytest.approx(frame.attrs["truth"]["correlations"][0][0], abs=0.05)
    across = np.corrcoef(rna[:, :50].T, rna[:, 50:100].T)[:50, 50:]
    assert abs(across.mean()) < 0.03
    methylation = frame["methylation"].array.batch()
    assert np.corrcoef(rna[:, 0], methylation[:, 0])[0, 1] < -0.2  # shared, and opposite
    assert abs(np.corrcoef(rna[:, 100:150].mean(1), methylation[:, -25:].mean(1))[0, 1]) < 0.06


def test_scores_have_variance_one(frame):
    truth = frame.attrs["truth"]
    z = _scores(frame["rna"].array.batch(), np.asarray(truth["correlations"][0]))
    assert z.shape == (4000, 6)
    np.testing.assert_allclose(z.std(0), 1, atol=0.05)


def test_a_cox_model_of_the_true_terms_finds_the_truth(frame):
    truth = frame.attrs["truth"]
    z, w = (
        _scores(frame[name].array.batch(), np.asarray(rho))
        for name, rho in zip(("rna", "methylation"), truth["correlations"], strict=True)
    )
    table = (
        pd.DataFrame(z[:, :5])
        .add_prefix("z")
        .assign(last=w[:, -1], age=frame["age"], time=frame["time"], event=frame["event"])
    )
    dummies = pd.get_dummies(frame["stage"], drop_first=True, dtype=float)
    fit = CoxPHFitter().fit(table.join(dummies), "time", "event")
    expected = {"z0": 0.5, "z1": -0.5, "z2": 0.4, "z3": 0, "z4": 0, "last": 0.5, "age": 0.03}
    expected |= {"II": 0.3, "III": 0.6, "IV": 1.0}
    for name, value in expected.items():
        assert abs(fit.params_[name] - value) < 4 * fit.standard_errors_[name], name


def test_the_true_log_hazard_goes_with_any_selection_of_rows(frame):
    truth = true_log_hazard(frame)
    chosen = frame.iloc[[5, 2, 77]]
    pd.testing.assert_series_equal(true_log_hazard(chosen), truth.iloc[[5, 2, 77]])
    concordance = concordance_index(frame["time"], -truth, frame["event"])
    assert 0.7 < concordance < 0.85
    assert concordance_index(frame["time"], -frame["age"], frame["event"]) < concordance - 0.1


def test_stage_knows_the_first_module(frame):
    z = frame["rna"].array.batch()[:, :50].mean(1)
    assert np.corrcoef(z, frame["stage"].cat.codes)[0, 1] > 0.3


def test_the_curved_part_is_a_dial():
    plain = simulate_omics(2000, **SMALL)
    curved = simulate_omics(2000, **SMALL, nonlinear=1.0)
    extra = true_log_hazard(curved) - true_log_hazard(plain)
    assert 0.7 < extra.std() < 1.1 and abs(extra.mean()) < 0.1


@pytest.mark.parametrize("sizes", [{"n_rna": 249}, {"n_methylation": 49}])
def test_too_few_columns(sizes):
    with pytest.raises(SpecificationError, match="too small"):
        simulate_omics(10, **sizes)


def test_no_rows():
    assert len(simulate_omics(0, **SMALL)) == 0
