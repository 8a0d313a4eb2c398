"""Training a network by stochastic gradients: what is kept, what is warned of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import semistruct as ss
from semistruct.exceptions import SpecificationError
from semistruct.fitting.gradient import GradientSolver
from semistruct.fitting.members import TrainingOptions
from semistruct.network import predict_scores
from semistruct.terms import cnn, encoder
from tests._deep import make_deep_problem, picture_table

SAME_NUMBERS = 1e-5  # float32 sums in another order

N = 120
TRAIN, STOP = np.arange(90), np.arange(90, N)
SEED = np.random.SeedSequence(1)


def silent(share):
    pass


@pytest.fixture(scope="module")
def frame():
    return picture_table(N)


@pytest.fixture(scope="module")
def problem(frame):
    return make_deep_problem(frame, [[cnn("scan")], []])


def train(problem, seed=SEED, report=silent, **options):
    # A SeedSequence remembers how often it has spawned.
    seed = np.random.SeedSequence(seed.entropy)
    return GradientSolver(TrainingOptions(**options)).fit(problem, TRAIN, STOP, seed, report)


def stop_loss(problem, score, rows=STOP):
    """Minus the mean log-likelihood with the score added to the structured predictor."""
    eta = problem.start.eta[rows].copy()
    eta[:, 0] += score
    y = torch.from_numpy(problem.structured.y[rows])
    return -float(problem.structured.family.contributions(torch.from_numpy(eta), y).mean())


def test_the_loss_falls(problem):
    member = train(problem, max_epochs=40, learning_rate=5e-3)
    history = member.history
    assert list(history) == ["epoch", "train_loss", "stop_loss"]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[1] - 0.1
    assert history["stop_loss"].min() < history["stop_loss"].iloc[0] - 0.1
    score = predict_scores(member.net, problem.modalities, STOP)[:, 0]
    assert np.corrcoef(score, problem.structured.y[STOP])[0, 1] > 0.5


def test_training_starts_from_the_structured_model(problem):
    first = train(problem, max_epochs=1).history.iloc[0]
    assert first["epoch"] == 0 and np.isnan(first["train_loss"])
    assert first["stop_loss"] == pytest.approx(stop_loss(problem, 0.0), rel=1e-5)


def test_the_best_weights_are_restored(problem):
    """The kept network is that of its best epoch, not of the last."""
    member = train(problem, max_epochs=60, learning_rate=0.05)
    history = member.history
    assert member.best_epoch == history.loc[history["stop_loss"].idxmin(), "epoch"]
    assert member.best_epoch < history["epoch"].iloc[-1]
    assert not any(parameter.requires_grad for parameter in member.net.parameters())
    assert not member.net.training
    # The member's own structured coefficients are forgotten, so only the order of losses is known.
    score = predict_scores(member.net, problem.modalities, STOP)[:, 0]
    assert stop_loss(problem, score - score.mean()) < stop_loss(problem, 0.0)


def test_epoch_zero_is_a_candidate(frame):
    """Where training makes nothing better, the scores are zero."""
    rng = np.random.default_rng(0)
    noise = frame.assign(y=rng.normal(size=N))
    noise.loc[STOP, "y"] *= 0.01
    problem = make_deep_problem(noise, [[cnn("scan")], []], "0")
    member = train(problem, max_epochs=20, learning_rate=0.05)
    assert member.best_epoch == 0
    assert not predict_scores(member.net, problem.modalities, np.arange(N)).any()


def test_patience(problem):
    short = train(problem, max_epochs=60, learning_rate=0.1, patience=1)
    losses = short.history["stop_loss"].to_numpy()
    assert short.history["epoch"].iloc[-1] < 60
    assert losses[-1] >= losses[:-1].min()


def test_the_full_batch(problem):
    member = train(problem, max_epochs=30, batch_size=N, learning_rate=1e-2)
    assert member.history["stop_loss"].min() < member.history["stop_loss"].iloc[0]
    other = train(problem, max_epochs=30, batch_size=16, learning_rate=1e-2)
    assert other.history["train_loss"].iloc[-1] != member.history["train_loss"].iloc[-1]


def test_the_seed_decides(problem):
    scores = [
        predict_scores(train(problem, seed, max_epochs=3).net, problem.modalities, STOP)
        for seed in (SEED, SEED, np.random.SeedSequence(2))
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.abs(scores[0] - scores[2]).max() > 0


def test_rows_of_no_part_are_not_read(frame):
    """Neither the response nor the picture of a row outside train and stop matters."""
    odd = frame.copy()
    rng = np.random.default_rng(3)
    scans = frame["scan"].array.batch().copy()
    scans[110:] = rng.integers(0, 255, (10, 1, 6, 6))
    odd["scan"] = ss.ImageArray(scans)
    found = []
    for table in (frame, odd):
        problem = make_deep_problem(table, [[cnn("scan")], []])
        solver = GradientSolver(TrainingOptions(max_epochs=3))
        seed = np.random.SeedSequence(1)
        net = solver.fit(problem, TRAIN[:80], STOP[:20], seed, silent).net
        found.append(predict_scores(net, problem.modalities, TRAIN))
    np.testing.assert_array_equal(*found)


def test_rows_of_weight_zero_do_not_count(frame):
    weight = np.ones(N)
    weight[::3] = 0.0
    odd = frame.assign(y=np.where(weight > 0, frame["y"], 50.0))
    found = []
    for table in (frame, odd):
        problem = make_deep_problem(table, [[cnn("scan")], []], sample_weight=weight)
        found.append(predict_scores(train(problem, max_epochs=3).net, problem.modalities, STOP))
    np.testing.assert_allclose(*found, rtol=SAME_NUMBERS, atol=SAME_NUMBERS)


class Explodes(nn.Module):
    def forward(self, x):
        return x.flatten(1) / 0.0 if self.training else x.flatten(1)


def test_divergence_is_warned_of_and_undone(frame):
    problem = make_deep_problem(frame, [[encoder("own", "scan")], []], encoders={"own": Explodes()})
    shares = []
    with pytest.warns(ss.ConvergenceWarning, match=r"diverged.*learning_rate"):
        member = train(problem, max_epochs=5, report=shares.append)
    assert member.best_epoch == 0 and sum(shares) == pytest.approx(1.0)
    assert not predict_scores(member.net, problem.modalities, STOP).any()


@pytest.mark.parametrize("options", [{}, {"patience": 1, "learning_rate": 0.2}])
def test_progress_adds_up_to_one(problem, options):
    shares = []
    train(problem, report=shares.append, max_epochs=20, **options)
    assert sum(shares) == pytest.approx(1.0)


def test_a_scale_without_pictures_stays_as_fitted(frame):
    """Only predictors with a deep term are trained; others would follow the training rows."""
    problem = make_deep_problem(frame, [[cnn("scan")], [cnn("scan")]])
    member = train(problem, max_epochs=3)
    scores = predict_scores(member.net, problem.modalities, STOP)
    assert scores.shape == (len(STOP), 2) and (scores.std(axis=0) > 0).all()


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "gamma"])
def test_other_likelihoods(frame, family):
    rng = np.random.default_rng(2)
    rate = np.exp(0.5 * (frame["y"] - frame["y"].mean()))
    y = {
        "poisson": rng.poisson(rate).astype(float),
        "bernoulli": (frame["y"] > frame["y"].median()).astype(float),
        "gamma": rng.gamma(3.0, rate),
    }[family]
    problem = make_deep_problem(
        frame.assign(y=y), [[cnn("scan")], *[[]] * (family == "gamma")], family=family
    )
    history = train(problem, max_epochs=20, learning_rate=5e-3).history
    assert history["stop_loss"].min() < history["stop_loss"].iloc[0]


@pytest.mark.parametrize(
    "options", [{"max_epochs": 0}, {"batch_size": 1.5}, {"patience": -1}, {"learning_rate": -1.0}]
)
def test_options_are_checked(options):
    with pytest.raises(SpecificationError, match=next(iter(options))):
        TrainingOptions(**options)
