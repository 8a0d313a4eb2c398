"""Time of a linear Cox fit, beside lifelines and R's survival.

Asked: ``CoxPH(formula).fit`` with 20 columns and Efron's ties, from the table to coefficients and
standard errors, beside ``CoxPHFitter.fit`` of lifelines and ``coxph`` of R on the same rows. CPU
time on one thread, in turns; R waits in a process of its own that has read the data before. Where
there is no ``Rscript`` with survival, or no lifelines, the column is empty.

It would count as failure if the fit took more than half of the CPU time of R. About four minutes.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._harness import RESULTS, ResultLog, write_table
from semistruct import CoxPH

ROUNDS = {10_000: 15, 100_000: 9, 1_000_000: 2}
CASES = [{"n": n, "p": 20, "ties": "efron"} for n in ROUNDS]
NOTES = """
CPU seconds on one thread, medians over rounds in turns; ratios are medians over rounds of our time
by theirs. 20 standard normal columns, about a third censored, times rounded to 1/1000, so that most
events are tied from 10,000 rows on. `largest_gap` is the largest difference of a coefficient from
R's, in standard errors. Our time is from the formula to coefficients, covariance and
log-likelihoods; the baseline hazard is computed when asked for, as in R (lifelines computes it in
the fit).
"""
R_SERVER = """
suppressMessages(library(survival))
names <- strsplit(commandArgs(TRUE)[2], ",")[[1]]
values <- readBin(commandArgs(TRUE)[1], "double", n = file.size(commandArgs(TRUE)[1]) / 8)
d <- as.data.frame(matrix(values, ncol = length(names), dimnames = list(NULL, names)))
f <- as.formula(paste("Surv(time, event) ~", paste(setdiff(names(d), c("time", "event")),
  collapse = " + ")))
input <- file("stdin", "r")
cat("ready\\n")
while (length(line <- readLines(input, 1))) {
  t <- system.time(m <- coxph(f, d, ties = line))
  cat(t[["user.self"]] + t[["sys.self"]], sprintf("%.12g", coef(m)), "\\n")
}
"""


def cohort(n: int, p: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    death = rng.exponential(np.exp(-X @ np.linspace(-0.3, 0.3, p)))
    censored = rng.exponential(2.0, n)
    table = pd.DataFrame(X, columns=[f"x{j}" for j in range(p)])
    table["time"] = np.ceil(np.minimum(death, censored) * 1000) / 1000
    table["event"] = (death <= censored).astype(int)
    return table


class _R:
    """``coxph`` in a process that has read the data."""

    def __init__(self, table: pd.DataFrame, folder: Path) -> None:
        table.to_numpy(float).ravel(order="F").tofile(folder / "data")
        (folder / "server.R").write_text(R_SERVER)
        self._process = subprocess.Popen(
            ["Rscript", folder / "server.R", folder / "data", ",".join(table.columns)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._read() != "ready":
            raise RuntimeError("Rscript did not start; is the package survival installed?")

    def _read(self) -> str:
        return self._process.stdout.readline().strip()  # type: ignore[union-attr]

    def fit(self, ties: str) -> tuple[float, np.ndarray]:
        """CPU seconds and coefficients."""
        self._process.stdin.write(ties + "\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        seconds, *coefficients = map(float, self._read().split())
        return seconds, np.array(coefficients)

    def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()


def _timed(function: Callable[[], Any]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(n: int, p: int, ties: str) -> dict[str, float]:
    torch.set_num_threads(1)
    table = cohort(n, p)
    formula = "Surv(time, event) ~ " + " + ".join(f"x{j}" for j in range(p))
    fitted: list[CoxPH] = []

    def ours() -> None:
        fitted[:] = [CoxPH(formula, ties=ties).fit(table)]  # type: ignore[arg-type]

    contestants: dict[str, Callable[[], float]] = {"semistruct": lambda: _timed(ours)}
    lifelines = _lifelines(table)
    if lifelines is not None and ties == "efron":
        contestants["lifelines"] = lambda: _timed(lifelines)
    with tempfile.TemporaryDirectory() as folder:
        server = _R(table, Path(folder)) if shutil.which("Rscript") else None
        if server is not None:
            contestants["R"] = lambda: server.fit(ties)[0]
        for run in contestants.values():
            run()
        names = list(contestants)
        times = pd.DataFrame(
            {name: contestants[name]() for name in (names if i % 2 else names[::-1])}
            for i in range(ROUNDS[n])
        )
        gap = np.nan
        if server is not None:
            gap = float((np.abs(fitted[0].params - server.fit(ties)[1]) / fitted[0].bse).max())
            server.close()
    found = {f"{name}_s": float(times[name].median()) for name in names}
    for name in names[1:]:
        ratios = times["semistruct"] / times[name]
        found[f"to_{name}"] = float(ratios.median())
        found[f"to_{name}_quartiles"] = "{:.2f}-{:.2f}".format(*ratios.quantile([0.25, 0.75]))  # type: ignore[assignment]
    return {**found, "largest_gap": gap}


def _lifelines(table: pd.DataFrame) -> Callable[[], Any] | None:
    try:
        from lifelines import CoxPHFitter
    except ImportError:
        return None

    def fit() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            CoxPHFitter().fit(table, "time", "event")

    return fit


def main() -> None:
    rows = ResultLog(RESULTS / "cox_fit.jsonl", version=2).run(CASES, measure)
    rows = rows.drop(columns="seconds")
    seconds = {name: ".3f" for name in rows.columns if name.endswith("_s")}
    ratios = {name: ".2f" for name in rows.columns if name in ("to_lifelines", "to_R")}
    write_table(
        "cox_fit",
        rows,
        title="A linear Cox fit",
        notes=NOTES,
        formats={"n": ",", "largest_gap": ".1e", **seconds, **ratios},
    )


if __name__ == "__main__":
    main()
