"""E4: DeepSurv's simulations (Katzman et al. 2018), with the oracle beside every model.

``x ~ U(-1, 1)^10``, 4,000 training and 1,000 test rows. Log risk ``x1 + 2 x2`` (linear) or
``log(10) exp(-(x1^2 + x2^2) / 0.5)`` (Gaussian), centred; exponential times of mean 5 over the
relative risk, administratively censored at the median. The mean over 20 data sets of the oracle's
concordance minus the model's must be below .003 for the linear model on the linear design, and on
the Gaussian design below .01 for the additive model and below .015 for ``mlp``. About 60 minutes
on two cores.

References
----------
Katzman, J. L. et al. (2018). DeepSurv. BMC Medical Research Methodology 18, 24.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import semistruct as ss
from benchmarks._harness import RESULTS, ResultLog, write_table

__all__ = ["main"]

N_TRAIN, N_TEST, P = 4000, 1000, 10
NAMES = [f"x{j}" for j in range(1, P + 1)]
FORMULAS = {
    "linear": " + ".join(NAMES),
    "additive": " + ".join(f"s({name})" for name in NAMES),
    "mlp": f"mlp({', '.join(NAMES)})",
}
MODELS = {"linear": ("linear", "mlp"), "gaussian": ("linear", "additive", "mlp")}
CASES = [
    {"design": design, "model": model, "seed": seed}
    for seed in range(20)
    for design, models in MODELS.items()
    for model in models
]


def log_risk(design: str, x: np.ndarray) -> np.ndarray:
    if design == "linear":
        return x[:, 0] + 2 * x[:, 1]
    return np.log(10) * np.exp(-(x[:, 0] ** 2 + x[:, 1] ** 2) / 0.5)


def compare(design: str, model: str, seed: int) -> dict[str, float]:
    """Concordance of the model and of the true log risk on the test rows."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (N_TRAIN + N_TEST, P))
    risk = log_risk(design, x)
    risk = risk - risk.mean()
    time = rng.exponential(5 / np.exp(risk))
    end = np.median(time)
    y = ss.Surv(np.minimum(time, end), time <= end)
    table = pd.DataFrame(x, columns=NAMES)
    fitted = ss.CoxPH(FORMULAS[model], random_state=seed, progress=False).fit(
        table[:N_TRAIN], y[:N_TRAIN]
    )
    test = y[N_TRAIN:]
    oracle = ss.metrics.concordance_index(test, risk[N_TRAIN:])
    return {"C": fitted.score(table[N_TRAIN:], test), "oracle": oracle}


def main() -> None:
    ResultLog(RESULTS / "deepsurv.jsonl").run(CASES, compare)
    summarise()


def summarise() -> None:
    """Write the table from the cases that are finished."""
    rows = ResultLog(RESULTS / "deepsurv.jsonl").frame()
    rows["gap"] = rows["oracle"] - rows["C"]
    table = rows.groupby(["design", "model"], sort=False, as_index=False).agg(
        data_sets=("seed", "size"),
        C=("C", "mean"),
        oracle=("oracle", "mean"),
        gap=("gap", "mean"),
        sd=("C", "std"),
    )
    write_table(
        "deepsurv",
        table,
        title="DeepSurv's simulations: concordance on 1,000 test rows",
        formats=dict.fromkeys(("C", "oracle", "gap", "sd"), ".4f"),
        notes="gap: mean of the oracle's concordance minus the model's; the oracle is the true log "
        "risk. sd: standard deviation of C over data sets.",
    )


if __name__ == "__main__":
    main()
