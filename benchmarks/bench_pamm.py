"""Speed of PAMM: expansion of survival data, and fits of hazards to the expanded rows.

10,000 subjects in 30 intervals, about 270,000 rows, single-threaded, CPU seconds of both sides in
turns. Asked: the expansion at least 10 times as fast as lifelines' ``to_episodic_format``; a free
baseline with linear effects many times as fast as statsmodels on the expanded rows; a smooth
baseline with three smooths, smoothing selected, at least twice as fast as mgcv's ``bam(discrete =
TRUE)`` (taken where Rscript with mgcv is installed) and 10 times as fast as ``gam``; the same fit
to 1,000,000 expanded rows in less than 2 GiB at the peak of the process; and the time of an epoch
with pictures the same for 50 intervals as for 5, within 10 %. About ten minutes.
"""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
from lifelines.utils import to_episodic_format

import semistruct as ss
from benchmarks._harness import RESULTS, ResultLog, time_ratio, write_table
from semistruct.responses import PiecewiseExpansion

__all__ = ["main"]

N, J = 10_000, 30
MILLION = "smooth baseline, 3 smooths, 1,000,000 rows"
MILLION_SUBJECTS = 43_000
CASES = [
    {"task": "expansion", "against": "lifelines"},
    {"task": "free baseline, linear", "against": "statsmodels GLM"},
    {"task": "smooth baseline, 3 smooths", "against": "mgcv bam(discrete)"},
    {"task": "smooth baseline, 3 smooths", "against": "mgcv gam"},
    {"task": MILLION, "against": "2 GiB"},
    {"task": "epoch with pictures, 50 intervals", "against": "5 intervals"},
]
SMOOTH = " + ".join([f's({x}, bs="ps", k=20)' for x in ("tend", "x0", "x1", "x2")] + ["x3", "x4"])
R_SCRIPT = """
suppressPackageStartupMessages(library(mgcv))
d <- read.csv(commandArgs(TRUE)[1])
f <- event ~ s(tend, bs="ps", k=20) + s(x0, bs="ps", k=20) + s(x1, bs="ps", k=20) +
  s(x2, bs="ps", k=20) + x3 + x4
fit <- function() {
  if (commandArgs(TRUE)[2] == "gam") gam(f, poisson, d, offset=offset, method="REML")
  else bam(f, poisson, d, offset=offset, method="fREML", discrete=TRUE)
}
if (commandArgs(TRUE)[2] != "gam") invisible(fit())
t <- system.time(m <- fit())
cat(t[["user.self"]] + t[["sys.self"]], sum(m$edf))
"""


def study(n: int = N) -> tuple[pd.DataFrame, ss.Surv, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (n, 5))
    eta = np.sin(3 * x[:, 0]) + x[:, 1] ** 2 - 0.5 * x[:, 3] - 4.2
    event_time = 30 * rng.weibull(1.2, n) * np.exp(-eta / 1.2) / 10
    limit = rng.uniform(15, 60, n)
    time_ = np.minimum(event_time, limit)
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(5)])
    return frame, ss.Surv(time_, event_time <= limit), np.linspace(0, 30, J + 1)


def compare(task: str, against: str) -> dict[str, float]:
    """CPU seconds of both and their ratio, ours over theirs."""
    if task == MILLION:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(_peak, (MILLION_SUBJECTS,))
    if task.startswith("epoch"):
        return _epochs(50, 5)
    frame, y, cuts = study()
    expansion = PiecewiseExpansion.from_surv(y, cuts)
    found = {"rows": float(len(expansion))}
    if task == "expansion":
        limited = frame.assign(
            T=np.ceil(np.minimum(y.time, 30.0)).astype(int), E=y.event & (y.time <= 30)
        )

        def ours() -> object:
            return PiecewiseExpansion.from_surv(y, cuts).frame(frame)

        def theirs() -> object:
            return to_episodic_format(limited, "T", "E")

        return found | _ratio(ours, theirs, rounds=7)
    if task.startswith("free"):
        rows = expansion.frame(frame)

        def ours() -> object:
            return ss.PAMM("C(interval) + x0 + x1 + x2 + x3 + x4", cuts=cuts).fit(frame, y)

        def theirs() -> object:
            baseline = pd.get_dummies(rows["interval"]).astype(float)
            X = pd.concat([baseline, rows[list(frame.columns)]], axis=1).to_numpy()
            return sm.GLM(rows["event"], X, sm.families.Poisson(), offset=rows["offset"]).fit()

        return found | _ratio(ours, theirs, rounds=3)
    seconds, edf = [], 0.0
    for _ in range(3):
        start = time.process_time()
        model = ss.PAMM(SMOOTH, cuts=cuts).fit(frame, y)
        seconds.append(time.process_time() - start)
        edf = float(model.edf_.sum())
    peer, peer_edf = _mgcv(expansion.frame(frame), "gam" if against == "mgcv gam" else "bam")
    own = float(np.median(seconds))
    return found | {
        "ours": own,
        "peer": peer,
        "ratio": own / peer,
        "edf": edf,
        "peer_edf": peer_edf,
    }


def _peak(n: int) -> dict[str, float]:
    """A fit in this process, new for it: MiB at its peak, libraries and data included."""
    frame, y, cuts = study(n)
    start = time.process_time()
    model = ss.PAMM(SMOOTH, cuts=cuts).fit(frame, y)
    seconds = time.process_time() - start
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    peak = float(status["VmHWM"].split()[0]) / 1024
    rows = float(len(model.expansion_))
    return {"rows": rows, "ours": seconds, "peak_mib": peak, "ratio": peak / 2048}


def _epochs(many: int, few: int) -> dict[str, float]:
    """CPU seconds of an epoch of networks on 400 pictures of 32 x 32, for each number of intervals.

    The difference of fits of 14 and of 4 epochs, so that everything but the epochs drops out.
    """
    frame, y, _ = study(400)
    pixels = np.random.default_rng(1).normal(size=(len(frame), 1, 32, 32)).astype(np.float32)
    frame["scan"] = ss.ImageArray(pixels)

    def seconds(intervals: int, epochs: int) -> float:
        model = ss.PAMM(
            "s(tend, k=4) + x0 + cnn(scan)",
            cuts=np.linspace(0, 30, intervals + 1),
            n_folds=2,
            n_repeats=1,
            max_epochs=epochs,
            progress=False,
            random_state=0,
        )
        start = time.process_time()
        model.fit(frame, y)
        return time.process_time() - start

    rounds = [
        [(seconds(intervals, 14) - seconds(intervals, 4)) / 10 for intervals in pair[::order]]
        for order in (1, -1, 1, -1, 1)
        for pair in [(many, few)]
    ]
    times = np.array([row[::order] for row, order in zip(rounds, (1, -1, 1, -1, 1), strict=True)])
    ours, theirs = np.median(times, axis=0)
    return {
        "ours": float(ours),
        "peer": float(theirs),
        "ratio": float(np.median(times[:, 0] / times[:, 1])),
    }


def _ratio(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> dict[str, float]:
    found = time_ratio(ours, theirs, rounds=rounds, clock=time.process_time).as_dict()
    names = list(found)
    return {"ours": found[names[3]], "peer": found[names[4]], "ratio": found["ratio"]}


def _mgcv(rows: pd.DataFrame, kind: str) -> tuple[float, float]:
    """CPU seconds and edf of R's fit; nothing where R is not installed."""
    if shutil.which("Rscript") is None:
        return float("nan"), float("nan")
    with tempfile.TemporaryDirectory() as folder:
        data, script = Path(folder) / "rows.csv", Path(folder) / "fit.R"
        rows.to_csv(data, index=False)
        script.write_text(R_SCRIPT)
        done = subprocess.run(
            ["Rscript", str(script), str(data), kind], capture_output=True, text=True, check=True
        )
    seconds, edf = done.stdout.split()
    return float(seconds), float(edf)


def main() -> None:
    ResultLog(RESULTS / "pamm.jsonl").run(CASES, compare)
    summarise()


def summarise() -> None:
    """Write the table from the cases that are finished."""
    rows = ResultLog(RESULTS / "pamm.jsonl").frame()
    columns = [c for c in _SHOWN if c in rows.columns]
    write_table(
        "pamm",
        rows[columns],
        title="Speed of PAMM: 10,000 subjects in 30 intervals",
        formats=_SHOWN,
        notes="CPU seconds on one thread, ours and the other's (peer), and their ratio; "
        "lifelines and statsmodels in turns in one process, mgcv in a process of its own. edf: "
        "total effective degrees of freedom of both fits, as a check that they are the same model. "
        "peak_mib: MiB at the peak of a process that reads, expands and fits, its libraries "
        "included; the ratio is to 2 GiB. Epoch: both folds of 400 pictures of 32 x 32.",
    )


_SHOWN = {
    "task": "s",
    "against": "s",
    "rows": ".0f",
    "ours": ".3f",
    "peer": ".3f",
    "ratio": ".2f",
    "edf": ".1f",
    "peer_edf": ".1f",
    "peak_mib": ".0f",
}

if __name__ == "__main__":
    main()
