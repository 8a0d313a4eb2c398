"""Randomness of encoders: initial weights, dropout and augmentation, each from its own seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semistruct.exceptions import SpecificationError

__all__ = [
    "Dropout",
    "RandomStates",
    "SeededModule",
    "initial_weights",
    "random_states",
    "reseed",
    "restore_random_states",
]


@contextmanager
def initial_weights(random_state: int | None) -> Iterator[None]:
    """Draw the initial weights of modules constructed inside from ``random_state``.

    The state of torch's CPU generator is put back afterwards, and the generators of other devices
    are not touched: modules are constructed on the CPU. ``None`` leaves everything to torch.

    Examples
    --------
    >>> with initial_weights(0):
    ...     a = nn.Linear(2, 1)
    >>> with initial_weights(0):
    ...     b = nn.Linear(2, 1)
    >>> torch.equal(a.weight, b.weight)
    True
    """
    if random_state is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(random_state))
        yield


class SeededModule(nn.Module):
    """A module with random behaviour in training, drawn from a generator of its own.

    The generator is made on the device of the input when first needed, and made anew from the
    seed after a copy or a pickle.

    Parameters
    ----------
    random_state : int, optional
        Seed; ``None`` draws from torch's default generator, as torch's own modules do.
    """

    def __init__(self, random_state: int | None = None) -> None:
        super().__init__()
        self._seed = random_state
        self._generator: torch.Generator | None = None

    def seed(self, random_state: int | None) -> None:
        """Start again from this seed."""
        self._seed = random_state
        self._generator = None

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Generator for draws on ``device``; ``None`` stands for torch's default generator."""
        if self._seed is None:
            return None
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device=device).manual_seed(self._seed)
        return self._generator

    def __getstate__(self) -> dict[str, Any]:
        # Generators of accelerators cannot be pickled; the seed is what has to travel.
        return {**self.__dict__, "_generator": None}


class Dropout(SeededModule):
    """Dropout whose masks come from the module's own generator.

    Parameters
    ----------
    p : float
        Probability that a feature is set to zero in training, in ``[0, 1)``.
    random_state : int, optional
        Seed of the masks.

    Examples
    --------
    >>> drop = Dropout(0.5, random_state=0)
    >>> sorted(drop(torch.ones(100)).unique().tolist())
    [0.0, 2.0]
    >>> drop.eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float, random_state: int | None = None) -> None:
        super().__init__(random_state)
        if not 0 <= p < 1:
            raise SpecificationError(f"dropout must be at least 0 and below 1, got {p!r}.")
        self.p = float(p)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with random zeros in training, scaled to the same mean; ``x`` otherwise."""
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape, generator=self.generator(x.device), device=x.device) >= self.p
        return x * keep / (1 - self.p)

    def extra_repr(self) -> str:
        """The probability, for ``repr``."""
        return f"p={self.p}"


def reseed(module: nn.Module, random_state: int | None) -> None:
    """Give every :class:`SeededModule` inside ``module`` its own seed derived from one seed."""
    seeded = [child for child in module.modules() if isinstance(child, SeededModule)]
    if random_state is None:
        for child in seeded:
            child.seed(None)
        return
    source = torch.Generator().manual_seed(int(random_state))
    for child in seeded:
        child.seed(int(torch.randint(2**62, (), generator=source)))


@dataclass(frozen=True)
class RandomStates:
    """Where the random numbers of a module and of torch stand.

    Attributes
    ----------
    own : tuple of (Tensor or None)
        State of the generator of every :class:`SeededModule` inside, None before its first use.
    cpu : Tensor
        State of torch's default generator.
    cuda : Tensor or None
        State of the default generator of the module's device.
    """

    own: tuple[Tensor | None, ...]
    cpu: Tensor
    cuda: Tensor | None


def random_states(module: nn.Module, device: torch.device) -> RandomStates:
    """Remember where all random numbers stand that ``module`` may draw on ``device``."""
    own = [
        None if child._generator is None else child._generator.get_state()
        for child in module.modules()
        if isinstance(child, SeededModule)
    ]
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return RandomStates(tuple(own), torch.get_rng_state(), cuda)


def restore_random_states(module: nn.Module, device: torch.device, states: RandomStates) -> None:
    """Go back, so that the same forward pass draws the same numbers again."""
    seeded = [child for child in module.modules() if isinstance(child, SeededModule)]
    for child, state in zip(seeded, states.own, strict=True):
        if state is None:
            child._generator = None
        elif child._generator is not None:
            child._generator.set_state(state)
    torch.set_rng_state(states.cpu)
    if states.cuda is not None:
        torch.cuda.set_rng_state(states.cuda, device)
