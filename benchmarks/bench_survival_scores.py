"""Time of Brier scores and areas under the curve, beside scikit-survival.

Asked: both at 20 and 100 times for 1,000 to 100,000 rows; one risk for all times or one per time,
whose order stays (proportional hazards) or changes from time to time (crossing hazards).
The numbers must agree, and scikit-survival be at least 3 times as slow. About two minutes. Needs
scikit-survival (``pip install "semistruct[bench]"``).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks._harness import RESULTS, ResultLog, time_ratio, write_table
from semistruct import Surv, metrics

__all__ = ["main"]

SCORES = ("Brier score", "AUC, one risk", "AUC, risk per time", "AUC, crossing risks")
ROUNDS = {1_000: 40, 10_000: 15, 100_000: 5}
CASES = [
    {"score": score, "n": n, "times": n_times}
    for score in SCORES
    for n in ROUNDS
    for n_times in (20, 100)
    if not (score in SCORES[2:] and n == 100_000 and n_times == 100)
]
NOTES = """
CPU time on one thread, half of the rows censored. *speed*: time of scikit-survival over ours,
median of rounds in turns; *difference*: largest between the two. scikit-survival counts risks that
differ by less than 1e-8 as tied.
"""


def measure(score: str, n: int, times: int) -> dict[str, float]:
    from sksurv import metrics as theirs
    from sksurv.util import Surv as TheirSurv

    rng = np.random.default_rng(0)
    risk = rng.normal(size=n)
    death, end = rng.exponential(np.exp(-risk)), rng.exponential(1.0, n)
    observed, event = np.minimum(death, end), death <= end
    y, other = Surv(observed, event), TheirSurv.from_arrays(event, observed)
    grid = np.quantile(observed, np.linspace(0.05, 0.9, times))
    # Crossing: Weibull curves whose shapes differ, so that the order changes from time to time.
    shape = np.exp(0.5 * rng.normal(size=n)) if score == SCORES[3] else np.ones(n)
    survival = np.exp(-np.exp(risk)[:, None] * grid ** shape[:, None])
    if score == SCORES[0]:

        def ours() -> Any:
            return metrics.brier_score(y, y, survival, grid)

        def peer() -> Any:
            return theirs.brier_score(other, other, survival, grid)[1]
    else:
        judged = risk if score == SCORES[1] else 1 - survival

        def ours() -> Any:
            return metrics.cumulative_dynamic_auc(y, y, judged, grid)

        def peer() -> Any:
            return theirs.cumulative_dynamic_auc(other, other, judged, grid)[0]

    timing = time_ratio(peer, ours, rounds=ROUNDS[n], clock=time.process_time)
    return {
        "ms": 1e3 * timing.reference,
        "speed": timing.ratio,
        "lower": timing.lower,
        "upper": timing.upper,
        "difference": float(np.abs(ours() - peer()).max()),
    }


def main() -> None:
    rows = ResultLog(RESULTS / "survival_scores.jsonl").run(CASES, measure)
    formats = dict.fromkeys(("speed", "lower", "upper"), ".1f")
    write_table(
        "survival_scores",
        rows.drop(columns="seconds"),
        title="Brier scores and areas under the curve",
        notes=NOTES,
        formats=formats | {"n": ",", "ms": ".3g", "difference": ".1e"},
    )


if __name__ == "__main__":
    main()
