"""Do no harm: what a picture that says nothing costs.

A strong table (``0.7 x1 - 0.5 x2``) and pictures of pure noise, 8 by 8 pixels, 500 subjects,
default options. The loss of the joint model against the table model on 5,000 new subjects is
measured in units of the table model's gain over the null model: mean log density for the normal,
log partial likelihood per event for Cox, log-likelihood of the follow-up for PAMM; for PAMM also
when 40 or 80 % of the new subjects lack their picture. Non-inferior: the upper 95 % bound of the
mean stays below 1 %. About 25 seconds for a data set.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy import stats

import semistruct as ss
from benchmarks._harness import RESULTS, ResultLog, write_table

__all__ = ["main"]

N, N_TEST = 500, 5000
CUTS = 15
CASES = [{"head": head, "seed": seed} for head in ("Cox", "normal", "PAMM") for seed in range(50)]


def subjects(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    x1, x2 = rng.normal(size=(2, n))
    noise = rng.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)
    table = pd.DataFrame({"x1": x1, "x2": x2, "picture": ss.ImageArray(noise)})
    return table, 0.7 * x1 - 0.5 * x2


def cost(head: str, seed: int) -> dict[str, float]:
    """Loss of the joint model to the table model as a share of what the table gains."""
    rng = np.random.default_rng(seed)
    (train, eta), (test, eta_test) = subjects(N, rng), subjects(N_TEST, rng)
    options = {"random_state": seed, "progress": False}
    if head == "PAMM":
        return cost_of_hazards(train, eta, test, eta_test, rng, options)
    if head == "normal":
        y, y_test = eta + rng.normal(size=N), eta_test + rng.normal(size=N_TEST)
        table = ss.SemiStructuredRegressor("x1 + x2").fit(train, y)
        joint = ss.SemiStructuredRegressor("x1 + x2 + cnn(picture)", **options).fit(train, y)
        of_table = table.log_prob(test, y_test).mean()
        of_joint = joint.log_prob(test, y_test).mean()
        null = stats.norm(y.mean(), y.std()).logpdf(y_test).mean()
    else:
        y, y_test = follow_up(eta, rng), follow_up(eta_test, rng)
        table = ss.CoxPH("x1 + x2").fit(train, y)
        joint = ss.CoxPH("x1 + x2 + cnn(picture)", **options).fit(train, y)
        of_table, of_joint = (loglik(model.predict(test), y_test) for model in (table, joint))
        null = loglik(np.zeros(N_TEST), y_test)
    kept = joint.fit_.deep.calibration.table["kept"].any()
    return {"share": (of_table - of_joint) / (of_table - null), "kept": int(kept)}


def cost_of_hazards(
    train: pd.DataFrame,
    eta: np.ndarray,
    test: pd.DataFrame,
    eta_test: np.ndarray,
    rng: np.random.Generator,
    options: dict[str, object],
) -> dict[str, float]:
    """The same for PAMM, with complete pictures and with some missing."""
    y, y_test = follow_up(eta, rng), follow_up(eta_test, rng)
    null = ss.PAMM("s(tend, k=6)", cuts=CUTS).fit(train, y)
    joint = ss.PAMM("s(tend, k=6) + x1 + x2 + cnn(picture)", cuts=CUTS, **options).fit(train, y)
    end = null.intervals_.cuts[-1]
    y_test = ss.Surv(np.minimum(y_test.time, end), y_test.event & (y_test.time <= end))
    of_table = loglik_of_hazards(joint.table_model(), test, y_test)
    gain = of_table - loglik_of_hazards(null, test, y_test)
    late = rng.random(len(test))
    found = {"kept": int(joint.fit_.deep.calibration.table["kept"].any())}
    for rate in (0, 40, 80):
        pictures = test["picture"].array.copy()
        pictures[late < rate / 100] = None
        of_joint = loglik_of_hazards(joint, test.assign(picture=pictures), y_test)
        found["share" if not rate else f"share_{rate}"] = (of_table - of_joint) / gain
    return found


def loglik_of_hazards(model: ss.PAMM, test: pd.DataFrame, y: ss.Surv) -> float:
    """Mean log-likelihood of follow-up, of hazards that are constant in intervals."""
    hazards = model.predict_hazard(test).to_numpy()  # (J, n)
    cuts = np.asarray(model.intervals_.cuts)
    starts, ends = model.intervals_.starts, model.intervals_.ends
    exposure = np.clip(y.time - starts[:, None], 0, (ends - starts)[:, None])
    at = np.clip(np.searchsorted(cuts[cuts > 0], y.time), 0, len(ends) - 1)
    event = np.log(hazards[at, np.arange(len(test))])
    return float((y.event * event - (hazards * exposure).sum(axis=0)).mean())


def follow_up(eta: np.ndarray, rng: np.random.Generator) -> ss.Surv:
    time, censored = rng.exponential(np.exp(-eta)), rng.exponential(2.0, len(eta))
    return ss.Surv(np.minimum(time, censored), time <= censored)


def loglik(eta: np.ndarray, y: ss.Surv) -> float:
    """Log partial likelihood per event."""
    loss = ss.losses.cox_partial_likelihood(torch.from_numpy(eta), y.time, y.event)
    return -float(loss) / y.event.sum()


def main() -> None:
    ResultLog(RESULTS / "noise_pictures.jsonl").run(CASES, cost)
    summarise()


def summarise() -> None:
    """Write the table from the cases that are finished."""
    rows = ResultLog(RESULTS / "noise_pictures.jsonl").frame()
    table = rows.groupby("head", sort=False, as_index=False).agg(
        sets=("seed", "size"),
        cost=("share", "mean"),
        se=("share", "sem"),
        worst=("share", "max"),
        kept=("kept", "mean"),
    )
    table.insert(3, "upper", table["cost"] + stats.t.ppf(0.95, table["sets"] - 1) * table["se"])
    lacking = [f"share_{rate}" for rate in (40, 80)]
    for name in lacking:
        own = rows.groupby("head", sort=False)[name].mean() if name in rows else {}
        table[name.replace("share_", "cost, missing ") + " %"] = table["head"].map(own)
    write_table(
        "noise_pictures",
        table,
        title="What pictures of pure noise cost, 500 subjects",
        formats=dict.fromkeys(
            ("cost", "upper", "se", "worst", "cost, missing 40 %", "cost, missing 80 %"), ".2%"
        )
        | {"kept": ".2f"},
        notes="cost: mean loss of the joint model against the table model, as a share of the table "
        "model's gain over the null model; upper: one-sided 95 % bound of the mean, to stay below "
        "1 %; cost, missing: the same when that share of the new subjects lacks its picture, where "
        "it was computed; kept: share of the data sets in which the gate kept the picture.",
    )


if __name__ == "__main__":
    main()
