"""Training a network by stochastic gradients: what is written down, what is warned of."""

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
TRAIN, HELD_OUT = np.arange(90), np.arange(90, N)
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
    return GradientSolver(TrainingOptions(**options)).fit(problem, TRAIN, HELD_OUT, seed, report)


def best(course):
    """The member of the epoch that the held-out rows prefer."""
    return course.member(course.history.loc[course.history["held_out_loss"].idxmin(), "epoch"])


def last(course):
    return course.member(course.epochs[-1])


def held_out_loss(problem, score, rows=HELD_OUT):
    """Minus the mean log-likelihood with the score added to the structured predictor."""
    eta = problem.start.eta[rows].copy()
    eta[:, 0] += score
    y = torch.from_numpy(problem.structured.y[rows])
    return -float(problem.structured.family.contributions(torch.from_numpy(eta), y).mean())


def test_the_loss_falls(problem):
    course = train(problem, max_epochs=40, learning_rate=5e-3)
    history = course.history
    assert list(history) == ["epoch", "train_loss", "held_out_loss"]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[1] - 0.1
    assert history["held_out_loss"].min() < history["held_out_loss"].iloc[0] - 0.1
    score = predict_scores(best(course).net, problem.modalities, HELD_OUT)[:, 0]
    assert np.corrcoef(score, problem.structured.y[HELD_OUT])[0, 1] > 0.5


def test_training_starts_from_the_structured_model(problem):
    first = train(problem, max_epochs=1).history.iloc[0]
    assert first["epoch"] == 0 and np.isnan(first["train_loss"])
    assert first["held_out_loss"] == pytest.approx(held_out_loss(problem, 0.0), rel=1e-5)


def test_every_round_can_be_gone_back_to(problem):
    course = train(problem, max_epochs=60, learning_rate=0.05)
    assert list(course.epochs) == list(range(0, 61, 4)) and len(course.states) == 16
    for kept, epoch in enumerate(course.epochs):
        member = course.member(epoch)
        assert member.best_epoch == epoch
        again = predict_scores(member.net, problem.modalities, HELD_OUT)
        np.testing.assert_allclose(
            again, course.centred(kept), rtol=SAME_NUMBERS, atol=10 * SAME_NUMBERS
        )
        assert not any(parameter.requires_grad for parameter in member.net.parameters())
        assert not member.net.training
    assert course.member(7).best_epoch == 4


def test_scores_and_coefficients_of_a_round_make_its_loss(problem):
    course = train(problem, max_epochs=12, learning_rate=0.02)
    block = problem.structured.blocks[0]
    for at, loss in enumerate(course.history["held_out_loss"]):
        beta = course.beta[at][problem.start.slices[0]]
        eta = problem.start.eta[HELD_OUT].copy()
        eta[:, 0] = block.take(HELD_OUT).matvec(beta) + course.scores[at][:, 0]
        y = torch.from_numpy(problem.structured.y[HELD_OUT])
        mean = problem.structured.family.contributions(torch.from_numpy(eta), y).mean()
        assert -float(mean) == pytest.approx(loss, rel=1e-4)


def test_round_zero_is_the_structured_model(problem):
    course = train(problem, max_epochs=2)
    assert not course.scores[0].any()
    np.testing.assert_allclose(course.beta[0], problem.start.beta, rtol=1e-5)
    assert not predict_scores(course.member(0).net, problem.modalities, np.arange(N)).any()


def test_large_networks_are_looked_at_less_often(problem, monkeypatch):
    monkeypatch.setattr("semistruct.fitting.gradient._STATE_BYTES", 1)
    assert len(train(problem, max_epochs=60).states) == 1 + 4


def test_patience(problem):
    short = train(problem, max_epochs=60, learning_rate=0.1, patience=1)
    losses = short.history["held_out_loss"].to_numpy()
    assert short.history["epoch"].iloc[-1] < 60
    assert losses[-1] >= losses[:-1].min()


def test_the_full_batch(problem):
    member = train(problem, max_epochs=30, batch_size=N, learning_rate=1e-2)
    assert member.history["held_out_loss"].min() < member.history["held_out_loss"].iloc[0]
    other = train(problem, max_epochs=30, batch_size=16, learning_rate=1e-2)
    assert other.history["train_loss"].iloc[-1] != member.history["train_loss"].iloc[-1]


def test_the_seed_decides(problem):
    scores = [
        predict_scores(last(train(problem, seed, max_epochs=3)).net, problem.modalities, HELD_OUT)
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
        course = solver.fit(problem, TRAIN[:80], HELD_OUT[:20], seed, silent)
        found.append(predict_scores(last(course).net, problem.modalities, TRAIN))
    np.testing.assert_array_equal(*found)


def test_rows_of_weight_zero_do_not_count(frame):
    weight = np.ones(N)
    weight[::3] = 0.0
    odd = frame.assign(y=np.where(weight > 0, frame["y"], 50.0))
    found = []
    for table in (frame, odd):
        problem = make_deep_problem(table, [[cnn("scan")], []], sample_weight=weight)
        found.append(
            predict_scores(last(train(problem, max_epochs=3)).net, problem.modalities, HELD_OUT)
        )
    np.testing.assert_allclose(*found, rtol=SAME_NUMBERS, atol=SAME_NUMBERS)


class Explodes(nn.Module):
    def forward(self, x):
        return x.flatten(1) / 0.0 if self.training else x.flatten(1)


def test_divergence_is_warned_of_and_undone(frame):
    problem = make_deep_problem(frame, [[encoder("own", "scan")], []], encoders={"own": Explodes()})
    shares = []
    with pytest.warns(ss.ConvergenceWarning, match=r"diverged.*learning_rate"):
        course = train(problem, max_epochs=5, report=shares.append)
    assert list(course.epochs) == [0] and sum(shares) == pytest.approx(1.0)
    assert not predict_scores(course.member(5).net, problem.modalities, HELD_OUT).any()


@pytest.mark.parametrize("options", [{}, {"patience": 1, "learning_rate": 0.2}])
def test_progress_adds_up_to_one(problem, options):
    shares = []
    train(problem, report=shares.append, max_epochs=20, **options)
    assert sum(shares) == pytest.approx(1.0)


def test_a_scale_without_pictures_stays_as_fitted(frame):
    """Only predictors with a deep term are trained; others would follow the training rows."""
    problem = make_deep_problem(frame, [[cnn("scan")], [cnn("scan")]])
    course = train(problem, max_epochs=3)
    scores = predict_scores(last(course).net, problem.modalities, HELD_OUT)
    assert scores.shape == (len(HELD_OUT), 2) and (scores.std(axis=0) > 0).all()


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
    assert history["held_out_loss"].min() < history["held_out_loss"].iloc[0]


@pytest.mark.parametrize(
    "options", [{"max_epochs": 0}, {"batch_size": 1.5}, {"patience": -1}, {"learning_rate": -1.0}]
)
def test_options_are_checked(options):
    with pytest.raises(SpecificationError, match=next(iter(options))):
        TrainingOptions(**options)
