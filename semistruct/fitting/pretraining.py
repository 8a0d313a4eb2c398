"""Training networks for other objectives, before they are trained for the response."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import nn

from semistruct.exceptions import ConvergenceWarning
from semistruct.fitting.members import DeepProblem, TrainingOptions
from semistruct.fitting.schedule import default_batch_size, one_cycle
from semistruct.network import SemiStructuredNet
from semistruct.objectives import RepresentationObjective
from semistruct.objectives.base import ObjectiveLoss
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.weighted_sum import Mean, ObjectiveSum, make_objectives

__all__ = ["Pretraining", "pretrain"]

_STEPS = 600
_EPOCHS, _LEAST_EPOCHS = 60, 15
_ENTRIES = 10  # of the history
_GRADIENT_NORM = 5.0
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Pretraining:
    """What is left of a pre-training, besides the weights of the network.

    Attributes
    ----------
    history : DataFrame
        ``epoch``; ``train_NAME`` and ``held_out_NAME`` of every objective. Empty without any.
    losses : mapping of objectives to sequences of ObjectiveLoss
        With their decoders, for equal objectives that go on.
    """

    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    losses: Mapping[RepresentationObjective, Sequence[ObjectiveLoss]] = field(default_factory=dict)


def pretrain(
    problem: DeepProblem,
    net: SemiStructuredNet,
    train: np.ndarray,
    held_out: np.ndarray,
    options: TrainingOptions,
    random_state: np.random.SeedSequence,
) -> Pretraining:
    """Minimise the weighted sum of the objectives of pre-training.

    Parameters
    ----------
    problem : DeepProblem
    net : SemiStructuredNet
        Its weights are changed.
    train, held_out : int arrays
        Units: the networks learn from ``train``; the objectives at ``held_out`` are written down.
    options : TrainingOptions
        Rate, decay, batch size and device.
    random_state : SeedSequence

    Warns
    -----
    ConvergenceWarning
        If it diverges; the network is then as it was after the last usable epoch.

    Notes
    -----
    AdamW with a one-cycle rate over all epochs, on units that have what some objective needs. There
    is no modality dropout: it teaches what follows to live without a modality.
    """
    objectives = problem.pretraining
    if not objectives:
        return Pretraining()
    device = torch.device(options.device)
    make_seed, order_seed = random_state.spawn(2)
    rng = np.random.default_rng(order_seed)
    total = make_objectives(objectives, problem.modalities, train, make_seed).to(device)
    usable = np.any([bound.usable(problem.modalities) for bound in objectives], axis=0)
    train = train[usable[train]]
    good = max(bound.good_batch for bound in objectives)
    batch_size = options.batch_size or max(default_batch_size(len(train)), good)
    n_batches = max(1, len(train) // batch_size)
    given = [bound.objective.epochs for bound in objectives if bound.objective.epochs is not None]
    epochs = int(max(given, default=0)) or _default_epochs(n_batches)
    optimiser = torch.optim.AdamW(
        [
            {"params": list(net.parameters()), "weight_decay": options.weight_decay},
            {"params": list(total.parameters()), "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: one_cycle(step, epochs * n_batches)
    )
    every = max(1, epochs // _ENTRIES)
    entries = [_entry(0, np.full(len(total), np.nan), _judged(total, problem, net, held_out))]
    usable_state = _state(net)
    mean, last = Mean(len(total)), 0
    for epoch in range(1, epochs + 1):
        net.train()
        total.train()
        if net.dropout is not None:
            net.dropout.eval()
        finite = True
        for batch in np.array_split(rng.permutation(train), n_batches):
            optimiser.zero_grad(set_to_none=True)
            found = total(ForwardPass.of(net, problem.modalities, batch, device))
            finite = math.isfinite(float(found.total.detach()))
            if not finite:
                break
            if found.total.requires_grad:
                found.total.backward()
                nn.utils.clip_grad_norm_([*net.parameters(), *total.parameters()], _GRADIENT_NORM)
                optimiser.step()
            schedule.step()
            mean.add(found)
        if not finite:
            warnings.warn(
                f"pre-training diverged in epoch {epoch}; it ends with the weights of epoch "
                f"{last}. Lower learning_rate (now {options.learning_rate}).",
                ConvergenceWarning,
                stacklevel=3,
            )
            net.load_state_dict(usable_state)
            break
        if epoch % every == 0 or epoch == epochs:
            entries.append(_entry(epoch, mean.value, _judged(total, problem, net, held_out)))
            usable_state, last, mean = _state(net), epoch, Mean(len(total))
    history = pd.DataFrame(entries, columns=["epoch", *total.columns]).astype({"epoch": int})
    kept = {bound.objective: losses for bound, losses in zip(objectives, total.groups, strict=True)}
    return Pretraining(history, kept)


def _default_epochs(n_batches: int) -> int:
    return max(_LEAST_EPOCHS, min(_EPOCHS, math.ceil(_STEPS / n_batches)))


def _state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def _entry(epoch: int, train: np.ndarray, held_out: np.ndarray) -> tuple[float, ...]:
    return (epoch, *np.column_stack([train, held_out]).ravel())


@torch.no_grad()
def _judged(
    total: ObjectiveSum, problem: DeepProblem, net: SemiStructuredNet, units: np.ndarray
) -> np.ndarray:
    """The objectives ``(J,)`` at some units, in evaluation mode."""
    net.eval()
    total.eval()
    mean = Mean(len(total))
    device = net.scale.device
    for part in np.array_split(units, max(1, math.ceil(len(units) / _CHUNK))):
        mean.add(total(ForwardPass.of(net, problem.modalities, part, device)))
    return mean.value
