"""Speed of PAMM: expansion of survival data, and fits of hazards to the expanded rows.

10,000 subjects in 30 intervals, about 270,000 rows, single-threaded, CPU seconds of both sides in
turns. Asked: the expansion at least 10 times as fast as lifelines' ``to_episodic_format``; a free
baseline with linear effects many times as fast as statsmodels on the expanded rows; a smooth
baseline with three smooths, smoothing selected, at least twice as fast as mgcv's ``bam(discrete =
TRUE)`` (taken where Rscript with mgcv is installed) and 10 times as fast as ``gam``. About six
minutes.
"""

from __future__ import annotations

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
CASES = [
    {"task": "expansion", "against": "lifelines"},
    {"task": "free baseline, linear", "against": "statsmodels GLM"},
    {"task": "smooth baseline, 3 smooths", "against": "mgcv bam(discrete)"},
    {"task": "smooth baseline, 3 smooths", "against": "mgcv gam"},
]
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


def study() -> tuple[pd.DataFrame, ss.Surv, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (N, 5))
    eta = np.sin(3 * x[:, 0]) + x[:, 1] ** 2 - 0.5 * x[:, 3] - 4.2
    event_time = 30 * rng.weibull(1.2, N) * np.exp(-eta / 1.2) / 10
    limit = rng.uniform(15, 60, N)
    time_ = np.minimum(event_time, limit)
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(5)])
    return frame, ss.Surv(time_, event_time <= limit), np.linspace(0, 30, J + 1)


def compare(task: str, against: str) -> dict[str, float]:
    """CPU seconds of both and their ratio, ours over theirs."""
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
    smooth = [f's({name}, bs="ps", k=20)' for name in ("tend", "x0", "x1", "x2")]
    formula = " + ".join([*smooth, "x3", "x4"])
    seconds, edf = [], 0.0
    for _ in range(3):
        start = time.process_time()
        model = ss.PAMM(formula, cuts=cuts).fit(frame, y)
        seconds.append(time.process_time() - start)
        edf = float(model.edf_.sum())
    peer, peer_edf = _mgcv(expansion.frame(frame), "gam" if against == "mgcv gam" else "bam")
    own = float(np.median(seconds))
    return found | {
        "seconds": own,
        "peer": peer,
        "ratio": own / peer,
        "edf": edf,
        "peer_edf": peer_edf,
    }


def _ratio(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> dict[str, float]:
    found = time_ratio(ours, theirs, rounds=rounds, clock=time.process_time).as_dict()
    names = list(found)
    return {"seconds": found[names[3]], "peer": found[names[4]], "ratio": found["ratio"]}


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
    columns = [c for c in rows.columns if c in _SHOWN]
    write_table(
        "pamm",
        rows[columns],
        title="Speed of PAMM: 10,000 subjects in 30 intervals",
        formats=_SHOWN,
        notes="CPU seconds on one thread, ours (seconds) and the other's (peer), and their ratio; "
        "lifelines and statsmodels in turns in one process, mgcv in a process of its own. edf: "
        "total effective degrees of freedom of both fits, as a check that they are the same model.",
    )


_SHOWN = {
    "task": "s",
    "against": "s",
    "rows": ".0f",
    "seconds": ".3f",
    "peer": ".3f",
    "ratio": ".2f",
    "edf": ".1f",
    "peer_edf": ".1f",
}

if __name__ == "__main__":
    main()
