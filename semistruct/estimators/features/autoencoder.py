"""A small auto-encoder: features from which a picture can be drawn again."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semistruct.encoders.decoders import Decoder, GridDecoder, VectorDecoder, halved_sizes
from semistruct.encoders.randomness import initial_weights
from semistruct.encoders.standardization import InputStandardization

__all__ = ["AutoEncoder", "AutoEncoderFit", "fit_autoencoder"]

_WIDTHS = (16, 32, 64, 64)
_HIDDEN = 128
_HELD_OUT = 0.1
_FEW = 20  # rows below which none is held out
_PATIENCE = 10


class AutoEncoder(nn.Module):
    """Encoder and decoder around ``n_components`` numbers.

    Pictures ``(C, H, W)`` go through convolutions that halve them down to about four cells a side;
    other tensors are flattened and go through one hidden layer.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one row.
    n_components : int
    random_state : int
        Of the initial weights.

    Examples
    --------
    >>> network = AutoEncoder((1, 9, 8), 3, random_state=0)
    >>> network.encode(torch.zeros(2, 1, 9, 8)).shape, network(torch.zeros(2, 1, 9, 8)).shape
    (torch.Size([2, 3]), torch.Size([2, 1, 9, 8]))
    """

    def __init__(self, in_shape: tuple[int, ...], n_components: int, random_state: int) -> None:
        super().__init__()
        self.in_shape = in_shape
        n_spatial = max(0, len(in_shape) - 1)
        self.standardization = InputStandardization(in_shape[0], n_spatial)
        with initial_weights(random_state):
            self.encoder: nn.Module
            self.decoder: Decoder
            if len(in_shape) == 3:
                self.encoder = _convolutional(in_shape, n_components)
                self.decoder = GridDecoder(n_components, in_shape)
            else:
                self.encoder = _dense(in_shape, n_components)
                self.decoder = VectorDecoder(n_components, in_shape, hidden=(_HIDDEN,))

    def encode(self, x: Tensor) -> Tensor:
        """Features ``(b, n_components)``."""
        return self.encoder(self.standardization(x))

    def forward(self, x: Tensor) -> Tensor:
        """The rows as drawn again, standardised, ``(b, *in_shape)``."""
        return self.decoder(self.encode(x))


def _convolutional(in_shape: tuple[int, ...], d: int) -> nn.Module:
    sizes = halved_sizes(in_shape[1:])
    down: list[nn.Module] = []
    width = in_shape[0]
    for (before, after), wider in zip(pairwise(sizes), _WIDTHS, strict=False):
        down += [nn.Conv2d(width, wider, 3, 1 if after == before else 2, 1), nn.SiLU()]
        width = wider
    return nn.Sequential(*down, nn.Flatten(1), nn.Linear(width * math.prod(sizes[-1]), d))


def _dense(in_shape: tuple[int, ...], d: int) -> nn.Module:
    p = math.prod(in_shape)
    return nn.Sequential(nn.Flatten(1), nn.Linear(p, _HIDDEN), nn.SiLU(), nn.Linear(_HIDDEN, d))


@dataclass(frozen=True)
class AutoEncoderFit:
    """A trained auto-encoder.

    Attributes
    ----------
    network : AutoEncoder
        On the CPU, in evaluation mode, with the weights of the best epoch.
    history : DataFrame
        ``epoch``, ``train_loss``, ``held_out_loss``: mean squared errors of standardised numbers.
    """

    network: AutoEncoder
    history: pd.DataFrame


def fit_autoencoder(
    rows: np.ndarray,
    n_components: int,
    *,
    max_epochs: int,
    batch_size: int,
    learning_rate: float,
    device: str,
    random_state: int,
) -> AutoEncoderFit:
    """Train by AdamW on squared errors; a tenth of the rows says which epoch was best.

    Parameters
    ----------
    rows : (n, *shape) array
        Distinct pictures: a copy among the rows held out would not be new.
    n_components : int
    max_epochs, batch_size : int
        Training also ends when ten epochs in a row were no better. Below 20 rows none is held out
        and the training loss decides.
    learning_rate : float
    device : str
    random_state : int
    """
    rng = np.random.default_rng(random_state)
    network = AutoEncoder(rows.shape[1:], n_components, random_state)
    # Bytes are divided by 255 where they are standardised, here and in prediction.
    element = np.uint8 if rows.dtype == np.uint8 else np.float32
    values = torch.from_numpy(np.array(rows, dtype=element))
    order = rng.permutation(len(values))
    n_held = round(_HELD_OUT * len(values)) if len(values) >= _FEW else 0
    held, train = values[order[:n_held]], values[order[n_held:]]
    network.standardization.fit(train)
    network.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    best, best_loss, waited = copy.deepcopy(network.state_dict()), np.inf, 0
    history = []
    for epoch in range(1, max_epochs + 1):
        network.train()
        shuffled, total = rng.permutation(len(train)), 0.0
        for start in range(0, len(train), batch_size):
            batch = train[shuffled[start : start + batch_size]].to(device)
            optimizer.zero_grad()
            loss = _loss(network, batch)
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch) / len(train)
        network.eval()
        held_loss = np.nan
        if n_held:
            with torch.no_grad():
                parts = [float(_loss(network, b.to(device))) * len(b) for b in held.split(256)]
            held_loss = sum(parts) / n_held
        history.append((epoch, total, held_loss))
        now = held_loss if n_held else total
        if now < best_loss:
            best, best_loss, waited = copy.deepcopy(network.state_dict()), now, 0
        else:
            waited += 1
        if waited >= _PATIENCE:
            break
    network.load_state_dict(best)
    network.to("cpu").eval().requires_grad_(False)
    columns = ["epoch", "train_loss", "held_out_loss"]
    return AutoEncoderFit(network, pd.DataFrame(history, columns=columns))


def _loss(network: AutoEncoder, batch: Tensor) -> Tensor:
    return F.mse_loss(network(batch), network.standardization(batch))
