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
# # Hazards over time: PAMM, competing risks, discrete time
#
# A Cox model leaves the baseline hazard free and asks for effects that do not change with time.
# A piecewise-exponential additive model (PAMM; Bender, Groll & Scheipl 2018) estimates the hazard
# itself, as a smooth function of time, and lets effects vary with it. The follow-up is cut into
# intervals; in each the hazard is constant, and the likelihood is that of Poisson counts.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from lifelines.datasets import load_rossi
from sklearn.datasets import load_digits

import semistruct as ss

arrests = load_rossi()
arrests["fin"] = arrests["fin"].map({0: "no", 1: "yes"}).astype("category")
y = ss.Surv(arrests["week"], arrests["arrest"])

# %% [markdown]
# 432 men were followed for a year after their release from prison (Rossi, Berk & Lenihan 1980).
# `tend`, the end of the interval, is a column that the model makes; `s(tend)` is the log of the
# baseline hazard.

# %%
model = ss.PAMM("s(tend) + fin + s(age) + prio").fit(arrests, y)
print(model.summary())

# %% [markdown]
# The coefficients are log hazard ratios. Those of a Cox model are next to the same:

# %%
cox = ss.CoxPH("fin + s(age) + prio").fit(arrests, y)
pd.DataFrame({"PAMM": model.params["hazard"], "Cox": cox.params["log_hazard"]}).round(3)

# %% [markdown]
# What a Cox model does not have is the hazard itself, with a band:

# %%
typical = pd.DataFrame({"fin": ["no", "yes"], "age": 24, "prio": 2})
weeks = np.arange(1, 53)
hazard = model.predict_hazard(typical, weeks, level=0.95)
fig, ax = plt.subplots(figsize=(6, 3.5))
for row, (label, colour) in enumerate({"without aid": "#0072B2", "with aid": "#D55E00"}.items()):
    ax.plot(weeks, hazard[row, "estimate"], color=colour, label=label)
    ax.fill_between(weeks, hazard[row, "lower"], hazard[row, "upper"], color=colour, alpha=0.2)
ax.set_xlabel("weeks since release")
ax.set_ylabel("arrests per man and week")
ax.legend(frameon=False)
fig.tight_layout()

# %% [markdown]
# ## Effects that vary with time
#
# `s(tend, by=fin)` gives each group a baseline of its own; with numbers, `s(tend, by=prio)` is a
# coefficient that changes with time, and `te(tend, age)` a surface.

# %%
varying = ss.PAMM("fin + s(tend, by=fin) + s(age) + prio").fit(arrests, y)
varying.smooths()

# %%
restricted = pd.DataFrame(
    {
        "proportional": model.predict_restricted_mean(typical, 52),
        "own baselines": varying.predict_restricted_mean(typical, 52),
    }
)
restricted.set_axis(["without aid", "with aid"]).round(1)

# %% [markdown]
# ## Competing causes
#
# A simulated study: people leave by one of two causes, of which the second depends on a picture.
# Every cause has its own coefficients; `predict_cumulative_incidence` integrates the hazards
# exactly, so that the incidences and the survival function add up to one.

# %%
handwriting = load_digits()
rng = np.random.default_rng(0)
rows = rng.permutation(len(handwriting.images))[:900]
study = pd.DataFrame(
    {
        "age": rng.uniform(40, 80, 900),
        "scan": ss.ImageArray((handwriting.images[rows, None] * 15).astype(np.uint8)),
    }
)
high = handwriting.target[rows] > 5
first = 14 * np.exp(-0.05 * (study["age"] - 60)) * rng.weibull(1.3, 900)
second = 16 * np.exp(-1.5 * high) * rng.exponential(size=900)
end = rng.uniform(2, 12, 900)
time = np.minimum.reduce([first, second, end])
cause = np.select([time == end, time == first], [0, 1], default=2)
follow_up = ss.Surv(time, cause, n_causes=2)

competing = ss.PAMM(
    {"hazard_1": "s(tend) + age", "hazard_2": "s(tend) + age + cnn(scan)"},
    cuts=20,
    n_repeats=1,
    random_state=0,
    progress=False,
).fit(study, follow_up)
print(competing.summary())

# %% [markdown]
# The picture is read once per person, however many intervals there are. The incidences of the
# second cause for the persons with the lowest and the highest effect of the picture:

# %%
effect = competing.term_contributions(study)["hazard_2", "cnn(scan)"]
extremes = study.loc[[effect.idxmin(), effect.idxmax()]].assign(age=60.0)
incidence = competing.predict_cumulative_incidence(
    extremes, np.linspace(0, 10, 41), cause=2, level=0.95, n_draws=300, random_state=0
)
fig, ax = plt.subplots(figsize=(6, 3.5))
for person, (label, colour) in zip(
    extremes.index, {"lowest": "#0072B2", "highest": "#D55E00"}.items(), strict=True
):
    curve = incidence[person]
    ax.plot(curve.index, curve["estimate"], color=colour, label=f"{label} effect of the picture")
    ax.fill_between(curve.index, curve["lower"], curve["upper"], color=colour, alpha=0.2)
ax.set_xlabel("years")
ax.set_ylabel("cumulative incidence of cause 2")
ax.legend(frameon=False)
fig.tight_layout()

# %% [markdown]
# ## Discrete time
#
# Where times are known as weeks or visits, `DiscreteHazard` models the probability of an event in
# each. With `link="cloglog"` its coefficients are those of proportional hazards.

# %%
weekly = ss.DiscreteHazard(
    "s(tend) + fin + s(age) + prio", link="cloglog", cuts=np.arange(1, 53)
).fit(arrests, y)
pd.DataFrame({"PAMM": model.params["hazard"], "discrete": weekly.params["hazard"]}).round(3)
