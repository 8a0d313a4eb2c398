"""Bags of patches, such as whole slides: a patch encoder, and what is kept of the patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from semistruct._registry import lookup
from semistruct.encoders.activations import ACTIVATIONS
from semistruct.encoders.augmentation import Augmentation, resolved_augmentation
from semistruct.encoders.base import Encoder
from semistruct.encoders.cnn import CNNEncoder
from semistruct.encoders.masking import existing_elements, full_mask, masked_max, masked_mean
from semistruct.encoders.mlp import MLPEncoder
from semistruct.encoders.randomness import Dropout, SeededModule, initial_weights, reseed
from semistruct.exceptions import SpecificationError

__all__ = ["PATCH_AUGMENTATION", "BagEncoder"]

# Tissue has no upper side.
PATCH_AUGMENTATION: Mapping[str, Any] = {
    "hflip": True,
    "vflip": True,
    "brightness": 0.12,
    "contrast": 0.12,
}
_POOLINGS = ("attention", "mean", "max")
_SCALING_PATCHES = 2048


class BagEncoder(Encoder):
    """Encode every patch of a bag, pool the patches, then one linear layer.

    Parameters
    ----------
    in_shape : (L, C, h, w) or (L, d)
        Number of patches, of a typical row where they differ, and the shape of one patch: a
        picture, which a :class:`CNNEncoder` reads, or features, which an :class:`MLPEncoder` reads.
    latent_dim : int
        Number of latent features, after a last activation.
    pooling : {"attention", "mean", "max"}
        What is kept of the patches of a row: their mean, the largest values, or a weighted mean
        whose weights a small network gives (:meth:`attention`).
    patch_dim : int
        Number of features of a patch.
    attention_dim : int
        Width of that network.
    n_patches : int, optional
        In training at most so many patches of each row are read, drawn anew each time. All are
        read otherwise.
    hidden : sequence of int
        Hidden layers for patches that are features.
    channels, grid : sequence of int, int
        Of the network for patches that are pictures; see :class:`CNNEncoder`.
    dropout : float
        Probability that a pooled feature is set to zero before the last layer, in training.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
    augmentation : Augmentation or mapping of its options, optional
        Of patches that are pictures. By default flips both ways, a little brightness and contrast.
    random_state : int, optional
        Seed of everything random; ``None`` uses torch's default generator.

    Notes
    -----
    Gated attention (Ilse et al. 2018, equations 7 and 9): with patch features ``h_k``,
    ``a_k`` proportional to ``exp{w'(tanh(V h_k) * sigm(U h_k))}`` over the patches of the row, and
    ``z = sum_k a_k h_k``. Only patches that exist are encoded, and the order of patches in a bag
    does not matter.

    References
    ----------
    Ilse, Tomczak and Welling (2018). Attention-based deep multiple instance learning. ICML.

    Examples
    --------
    >>> encoder = BagEncoder((5, 3, 16, 16), latent_dim=8, random_state=0)
    >>> encoder(torch.zeros(2, 9, 3, 16, 16)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        latent_dim: int = 16,
        pooling: str = "attention",
        patch_dim: int = 32,
        attention_dim: int = 16,
        n_patches: int | None = None,
        hidden: Sequence[int] = (64,),
        channels: Sequence[int] = (16, 32, 64),
        grid: int = 2,
        dropout: float = 0.2,
        activation: str = "relu",
        augmentation: Augmentation | Mapping[str, Any] | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        if len(in_shape) not in (2, 4) or min(in_shape) < 1:
            raise SpecificationError(
                "a bag holds patches (number, channels, height, width) or features of patches "
                f"(number, features); got {tuple(in_shape)}."
            )
        if min(latent_dim, patch_dim, attention_dim, 1 if n_patches is None else n_patches) < 1:
            raise SpecificationError(
                "a bag needs positive latent_dim, patch_dim, attention_dim and n_patches; got "
                f"latent_dim={latent_dim}, patch_dim={patch_dim}, attention_dim={attention_dim}, "
                f"n_patches={n_patches}."
            )
        if pooling not in _POOLINGS:
            raise SpecificationError(
                f"pooling must be one of {', '.join(map(repr, _POOLINGS))}, got {pooling!r}."
            )
        act = lookup(ACTIVATIONS, activation, "activation")
        patch_shape = tuple(in_shape[1:])
        self.in_shape = tuple(in_shape)
        self.latent_dim = int(latent_dim)
        self.pooling = pooling
        with initial_weights(random_state):
            self.patches: Encoder
            if len(patch_shape) == 1:
                if augmentation is not None:
                    raise SpecificationError(
                        "features of patches cannot be changed as pictures are; leave out "
                        "augmentation."
                    )
                self.patches = MLPEncoder(patch_shape, hidden, patch_dim, 0.0, activation)
            else:
                changes = resolved_augmentation(augmentation, PATCH_AUGMENTATION)
                self.patches = CNNEncoder(
                    patch_shape, patch_dim, channels, grid, 0.0, activation, changes
                )
            self.weigh: nn.Module = nn.Identity()
            if pooling == "attention":
                self.weigh = _GatedAttention(patch_dim, attention_dim)
            self.draw = _Draw(n_patches)
            self.dropout = Dropout(dropout)
            self.head = nn.Sequential(nn.Linear(patch_dim, latent_dim), act())
        reseed(self, random_state)

    def learn_inputs(self, sample: Tensor, mask: Tensor | None = None) -> None:
        """Learn the scale of patches."""
        patches = existing_elements(sample, mask)
        step = -(-len(patches) // _SCALING_PATCHES)
        self.patches.learn_inputs(patches[:: max(1, step)])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latent features ``(b, latent_dim)`` of bags ``(b, L, *patch)``."""
        exists = self.draw(full_mask(x, mask))
        found = self._features(x, exists)
        if self.pooling == "mean":
            pooled = masked_mean(found, exists)
        elif self.pooling == "max":
            pooled = masked_max(found, exists)
        else:
            pooled = (_softmax(self.weigh(found), exists)[..., None] * found).sum(1)
        out: Tensor = self.head(self.dropout(pooled))
        return out

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weights ``(b, L)`` of the patches of every row, which sum to one.

        Raises
        ------
        SpecificationError
            If patches are pooled otherwise.
        """
        if self.pooling != "attention":
            raise SpecificationError(f"pooling={self.pooling!r} gives patches no weights.")
        exists = full_mask(x, mask)
        return _softmax(self.weigh(self._features(x, exists)), exists)

    def _features(self, x: Tensor, exists: Tensor) -> Tensor:
        """Features ``(b, L, patch_dim)``, zero where there is no patch, which costs nothing."""
        encoded = self.patches(x[exists])
        found = encoded.new_zeros(*exists.shape, encoded.shape[1])
        found[exists] = encoded
        return found


class _GatedAttention(nn.Module):
    def __init__(self, d: int, width: int) -> None:
        super().__init__()
        self.content = nn.Linear(d, width)
        self.gate = nn.Linear(d, width)
        self.score = nn.Linear(width, 1, bias=False)  # a constant would cancel

    def forward(self, features: Tensor) -> Tensor:
        gated = self.content(features).tanh() * self.gate(features).sigmoid()
        scores: Tensor = self.score(gated)[..., 0]
        return scores


class _Draw(SeededModule):
    """In training, at most ``most`` of the existing elements of every row."""

    def __init__(self, most: int | None) -> None:
        super().__init__()
        self.most = most

    def forward(self, exists: Tensor) -> Tensor:
        if not self.training or self.most is None or exists.shape[1] <= self.most:
            return exists
        key = torch.rand(
            exists.shape, generator=self.generator(exists.device), device=exists.device
        )
        # Those that do not exist come last, and are dropped again where a row has too few.
        first = key.masked_fill(~exists, 2.0).argsort(1)[:, : self.most]
        return torch.zeros_like(exists).scatter(1, first, True) & exists


def _softmax(scores: Tensor, exists: Tensor) -> Tensor:
    """Softmax over the existing elements of ``(b, L)``; zeros in rows without any."""
    highest = scores.masked_fill(~exists, -torch.inf).amax(1, keepdim=True)
    highest = torch.where(highest.isfinite(), highest, 0.0).detach()
    raised = torch.where(exists, (scores - highest).clamp_max(0.0), -torch.inf).exp()
    total = raised.sum(1, keepdim=True)
    return raised / torch.where(total > 0, total, 1.0)
