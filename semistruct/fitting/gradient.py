"""Training a member by stochastic gradients, jointly with structured coefficients of its own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from semistruct.exceptions import ConvergenceWarning
from semistruct.fitting.joint_model import JointLoss, JointModel
from semistruct.fitting.members import Course, DeepProblem, MemberSolver, TrainingOptions
from semistruct.fitting.pretraining import pretrain
from semistruct.fitting.schedule import default_batch_size, one_cycle
from semistruct.network import SemiStructuredNet
from semistruct.objectives.weighted_sum import Mean, make_objectives

__all__ = ["GradientSolver"]

_STEPS, _LEAST_STEPS = 1200, 300
_EPOCHS, _LEAST_EPOCHS = 60, 15
_ROUND_STEPS = 10  # the held-out rows are looked at no more often than this
_ROUNDS, _LEAST_ROUNDS = 15, 4
_STATE_BYTES = 2**28  # of all rounds of a network
_GRADIENT_NORM = 5.0
_AVERAGE = 0.96  # of the weights, per step: what is written down
_STRUCTURED_RATE = 3.0  # levels must keep up with latent features whose mean is not zero


@dataclass(frozen=True)
class GradientSolver(MemberSolver):
    """AdamW on mini-batches with a one-cycle rate, and the state after every round.

    The structured coefficients of predictors with a deep term are trained along, in coordinates in
    which their penalised information is the identity, so that one learning rate fits all of them;
    they start from the structured fit, and the deep scores from zero. The other predictors stay as
    they were fitted: a scale that shrank with the training residuals would make the network
    over-confident, and would be held against it on rows it did not see.

    Auxiliary objectives are added to the loss of every step, computed from the same pass through
    the network; objectives of pre-training are minimised before, see
    :func:`~semistruct.fitting.pretraining.pretrain`.

    What is written down after a round is an exponential moving average of the weights, since with
    few rows single iterates differ more by luck than by skill.

    References
    ----------
    Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization. ICLR. Polyak, B. T.
    and Juditsky, A. B. (1992). Acceleration of stochastic approximation by averaging. SIAM Journal
    on Control and Optimization 30.
    """

    options: TrainingOptions = field(default_factory=TrainingOptions)

    def untrained(
        self, problem: DeepProblem, train: np.ndarray, random_state: np.random.SeedSequence
    ) -> SemiStructuredNet:
        (seed,) = random_state.spawn(1)
        units = problem.units(train)
        return problem.blueprint.make(problem.modalities, units, problem.scale, seed)

    def fit(
        self,
        problem: DeepProblem,
        train: np.ndarray,
        held_out: np.ndarray,
        random_state: np.random.SeedSequence,
        report: Callable[[float], None],
    ) -> Course:
        options = self.options
        device = torch.device(options.device)
        net = self.untrained(problem, train, random_state).to(device)
        order_seed, before_seed, aside_seed = random_state.spawn(3)
        train, held_out = problem.units(train), problem.units(held_out)
        for bound in (*problem.pretraining, *problem.auxiliary):
            bound.check_rows(problem.modalities, train, options.batch_size)
        before = pretrain(problem, net, train, held_out, options, before_seed)
        auxiliary = make_objectives(
            problem.auxiliary, problem.modalities, train, aside_seed, before.losses
        ).to(device)
        model = JointModel(problem, net, device, auxiliary)
        rng = np.random.default_rng(order_seed)
        log = _Log(model, held_out, before.history)
        steps = _Steps.of(model, train, options, rng)
        good = max((bound.good_batch for bound in problem.auxiliary), default=0)
        plan = _Plan.draw(steps.size, options, log.state_bytes, good)
        beside = list(auxiliary.parameters())
        optimiser = torch.optim.AdamW(
            [
                {"params": list(net.parameters()), "weight_decay": options.weight_decay},
                {
                    "params": [b for b in model.b if b.requires_grad],
                    "weight_decay": 0.0,
                    "lr": _STRUCTURED_RATE * options.learning_rate,
                },
                *([{"params": beside, "weight_decay": 0.0}] if beside else []),
            ],
            lr=options.learning_rate,
            fused=True,  # a sixth of a step of a small network is the optimiser's loop otherwise
        )
        average = _Average([*net.parameters(), *model.b, *beside])
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, plan.rate)
        log.enter(0, math.nan)
        for number in range(1, plan.n_rounds + 1):
            total, count, objectives = 0.0, 0, Mean(len(auxiliary))
            net.train()
            auxiliary.train()
            for _ in range(plan.epochs_per_round):
                for backward in steps.epoch(plan.batch_size):
                    optimiser.zero_grad(set_to_none=True)
                    loss = backward()
                    nn.utils.clip_grad_norm_([*net.parameters(), *beside], _GRADIENT_NORM)
                    optimiser.step()
                    schedule.step()
                    average.update()
                    total, count = total + float(loss.fit), count + 1
                    objectives.add(loss.aside)
            epoch = number * plan.epochs_per_round
            if not math.isfinite(total):
                warnings.warn(
                    f"training diverged in epoch {epoch}; the weights of epoch {log.last_epoch} "
                    f"are the last usable ones. Lower learning_rate (now "
                    f"{options.learning_rate}).",
                    ConvergenceWarning,
                    stacklevel=2,
                )
                report((plan.n_rounds - number + 1) / plan.n_rounds)
                break
            with average.in_place():
                log.enter(epoch, total / count, objectives)
            stopped = log.rounds_since_best >= plan.patience
            report((plan.n_rounds - number + 1) / plan.n_rounds if stopped else 1 / plan.n_rounds)
            if stopped:
                break
        return log.course()


class _Log:
    """What is written down after every round: states, coefficients, scores of held-out units."""

    def __init__(self, model: JointModel, held_out: np.ndarray, before: pd.DataFrame) -> None:
        self.model, self.held_out, self.before = model, held_out, before
        net = model.net
        frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
        self.names = [name for name in net.state_dict() if name not in frozen]
        self.rounds: list[tuple[float, ...]] = []
        self.states: list[dict[str, Tensor]] = []
        self.scores: list[np.ndarray] = []
        self.beta: list[np.ndarray] = []

    @property
    def state_bytes(self) -> int:
        """Size of what is kept of a round."""
        state = self.model.net.state_dict()
        return sum(state[name].numel() * state[name].element_size() for name in self.names)

    @property
    def last_epoch(self) -> int:
        return int(self.rounds[-1][0])

    @property
    def rounds_since_best(self) -> int:
        losses = [entry[2] for entry in self.rounds]
        return len(losses) - 1 - int(np.argmin(losses))

    def enter(self, epoch: int, train_loss: float, objectives: Mean | None = None) -> None:
        """Write down the present state."""
        found = self.model.judged(self.held_out)
        state = self.model.net.state_dict()
        aside = np.full(len(self.model.auxiliary), np.nan)
        if objectives is not None:
            aside = objectives.value
        both = np.column_stack([aside, found.aside]).ravel()
        self.rounds.append((epoch, train_loss, found.loss, *both))
        self.states.append({name: state[name].detach().to("cpu", copy=True) for name in self.names})
        self.scores.append(found.scores)
        self.beta.append(self.model.beta())

    def course(self) -> Course:
        """All that was written down."""
        columns = ["epoch", "train_loss", "held_out_loss", *self.model.auxiliary.columns]
        return Course(
            self.model.net.cpu(),
            pd.DataFrame(self.rounds, columns=columns).astype({"epoch": int}),
            tuple(self.states),
            np.stack(self.scores),
            np.stack(self.beta),
            self.model.problem.levelled(self.held_out),
            self.before,
        )


@dataclass(frozen=True)
class _Plan:
    """Number of rounds, epochs and steps, and the learning rate along the steps."""

    batch_size: int
    n_rounds: int
    epochs_per_round: int
    n_steps: int
    patience: int

    @classmethod
    def draw(cls, n: int, options: TrainingOptions, state_bytes: int, good_batch: int = 0) -> _Plan:
        batch_size = options.batch_size or max(default_batch_size(n), good_batch)
        steps_per_epoch = 1 if options.full_cohort else math.ceil(n / batch_size)
        epochs = options.max_epochs or max(
            _LEAST_EPOCHS,
            math.ceil(_LEAST_STEPS / steps_per_epoch),
            min(_EPOCHS, math.ceil(_STEPS / steps_per_epoch)),
        )
        most = min(_ROUNDS, max(_LEAST_ROUNDS, _STATE_BYTES // max(1, state_bytes)))
        epochs_per_round = max(1, _ROUND_STEPS // steps_per_epoch, math.ceil(epochs / most))
        epochs_per_round = min(epochs, epochs_per_round)
        n_rounds = epochs // epochs_per_round
        patience = options.patience or n_rounds
        return cls(
            batch_size,
            n_rounds,
            epochs_per_round,
            n_rounds * epochs_per_round * steps_per_epoch,
            patience,
        )

    def rate(self, step: int) -> float:
        """Factor of the learning rate."""
        return one_cycle(step, self.n_steps)


@dataclass(frozen=True)
class _Steps:
    """The steps of an epoch: each adds the gradient of its loss, and returns it."""

    model: JointModel
    units: np.ndarray
    options: TrainingOptions
    rng: np.random.Generator
    rows: np.ndarray
    size: int

    @classmethod
    def of(
        cls,
        model: JointModel,
        units: np.ndarray,
        options: TrainingOptions,
        rng: np.random.Generator,
    ) -> _Steps:
        rows, _ = model.problem.rows_of(units)
        y = model.problem.structured.y[rows]
        size = len(units) if options.sampler is None else options.sampler.size(y)
        return cls(model, units, options, rng, rows, size)

    def epoch(self, batch_size: int) -> Iterator[Callable[[], JointLoss]]:
        """All steps, in a random order."""
        model, sampler = self.model, self.options.sampler
        if sampler is not None:
            structured = model.problem.structured
            y, weight = structured.y[self.rows], structured.sample_weight[self.rows]
            for at, loss in sampler.epoch(y, weight, batch_size, self.rng):
                yield partial(_backward, partial(model.loss_of, self.rows[at], loss))
            return
        order = model.shuffled(self.units, self.rng)
        batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
        if self.options.full_cohort:
            yield partial(model.backward_in_parts, batches)
            return
        for batch in batches:
            yield partial(_backward, partial(model.loss, batch))


def _backward(loss: Callable[[], JointLoss]) -> JointLoss:
    return loss().backward()


class _Average:
    """Exponential moving average of trained weights, without the weight of their start."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self._weights = [p for p in weights if p.requires_grad]
        self._sum = [torch.zeros_like(p) for p in self._weights]
        self._share = 0.0

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights in."""
        torch._foreach_mul_(self._sum, _AVERAGE)
        torch._foreach_add_(self._sum, self._weights, alpha=1 - _AVERAGE)
        self._share = _AVERAGE * self._share + (1 - _AVERAGE)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Averaged weights, for as long as the context lasts."""
        present = [p.detach().clone() for p in self._weights]
        with torch.no_grad():
            for p, total in zip(self._weights, self._sum, strict=True):
                p.copy_(total / self._share)
        yield
        with torch.no_grad():
            for p, value in zip(self._weights, present, strict=True):
                p.copy_(value)
