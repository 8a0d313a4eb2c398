"""The multilayer perceptron: latent features of a few numeric columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from semistruct._registry import lookup
from semistruct.encoders.activations import ACTIVATIONS
from semistruct.encoders.base import Encoder
from semistruct.encoders.randomness import Dropout, initial_weights, reseed
from semistruct.encoders.standardization import InputStandardization
from semistruct.exceptions import SpecificationError

__all__ = ["MLPEncoder"]


class MLPEncoder(Encoder):
    """Fully connected layers on standardised features.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one row, usually ``(p,)``; anything else is flattened.
    hidden : sequence of int
        Widths of the hidden layers.
    latent_dim : int
        Number of latent features, after a last activation.
    dropout : float
        Probability that a hidden feature is set to zero in training.
    input_dropout : float
        The same for a feature of the input. See the notes.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
    random_state : int, optional
        Seed of the initial weights and of dropout; ``None`` uses torch's default generator.

    Attributes
    ----------
    standardization : InputStandardization
        Per feature, learned by :meth:`learn_inputs`.

    Notes
    -----
    Three thousand genes and 400 patients (:func:`~semistruct.datasets.simulate_omics`, 3 seeds,
    Cox model with age and stage): as it is, concordance on new rows is .682, .694 and .686, where
    the table alone has .649 in the first and a ridge penalty on 60 principal components .691. An
    ``input_dropout`` of 0.3 or more, no hidden layer or tanh did not improve on that, and
    closed the gate in 4 of the 18 fits; 0.6 with ``dropout=0.5`` had .685, .689 and .688.

    Examples
    --------
    >>> import torch
    >>> encoder = MLPEncoder((3,), hidden=(8,), latent_dim=4, random_state=0)
    >>> encoder(torch.zeros(5, 3)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        hidden: Sequence[int] = (64, 64),
        latent_dim: int = 16,
        dropout: float = 0.0,
        activation: str = "silu",
        input_dropout: float = 0.0,
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        n_features = math.prod(in_shape)
        widths = [n_features, *hidden, latent_dim]
        if min(widths) < 1:
            raise SpecificationError(
                f"an mlp needs positive widths; got in_shape={tuple(in_shape)}, "
                f"hidden={tuple(hidden)}, latent_dim={latent_dim}."
            )
        act = lookup(ACTIVATIONS, activation, "activation")
        self.in_shape = tuple(in_shape)
        self.latent_dim = int(latent_dim)
        self.standardization = InputStandardization(n_features)
        layers: list[nn.Module] = []
        with initial_weights(random_state):
            for i, (width_in, width_out) in enumerate(pairwise(widths)):
                share = dropout if i else input_dropout
                if share:
                    layers.append(Dropout(share))
                layers += [nn.Linear(width_in, width_out), act()]
        self.layers = nn.Sequential(*layers)
        reseed(self, random_state)

    def learn_inputs(self, sample: Tensor, mask: Tensor | None = None) -> None:
        """Learn mean and standard deviation of every feature."""
        self.standardization.fit(sample.flatten(1))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latent features ``(b, latent_dim)`` of rows ``(b, *in_shape)``; ``mask`` is unused."""
        return self.layers(self.standardization(x.flatten(1)))
