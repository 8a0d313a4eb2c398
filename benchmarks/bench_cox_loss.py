"""Time and memory of the Cox loss.

Asked: loss and gradient in float64 on one thread, beside one pass of sort + exp + cumsum over the
same rows; 32 members of 10,000 rows in one call, beside the loop over them; other kinds of data and
the derivatives of a Newton step, beside the plain loss; peak memory.

It would count as failure if a ratio to the pass at n >= 100,000 exceeded 3 (2 when the risk sets
are reused), if one large tie took twice as long as no ties, if the batch were less than three times
as fast as the loop, or if 1,000,000 rows took 200 MiB over the input. About four minutes.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks._harness import RESULTS, ResultLog, time_ratio, write_table
from semistruct.losses import CoxRiskSets, cox_derivatives, cox_partial_likelihood

PATTERNS = ("none", "light", "heavy", "one large")
CASES = [
    {"task": "loss", "n": n, "pattern": pattern, "ties": ties, "reused": reused}
    for n in (1_000, 100_000, 1_000_000)
    for pattern in PATTERNS
    for ties in ("efron", "breslow")
    for reused in (False, True)
]
CASES += [
    {"task": "batch", "n": 10_000, "pattern": pattern, "ties": "efron", "reused": reused}
    for pattern in PATTERNS
    for reused in (False, True)
]
CASES += [
    {"task": task, "n": n, "pattern": "light", "ties": "efron", "reused": True}
    for n in (100_000, 1_000_000)
    for task in ("n / 20 strata", "delayed entry", "sd(eta) = 1000", "derivatives, p = 20")
]
CASES += [
    {"task": "memory", "n": 1_000_000, "pattern": pattern, "ties": "efron", "reused": False}
    for pattern in PATTERNS
]
ROUNDS = {1_000: 600, 10_000: 40, 100_000: 30, 1_000_000: 7}
NOTES = """
CPU time on one thread. *none*: continuous times; *light*: times rounded so that about a fifth of
the events are tied, mostly in pairs; *heavy*: 60 distinct times; *one large*: 1 % of the rows are
events at one of otherwise continuous times. 70 % events. *reused*: `CoxRiskSets` made before, as in
every epoch but the first.

Task *loss*: loss and gradient, against one `torch.sort` + `exp` + `cumsum` of the same rows.
*batch*: the loop over 32 members against one call; the ratio is how much faster the call is.
Strata, delayed entry, widely spread eta and *derivatives* (log-likelihood, score and information
for 20 columns) are against the plain loss and gradient with reused risk sets. *memory*: MiB at the
peak of sorting, loss and gradient, over time, event and eta.

At n = 1,000 an empty `torch.autograd.Function` with `backward()` costs 16 us by itself, as much as
the whole pass; value and gradient are some fifteen calls of numpy, 16 us, and sorting 16 us more.
Sorting, the empty function and the two running sums (4 us each) alone are more than two passes.

With reused risk sets four fifths of a step of the loop are arithmetic, which a batch cannot save:
what it saves are the calls, and memory that is fetched once for several members. The rows of
*batch* were measured while the machine was busy; those of the loss while it was not, and before
times and events were sorted in one go, which takes a third off the sorting of tied times.
"""


def follow_up(n: int, pattern: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    times = rng.exponential(size=n)
    event = rng.random(n) < 0.7
    if pattern == "light":
        times = np.ceil(times * 3 * n)
    elif pattern == "heavy":
        times = np.minimum(np.ceil(times * 20), 60)
    elif pattern == "one large":
        rows = rng.permutation(n)[: n // 100]
        times[rows], event[rows] = 0.5, True
    return times, event


def gradient(eta: torch.Tensor, **arguments: Any) -> None:
    eta.grad = None
    loss = cox_partial_likelihood(eta, **arguments)
    (loss.sum() if loss.dim() else loss).backward()


def gradient_by_loop(members: torch.Tensor, **arguments: Any) -> None:
    for member in members.detach():
        gradient(member.clone().requires_grad_(), **arguments)


def contestants(
    task: str, n: int, pattern: str, ties: str, reused: bool
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    times, event = follow_up(n, pattern)
    generator = torch.Generator().manual_seed(0)
    shape = (32, n) if task == "batch" else (n,)
    eta = torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
    data: dict[str, Any] = {"time": torch.from_numpy(times), "event": torch.from_numpy(event)}
    plain = CoxRiskSets.from_data(**data)
    if reused:
        data = {"risk_sets": plain}
    data["ties"] = ties

    def ours() -> None:
        gradient(eta, **data)

    if task == "loss":
        sorted_by, values = torch.from_numpy(times), eta.detach()
        return ours, lambda: (torch.sort(sorted_by), values.exp(), values.cumsum(0))
    if task == "batch":
        return lambda: gradient_by_loop(eta, **data), ours
    rng = np.random.default_rng(1)
    if task == "derivatives, p = 20":
        X = rng.normal(size=(n, 20))
        return lambda: cox_derivatives(eta, X, plain), ours
    if task == "sd(eta) = 1000":
        wide = (eta.detach() * 1000.0).requires_grad_()
        return lambda: gradient(wide, **data), ours
    if task == "delayed entry":
        entry = np.where(rng.random(n) < 0.5, 0.0, times * rng.random(n))
        other = CoxRiskSets.from_data(times, event, entry)
    else:
        other = CoxRiskSets.from_data(times, event, strata=rng.integers(0, n // 20, n))
    return lambda: gradient(eta, risk_sets=other), ours


def measure(task: str, n: int, pattern: str, ties: str, reused: bool) -> dict[str, float]:
    torch.set_num_threads(1)
    if task == "memory":
        return {"peak_mib": peak_memory(n, pattern)}
    timing = time_ratio(
        *contestants(task, n, pattern, ties, reused), rounds=ROUNDS[n], clock=time.process_time
    )
    return {
        "ms": timing.candidate * 1e3,
        "against_ms": timing.reference * 1e3,
        "ratio": timing.ratio,
        "lower": timing.lower,
        "upper": timing.upper,
    }


def peak_memory(n: int, pattern: str) -> float:
    """In a process of its own, because a process never forgets its peak."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (n, pattern))


def _peak(n: int, pattern: str) -> float:
    torch.set_num_threads(1)
    times, event = (torch.from_numpy(values) for values in follow_up(n, pattern))
    eta = torch.randn(n, dtype=torch.float64).requires_grad_()
    few = eta.detach()[:100].clone().requires_grad_()
    gradient(few, time=times[:100], event=event[:100])
    _reset_peak()
    before = _resident("VmRSS")
    gradient(eta, time=times, event=event)
    return (_resident("VmHWM") - before) / 1024


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _resident(field: str) -> float:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field):
                return float(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    rows = ResultLog(RESULTS / "cox_loss.jsonl", version=2).run(CASES, measure)
    rows = rows.drop(columns="seconds")
    write_table(
        "cox_loss",
        rows,
        title="The Cox loss",
        notes=NOTES,
        formats={
            "n": ",",
            "ms": ".3g",
            "against_ms": ".3g",
            "ratio": ".2f",
            "lower": ".2f",
            "upper": ".2f",
            "peak_mib": ".0f",
        },
    )


if __name__ == "__main__":
    main()
