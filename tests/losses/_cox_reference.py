"""The Cox partial likelihood written out as sums over risk sets, in 60 digits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

__all__ = ["CONTEXT", "draw_follow_up", "reference"]

CONTEXT = mpmath.mp.clone()
CONTEXT.dps = 60


def reference(
    eta: Any,
    time: Any,
    event: Any,
    entry: Any = None,
    strata: Any = None,
    weights: Any = None,
    ties: str = "efron",
) -> tuple[float, np.ndarray]:
    """Negative log partial likelihood and its gradient, O(n^2)."""
    number = CONTEXT.mpf
    n = len(eta)
    w = [number(1.0 if weights is None else float(weights[i])) for i in range(n)]
    strata = np.zeros(n) if strata is None else strata
    entry = np.full(n, -np.inf) if entry is None else entry
    hazard = [w[i] * CONTEXT.exp(number(float(eta[i]))) for i in range(n)]
    loss = number(0)
    gradient = [number(0)] * n
    for s in set(strata):
        times = {time[i] for i in range(n) if event[i] and strata[i] == s and w[i] > 0}
        for t in sorted(times):
            at_risk = [j for j in range(n) if strata[j] == s and entry[j] < t <= time[j] and w[j]]
            events = [j for j in at_risk if event[j] and time[j] == t]
            m = len(events)
            W = CONTEXT.fsum(w[i] for i in events)
            A = CONTEXT.fsum(hazard[j] for j in at_risk)
            B = CONTEXT.fsum(hazard[j] for j in events)
            for i in events:
                loss -= w[i] * number(float(eta[i]))
                gradient[i] -= w[i]
            for r in range(m):
                part = number(r) / m if ties == "efron" else number(0)
                D = A - part * B
                loss += W / m * CONTEXT.log(D)
                for j in at_risk:
                    gradient[j] += W / m * hazard[j] * (1 - part if j in events else 1) / D
    return float(loss), np.array([float(g) for g in gradient])


def draw_follow_up(
    rng: np.random.Generator, n: int, *, truncated: bool, stratified: bool, tied: bool
) -> dict[str, Any]:
    """Follow-up with ties between events, and between events and censorings, if asked for."""
    time = rng.integers(2, 7, n).astype(float) if tied else rng.permutation(n) + 2.0
    return {
        "time": time,
        "event": rng.random(n) < rng.choice([0.3, 0.7, 1.0]),
        "entry": time - rng.integers(1, 5, n) if truncated else None,
        "strata": rng.integers(0, 3, n) if stratified else None,
    }
