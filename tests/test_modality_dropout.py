"""Modality dropout: masks of whole inputs, in training only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import semistruct as ss
from semistruct.batch import Batch
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.modality_dropout import ModalityDropout, check_drop_rates
from semistruct.terms import DeepTerm
from tests._deep import frozen, make_deep_problem, picture_table

ROWS = 4000
# Three standard errors of a share of 4,000 rows.
SHARE = 0.024
PAIR = {"ct": "ct", "pet": "pet"}
QUICK = {"n_folds": 2, "n_repeats": 1, "max_epochs": 3, "gate": False, "progress": False}


def have(share: float, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(ROWS) < share)


@pytest.mark.parametrize(
    ("rates", "expected"), [(0.3, (0.3, 0.3)), ({"pet": 0.6}, (0.0, 0.6)), ({"ct": 0.1}, (0.1, 0))]
)
def test_shares_that_are_dropped(rates, expected):
    present = {"ct": have(0.8, 0), "pet": have(0.5, 1)}
    kept = ModalityDropout(PAIR, rates, 0).kept(present)
    for name, rate in zip(PAIR, expected, strict=True):
        assert not (kept[name] & ~present[name]).any()
        dropped = 1 - float(kept[name].sum() / present[name].sum())
        assert dropped == pytest.approx(rate, abs=2 * SHARE)
    if all(expected):  # independently of each other
        assert float((kept["ct"] & kept["pet"]).float().mean()) == pytest.approx(
            0.4 * 0.49, abs=SHARE
        )


def test_one_of_those_that_a_row_has():
    columns = {"a": "a", "b": "b", "c": "c"}
    present = {name: have(0.6, seed) for seed, name in enumerate(columns)}
    kept = ModalityDropout(columns, "one", 0).kept(present)
    before = torch.stack(list(present.values())).sum(0)
    after = torch.stack([kept[name] for name in columns]).sum(0)
    torch.testing.assert_close(after, torch.where(before > 1, before - 1, before))
    full = before == 3
    shares = [float((~kept[name])[full].float().mean()) for name in columns]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)  # 860 rows


def test_inputs_of_one_column_are_dropped_together():
    drop = ModalityDropout({"ct": "ct", "own(ct)": "ct", "pet": "pet"}, 0.5, 0)
    everyone = torch.ones(ROWS, dtype=torch.bool)
    kept = drop.kept(dict.fromkeys(drop.columns, everyone))
    assert torch.equal(kept["ct"], kept["own(ct)"]) and not torch.equal(kept["ct"], kept["pet"])


def test_outside_of_training_nothing_is_dropped():
    batch = Batch({"ct": torch.zeros(5, 1)}, {"ct": torch.ones(5, dtype=torch.bool)})
    drop = ModalityDropout({"ct": "ct"}, 0.9, 0)
    assert not drop(batch).present["ct"].all()
    assert drop.eval()(batch) is batch


@pytest.mark.parametrize("rates", [1.0, -0.1, "two", True, {"ct": 2}, [0.1]])
def test_rates_that_are_none(rates):
    with pytest.raises(SpecificationError, match="modality_dropout must be"):
        check_drop_rates(rates)


def test_refusals():
    frame = picture_table()
    with pytest.raises(SpecificationError, match=r"names 'sacn'.*'scan'"):
        fit(frame, "x + cnn(scan)", modality_dropout={"sacn": 0.1})
    with pytest.raises(SpecificationError, match="needs two; deep terms read 'scan'"):
        fit(frame, "x + cnn(scan)", modality_dropout="one")
    with pytest.raises(UnsupportedCombinationError, match="solved for at once"):
        fit(frame, "x + own(u)", modality_dropout=0.1, encoders={"own": frozen()})


def fit(frame: pd.DataFrame, formula: str, **options) -> ss.SemiStructuredRegressor:
    model = ss.SemiStructuredRegressor(formula, random_state=0, **{**QUICK, **options})
    return model.fit(frame, frame["y"])


def test_every_option_changes_the_answer():
    frame = picture_table()
    formula = "x + deep(scan, u, group, channels=(4,), latent_dim=4)"
    rates = [None, 0.2, {"scan": 0.2}, {"u": 0.2}, "one"]
    steps = {"max_epochs": 20, "learning_rate": 5e-3}
    found = [fit(frame, formula, modality_dropout=r, **steps).predict(frame) for r in rates]
    again = fit(frame, formula, modality_dropout=0.0, **steps).predict(frame)
    np.testing.assert_array_equal(found[0], again)
    for i in range(len(found)):
        for j in range(i):
            assert np.abs(found[i] - found[j]).max() > 1e-4


def test_what_is_dropped_is_absent_and_not_zero():
    """In training as in evaluation with the row's picture missing."""
    frame = picture_table()
    problem = make_deep_problem(
        frame, [[DeepTerm("cnn", ("scan",))], []], modality_dropout={"scan": 0.5}
    )
    net = problem.blueprint.make(
        problem.modalities, np.arange(len(frame)), problem.scale, np.random.SeedSequence(0)
    )
    with torch.no_grad():
        net.gammas[0].fill_(1.0)
        batch = Batch.read(problem.modalities, np.arange(len(frame)))
        scores = net.train().scores(batch)[:, 0]
        whole = net.eval().scores(batch)[:, 0]
    dropped = scores == 0
    assert 0.3 < float(dropped.float().mean()) < 0.7
    assert (whole != 0).all()


def test_the_exact_gradient_sees_the_same_masks_twice():
    """One full-cohort step equals a step on one batch of all rows."""
    frame = picture_table()
    time = np.exp(-frame["y"].to_numpy() / 4) + 0.01 * np.arange(len(frame))
    y = ss.Surv(time, np.ones(len(frame), dtype=bool))
    options = {**QUICK, "modality_dropout": 0.4, "random_state": 0, "max_epochs": 20}
    steps = {
        risk_sets: ss.CoxPH("x + cnn(scan)", risk_sets=risk_sets, batch_size=size, **options).fit(
            frame, y
        )
        for risk_sets, size in [("full", 16), ("batch", 1000)]
    }
    losses = [model.history_["train_loss"].dropna().to_numpy() for model in steps.values()]
    assert len(losses[0]) and np.ptp(losses[0]) > 0
    # Masks are drawn chunk by chunk, so that only their law is the same.
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.1)
