"""A recurrent network for sequences, of one length or of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from semistruct._registry import lookup
from semistruct.encoders.activations import ACTIVATIONS
from semistruct.encoders.base import Encoder
from semistruct.encoders.masking import existing_elements, full_mask, masked_max, masked_mean
from semistruct.encoders.randomness import Dropout, initial_weights, reseed
from semistruct.encoders.standardization import InputStandardization
from semistruct.exceptions import SpecificationError

__all__ = ["RecurrentEncoder"]

_CELLS: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM}
_READOUTS = ("last", "mean", "max")


class RecurrentEncoder(Encoder):
    """A GRU or LSTM along a sequence, then one linear layer.

    Parameters
    ----------
    in_shape : (L, C)
        Length, of a typical row where they differ, and channels. Length comes first.
    latent_dim : int
        Number of latent features, after a last activation.
    cell : {"gru", "lstm"}
    hidden : int
        Width of the state.
    layers : int
        Recurrent layers on top of each other.
    bidirectional : bool
        A second network reads every sequence from its end.
    readout : {"last", "mean", "max"}
        What is read of the states: the one at the end of each sequence (with ``bidirectional``
        those at both ends), their mean, or the largest values.
    dropout : float
        Probability that a feature is set to zero before the last layer, in training.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
        Of the last layer.
    random_state : int, optional
        Seed of initial weights and dropout; ``None`` uses torch's default generator.

    Attributes
    ----------
    standardization : InputStandardization
        Per channel, over the elements that exist, learned by :meth:`learn_inputs`.

    Notes
    -----
    Sequences are packed: the network ends where a sequence ends, whatever stands beside it. The
    time for a step grows with the longest sequence; from some hundred elements on
    :class:`Conv1dEncoder` is much faster.

    References
    ----------
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, EMNLP (GRU).
    Hochreiter and Schmidhuber (1997), Long short-term memory, Neural Computation 9 (LSTM).

    Examples
    --------
    >>> encoder = RecurrentEncoder((12, 2), latent_dim=4, random_state=0)
    >>> encoder(torch.zeros(3, 7, 2)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        latent_dim: int = 16,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        bidirectional: bool = False,
        readout: str = "last",
        dropout: float = 0.2,
        activation: str = "silu",
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        if len(in_shape) != 2 or min(in_shape) < 1:
            raise SpecificationError(
                "a recurrent network reads sequences of shape (length, channels), in this order; "
                f"got {tuple(in_shape)}."
            )
        if min(latent_dim, hidden, layers) < 1:
            raise SpecificationError(
                "a recurrent network needs positive latent_dim, hidden and layers; got "
                f"latent_dim={latent_dim}, hidden={hidden}, layers={layers}."
            )
        if readout not in _READOUTS:
            raise SpecificationError(
                f"readout must be one of {', '.join(map(repr, _READOUTS))}, got {readout!r}."
            )
        kind = lookup(_CELLS, cell, "cell")
        act = lookup(ACTIVATIONS, activation, "activation")
        self.in_shape = tuple(in_shape)
        self.latent_dim = int(latent_dim)
        self.readout = readout
        self.standardization = InputStandardization(in_shape[1])
        directions = 2 if bidirectional else 1
        with initial_weights(random_state):
            self.cells = kind(
                in_shape[1], hidden, layers, batch_first=True, bidirectional=bidirectional
            )
            self.dropout = Dropout(dropout)
            self.head = nn.Sequential(nn.Linear(hidden * directions, latent_dim), act())
        self._directions = directions
        reseed(self, random_state)

    def learn_inputs(self, sample: Tensor, mask: Tensor | None = None) -> None:
        """Learn mean and standard deviation of every channel."""
        self.standardization.fit(existing_elements(sample, mask))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latent features ``(b, latent_dim)`` of sequences ``(b, L, C)``.

        Elements that exist come first in a row.
        """
        exists = full_mask(x, mask)
        steps = self.standardization(x) * exists[..., None]
        if not len(x):  # packing refuses it
            return steps.new_zeros(0, self.latent_dim)
        lengths = exists.sum(1)
        packed = pack_padded_sequence(
            steps, lengths.clamp_min(1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, ends = self.cells(packed)
        if self.readout == "last":
            ends = ends[0] if isinstance(ends, tuple) else ends
            read = ends[-self._directions :].movedim(0, 1).flatten(1)
            read = torch.where(lengths[:, None] > 0, read, 0.0)
        else:
            padded, _ = pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])
            read = (masked_mean if self.readout == "mean" else masked_max)(padded, exists)
        out: Tensor = self.head(self.dropout(read))
        return out
