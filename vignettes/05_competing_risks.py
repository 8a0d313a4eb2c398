# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Competing risks: hazards of each cause, incidences of all
#
# Somebody who dies of one cause can no longer die of another. Two questions have two answers:
#
# * *What drives the rate of each cause?* The cause-specific hazard; a regression of each cause in
#   which the others are censoring.
# * *How many will have had the event by time t?* The cumulative incidence. It depends on the hazards
#   of **all** causes, and one minus Kaplan-Meier of one cause overestimates it.
#
# The study is simulated, so that the truth is known. Cause 1 depends on age. Cause 2 depends on a
# picture: real handwriting, whose hazard is 3.3 times higher (`exp(1.2)`) for the digits 6 to 9.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from lifelines import AalenJohansenFitter
from sklearn.datasets import load_digits

import semistruct as ss

handwriting = load_digits()
rng = np.random.default_rng(2)
n = 900
rows = rng.permutation(len(handwriting.images))[:n]
high = handwriting.target[rows] > 5
study = pd.DataFrame(
    {
        "age": rng.uniform(40, 80, n),
        "arm": rng.choice(["control", "treated"], n),
        "scan": ss.ImageArray((handwriting.images[rows, None] * 15).astype(np.uint8)),
    }
)
treated = study["arm"] == "treated"
first = rng.exponential(12 * np.exp(-0.05 * (study["age"] - 60) + 0.5 * treated))
second = rng.exponential(15 * np.exp(-1.2 * high))
end = rng.uniform(3, 10, n)
time = np.minimum.reduce([first, second, end])
cause = np.select([time == end, time == first], [0, 1], default=2)
y = ss.Surv(time, cause, n_causes=2)
y

# %% [markdown]
# ## Hazards of each cause
#
# One predictor for each cause. `s(tend)` is the log of its baseline hazard as a smooth function of
# time; `tend` is a column that the model makes.

# %%
model = ss.PAMM(
    {"hazard_1": "s(tend) + age + arm", "hazard_2": "s(tend) + age + arm + cnn(scan)"},
    cuts=20,
    n_folds=3,
    n_repeats=1,
    max_epochs=25,
    random_state=0,
    progress=False,
).fit(study, y)
print(model.summary())

# %% [markdown]
# The true log hazard ratios are 0.05 per year and -0.5 for the treated in cause 1; both are zero in
# cause 2. The same coefficients by Cox regressions, cause by cause:

# %%
cox = {k: ss.CoxPH("age + arm").fit(study, y.of_cause(k)) for k in (1, 2)}
pd.concat(
    {
        "PAMM": pd.concat({k: model.params[f"hazard_{k}"] for k in (1, 2)}),
        "Cox": pd.concat({k: cox[k].params["log_hazard"] for k in (1, 2)}),
    },
    axis=1,
).dropna().round(3)

# %% [markdown]
# ## Cumulative incidences
#
# With hazards that are constant in intervals, incidences are exact sums, and with the survival
# function they add up to one. Averaged over the study they have to agree with the estimator of
# Aalen and Johansen, which uses no covariates.

# %%
grid = np.linspace(0, 9, 46)
average = {k: model.predict_cumulative_incidence(study, grid, cause=k).mean(axis=1) for k in (1, 2)}

fig, ax = plt.subplots(figsize=(6, 3.8))
for k, colour in ((1, "#0072B2"), (2, "#D55E00")):
    ax.plot(grid, average[k], color=colour, label=f"cause {k}, model")
    empirical = AalenJohansenFitter(calculate_variance=False).fit(time, cause, event_of_interest=k)
    curve = empirical.cumulative_density_.iloc[:, 0]
    ax.step(curve.index, curve, where="post", color=colour, alpha=0.5, linestyle=":")
    wrong = ss.metrics.kaplan_meier(y.of_cause(k))
    ax.step(wrong.time, 1 - wrong.survival, where="post", color=colour, alpha=0.35, linewidth=0.8)
ax.set_xlabel("years")
ax.set_ylabel("cumulative incidence")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Dotted: Aalen-Johansen. Thin and too high: one minus Kaplan-Meier, which answers a question about
# a world without the other cause.
#
# ## A person
#
# Areas show what becomes of somebody: free of events, or lost to one of the causes.

# %%
effect = model.term_contributions(study)["hazard_2", "cnn(scan)"]
persons = study.loc[[effect.idxmin(), effect.idxmax()]].assign(age=60.0, arm="control")
persons.index = pd.Index(["lowest effect of the picture", "highest effect"])
fig, panels = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for panel, person in zip(panels, persons.index, strict=True):
    ss.plots.incidence_curves(model, persons.loc[[person]], kind="stacked", ax=panel)
plt.show()

# %% [markdown]
# ## What a treatment does
#
# A coefficient of a cause-specific hazard is not the effect on the incidence: the treatment lowers
# the hazard of cause 1, and *more* people live to meet cause 2. The expected share of each cause by
# year 8, had everybody been in one arm or the other:

# %%
pd.DataFrame(
    {
        arm: {
            f"cause {k}": model.predict_cumulative_incidence(
                study.assign(arm=arm), [8.0], cause=k
            ).mean(axis=1)[8.0]
            for k in (1, 2)
        }
        for arm in ("control", "treated")
    }
).round(3)
