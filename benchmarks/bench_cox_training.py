"""What the Cox likelihood adds to the training of an image network.

Asked: one epoch of ``CoxPH("x + cnn(scan)")``, forward and backward of every step without the
optimiser, beside the same network on the same batches, read before, with the sum of its scores for
a loss. Mini-batches, and the exact gradient in two passes, which goes forward twice; memory of the
two passes at two numbers of rows.

It would count as failure if mini-batches added more than 10 %, if two passes took more than 1.5
times as long, or if their memory grew with the rows. About two minutes.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

import semistruct as ss
from benchmarks._harness import RESULTS, ResultLog, time_ratio, write_table
from benchmarks.bench_cox_loss import _reset_peak, _resident
from semistruct.batch import Batch
from semistruct.fitting.joint_model import JointModel
from semistruct.fitting.nuisance import deep_problem_of

BATCH = 128
CASES = [
    {"task": task, "n": 2_048, "pixels": pixels, "entry": entry}
    for pixels in (28,)  # with larger pictures the network takes more of the time
    for task in ("mini-batches", "two passes")
    for entry in (False, True)
]
CASES += [{"task": "memory", "n": n, "pixels": 28, "entry": False} for n in (2_048, 8_192)]
NOTES = """
CPU time on one thread, medians over rounds in turns. *mini-batches*: an epoch in steps of 128 rows,
reading of the rows, predictors, risk sets, loss, forward and backward, against forward and backward
of the network alone on batches read before. *two passes*: the exact gradient of all rows against
the same; at least one forward pass more, a third. *entry*: with delayed entry. *memory*: MiB at the
peak of one exact gradient in two passes, over what the process, with its images, held before.
"""


def model(n: int, pixels: int, entry: bool) -> JointModel:
    rng = np.random.default_rng(0)
    scans = rng.integers(0, 255, (n, 1, pixels, pixels), dtype=np.uint8)
    table = pd.DataFrame({"x": rng.normal(size=n), "scan": ss.ImageArray(scans)})
    death, censored = rng.exponential(np.exp(-table["x"])), rng.exponential(2.0, n)
    stop = np.minimum(death, censored)
    y = ss.Surv(stop, death <= censored, stop * rng.random(n) if entry else None)
    # A fit that knows nothing yet: what is timed is made of its parts.
    options = {"n_folds": 1, "n_repeats": 1, "max_epochs": 1, "batch_size": n}
    fitted = ss.CoxPH("x + cnn(scan)", random_state=0, progress=False, **options).fit(table, y)
    problem = deep_problem_of(fitted.fit_)
    seed = np.random.SeedSequence(0)
    net = problem.blueprint.make(problem.modalities, np.arange(n), problem.scale, seed)
    return JointModel(problem, net.train(), torch.device("cpu"))


def contestants(
    task: str, n: int, pixels: int, entry: bool
) -> tuple[Callable[[], None], Callable[[], None]]:
    joint = model(n, pixels, entry)
    rows = joint.shuffled(np.arange(n), np.random.default_rng(1))
    parts = [rows[at : at + BATCH] for at in range(0, n, BATCH)]
    batches = [Batch.read(joint.problem.modalities, part, joint.device) for part in parts]

    def ours() -> None:
        if task == "two passes":
            joint.net.zero_grad()
            joint.backward_in_parts(parts)
            return
        for part in parts:
            joint.net.zero_grad()
            joint.loss(part).backward()

    def bare() -> None:
        for batch in batches:
            joint.net.zero_grad()
            joint.net.scores(batch).sum().backward()

    return ours, bare


def measure(task: str, n: int, pixels: int, entry: bool) -> dict[str, float]:
    torch.set_num_threads(1)
    if task == "memory":
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            return {"peak_mib": pool.apply(_peak, (n, pixels))}
    timing = time_ratio(*contestants(task, n, pixels, entry), rounds=9, clock=time.process_time)
    return {
        "ms": timing.candidate * 1e3,
        "bare_ms": timing.reference * 1e3,
        "ratio": timing.ratio,
        "lower": timing.lower,
        "upper": timing.upper,
    }


def _peak(n: int, pixels: int) -> float:
    torch.set_num_threads(1)
    joint = model(n, pixels, False)
    rows = joint.shuffled(np.arange(n), np.random.default_rng(1))
    joint.backward_in_parts([rows[:BATCH]])
    _reset_peak()
    before = _resident("VmRSS")
    joint.backward_in_parts([rows[at : at + BATCH] for at in range(0, n, BATCH)])
    return (_resident("VmHWM") - before) / 1024


def main() -> None:
    rows = ResultLog(RESULTS / "cox_training.jsonl", version=1).run(CASES, measure)
    rows = rows.drop(columns="seconds")
    write_table(
        "cox_training",
        rows,
        title="Training of an image Cox model",
        notes=NOTES,
        formats={
            "n": ",",
            "ms": ".0f",
            "bare_ms": ".0f",
            "ratio": ".3f",
            "lower": ".3f",
            "upper": ".3f",
            "peak_mib": ".0f",
        },
    )


if __name__ == "__main__":
    main()
