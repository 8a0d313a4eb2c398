"""Training a member by stochastic gradients, jointly with structured coefficients of its own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from scipy.linalg import solve_triangular
from torch import Tensor, nn

from semistruct.exceptions import ConvergenceWarning
from semistruct.fitting.members import Course, DeepProblem, MemberSolver, TrainingOptions
from semistruct.fitting.two_pass import two_pass_backward
from semistruct.network import Batch, SemiStructuredNet
from semistruct.terms.base import DesignBlock

__all__ = ["GradientSolver"]

_STEPS, _LEAST_STEPS = 1200, 300
_EPOCHS, _LEAST_EPOCHS = 60, 15
_ROUND_STEPS = 10  # the held-out rows are looked at no more often than this
_ROUNDS, _LEAST_ROUNDS = 15, 4
_STATE_BYTES = 2**28  # of all rounds of a network
_DENSE_FLOATS = 5 * 10**7
_CHUNK = 256  # units scored at a time
_GRADIENT_NORM = 5.0
_WARM_UP = 0.1
_AVERAGE = 0.96  # of the weights, per step: what is written down
_STRUCTURED_RATE = 3.0  # levels must keep up with latent features whose mean is not zero
_EIGENVALUE_FLOOR = 1e-8  # of the information with unit diagonal


@dataclass(frozen=True)
class GradientSolver(MemberSolver):
    """AdamW on mini-batches with a one-cycle rate, and the state after every round.

    The structured coefficients of predictors with a deep term are trained along, in coordinates in
    which their penalised information is the identity, so that one learning rate fits all of them;
    they start from the structured fit, and the deep scores from zero. The other predictors stay as
    they were fitted: a scale that shrank with the training residuals would make the network
    over-confident, and would be held against it on rows it did not see.

    What is written down after a round is an exponential moving average of the weights, since with
    few rows single iterates differ more by luck than by skill.

    References
    ----------
    Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization. ICLR. Polyak, B. T.
    and Juditsky, A. B. (1992). Acceleration of stochastic approximation by averaging. SIAM Journal
    on Control and Optimization 30.
    """

    options: TrainingOptions = field(default_factory=TrainingOptions)

    def fit(
        self,
        problem: DeepProblem,
        train: np.ndarray,
        held_out: np.ndarray,
        random_state: np.random.SeedSequence,
        report: Callable[[float], None],
    ) -> Course:
        options = self.options
        net_seed, order_seed = random_state.spawn(2)
        device = torch.device(options.device)
        train, held_out = problem.units(train), problem.units(held_out)
        net = problem.blueprint.make(problem.modalities, train, problem.scale, net_seed).to(device)
        model = _JointModel(problem, net, device)
        rng = np.random.default_rng(order_seed)
        log = _Log(model, held_out)
        plan = _Plan.draw(len(train), options, log.state_bytes)
        optimiser = torch.optim.AdamW(
            [
                {"params": list(net.parameters()), "weight_decay": options.weight_decay},
                {
                    "params": [b for b in model.b if b.requires_grad],
                    "weight_decay": 0.0,
                    "lr": _STRUCTURED_RATE * options.learning_rate,
                },
            ],
            lr=options.learning_rate,
        )
        average = _Average([*net.parameters(), *model.b])
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, plan.rate)
        log.enter(0, math.nan)
        for number in range(1, plan.n_rounds + 1):
            total, count = 0.0, 0
            net.train()
            for _ in range(plan.epochs_per_round):
                order = model.shuffled(train, rng)
                for rows in [order] if options.full_cohort else plan.batches(order):
                    optimiser.zero_grad(set_to_none=True)
                    if options.full_cohort:
                        loss = model.backward_in_parts(plan.batches(rows))
                    else:
                        loss = model.loss(rows)
                        loss.backward()
                    nn.utils.clip_grad_norm_(net.parameters(), _GRADIENT_NORM)
                    optimiser.step()
                    schedule.step()
                    average.update()
                    total, count = total + float(loss.detach()), count + 1
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
                log.enter(epoch, total / count)
            stopped = log.rounds_since_best >= plan.patience
            report((plan.n_rounds - number + 1) / plan.n_rounds if stopped else 1 / plan.n_rounds)
            if stopped:
                break
        return log.course()


class _Log:
    """What is written down after every round: states, coefficients, scores of held-out units."""

    def __init__(self, model: _JointModel, held_out: np.ndarray) -> None:
        self.model, self.held_out = model, held_out
        net = model.net
        frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
        self.names = [name for name in net.state_dict() if name not in frozen]
        self.rounds: list[tuple[int, float, float]] = []
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
        return self.rounds[-1][0]

    @property
    def rounds_since_best(self) -> int:
        losses = [loss for _, _, loss in self.rounds]
        return len(losses) - 1 - int(np.argmin(losses))

    def enter(self, epoch: int, train_loss: float) -> None:
        """Write down the present state."""
        scores, loss = self.model.judged(self.held_out)
        state = self.model.net.state_dict()
        self.rounds.append((epoch, train_loss, loss))
        self.states.append({name: state[name].detach().to("cpu", copy=True) for name in self.names})
        self.scores.append(scores)
        self.beta.append(self.model.beta())

    def course(self) -> Course:
        """All that was written down."""
        return Course(
            self.model.net.cpu(),
            pd.DataFrame(self.rounds, columns=["epoch", "train_loss", "held_out_loss"]),
            tuple(self.states),
            np.stack(self.scores),
            np.stack(self.beta),
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
    def draw(cls, n: int, options: TrainingOptions, state_bytes: int) -> _Plan:
        batch_size = options.batch_size or int(min(256, max(32, 2 ** round(math.log2(n / 16)))))
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

    def batches(self, order: np.ndarray) -> list[np.ndarray]:
        """The rows in this order, ``batch_size`` at a time."""
        return [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]

    def rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to one hundredth."""
        warm_up = max(1, round(_WARM_UP * self.n_steps))
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, self.n_steps - warm_up)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


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


class _JointModel:
    """Penalised likelihood of a network and structured coefficients ``b`` in white coordinates."""

    def __init__(self, problem: DeepProblem, net: SemiStructuredNet, device: torch.device) -> None:
        structured = problem.structured
        self.problem, self.net, self.device = problem, net, device
        self.family = structured.family
        self.dtype = torch.get_default_dtype()
        # Follow-up times keep all their digits: rounding could tie them.
        digits = self.dtype if self.family.separable else torch.float64
        self.y = torch.as_tensor(structured.y, dtype=digits, device=device)
        self.strata = self.family.batch_strata(structured.y)
        self.offset = self._tensor(structured.offset)
        self.weight = self._tensor(structured.sample_weight)
        weights = problem.row_weights
        self.row_weights = None if weights is None else self._tensor(weights)
        self.white = _white_designs(problem)
        trained = {slot.param for slot in problem.blueprint.slots}
        self.b = [
            nn.Parameter(self._tensor(white.start), requires_grad=k in trained)
            for k, white in enumerate(self.white)
        ]
        self.penalty = [self._tensor(white.penalty) for white in self.white]
        self.slots = [(t, slot.param) for t, slot in enumerate(problem.blueprint.slots)]

    def eta(self, units: np.ndarray) -> Tensor:
        """Predictors of all rows of the units, one unit after the other."""
        return self._predictors(units, self._scores(units))

    def _scores(self, units: np.ndarray) -> Tensor:
        return self.net.scores(Batch.read(self.problem.modalities, units, self.device))

    def _predictors(self, units: np.ndarray, scores: Tensor) -> Tensor:
        rows, place = self.problem.rows_of(units)
        if place is not None:
            scores = scores[torch.from_numpy(place).to(self.device)]
        if self.row_weights is not None:
            scores = scores * self.row_weights[rows]
        columns = [
            self._tensor(white.rows(rows)) @ b for white, b in zip(self.white, self.b, strict=True)
        ]
        for t, k in self.slots:
            columns[k] = columns[k] + scores[:, t]
        return torch.stack(columns, dim=1) + self.offset[rows]

    def shuffled(self, units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The units in an order whose every stretch has its share of every batch stratum."""
        order = rng.permutation(units)
        if self.strata is None:
            return order
        codes = self.strata[order]
        place = np.empty(len(order))
        for code in np.unique(codes):
            members = np.flatnonzero(codes == code)
            place[members] = (np.arange(len(members)) + rng.random()) / len(members)
        return order[np.argsort(place, kind="stable")]

    def loss(self, units: np.ndarray) -> Tensor:
        """Minus the penalised log-likelihood per unit of weight, estimated from some units."""
        return self._fit(self.eta(units), units) + self.penalties()

    def _fit(self, eta: Tensor, units: np.ndarray) -> Tensor:
        rows, _ = self.problem.rows_of(units)
        return self.family.batch_loss(eta, self.y[rows], self.weight[rows])

    def backward_in_parts(self, chunks: list[np.ndarray]) -> Tensor:
        """Back-propagate :meth:`loss` of all chunks together, holding the graph of one of them."""
        units = np.concatenate(chunks)
        fit = two_pass_backward(
            self.net,
            self.eta,
            lambda eta: self._fit(eta, units),
            chunks,
            self.device,
        )
        penalties = self.penalties()
        if penalties.requires_grad:
            penalties.backward()
        return fit + penalties.detach()

    def penalties(self) -> Tensor:
        """Half the quadratic forms of the structured coefficients."""
        return sum(
            (0.5 * (b @ M @ b) for b, M in zip(self.b, self.penalty, strict=True)),
            start=torch.zeros((), device=self.device),
        )

    @torch.no_grad()
    def judged(self, units: np.ndarray) -> tuple[np.ndarray, float]:
        """Scores ``(u, T)`` of units and minus their mean log-likelihood, in evaluation mode."""
        self.net.eval()
        parts = [units[start : start + _CHUNK] for start in range(0, len(units), _CHUNK)]
        scores = [self._scores(part) for part in parts]
        eta = [self._predictors(*pair) for pair in zip(parts, scores, strict=True)]
        loss = float(self._fit(torch.cat(eta), units))
        return torch.cat(scores).cpu().numpy(), loss if math.isfinite(loss) else math.inf

    def beta(self) -> np.ndarray:
        """The structured coefficients ``(P,)`` in the coordinates of the designs."""
        own = [b.detach().double().cpu().numpy() for b in self.b]
        return np.concatenate([white.T @ b for white, b in zip(self.white, own, strict=True)])

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)


class _WhiteDesign:
    """Design of one predictor times ``sqrt(n) L^-T``, where ``L L'`` is its penalised information.

    Then ``beta = sqrt(n) L^-T b`` and ``beta' S beta / n = b' M b`` with ``M = L^-1 S L^-T``.
    """

    def __init__(
        self, block: DesignBlock, beta: np.ndarray, H: np.ndarray, S_lam: np.ndarray
    ) -> None:
        n, p = block.shape
        L = _root(H + S_lam)
        self.block = block
        self.T = np.sqrt(n) * solve_triangular(L, np.eye(p), lower=True, trans="T")
        self.start = L.T @ beta / np.sqrt(n)
        half = solve_triangular(L, S_lam, lower=True)
        self.penalty = solve_triangular(L, half.T, lower=True)
        small = n * p <= _DENSE_FLOATS
        self.dense = block.matvec(self.T).astype(np.float32) if small else None

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """White columns of some rows, ``(b, p)``."""
        if self.dense is not None:
            return self.dense[rows]
        return self.block.take(rows).matvec(self.T)


def _root(information: np.ndarray) -> np.ndarray:
    """Lower Cholesky factor, with a ridge where the information is not positive definite."""
    d = np.maximum(np.diag(information), np.finfo(float).tiny)
    unit = information / np.sqrt(np.outer(d, d))
    values, vectors = np.linalg.eigh(unit)
    floored = (vectors * np.maximum(values, _EIGENVALUE_FLOOR)) @ vectors.T
    return np.sqrt(d)[:, None] * np.linalg.cholesky((floored + floored.T) / 2)


def _white_designs(problem: DeepProblem) -> list[_WhiteDesign]:
    start = problem.start
    return [
        _WhiteDesign(block, start.beta[at], start.H[at, at], start.S_lam[at, at])
        for block, at in zip(problem.structured.blocks, start.slices, strict=True)
    ]
