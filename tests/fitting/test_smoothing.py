"""Where the search for smoothing parameters starts."""

from __future__ import annotations

import numpy as np
import pytest

from semistruct.fitting.penalties import PenaltySystem, PlacedPenalty
from semistruct.fitting.smoothing import start_smoothing


def test_the_search_starts_with_residual_degrees_of_freedom():
    # From little smoothing a wide ridge may climb to where it interpolates the response.
    rng = np.random.default_rng(0)
    n = 90
    for p, least in ((20, 0.001), (200, 10.0)):
        values = rng.normal(size=(n, p))
        H = values.T @ values
        penalties = PenaltySystem.build(p, [PlacedPenalty("ridge", slice(0, p), np.eye(p))])
        lam = start_smoothing(penalties, H, n)
        assert lam[0] == pytest.approx(least * np.trace(H) / p)
        edf = np.trace(np.linalg.solve(H + lam[0] * np.eye(p), H))
        assert edf <= (0.5 * n if p > n else p)
