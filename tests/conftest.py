"""What every test shares: determinism, a display-free matplotlib, reference values."""

from __future__ import annotations

import os

# Before numpy and torch are imported; `make test` sets the same.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import random
from collections.abc import Callable, Iterator

import _oracles
import hypothesis
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

mpl.use("Agg")
torch.set_num_threads(1)

# The same examples in every run; no time limit, because the machine may be busy.
hypothesis.settings.register_profile(
    "semistruct", derandomize=True, deadline=None, max_examples=50, database=None
)
hypothesis.settings.load_profile("semistruct")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_oracles.OracleSkips(config), _oracles.OracleSkips.name)


@pytest.fixture
def load_oracle() -> Callable[[str], _oracles.Oracle]:
    """``load_oracle(case)`` of :mod:`_oracles`, for tests that prefer a fixture to an import."""
    return _oracles.load_oracle


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator, the same in every test."""
    return np.random.default_rng(20260101)


@pytest.fixture
def torch_rng() -> torch.Generator:
    """A torch generator, the same in every test."""
    return torch.Generator().manual_seed(20260101)


@pytest.fixture(autouse=True)
def _fixed_global_rng() -> None:
    """Start every test from the same global state: torch initialises bare modules from it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def global_rng_untouched() -> Iterator[None]:
    """Fail the test if it moves a global generator: the library draws from `random_state` only.

    For tests of estimators and functions that take a ``random_state``; use it with
    ``@pytest.mark.usefixtures("global_rng_untouched")``.
    """
    before = _global_rng_states()
    yield
    moved = [name for name, state in _global_rng_states().items() if state != before[name]]
    if moved:
        pytest.fail(
            f"the global generator of {' and '.join(moved)} was moved; draw from a generator made "
            "from random_state, and build modules inside torch.random.fork_rng()."
        )


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Close what a test has drawn; matplotlib warns after twenty open figures."""
    yield
    plt.close("all")


def _global_rng_states() -> dict[str, object]:
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy": (name, keys.tobytes(), position, has_gauss, cached),
        "torch": torch.random.get_rng_state().numpy().tobytes(),
    }
