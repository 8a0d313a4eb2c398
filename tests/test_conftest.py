"""The fixtures keep their word."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch

TESTS = Path(__file__).parent

DRAWS = {
    "random": "import random; random.random()",
    "numpy": "import numpy; numpy.random.rand()",
    "torch": "import torch; torch.rand(1)",
}


def test_one_thread_and_no_display():
    assert torch.get_num_threads() == 1
    assert mpl.get_backend().lower() == "agg"


def test_generators_vary(rng, torch_rng):
    assert rng.normal(size=5).std() > 0
    assert torch.rand(5, generator=torch_rng).std() > 0


@pytest.mark.parametrize("run", [1, 2])
def test_global_state_is_the_same_at_the_start_of_every_test(run):
    assert random.random() == pytest.approx(0.8444218515250481, abs=1e-15)
    assert np.random.rand() == pytest.approx(0.5488135039273248, abs=1e-15)


def test_a_moved_global_generator_fails_the_test_that_asked(tmp_path):
    cases = [
        f"@pytest.mark.usefixtures('global_rng_untouched')\ndef test_{name}():\n    {draw}\n"
        for name, draw in {**DRAWS, "nothing": "assert True"}.items()
    ]
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_draws.py").write_text("\n".join(["import pytest", *cases]))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert re.search(r"4 passed.* 3 errors", result.stdout), result.stdout + result.stderr
    for name in DRAWS:
        assert f"the global generator of {name} was moved" in result.stdout
