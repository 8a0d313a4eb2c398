"""Time of a concordance index, beside one sort and beside lifelines.

Asked: Harrell's and Uno's index alone, and with standard error and influence of every row, for
continuous and for tied risks, beside one ``numpy.argsort`` of the risks and beside
``concordance_index`` of lifelines (Harrell's, without standard error). Wanted: the index alone of
100,000 continuous risks within 5 times the sort; it would count as failure if time grew faster than
``n log n``, or if lifelines were faster. About two minutes.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks._harness import RESULTS, ResultLog, time_ratio, write_table
from semistruct.evaluation.concordance import (
    concordance,
    concordance_index,
    concordance_index_ipcw,
)
from semistruct.responses import Surv

ROUNDS = {1_000: 200, 10_000: 40, 100_000: 15, 1_000_000: 3}
LIFELINES_ROUNDS = {1_000: 20, 10_000: 5, 100_000: 3}
CASES = [
    {"index": index, "found": found, "n": n, "risks": risks}
    for n in ROUNDS
    for index in ("harrell", "uno")
    for found in ("index", "all")
    for risks in ("continuous", "100 values")
]
NOTES = """
CPU time on one thread; half of the rows are censored. *found*: the index alone
(`concordance_index`, `concordance_index_ipcw`), or index, standard error and influence of every row
(`concordance`).
*to_sort*: over one `numpy.argsort` of the same risks, which numpy does with vector instructions;
*to_lifelines*: over lifelines' Harrell index, which has no standard error. Ratios are medians of
rounds in turns.
"""


def measure(index: str, found: str, n: int, risks: str) -> dict[str, float]:
    rng = np.random.default_rng(0)
    risk = rng.normal(size=n)
    death, censored = rng.exponential(np.exp(-risk)), rng.exponential(1.0, n)
    y = Surv(np.minimum(death, censored), death <= censored)
    if risks != "continuous":
        risk = np.floor(100 * np.argsort(np.argsort(risk)) / n)
    options: dict[str, Any] = {"y_train": y, "tau": 2.0} if index == "uno" else {}

    def ours() -> float:
        if found == "all":
            return concordance(y, risk, **options).index
        if index == "uno":
            return concordance_index_ipcw(y, y, risk, 2.0)
        return concordance_index(y, risk)

    timing = time_ratio(ours, lambda: np.argsort(risk), rounds=ROUNDS[n], clock=time.process_time)
    measured = {
        "ms": 1e3 * timing.candidate,
        "to_sort": timing.ratio,
        "lower": timing.lower,
        "upper": timing.upper,
    }
    if index == "harrell" and n in LIFELINES_ROUNDS:
        from lifelines.utils import concordance_index as of_lifelines

        def theirs() -> float:
            return of_lifelines(y.time, -risk, y.event)

        measured["difference"] = abs(ours() - theirs())
        against = time_ratio(
            ours, theirs, rounds=LIFELINES_ROUNDS[n], warmup=0, clock=time.process_time
        )
        measured["to_lifelines"] = against.ratio
    return measured


def main() -> None:
    rows = ResultLog(RESULTS / "concordance.jsonl", version=3).run(CASES, measure)
    write_table(
        "concordance",
        rows.drop(columns="seconds"),
        title="Concordance",
        notes=NOTES,
        formats={
            "n": ",",
            "ms": ".3g",
            "to_sort": ".1f",
            "lower": ".1f",
            "upper": ".1f",
            "difference": ".1e",
            "to_lifelines": ".4f",
        },
    )


if __name__ == "__main__":
    main()
