"""The adaptor that makes an encoder of any torch module, frozen or trainable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semistruct._registry import lookup
from semistruct.encoders.activations import ACTIVATIONS
from semistruct.encoders.base import Encoder
from semistruct.encoders.randomness import Dropout, initial_weights, reseed
from semistruct.encoders.standardization import InputStandardization
from semistruct.exceptions import SpecificationError

__all__ = ["ModuleEncoder"]

_CHUNK = 64


class ModuleEncoder(Encoder):
    """Use any ``nn.Module`` as an encoder.

    Parameters
    ----------
    module : nn.Module
        Maps ``(b, *shape)`` to features. Anything beyond two dimensions is averaged over space:
        dimensions 2 and up of ``(b, channels, ...)`` from convolutions, dimension 1 of
        ``(b, tokens, features)`` from transformers.
    in_shape : tuple of int
        Shape of one row, for a trial run that finds the number of features.
    latent_dim : int, optional
        If given, a trainable layer ``features -> latent_dim`` with an activation is put on top, on
        standardised features. By default the features themselves are the latent features.
    frozen : bool
        If True the module is never trained: evaluation mode for good, no gradients. Its
        :meth:`features` can then be computed once per row and kept.
    preprocess : callable, optional
        Maps ``(b, *shape)`` to what the module expects, instead of the standardisation learned
        from the training rows: the published scaling of a pre-trained network.
    size : int or (int, int), optional
        Pictures are resized to this height and width first.
    output : int, str or callable, optional
        Which entry to use of a module that returns a tuple, a list or a mapping; or a function from
        what it returns to the features, for example ``lambda found: found.pooler_output``.
    dropout : float
        Dropout on the features before the layer on top, in training.
    activation : {"silu", "relu", "gelu", "elu", "tanh"}
        Of the layer on top.
    random_state : int, optional
        Seed of the layer on top.

    Attributes
    ----------
    frozen : bool
    n_features : int
        Number of features of the module.
    head : nn.Module
        From features to latent features; ``forward(x)`` is ``head(features(x))``.

    Notes
    -----
    Batch normalisation stays in evaluation mode, in training too: it uses the running statistics
    the module came with (its scale and shift are still trained). Otherwise a row's features would
    depend on the other rows of its batch. A trainable module without a pre-trained past should use
    group or layer normalisation. Batch normalisation that keeps no running statistics is refused.

    Examples
    --------
    >>> backbone = nn.Conv2d(3, 10, 3)
    >>> encoder = ModuleEncoder(backbone, (3, 16, 16), frozen=True, latent_dim=4)
    >>> encoder.n_features, encoder(torch.zeros(2, 3, 16, 16)).shape
    (10, torch.Size([2, 4]))
    """

    def __init__(
        self,
        module: nn.Module,
        in_shape: Sequence[int],
        latent_dim: int | None = None,
        frozen: bool = False,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        size: int | tuple[int, int] | None = None,
        output: int | str | Callable[[Any], Tensor] | None = None,
        dropout: float = 0.0,
        activation: str = "silu",
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        if size is not None and len(in_shape) != 3:
            raise SpecificationError(
                f"size={size!r} resizes pictures (channels, height, width), but a row has shape "
                f"{tuple(in_shape)}."
            )
        _check_normalisation(module)
        self.module = module
        self.in_shape = tuple(in_shape)
        self.frozen = bool(frozen)
        self.preprocess = preprocess
        self.size = (size, size) if isinstance(size, int) else size
        self.output = output
        n_spatial = max(0, len(in_shape) - 1)
        self.standardization = InputStandardization(in_shape[0] if in_shape else 1, n_spatial)
        if self.frozen:
            module.requires_grad_(False)
        self.n_features = self._count_features()
        self.head: nn.Module = nn.Identity()
        self.latent_dim = self.n_features
        if latent_dim is not None:
            if latent_dim < 1:
                raise SpecificationError(f"latent_dim must be positive, got {latent_dim}.")
            act = lookup(ACTIVATIONS, activation, "activation")
            self.latent_dim = int(latent_dim)
            with initial_weights(random_state):
                self.head = nn.Sequential(
                    InputStandardization(self.n_features),
                    Dropout(dropout),
                    nn.Linear(self.n_features, self.latent_dim),
                    act(),
                )
            reference = next(module.parameters(), torch.zeros(0))
            self.head.to(reference.device, reference.dtype)
        reseed(self, random_state)
        self.train()

    def train(self, mode: bool = True) -> ModuleEncoder:
        """Set the mode; a frozen module and all batch normalisation stay in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.module.eval()
        for child in self.module.modules():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                child.eval()
        return self

    def learn_inputs(self, sample: Tensor, mask: Tensor | None = None) -> None:
        """Learn the scaling of the inputs, and of the features where a layer lies on top."""
        if self.preprocess is None:
            self.standardization.fit(sample.reshape(len(sample), *self.in_shape or (1,)))
        if isinstance(self.head, nn.Sequential) and isinstance(self.head[0], InputStandardization):
            was_training = self.training
            self.eval()
            with torch.no_grad():
                chunks = [self.features(rows) for rows in sample.split(_CHUNK)]
            self.head[0].fit(torch.cat(chunks))
            self.train(was_training)

    def features(self, x: Tensor) -> Tensor:
        """Features ``(b, n_features)`` of the module; without gradients where it is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            inputs = self.standardization(x) if self.preprocess is None else self.preprocess(x)
            if self.size is not None:
                inputs = _resize(inputs, self.size)
            return self._flatten(self.module(inputs), len(x))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latent features ``(b, latent_dim)`` of rows ``(b, *shape)``; ``mask`` is unused."""
        return self.head(self.features(x))

    def _count_features(self) -> int:
        # Zeros, and in evaluation mode: no state of the user's module may change here.
        was_training = self.module.training
        self.module.eval()
        reference = next(self.module.parameters(), torch.zeros(0))
        rows = torch.zeros(2, *self.in_shape, dtype=reference.dtype, device=reference.device)
        self.standardization.to(reference.device, reference.dtype)
        try:
            with torch.no_grad():
                found = self.features(rows)
        except SpecificationError:
            raise
        except Exception as error:  # whatever a user's module may raise
            raise SpecificationError(
                f"{type(self.module).__name__} failed on two rows of shape {self.in_shape}: "
                f"{error}. Check the number of channels, or use size= or preprocess=."
            ) from error
        finally:
            self.module.train(was_training)
        return int(found.shape[1])

    def _flatten(self, result: Any, b: int) -> Tensor:
        name = type(self.module).__name__
        if callable(self.output):
            result = self.output(result)
        elif self.output is not None:
            try:
                result = result[self.output]
            except (KeyError, IndexError, TypeError) as error:
                raise SpecificationError(
                    f"{name} returned {_describe(result)}, which has no entry {self.output!r}."
                ) from error
        elif isinstance(result, (tuple, list)) and len(result) == 1:
            result = result[0]
        if not isinstance(result, Tensor):
            raise SpecificationError(
                f"{name} returned {_describe(result)} where a tensor of features is needed; "
                "choose an entry with output=."
            )
        if not result.is_floating_point() or result.ndim < 1 or len(result) != b:
            raise SpecificationError(
                f"{name} returned a {result.dtype} tensor of shape {tuple(result.shape)} for {b} "
                f"rows; it must return floating point features of shape ({b}, features)."
            )
        if result.ndim == 1:
            return result[:, None]
        if result.ndim == 3:
            return result.mean(1)
        return result.flatten(2).mean(2) if result.ndim > 3 else result


def _check_normalisation(module: nn.Module) -> None:
    for name, child in module.named_modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and not child.track_running_stats:
            raise SpecificationError(
                f"the batch normalisation {name!r} of {type(module).__name__} keeps no running "
                "statistics, so that a row's features depend on the other rows of its batch; use "
                "group or layer normalisation."
            )


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)


def _describe(result: Any) -> str:
    if isinstance(result, Mapping):
        return f"a {type(result).__name__} with keys {list(result)}"
    if isinstance(result, (tuple, list)):
        return f"a {type(result).__name__} of {len(result)} entries"
    return f"a {type(result).__name__}"
